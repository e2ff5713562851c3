package schemas

import (
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"sluice/message"
)

// nextMsgpack reads one token of MessagePack.
func (c *cursor) nextMsgpack() *message.Fault {
	var err error
	switch msgp.NextType(c.b) {
	case msgp.NilType:
		c.kind, c.b = tokenNull, c.b[1:]
	case msgp.BoolType:
		c.kind = tokenBool
		c.bool, c.b, err = msgp.ReadBoolBytes(c.b)
	case msgp.IntType:
		c.kind, c.fits = tokenInt, true
		c.int, c.b, err = msgp.ReadInt64Bytes(c.b)
	case msgp.UintType:
		var u uint64
		c.kind = tokenInt
		u, c.b, err = msgp.ReadUint64Bytes(c.b)
		if c.int, c.fits = int64(u), u <= math.MaxInt64; !c.fits {
			c.scratch = strconv.AppendUint(c.scratch[:0], u, 10)
			c.text = c.scratch
		}
	case msgp.Float32Type, msgp.Float64Type:
		c.kind = tokenFloat
		c.float, c.b, err = msgp.ReadFloat64Bytes(c.b)
	case msgp.StrType:
		c.kind = tokenString
		if c.text, c.b, err = msgp.ReadStringZC(c.b); err == nil && !utf8.Valid(c.text) {
			return faultUTF8()
		}
	case msgp.BinType:
		c.kind = tokenBytes
		c.text, c.b, err = msgp.ReadBytesZC(c.b)
	case msgp.MapType:
		var n uint32
		c.kind = tokenObject
		n, c.b, err = msgp.ReadMapHeaderBytes(c.b)
		c.n = int(n)
	case msgp.ArrayType:
		var n uint32
		c.kind = tokenArray
		n, c.b, err = msgp.ReadArrayHeaderBytes(c.b)
		c.n = int(n)
	case msgp.InvalidType:
		return c.malformed()
	default:
		c.kind = tokenOther
		c.b, err = msgp.Skip(c.b)
	}
	if err != nil {
		return c.malformed()
	}
	return nil
}
