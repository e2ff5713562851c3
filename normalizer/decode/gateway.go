package decode

import (
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sluice/internal/wire"
	"sluice/message"
)

// gatewayType is the data type of what a gateway says of its connections.
const gatewayType = "networking_metrics"

// Gateway returns the decoder of the gateway's own frames: one JSON object each,
// whose member event is the kind and which is the body as a whole. The gateway's
// clock is its time.
//
// The reasons of refused logins come as an object, reason to count, and leave as
// an array of {reason, count}, since a schema has no names that it does not know.
func Gateway() Decoder {
	return func(f *message.Frame, dst []Item) ([]Item, error) {
		if format, _ := wire.FormatOf(f.ContentType); format != wire.JSON {
			return dst, contentType(f.ContentType)
		}
		if err := wire.Check(wire.JSON, f.Value, wire.DefaultLimits); err != nil {
			return dst, err
		}
		it := Item{Type: gatewayType, Node: f.Agent, Format: wire.JSON, Body: f.Value, Raw: f.Value}
		it.Kind, it.Fault = event(f.Value)
		if it.Fault == nil && it.Kind == "refused" {
			it.Body, it.Fault = listReasons(f.Value)
		}
		return append(dst, it), nil
	}
}

// event returns the kind of a frame of the gateway.
func event(frame []byte) (string, *message.Fault) {
	v, ok := wire.Member(wire.JSON, frame, "event")
	if !ok {
		return "", &message.Fault{Code: message.CodeEnvelope, Field: "event", Reason: "is missing, want an object that has it"}
	}
	name, ok := wire.Text(wire.JSON, v)
	if !ok {
		return "", &message.Fault{Code: message.CodeEnvelope, Field: "event", Reason: "is of the wrong kind, want a string"}
	}
	switch name {
	case "connected", "alive", "disconnected", "refused":
		return name, nil
	}
	return "", &message.Fault{Code: message.CodeUnknownKind, Field: "event",
		Reason: fmt.Sprintf("%q is no event of a gateway", message.Printable(name, 64))}
}

// refused is the body of that event. Values that are of no concern here stay as
// they are.
type refused struct {
	Instance jsontext.Value `json:"instance,omitzero"`
	Since    jsontext.Value `json:"since,omitzero"`
	Reasons  []refusal      `json:"reasons"`
}

type refusal struct {
	Reason string         `json:"reason"`
	Count  jsontext.Value `json:"count"`
}

// listReasons returns the body of a refused event with its reasons as an array,
// in the order of their names.
func listReasons(frame []byte) ([]byte, *message.Fault) {
	v, ok := wire.Member(wire.JSON, frame, "reasons")
	if !ok || !wire.IsObject(wire.JSON, v) {
		return frame, nil // an array already, or for the schema to judge
	}
	var counts map[string]jsontext.Value
	var body refused
	err := json.Unmarshal(v, &counts)
	body.Instance, _ = wire.Member(wire.JSON, frame, "instance")
	body.Since, _ = wire.Member(wire.JSON, frame, "since")
	body.Reasons = make([]refusal, 0, len(counts))
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		body.Reasons = append(body.Reasons, refusal{reason, counts[reason]})
	}
	var out []byte
	if err == nil {
		out, err = json.Marshal(body)
	}
	if err != nil {
		return nil, &message.Fault{Code: message.CodeInvalid, Field: "reasons",
			Reason: message.Printable(err.Error(), 128)}
	}
	return out, nil
}
