package schemas

import "github.com/go-json-experiment/json/jsontext"

type kind uint8

const (
	kindBoolean kind = iota + 1
	kindInt
	kindLong
	kindFloat
	kindDouble
	kindBytes
	kindString
	kindFixed
	kindEnum
	kindArray
	kindMap
	kindRecord
)

// node is one type in one place of a schema. A named type used in several
// places has a node in each, with the same record or symbols.
type node struct {
	kind     kind
	optional bool // ["null", X]
	logical  string

	number, text, flag bool   // the properties sluice.…
	member             string // sluice.member

	rec     *record
	elem    *node // of an array or a map
	symbols []string
	size    int // of a fixed
}

type record struct {
	name   string
	fields []field
	// index holds names, aliases included; own names are below len(fields),
	// an alias is len(fields) more than its field.
	index map[string]int
}

type field struct {
	name    string
	node    *node
	def     []byte         // the default in Avro; nil where the field is mandatory
	defJSON jsontext.Value // the same in JSON
	// members are the fields of the record that sluice.from fills from the
	// object given for this one.
	members []member
}

type member struct {
	name  string
	field int
}

// kindsByName are the primitive types.
var kindsByName = map[string]kind{
	"boolean": kindBoolean, "int": kindInt, "long": kindLong, "float": kindFloat,
	"double": kindDouble, "bytes": kindBytes, "string": kindString,
}

// wants says in a fault what a field of this kind takes.
var wants = [...]string{
	kindBoolean: "a boolean", kindInt: "an integer", kindLong: "an integer", kindFloat: "a number",
	kindDouble: "a number", kindBytes: "bytes", kindString: "a string", kindFixed: "bytes",
	kindEnum: "a string", kindArray: "an array", kindMap: "an object", kindRecord: "an object",
}

func (n *node) wants() string {
	if n.number && n.kind == kindString {
		return "an integer"
	}
	return wants[n.kind]
}
