// Package wire looks at bytes from outside before anything else does: it checks
// their structure and finds the envelopes in them.
//
// What Check or Split accepted is JSON or MessagePack, nested and sized within
// the limits, with names that are text and unique in their object, text that is
// UTF-8 and numbers that are finite. A decoder that goes over such bytes meets no
// surprise in them, and cannot be made to reserve memory for what is not there.
//
//	frame ──Split──► [ Envelope{ID, Type, Kind, Time, Body} … ] ──► decoder, converter
//	          └────► *message.Fault: unreadable as a whole
//
// Split does both in one pass, without copying: the spans of an Envelope are
// parts of the frame. Cost is linear in the frame's bytes, and memory beyond the
// envelopes is bounded by them. Names are matched exactly, case included, and
// names that nobody knows are passed over. What a body holds is not looked at:
// that is the schema's work.
package wire
