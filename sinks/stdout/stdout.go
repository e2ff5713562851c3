package stdout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sluice/message"
	"sluice/sinks"
)

// Config is the settings of the sink.
type Config struct {
	Format string `koanf:"format" doc:"json for one JSON object a line, table for columns of text"`
}

// Validate reports every setting that cannot be.
func (c *Config) Validate() error {
	if c.Format != "json" && c.Format != "table" {
		return fmt.Errorf("format: %q is neither json nor table", c.Format)
	}
	return nil
}

// Plugin makes sinks that print to Env.Out.
func Plugin() sinks.Plugin {
	return sinks.Define(func() Config { return Config{Format: "json"} }, build)
}

func build(c Config, env sinks.Env) (sinks.Sink, sinks.Traits, error) {
	if err := c.Validate(); err != nil {
		return nil, sinks.Traits{}, err
	}
	if env.Out == nil {
		return nil, sinks.Traits{}, errors.New("nowhere to print to")
	}
	s := &Sink{out: env.Out, line: appendJSON}
	if c.Format == "table" {
		s.line = appendRow
	}
	return s, sinks.Traits{Delivery: sinks.Shared, Bodies: true}, nil
}

// Sink prints messages.
type Sink struct {
	out  io.Writer
	line func(dst *bytes.Buffer, m *message.Message) error
	buf  bytes.Buffer
}

// Open does nothing.
func (s *Sink) Open(context.Context) error { return nil }

// Close does nothing.
func (s *Sink) Close(context.Context) error { return nil }

// Write prints a line for each message, all in one call.
func (s *Sink) Write(_ context.Context, batch []message.Message) error {
	s.buf.Reset()
	var rejected []error
	for i := range batch {
		before := s.buf.Len()
		if err := s.line(&s.buf, &batch[i]); err != nil {
			s.buf.Truncate(before)
			rejected = append(rejected, &sinks.Rejected{Index: i, Code: message.CodeUnsupported, Reason: err.Error()})
		}
	}
	if s.buf.Len() > 0 {
		if _, err := s.out.Write(s.buf.Bytes()); err != nil {
			return fmt.Errorf("print %d messages: %w", len(batch)-len(rejected), err)
		}
	}
	return errors.Join(rejected...)
}

// line is a message as JSON.
type line struct {
	ID         string         `json:"id"`
	Agent      string         `json:"agent"`
	Node       string         `json:"node"`
	Network    string         `json:"network,omitzero"`
	Genesis    string         `json:"genesis,omitzero"`
	Type       string         `json:"type"`
	Kind       string         `json:"kind"`
	Time       time.Time      `json:"time"`
	ReceivedAt time.Time      `json:"received_at"`
	Body       map[string]any `json:"body"`
}

func appendJSON(dst *bytes.Buffer, m *message.Message) error {
	l := line{
		ID: m.ID, Agent: m.Agent, Node: m.Node, Network: m.Network, Genesis: m.Genesis, Type: m.Type, Kind: m.Kind,
		Time: m.EventTime().UTC(), ReceivedAt: m.ReceivedAt.UTC(), Body: m.Body,
	}
	b, err := json.Marshal(l, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("no JSON for it: %w", err)
	}
	dst.Write(b)
	dst.WriteByte('\n')
	return nil
}

// appendRow writes the time, the node, the type with the kind, and the fields of
// the body that are there. A terminal is given nothing that it would take for a
// command.
func appendRow(dst *bytes.Buffer, m *message.Message) error {
	there := maps.Clone(m.Body)
	maps.DeleteFunc(there, func(_ string, v any) bool { return v == nil })
	body, err := json.Marshal(there, json.Deterministic(true), jsontext.SpaceAfterComma(true), jsontext.SpaceAfterColon(true))
	if err != nil {
		return fmt.Errorf("no JSON for it: %w", err)
	}
	fmt.Fprintf(dst, "%s  %-24s  %-36s  %s\n", m.EventTime().UTC().Format("2006-01-02 15:04:05.000"),
		message.Printable(m.Node, message.MaxName), m.Type+"/"+m.Kind, message.Printable(string(body), len(body)))
	return nil
}
