package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"sluice/message"
)

// reset points the decoder at b. The decoder refuses duplicate names, text that
// is not UTF-8 and all that is not RFC 8259.
func (s *scanner) reset(b []byte) {
	s.text = b
	s.src = *bytes.NewBuffer(b)
	s.dec.Reset(&s.src)
}

func (s *scanner) checkJSON(b []byte) *message.Fault {
	s.reset(b)
	if _, f := s.value(1); f != nil {
		return f
	}
	return s.end()
}

func (s *scanner) checkLines(b []byte) *message.Fault {
	i := 0
	for line := range bytes.Lines(b) {
		line = bytes.Trim(line, " \t\r\n")
		if len(line) == 0 {
			continue
		}
		if f := s.checkJSON(line); f != nil {
			f.Field = Join(Index(i), f.Field)
			return f
		}
		i++
	}
	return nil
}

func (s *scanner) splitLines(b []byte, dst []Envelope) ([]Envelope, *message.Fault) {
	old := len(dst)
	for line := range bytes.Lines(b) {
		line = bytes.Trim(line, " \t\r\n")
		if len(line) == 0 {
			continue
		}
		s.reset(line)
		dst = append(dst, Envelope{})
		f := s.envelope(&dst[len(dst)-1], 1)
		if f == nil {
			f = s.end()
		}
		if f != nil {
			f.Field = Join(Index(len(dst)-1-old), f.Field)
			return dst, f
		}
	}
	return dst, nil
}

func (s *scanner) splitJSON(b []byte, dst []Envelope) ([]Envelope, *message.Fault) {
	s.reset(b)
	switch s.dec.PeekKind() {
	case '{':
		dst = append(dst, Envelope{})
		if f := s.envelope(&dst[len(dst)-1], 1); f != nil {
			return dst, f
		}
	case '[':
		if _, f := s.open(1); f != nil {
			return dst, f
		}
		for s.dec.PeekKind() != ']' {
			dst = append(dst, Envelope{})
			if f := s.envelope(&dst[len(dst)-1], 2); f != nil {
				return dst, f
			}
		}
		if _, err := s.dec.ReadToken(); err != nil {
			return dst, s.fault(err)
		}
	default:
		if f := s.checkJSON(b); f != nil {
			return dst, f
		}
		return dst, notContainer()
	}
	return dst, s.end()
}

// envelope reads the value at depth into e.
func (s *scanner) envelope(e *Envelope, depth int) *message.Fault {
	if s.dec.PeekKind() != '{' {
		raw, f := s.value(depth)
		e.notObject(raw)
		return f
	}
	start, f := s.open(depth)
	if f != nil {
		return f
	}
	var m members
	for s.dec.PeekKind() != '}' {
		name, err := s.dec.ReadValue()
		if err != nil {
			return s.fault(err)
		}
		switch string(s.unquote(name)) {
		case "id":
			e.ID, m.id, f = s.string(&s.names, depth+1)
		case "type":
			e.Type, m.typ, f = s.string(&s.words, depth+1)
		case "node":
			e.Node, m.node, f = s.string(&s.names, depth+1)
		case "time":
			e.Time, m.time, f = s.integer(depth + 1)
			e.HasTime = m.time == good
		case "data":
			m.data, f = s.data(e, &m, depth+1)
		default:
			_, f = s.value(depth + 1)
		}
		if f != nil {
			return f
		}
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return s.fault(err)
	}
	e.Raw = s.text[start:s.dec.InputOffset()]
	e.judge(m)
	return nil
}

// data reads the member data of an envelope.
func (s *scanner) data(e *Envelope, m *members, depth int) (state, *message.Fault) {
	if kind := s.dec.PeekKind(); kind != '{' {
		_, f := s.value(depth)
		return absentOr(kind, wrong), f
	}
	if _, f := s.open(depth); f != nil {
		return wrong, f
	}
	for s.dec.PeekKind() != '}' {
		name, err := s.dec.ReadValue()
		if err != nil {
			return wrong, s.fault(err)
		}
		var f *message.Fault
		switch string(s.unquote(name)) {
		case "type":
			e.Kind, m.kind, f = s.string(&s.words, depth+1)
		case "body":
			kind := s.dec.PeekKind()
			var body []byte
			if body, f = s.value(depth + 1); kind == '{' {
				e.Body, m.body = body, good
			} else {
				m.body = absentOr(kind, wrong)
			}
		default:
			_, f = s.value(depth + 1)
		}
		if f != nil {
			return wrong, f
		}
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return wrong, s.fault(err)
	}
	return good, nil
}

// absentOr takes null for a member that is not there.
func absentOr(kind jsontext.Kind, other state) state {
	if kind == 'n' {
		return absent
	}
	return other
}

// string reads a value and returns it if it is text.
func (s *scanner) string(c *cache, depth int) (string, state, *message.Fault) {
	kind := s.dec.PeekKind()
	v, f := s.value(depth)
	switch {
	case f != nil || kind != '"':
		return "", absentOr(kind, wrong), f
	case len(v) > len(`\u0000`)*message.MaxName+2:
		return "", long, nil
	}
	text, st := word(c, s.unquote(v))
	return text, st, nil
}

// integer reads a value and returns it if it is a whole number, written as one.
func (s *scanner) integer(depth int) (int64, state, *message.Fault) {
	kind := s.dec.PeekKind()
	v, f := s.value(depth)
	if f != nil || kind != '0' || len(v) > len("-9223372036854775808") {
		return 0, absentOr(kind, wrong), f
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		return 0, wrong, nil
	}
	return n, good, nil
}

// value reads any value at depth and returns its span.
func (s *scanner) value(depth int) ([]byte, *message.Fault) {
	switch kind := s.dec.PeekKind(); kind {
	case '{', '[':
		start, f := s.open(depth)
		if f != nil {
			return nil, f
		}
		for end := kind + 2; s.dec.PeekKind() != end; {
			if kind == '{' {
				if _, err := s.dec.ReadToken(); err != nil {
					return nil, s.fault(err)
				}
			}
			if _, f := s.value(depth + 1); f != nil {
				return nil, f
			}
		}
		if _, err := s.dec.ReadToken(); err != nil {
			return nil, s.fault(err)
		}
		return s.text[start:s.dec.InputOffset()], nil
	default:
		v, err := s.dec.ReadValue()
		if err != nil {
			return nil, s.fault(err)
		}
		if kind == '0' && !finite(v) {
			return nil, s.at(newFault(message.CodeNumber, "", "a number beyond what a float64 holds"))
		}
		return v, s.at(s.node())
	}
}

// open reads the start of an object or an array and returns where it is.
func (s *scanner) open(depth int) (int, *message.Fault) {
	if _, err := s.dec.ReadToken(); err != nil {
		return 0, s.fault(err)
	}
	if depth > s.limits.Depth {
		return 0, s.at(tooDeep())
	}
	return int(s.dec.InputOffset()) - 1, s.at(s.node())
}

// end makes sure that nothing follows the value.
func (s *scanner) end() *message.Fault {
	if s.dec.PeekKind() != 0 {
		return newFault(message.CodeMalformed, "", "bytes after the end of the value")
	}
	if _, err := s.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return s.fault(err)
	}
	return nil
}

// unquote returns the text of a JSON string that was read.
func (s *scanner) unquote(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	// The decoder has read the string, so it has no error to give.
	s.unquoted, _ = jsontext.AppendUnquote(s.unquoted[:0], quoted)
	return s.unquoted
}

// finite reports whether a JSON number is in the range of float64.
func finite(v []byte) bool {
	// Without an exponent, 300 digits are below the largest float64.
	short := len(v) <= 300
	for i := 0; short && i < len(v); i++ {
		short = v[i]|0x20 != 'e'
	}
	if short {
		return true
	}
	_, err := strconv.ParseFloat(string(v), 64)
	return err == nil
}

// at sets the field of f, if there is an f, to the value read last.
func (s *scanner) at(f *message.Fault) *message.Fault {
	if f != nil {
		f.Field = s.path(s.dec.StackPointer())
	}
	return f
}

// fault makes a fault of an error of the decoder.
func (s *scanner) fault(err error) *message.Fault {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		// io.EOF: not even the start of a value.
		return newFault(message.CodeMalformed, "", "ends early: JSON expected")
	}
	field := s.path(syntax.JSONPointer)
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return newFault(message.CodeDuplicate, field, "a name twice in one object")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return newFault(message.CodeMalformed, field, "ends early")
	case s.badText():
		return newFault(message.CodeUTF8, field, "text that is not UTF-8")
	}
	return newFault(message.CodeMalformed, field, fmt.Sprintf("not JSON at byte %d: %s",
		syntax.ByteOffset, message.Printable(syntax.Err.Error(), maxQuote)))
}

// badText reports whether what the decoder stopped at is a string that would be
// right if it need not be UTF-8: stray bytes and lone surrogates.
func (s *scanner) badText() bool {
	rest := bytes.TrimLeft(s.text[s.dec.InputOffset():], " \t\r\n,:")
	if len(rest) == 0 || rest[0] != '"' {
		return false
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(rest), jsontext.AllowInvalidUTF8(true))
	_, err := dec.ReadToken()
	return err == nil
}

// path turns a pointer of the decoder into a field.
func (s *scanner) path(p jsontext.Pointer) string {
	field, level := "", 0
	for token := range p.Tokens() {
		level++
		part := segment(token)
		if level <= s.dec.StackDepth() {
			if kind, _ := s.dec.StackIndex(level); kind == '[' {
				part = "[" + part + "]"
			}
		}
		field = Join(field, part)
		if len(field) > maxField {
			break
		}
	}
	return field
}
