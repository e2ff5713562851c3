package decode

import (
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tinylib/msgp/msgp"

	"sluice/internal/wire"
	"sluice/message"
)

const bodyPath = "data.body"

// The one kind that is more than one fact: a block and those before it.
const (
	historyType = "ethereum_metrics"
	historyKind = "history"
	historyPart = "block"
)

// Envelope returns the decoder of frames that hold envelopes: one, an array of
// them, or one a line. The id of each must be the agent that authenticated. The
// agent's time is mandatory if requireTime.
//
// A history of ethereum_metrics becomes a block for each of its elements.
func Envelope(limits wire.Limits, requireTime bool) Decoder {
	return func(f *message.Frame, dst []Item) ([]Item, error) {
		format, ok := wire.FormatOf(f.ContentType)
		if !ok {
			return dst, contentType(f.ContentType)
		}
		// Most frames hold one envelope; its place is on the stack.
		var one [1]wire.Envelope
		envelopes, err := wire.Split(format, f.Value, limits, one[:0])
		if err != nil {
			return dst, err
		}
		if format == wire.NDJSON {
			format = wire.JSON
		}
		old := len(dst)
		for i := range envelopes {
			e := &envelopes[i]
			it := Item{
				Type: e.Type, Kind: e.Kind, Node: e.Node,
				Time: e.Time, HasTime: e.HasTime,
				Format: format, Body: e.Body, At: bodyPath,
				Raw: f.Value, Fault: e.Fault,
			}
			switch {
			case e.ID != "" && e.ID != f.Agent:
				it.Fault = &message.Fault{Code: message.CodeForeignID, Field: "id",
					Reason: fmt.Sprintf("%q is not the agent that authenticated", message.Printable(e.ID, 64))}
			case it.Fault == nil && requireTime && !e.HasTime:
				it.Fault = &message.Fault{Code: message.CodeEnvelope, Field: "time",
					Reason: "is missing, want whole milliseconds since 1970"}
			}
			if len(envelopes) > 1 {
				it.Raw = e.Raw
				at := wire.Index(i)
				it.At = wire.Join(at, it.At)
				if it.Fault != nil {
					it.Fault.Field = wire.Join(at, it.Fault.Field)
				}
			}
			if it.Fault == nil && it.Kind == historyKind && it.Type == historyType {
				dst = appendHistory(dst, it, e.ID)
				continue
			}
			dst = append(dst, it)
		}
		if len(dst) == old {
			return dst, &message.Fault{Code: message.CodeEmpty, Reason: "the frame holds no block"}
		}
		return dst, nil
	}
}

func contentType(s string) error {
	return &message.Fault{Code: message.CodeContentType,
		Reason: fmt.Sprintf("no decoder for content type %q", message.Printable(s, 64))}
}

// appendHistory appends the blocks of a history of the agent id, each an item.
// What is no block keeps its index, as a fault.
func appendHistory(dst []Item, it Item, id string) []Item {
	at := it.Path(historyKind)
	list, ok := wire.Member(it.Format, it.Body, historyKind)
	if !ok {
		it.Fault = &message.Fault{Code: message.CodeMissing, Field: at, Reason: "is missing, want an array of blocks"}
		return append(dst, it)
	}
	blocks, ok := wire.Elements(it.Format, list, nil)
	if !ok {
		it.Fault = &message.Fault{Code: message.CodeInvalid, Field: at, Reason: "is of the wrong kind, want an array of blocks"}
		return append(dst, it)
	}
	for i, block := range blocks {
		part := it
		part.Kind, part.Body, part.At = historyPart, block, at+"["+strconv.Itoa(i)+"]"
		part.Raw = part.alone(id)
		if !wire.IsObject(it.Format, block) {
			part.Body = nil
			part.Fault = &message.Fault{Code: message.CodeInvalid, Field: part.At, Reason: "is of the wrong kind, want an object"}
		}
		dst = append(dst, part)
	}
	return dst
}

// alone returns an envelope of the agent id that holds only it: what a part of a
// history would have been, had the agent sent it by itself.
func (it *Item) alone(id string) []byte {
	if it.Format == wire.Msgpack {
		return it.aloneMsgpack(id)
	}
	b := make([]byte, 0, len(it.Body)+len(id)+len(it.Node)+128)
	b = appendText(append(b, `{"id":`...), id)
	b = appendText(append(b, `,"type":`...), it.Type)
	if it.HasTime {
		b = strconv.AppendInt(append(b, `,"time":`...), it.Time, 10)
	}
	if it.Node != "" {
		b = appendText(append(b, `,"node":`...), it.Node)
	}
	b = appendText(append(b, `,"data":{"type":`...), it.Kind)
	b = append(append(b, `,"body":`...), it.Body...)
	return append(b, "}}"...)
}

// appendText appends s, which is UTF-8, as JSON.
func appendText(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

func (it *Item) aloneMsgpack(id string) []byte {
	members := uint32(3)
	if it.HasTime {
		members++
	}
	if it.Node != "" {
		members++
	}
	b := make([]byte, 0, len(it.Body)+len(id)+len(it.Node)+128)
	b = msgp.AppendMapHeader(b, members)
	b = msgp.AppendString(msgp.AppendString(b, "id"), id)
	b = msgp.AppendString(msgp.AppendString(b, "type"), it.Type)
	if it.HasTime {
		b = msgp.AppendInt64(msgp.AppendString(b, "time"), it.Time)
	}
	if it.Node != "" {
		b = msgp.AppendString(msgp.AppendString(b, "node"), it.Node)
	}
	b = msgp.AppendMapHeader(msgp.AppendString(b, "data"), 2)
	b = msgp.AppendString(msgp.AppendString(b, "type"), it.Kind)
	return append(msgp.AppendString(b, "body"), it.Body...)
}
