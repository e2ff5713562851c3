package sinks

import (
	"fmt"
	"slices"

	"sluice/message"
)

// Rejected says that one message of a batch can never be written, as it is or
// in any later try.
type Rejected struct {
	// Index is the place of the message in the batch.
	Index  int
	Code   message.Code
	Reason string
}

// Error returns the place, the code and the reason.
func (r *Rejected) Error() string {
	return fmt.Sprintf("message %d rejected: %s: %s", r.Index, r.Code, r.Reason)
}

// Rejections returns the *Rejected that err is made of, wherever wrapping and
// joining put them, one for each index and in their order. It reports false if
// err holds anything else, or names a place that a batch of n does not have:
// then nothing is known of the batch.
func Rejections(err error, n int) ([]*Rejected, bool) {
	all, ok := collect(nil, err)
	if !ok {
		return nil, false
	}
	for _, r := range all {
		if r.Index < 0 || r.Index >= n {
			return nil, false
		}
	}
	slices.SortStableFunc(all, func(a, b *Rejected) int { return a.Index - b.Index })
	return slices.CompactFunc(all, func(a, b *Rejected) bool { return a.Index == b.Index }), true
}

func collect(all []*Rejected, err error) ([]*Rejected, bool) {
	switch e := err.(type) { //nolint:errorlint // this walks the tree itself
	case *Rejected:
		return append(all, e), e != nil
	case interface{ Unwrap() []error }:
		var ok bool
		for _, inner := range e.Unwrap() {
			if all, ok = collect(all, inner); !ok {
				return nil, false
			}
		}
		return all, len(e.Unwrap()) > 0
	case interface{ Unwrap() error }:
		return collect(all, e.Unwrap())
	default:
		return nil, false
	}
}

// code returns the code of r, which becomes a header and a label of a metric:
// one that is not of the closed list becomes unsupported.
func (r *Rejected) code() message.Code {
	if slices.Contains(message.Codes, r.Code) {
		return r.Code
	}
	return message.CodeUnsupported
}
