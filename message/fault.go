package message

import "strings"

// Fault says why a frame or one of its messages cannot be used. It is terminal:
// the same bytes fail the same way however often they are tried.
type Fault struct {
	Code Code
	// Field is the path from the envelope down, such as data.body.block.number
	// or [3].data.body.peers; empty where no field is at fault.
	Field string
	// Reason is what is wrong and what was wanted, without the field.
	Reason string
}

// Error returns the field and the reason.
func (f *Fault) Error() string {
	if f.Field == "" {
		return f.Reason
	}
	return f.Field + ": " + f.Reason
}

// Printable returns s made fit for a header, a log line or a terminal: control
// characters and bytes that are not UTF-8 replaced by '?', cut to at most limit
// bytes at the start of a character.
func Printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' || (r >= 0x80 && r < 0xa0) || r == '\u2028' || r == '\u2029' {
			return '?'
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	for limit > 0 && s[limit]&0xC0 == 0x80 {
		limit--
	}
	return s[:limit]
}
