// Package schemas knows the data types: their Avro schemas, the way from an
// agent's bytes to an Avro record, and the way back.
//
//	body, JSON or MessagePack ─► Type.Append ─► framing, Avro ─► Reader.Read ─► message.Message
//
// A data type is one file, <type>.avsc: the built-in ones are embedded, a
// directory adds more without code. Every record starts with the same head,
// in the same order; its body is a union of records, one per kind. Other unions
// are ["null", X] only. Load refuses a file that does not keep to that.
//
// Fields of a body have the names that agents send, so that one name holds from
// the agent to the sinks: Ethereum clients write parentHash, agents of machines
// and the gateway itself write bytes_sent. An agent may also use a field's
// aliases. null stands for an absent field. Names are matched exactly; those the
// schema does not have are ignored and counted.
//
// Conversion is exact or refused. An integer is a token without fraction and
// exponent: 1.0 and 1e3 are none. Numbers are finite. Bytes and fixed are
// base64 text in JSON. A timestamp is an integer. These properties of a field
// let agents differ:
//
//	sluice.number  the number may come as text, decimal or 0x and up to 64 hex digits;
//	               a field of type string then holds the decimal digits of an integer of any size
//	sluice.text    a field of type string also takes an integer or a boolean, as its text
//	sluice.member  an array of strings also takes objects, of which it keeps this member, "" where absent
//	sluice.flag    a boolean also takes an object, which means true
//	sluice.from    "flag.member": the field is also filled from that member of the object given for a flag
//
// The package does not check that the bytes of an agent are fit to be read (see
// internal/wire). Load reads a directory, Catalog talks to Kafka and, where one is
// set, to a schema registry; nothing else here does I/O.
package schemas
