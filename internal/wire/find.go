package wire

import (
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tinylib/msgp/msgp"
)

// The functions of this file pick parts out of bytes that Check or Split has
// accepted, for decoders whose protocol has more to it than an envelope. On
// other bytes they find nothing.

// Member returns the span of the value that an object has under name.
func Member(f Format, object []byte, name string) ([]byte, bool) {
	if f == Msgpack {
		return packMember(object, name)
	}
	s := scanners.Get().(*scanner)
	defer scanners.Put(s)
	s.begin(Limits{})
	s.reset(object)
	if s.dec.PeekKind() != '{' {
		return nil, false
	}
	for _, err := s.dec.ReadToken(); err == nil && s.dec.PeekKind() == '"'; {
		var quoted, v jsontext.Value
		if quoted, err = s.dec.ReadValue(); err != nil {
			break
		}
		found := string(s.unquote(quoted)) == name
		if v, err = s.dec.ReadValue(); err == nil && found {
			return v, true
		}
	}
	return nil, false
}

func packMember(object []byte, name string) ([]byte, bool) {
	n, rest, err := msgp.ReadMapHeaderBytes(object)
	for ; err == nil && n > 0; n-- {
		var key []byte
		if key, rest, err = msgp.ReadStringZC(rest); err != nil {
			break
		}
		v := rest
		if rest, err = msgp.Skip(v); err == nil && string(key) == name {
			return v[:len(v)-len(rest)], true
		}
	}
	return nil, false
}

// Elements appends the spans of an array's elements to dst, and reports whether
// it is an array.
func Elements(f Format, array []byte, dst [][]byte) ([][]byte, bool) {
	if f == Msgpack {
		return packElements(array, dst)
	}
	s := scanners.Get().(*scanner)
	defer scanners.Put(s)
	s.begin(Limits{})
	s.reset(array)
	if s.dec.PeekKind() != '[' {
		return dst, false
	}
	old := len(dst)
	_, err := s.dec.ReadToken()
	for err == nil && s.dec.PeekKind() != ']' {
		var v jsontext.Value
		if v, err = s.dec.ReadValue(); err == nil {
			dst = append(dst, v)
		}
	}
	if err != nil {
		return dst[:old], false
	}
	return dst, true
}

func packElements(array []byte, dst [][]byte) ([][]byte, bool) {
	n, rest, err := msgp.ReadArrayHeaderBytes(array)
	old := len(dst)
	for ; err == nil && n > 0; n-- {
		v := rest
		if rest, err = msgp.Skip(v); err == nil {
			dst = append(dst, v[:len(v)-len(rest)])
		}
	}
	if err != nil {
		return dst[:old], false
	}
	return dst, true
}

// Text returns a value's text, and whether it is text.
func Text(f Format, value []byte) (string, bool) {
	if f == Msgpack {
		v, _, err := msgp.ReadStringZC(value)
		return string(v), err == nil
	}
	if len(value) == 0 || value[0] != '"' {
		return "", false
	}
	v, err := jsontext.AppendUnquote(nil, value)
	return string(v), err == nil
}

// IsObject reports whether a value is an object.
func IsObject(f Format, value []byte) bool {
	if f == Msgpack {
		return msgp.NextType(value) == msgp.MapType
	}
	return len(value) > 0 && value[0] == '{'
}
