package agent

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tinylib/msgp/msgp"
)

// maxDepth is how many objects and lists of a body may stand inside one another.
// The decoders stop at 32 for a whole frame, of which a batch takes three.
const maxDepth = 28

// encodeElement returns the envelope of m without its id. The id goes in after
// the first byte, once the agent's name is known: see appendNamed.
func encodeElement(encoding string, m *Message, now time.Time) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	at := m.Time
	if at.IsZero() {
		at = now
	}
	var (
		b   []byte
		err error
	)
	if encoding == JSON {
		b, err = appendJSON(make([]byte, 0, 256), m, at.UnixMilli())
	} else {
		b, err = appendMsgpack(make([]byte, 0, 256), m, at.UnixMilli())
	}
	if err != nil {
		return nil, fmt.Errorf("encode %s of %s: %w", m.Kind, m.Type, err)
	}
	return b, nil
}

// appendNamed appends to dst an element with the agent's name put in.
func appendNamed(dst []byte, encoding, name string, element []byte) []byte {
	dst = append(dst, element[0])
	if encoding == JSON {
		// A name holds nothing that JSON escapes.
		dst = append(dst, `"id":"`...)
		dst = append(dst, name...)
		dst = append(dst, `",`...)
	} else {
		dst = msgp.AppendString(dst, "id")
		dst = msgp.AppendString(dst, name)
	}
	return append(dst, element[1:]...)
}

// appendFrame appends to dst the frame made of elements: the element itself, or
// for a batch an array.
func appendFrame(dst []byte, encoding, name string, elements [][]byte, batch bool) []byte {
	if !batch {
		return appendNamed(dst, encoding, name, elements[0])
	}
	if encoding == Msgpack {
		dst = msgp.AppendArrayHeader(dst, uint32(len(elements)))
		for _, e := range elements {
			dst = appendNamed(dst, encoding, name, e)
		}
		return dst
	}
	dst = append(dst, '[')
	for i, e := range elements {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendNamed(dst, encoding, name, e)
	}
	return append(dst, ']')
}

func appendJSON(dst []byte, m *Message, ms int64) ([]byte, error) {
	body, err := json.Marshal(m.Body, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	if len(body) == 0 || body[0] != '{' {
		return nil, errNotObject
	}
	if nesting(body) > maxDepth {
		return nil, errDepth
	}
	// A type holds nothing that JSON escapes; kinds and nodes are the caller's.
	dst = append(dst, `{"type":"`...)
	dst = append(dst, m.Type...)
	dst = append(dst, `","time":`...)
	dst = strconv.AppendInt(dst, ms, 10)
	if m.Node != "" {
		dst = append(dst, `,"node":`...)
		if dst, err = jsontext.AppendQuote(dst, m.Node); err != nil {
			return nil, err
		}
	}
	dst = append(dst, `,"data":{"type":`...)
	if dst, err = jsontext.AppendQuote(dst, m.Kind); err != nil {
		return nil, err
	}
	dst = append(dst, `,"body":`...)
	dst = append(dst, body...)
	return append(dst, '}', '}'), nil
}

// nesting returns how many objects and lists of valid JSON stand inside one
// another.
func nesting(b []byte) int {
	depth, deepest, text := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

func appendMsgpack(dst []byte, m *Message, ms int64) ([]byte, error) {
	var err error
	// The header counts the id, which is not there yet. Both counts fit one byte.
	if m.Node == "" {
		dst = msgp.AppendMapHeader(dst, 4)
	} else {
		dst = msgp.AppendMapHeader(dst, 5)
	}
	dst = msgp.AppendString(dst, "type")
	dst = msgp.AppendString(dst, m.Type)
	dst = msgp.AppendString(dst, "time")
	dst = msgp.AppendInt64(dst, ms)
	if m.Node != "" {
		dst = msgp.AppendString(dst, "node")
		if dst, err = appendText(dst, m.Node); err != nil {
			return nil, err
		}
	}
	dst = msgp.AppendString(dst, "data")
	dst = msgp.AppendMapHeader(dst, 2)
	dst = msgp.AppendString(dst, "type")
	if dst, err = appendText(dst, m.Kind); err != nil {
		return nil, err
	}
	dst = msgp.AppendString(dst, "body")
	at := len(dst)
	if dst, err = appendValue(dst, m.Body, maxDepth); err != nil {
		return nil, err
	}
	if msgp.NextType(dst[at:]) != msgp.MapType {
		return nil, errNotObject
	}
	return dst, nil
}

var (
	errNotObject = errors.New("body is not an object")
	errDepth     = fmt.Errorf("body nests deeper than %d", maxDepth)
	errUTF8      = errors.New("text is not UTF-8")
)

// appendValue appends v as MessagePack. What collectors are made of goes
// straight; anything else goes through its JSON, so that a type means the same
// in both encodings.
func appendValue(dst []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return msgp.AppendNil(dst), nil
	case bool:
		return msgp.AppendBool(dst, v), nil
	case string:
		return appendText(dst, v)
	case int:
		return msgp.AppendInt64(dst, int64(v)), nil
	case int32:
		return msgp.AppendInt64(dst, int64(v)), nil
	case int64:
		return msgp.AppendInt64(dst, v), nil
	case uint32:
		return msgp.AppendUint64(dst, uint64(v)), nil
	case uint64:
		return msgp.AppendUint64(dst, v), nil
	case float64:
		return appendFloat(dst, v)
	case []float64:
		if depth == 0 {
			return nil, errDepth
		}
		dst = msgp.AppendArrayHeader(dst, uint32(len(v)))
		for _, f := range v {
			var err error
			if dst, err = appendFloat(dst, f); err != nil {
				return nil, err
			}
		}
		return dst, nil
	case []any:
		if depth == 0 {
			return nil, errDepth
		}
		dst = msgp.AppendArrayHeader(dst, uint32(len(v)))
		for _, e := range v {
			var err error
			if dst, err = appendValue(dst, e, depth-1); err != nil {
				return nil, err
			}
		}
		return dst, nil
	case map[string]any:
		if depth == 0 {
			return nil, errDepth
		}
		dst = msgp.AppendMapHeader(dst, uint32(len(v)))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			var err error
			if dst, err = appendText(dst, k); err != nil {
				return nil, err
			}
			if dst, err = appendValue(dst, v[k], depth-1); err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
		}
		return dst, nil
	}
	text, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	return transcode(dst, jsontext.NewDecoder(bytes.NewBuffer(text)), depth)
}

func appendText(dst []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, errUTF8
	}
	return msgp.AppendString(dst, s), nil
}

func appendFloat(dst []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("%v is not a number that can be sent", f)
	}
	return msgp.AppendFloat64(dst, f), nil
}

// transcode appends the next JSON value of dec as MessagePack.
func transcode(dst []byte, dec *jsontext.Decoder, depth int) ([]byte, error) {
	token, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case jsontext.KindNull:
		return msgp.AppendNil(dst), nil
	case jsontext.KindTrue, jsontext.KindFalse:
		return msgp.AppendBool(dst, token.Bool()), nil
	case jsontext.KindString:
		return msgp.AppendString(dst, token.String()), nil
	case jsontext.KindNumber:
		return appendNumber(dst, token.String())
	}
	// How many members there are is known only at the end; their header is made
	// then.
	if depth == 0 {
		return nil, errDepth
	}
	at, n := len(dst), 0
	object := token.Kind() == jsontext.KindBeginObject
	for k := dec.PeekKind(); k != jsontext.KindEndObject && k != jsontext.KindEndArray; k = dec.PeekKind() {
		if object {
			name, err := dec.ReadToken()
			if err != nil {
				return nil, err
			}
			dst = msgp.AppendString(dst, name.String())
		}
		if dst, err = transcode(dst, dec, depth-1); err != nil {
			return nil, err
		}
		n++
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	var header [5]byte
	if object {
		return slices.Insert(dst, at, msgp.AppendMapHeader(header[:0], uint32(n))...), nil
	}
	return slices.Insert(dst, at, msgp.AppendArrayHeader(header[:0], uint32(n))...), nil
}

// appendNumber appends a JSON number: an integer as one, all digits kept,
// anything else as a double.
func appendNumber(dst []byte, s string) ([]byte, error) {
	for _, c := range []byte(s) {
		if c != '.' && c != 'e' && c != 'E' {
			continue
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is beyond a double", s)
		}
		return msgp.AppendFloat64(dst, f), nil
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return msgp.AppendInt64(dst, i), nil
	}
	if u, err := strconv.ParseUint(s, 10, 64); err == nil {
		return msgp.AppendUint64(dst, u), nil
	}
	return nil, fmt.Errorf("integer %s is beyond 64 bits; send it as a string", s)
}
