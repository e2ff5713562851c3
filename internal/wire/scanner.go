package wire

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"

	"sluice/message"
)

// scanner is the working state of one call, kept for the next.
type scanner struct {
	limits Limits
	nodes  int // values seen so far

	// JSON: the value being read, and the decoder over it. A decoder over a
	// bytes.Buffer reads in place, so that its offsets are offsets of text.
	text []byte
	src  bytes.Buffer
	dec  jsontext.Decoder
	// unquoted holds the last string that had escapes in it.
	unquoted []byte

	// MessagePack: the names of the objects being read, innermost last.
	keys [][]byte

	// names holds agents and nodes, words data types and kinds: there are many
	// of the first, and they must not push out the second.
	names, words cache
}

// begin readies s for another frame. What one large frame needed is not kept.
func (s *scanner) begin(l Limits) {
	s.limits, s.nodes = l, 0
	s.keys = s.keys[:0]
	if cap(s.keys) > 1<<10 {
		s.keys = nil
	}
	if cap(s.unquoted) > 1<<12 {
		s.unquoted = nil
	}
}

// node counts a value.
func (s *scanner) node() *message.Fault {
	s.nodes++
	if s.nodes > s.limits.Nodes {
		return newFault(message.CodeNodes, "", "more values than a frame may hold")
	}
	return nil
}

func tooDeep() *message.Fault {
	return newFault(message.CodeDepth, "", "nested too deep")
}

// word returns text through the cache c, with the state that its length says.
func word(c *cache, text []byte) (string, state) {
	switch {
	case len(text) == 0:
		return "", empty
	case len(text) > message.MaxName:
		return "", long
	}
	return c.get(text), good
}
