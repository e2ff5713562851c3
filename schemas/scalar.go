package schemas

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/big"
	"strconv"

	"sluice/message"
)

func (s *state) integer(n *node) *message.Fault {
	v, fits := s.c.int, s.c.fits
	if s.c.kind == tokenString && n.number {
		b, ok := s.decimal()
		if !ok {
			return s.wanted(n.wants())
		}
		v, fits = parseInt(b)
	} else if s.c.kind != tokenInt {
		return s.wanted(n.wants())
	}
	if n.kind == kindInt && (!fits || v != int64(int32(v))) {
		return outOfRange("an integer that does not fit 32 bits")
	}
	if !fits {
		return outOfRange("an integer that does not fit 64 bits")
	}
	s.out = binary.AppendVarint(s.out, v)
	return nil
}

func (s *state) float(n *node) *message.Fault {
	var v float64
	var err error
	c := &s.c
	switch {
	case c.kind == tokenFloat && c.msgpack:
		v = c.float
	case c.kind == tokenInt && c.fits && (c.int != 0 || c.msgpack):
		v = float64(c.int)
	case c.kind == tokenInt || c.kind == tokenFloat: // -0 is not 0
		v, err = strconv.ParseFloat(string(c.text), 64)
	case c.kind == tokenString && n.number:
		t := cursor{b: c.text}
		if len(c.text) == 0 || t.number() != nil || len(t.b) > 0 {
			return s.wanted(n.wants())
		}
		v, err = strconv.ParseFloat(string(c.text), 64)
	default:
		return s.wanted(n.wants())
	}
	if n.kind == kindFloat {
		v = float64(float32(v))
	}
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return outOfRange("a number that is not finite or too large")
	}
	if n.kind == kindFloat {
		s.out = binary.LittleEndian.AppendUint32(s.out, math.Float32bits(float32(v)))
	} else {
		s.out = binary.LittleEndian.AppendUint64(s.out, math.Float64bits(v))
	}
	return nil
}

// text writes what stands for a string in a field with sluice.number or
// sluice.text.
func (s *state) text(n *node) *message.Fault {
	c := &s.c
	switch {
	case n.number && c.kind == tokenString:
		b, ok := s.decimal()
		if !ok {
			return s.wanted(n.wants())
		}
		s.out = appendString(s.out, b)
	case (n.number || n.text) && c.kind == tokenInt:
		b := c.text
		if c.fits {
			c.scratch = strconv.AppendInt(c.scratch[:0], c.int, 10)
			b = c.scratch
		}
		s.out = appendString(s.out, b)
	case n.text && c.kind == tokenBool:
		s.out = appendString(s.out, strconv.FormatBool(c.bool))
	default:
		return s.wanted(n.wants())
	}
	return nil
}

// decimal returns the digits of the integer that the last string holds, as
// decimal or 0x and hexadecimal, without leading zeros.
func (s *state) decimal() ([]byte, bool) {
	b := s.c.text
	if len(b) > 2 && b[0] == '0' && b[1]|0x20 == 'x' {
		return s.hexadecimal(b[2:])
	}
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		b = b[1:]
	}
	if end, ok := digits(b, 0); !ok || end != len(b) {
		return nil, false
	}
	for len(b) > 1 && b[0] == '0' {
		b = b[1:]
	}
	if neg && b[0] != '0' {
		s.c.scratch = append(append(s.c.scratch[:0], '-'), b...)
		return s.c.scratch, true
	}
	return b, true
}

func (s *state) hexadecimal(b []byte) ([]byte, bool) {
	if len(b) > 64 {
		return nil, false
	}
	for _, ch := range b {
		if ch-'0' > 9 && ch|0x20-'a' > 5 {
			return nil, false
		}
	}
	c := &s.c
	if len(b) <= 16 {
		v, err := strconv.ParseUint(string(b), 16, 64)
		c.scratch = strconv.AppendUint(c.scratch[:0], v, 10)
		return c.scratch, err == nil
	}
	v, ok := new(big.Int).SetString(string(b), 16)
	if !ok {
		return nil, false
	}
	c.scratch = v.Append(c.scratch[:0], 10)
	return c.scratch, true
}

func (s *state) bytes(n *node) *message.Fault {
	b := s.c.text
	switch {
	case s.c.kind == tokenBytes:
	case s.c.kind == tokenString && !s.c.msgpack:
		var err error
		if b, err = base64.StdEncoding.AppendDecode(nil, b); err != nil {
			return &message.Fault{Code: message.CodeInvalid, Reason: "want bytes in base64"}
		}
	default:
		return s.wanted(n.wants())
	}
	if n.kind == kindBytes {
		s.out = appendString(s.out, b)
		return nil
	}
	if len(b) != n.size {
		return &message.Fault{Code: message.CodeInvalid, Reason: "want " + strconv.Itoa(n.size) + " bytes, got " + strconv.Itoa(len(b))}
	}
	s.out = append(s.out, b...)
	return nil
}
