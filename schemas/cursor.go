package schemas

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"sluice/message"
)

// maxSkip is how deep a value that the schema does not know may be nested. The
// structural check of outside bytes stops earlier.
const maxSkip = 100

type tokenKind uint8

const (
	tokenNull tokenKind = iota + 1
	tokenBool
	tokenInt   // no fraction, no exponent
	tokenFloat // any other number
	tokenString
	tokenBytes // MessagePack only
	tokenObject
	tokenArray
	tokenOther // MessagePack's extensions
)

var gots = [...]string{
	tokenNull: "null", tokenBool: "a boolean", tokenInt: "an integer", tokenFloat: "a number with a fraction or an exponent",
	tokenString: "a string", tokenBytes: "bytes", tokenObject: "an object", tokenArray: "an array", tokenOther: "an extension",
}

// cursor reads one JSON or MessagePack value token by token, in place and
// without allocating. It refuses whatever is not of its form; names given twice
// are for its user to see.
type cursor struct {
	b       []byte // what is left
	msgpack bool

	// The token read last.
	kind  tokenKind
	bool  bool
	int   int64   // tokenInt where fits
	fits  bool    // the integer fits 64 bits
	float float64 // tokenFloat of MessagePack
	text  []byte  // contents of a string or bytes; the digits of an integer that does not fit, or of any number in JSON
	n     int     // how many elements or members a MessagePack array or object has

	scratch []byte // strings with escapes, digits
}

func (c *cursor) reset(b []byte, msgpack bool) {
	c.b, c.msgpack, c.text = b, msgpack, nil
}

var (
	faultMalformedJSON    = message.Fault{Code: message.CodeMalformed, Reason: "not JSON"}
	faultMalformedMsgpack = message.Fault{Code: message.CodeMalformed, Reason: "not MessagePack"}
)

func (c *cursor) malformed() *message.Fault {
	f := faultMalformedJSON
	if c.msgpack {
		f = faultMalformedMsgpack
	}
	return &f
}

func faultUTF8() *message.Fault {
	return &message.Fault{Code: message.CodeUTF8, Reason: "text that is not UTF-8"}
}

// next reads one token: a scalar whole, an object or an array up to its first
// member.
func (c *cursor) next() *message.Fault {
	if c.msgpack {
		return c.nextMsgpack()
	}
	c.space()
	if len(c.b) == 0 {
		return c.malformed()
	}
	switch ch := c.b[0]; ch {
	case '"':
		c.kind = tokenString
		return c.string()
	case '{':
		c.kind, c.b = tokenObject, c.b[1:]
	case '[':
		c.kind, c.b = tokenArray, c.b[1:]
	case 'n':
		c.kind = tokenNull
		return c.literal("null")
	case 't':
		c.kind, c.bool = tokenBool, true
		return c.literal("true")
	case 'f':
		c.kind, c.bool = tokenBool, false
		return c.literal("false")
	default:
		return c.number()
	}
	return nil
}

// list counts through the members of an object or the elements of an array.
type list struct {
	n     int // left, in MessagePack
	close byte
	begun bool
}

// list starts on the object or array that was read last.
func (c *cursor) list() list {
	if c.kind == tokenObject {
		return list{n: c.n, close: '}'}
	}
	return list{n: c.n, close: ']'}
}

// more reports whether the list goes on, and if so goes to its next member.
func (c *cursor) more(l *list) (bool, *message.Fault) {
	if c.msgpack {
		l.n--
		return l.n >= 0, nil
	}
	c.space()
	if len(c.b) == 0 {
		return false, c.malformed()
	}
	if c.b[0] == l.close {
		c.b = c.b[1:]
		return false, nil
	}
	if l.begun {
		if c.b[0] != ',' {
			return false, c.malformed()
		}
		c.b = c.b[1:]
		c.space()
		if len(c.b) > 0 && c.b[0] == l.close {
			return false, c.malformed()
		}
	}
	l.begun = true
	return true, nil
}

// name reads the name of a member. It is valid until the next call.
func (c *cursor) name() ([]byte, *message.Fault) {
	if c.msgpack {
		if fault := c.nextMsgpack(); fault != nil {
			return nil, fault
		}
		if c.kind != tokenString {
			return nil, &message.Fault{Code: message.CodeMalformed, Reason: "a name that is not a string"}
		}
		return c.text, nil
	}
	if len(c.b) == 0 || c.b[0] != '"' {
		return nil, c.malformed()
	}
	if fault := c.string(); fault != nil {
		return nil, fault
	}
	if len(c.b) == 0 || c.b[0] != ':' {
		c.space()
		if len(c.b) == 0 || c.b[0] != ':' {
			return nil, c.malformed()
		}
	}
	c.b = c.b[1:]
	return c.text, nil
}

// skip reads to the end of the value whose token was read last.
func (c *cursor) skip() *message.Fault { return c.skipDepth(maxSkip) }

func (c *cursor) skipDepth(depth int) *message.Fault {
	if c.kind != tokenObject && c.kind != tokenArray {
		return nil
	}
	if depth == 0 {
		return &message.Fault{Code: message.CodeDepth, Reason: "nested too deep"}
	}
	object := c.kind == tokenObject
	for l := c.list(); ; {
		more, fault := c.more(&l)
		if fault != nil || !more {
			return fault
		}
		if object {
			if _, fault := c.name(); fault != nil {
				return fault
			}
		}
		if fault := c.next(); fault != nil {
			return fault
		}
		if fault := c.skipDepth(depth - 1); fault != nil {
			return fault
		}
	}
}

// end checks that nothing follows.
func (c *cursor) end() *message.Fault {
	if !c.msgpack {
		c.space()
	}
	if len(c.b) > 0 {
		return &message.Fault{Code: message.CodeMalformed, Reason: "bytes after the end"}
	}
	return nil
}

func (c *cursor) space() {
	for len(c.b) > 0 && c.b[0] <= ' ' && (c.b[0] == ' ' || c.b[0] == '\n' || c.b[0] == '\t' || c.b[0] == '\r') {
		c.b = c.b[1:]
	}
}

func (c *cursor) literal(s string) *message.Fault {
	if len(c.b) < len(s) || string(c.b[:len(s)]) != s {
		return c.malformed()
	}
	c.b = c.b[len(s):]
	return nil
}

// string reads a JSON string into text.
func (c *cursor) string() *message.Fault {
	b := c.b
	i := plain(b, 1)
	if i < len(b) && b[i] == '"' {
		c.text, c.b = b[1:i], b[i+1:]
		return nil
	}
	ascii, escaped := true, false
	for ; i < len(b); i++ {
		switch ch := b[i]; {
		case ch == '"':
			c.text, c.b = b[1:i], b[i+1:]
			if escaped {
				return c.unquote(b[:i+1])
			}
			if !ascii && !utf8.Valid(c.text) {
				return faultUTF8()
			}
			return nil
		case ch == '\\':
			escaped = true
			i++
		case ch < ' ':
			return c.malformed()
		case ch >= utf8.RuneSelf:
			ascii = false
		}
	}
	return c.malformed()
}

func (c *cursor) unquote(quoted []byte) *message.Fault {
	s, err := jsontext.AppendUnquote(c.scratch[:0], quoted)
	c.scratch, c.text = s, s
	if err == nil {
		return nil
	}
	if !utf8.Valid(quoted) || bytes.Contains(quoted, []byte(`\u`)) {
		return faultUTF8()
	}
	return c.malformed()
}

// plain returns where, from i on, the first byte stands that is not a
// character of plain ASCII text: a quote, a backslash, a control character or
// half of something longer. It looks at eight bytes at a time.
func plain(b []byte, i int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		// A byte of each term has its high bit set where it is the one
		// looked for; a borrow may set one above such a byte only.
		if (w|(w-ones*' ')|(quote-ones)|(slash-ones))&highs != 0 {
			break
		}
	}
	for ; i < len(b); i++ {
		if ch := b[i]; ch < ' ' || ch == '"' || ch == '\\' || ch >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// number reads a JSON number.
func (c *cursor) number() *message.Fault {
	b, i := c.b, 0
	if b[0] == '-' {
		i++
	}
	var ok bool
	switch {
	case i < len(b) && b[i] == '0':
		i, ok = i+1, true
	default:
		i, ok = digits(b, i)
	}
	c.kind = tokenInt
	if ok && i < len(b) && b[i] == '.' {
		c.kind = tokenFloat
		i, ok = digits(b, i+1)
	}
	if ok && i < len(b) && b[i]|0x20 == 'e' {
		c.kind = tokenFloat
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		i, ok = digits(b, i)
	}
	if !ok {
		return c.malformed()
	}
	c.text, c.b = b[:i], b[i:]
	if c.kind == tokenInt {
		c.int, c.fits = parseInt(c.text)
	}
	return nil
}

func digits(b []byte, i int) (int, bool) {
	from := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i, i > from
}

// parseInt returns the value of an optional minus and digits, and false where
// it does not fit or there are none.
func parseInt(b []byte) (int64, bool) {
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		b = b[1:]
	}
	if len(b) == 0 {
		return 0, false
	}
	var v uint64
	for _, ch := range b {
		d := uint64(ch - '0')
		if d > 9 || v > math.MaxUint64/10-1 {
			return 0, false
		}
		v = v*10 + d
	}
	switch {
	case neg && v <= 1<<63:
		return -int64(v), true
	case !neg && v <= math.MaxInt64:
		return int64(v), true
	}
	return 0, false
}
