package schemas

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-json-experiment/json"

	"sluice/message"
)

// Registry is a schema registry with Confluent's API; a *kafka.Registry is one.
// It is called by a Catalog, from any goroutine.
type Registry interface {
	// Register returns the ID of a schema under a subject, which it waits for
	// until the context ends, and the schema's text as Schema returns it for that
	// ID. Its error is the registry's last word.
	Register(ctx context.Context, subject, schema string) (id uint32, kept string, err error)
	// Schema returns the text of the schema that has an ID. It tries once.
	Schema(ctx context.Context, id uint32) (string, error)
}

// Subject returns the subject of a data type in a registry: that of the values of
// its topic, where every Kafka tool looks for it.
func Subject(dataType string) string { return message.Topic(dataType) + "-value" }

// register returns the ID of each type of s. It holds the registry to its word: a
// wrong ID would have every reader take the bytes for something else.
func (c *Catalog) register(ctx context.Context, s *Set) (map[string]uint32, error) {
	ids := make(map[string]uint32, len(s.names))
	for _, name := range s.names {
		t := s.types[name]
		id, kept, err := c.registry.Register(ctx, Subject(name), t.Schema)
		if err != nil {
			return nil, err
		}
		got, problems := compile("registry", []byte(kept))
		switch {
		case problems != nil:
			return nil, fmt.Errorf("register schema under subject %s: for its id %d the registry returns what is not the schema: %w", Subject(name), id, problems[0])
		case got.Fingerprint != t.Fingerprint:
			return nil, fmt.Errorf("register schema under subject %s: the registry gives it the id %d of another schema (fingerprint %016x, want %016x); turn off what makes it change schemas",
				Subject(name), id, got.Fingerprint, t.Fingerprint)
		}
		// IDs are unique in one registry only: records of another one would be
		// read as what they are not, and nobody would notice.
		if before := c.reader.byID(id); before != nil && before.Fingerprint != t.Fingerprint {
			return nil, fmt.Errorf("register schema under subject %s: the registry gives it the id %d, under which records were written with another schema, of %s: "+
				"this is not the registry they were written with, or it has lost its data; set schema_registry.url to that one, or restore its schemas with their ids",
				Subject(name), id, before.Name)
		}
		if err := c.reader.LearnID(id, kept); err != nil {
			return nil, err
		}
		ids[name] = id
	}
	return ids, nil
}

// inquiry is what the registry is to be asked for, and what it said.
type inquiry struct {
	turn chan struct{} // held by who asks

	mu      sync.Mutex
	wanted  map[uint32]bool           // met by Read, not asked for since
	missing map[uint32]error          // why the last try failed
	foreign map[uint32]*message.Fault // no data type of sluice
}

func newInquiry() *inquiry {
	return &inquiry{
		turn: make(chan struct{}, 1), wanted: map[uint32]bool{}, missing: map[uint32]error{}, foreign: map[uint32]*message.Fault{},
	}
}

var errNoRegistry = errors.New("the schemas topic does not have it, and no registry is set that could be asked: set schema_registry.url to the registry of the record's writer")

// note has Refresh look for the schema of a record that could not be read.
func (c *Catalog) note(err error) error {
	unknown, ok := errors.AsType[*UnknownSchemaError](err)
	if !ok || !unknown.Registry {
		return err
	}
	a := c.asked
	a.mu.Lock()
	defer a.mu.Unlock()
	if fault := a.foreign[unknown.ID]; fault != nil {
		return fault
	}
	a.wanted[unknown.ID] = true
	unknown.Err = a.missing[unknown.ID]
	return unknown
}

// ask asks the registry for each ID that is wanted and teaches the reader the
// answers. One asks at a time: the others find the answer when it is their turn.
func (c *Catalog) ask(ctx context.Context) error {
	a := c.asked
	select {
	case <-ctx.Done():
		return ctx.Err()
	case a.turn <- struct{}{}:
	}
	defer func() { <-a.turn }()
	a.mu.Lock()
	ids := make([]uint32, 0, len(a.wanted))
	for id := range a.wanted {
		ids = append(ids, id)
	}
	a.mu.Unlock()
	for _, id := range ids {
		err := c.find(ctx, id)
		if ctx.Err() != nil {
			return ctx.Err() // another asks for the rest
		}
		a.mu.Lock()
		delete(a.wanted, id)
		delete(a.missing, id)
		if fault, ok := errors.AsType[*message.Fault](err); ok {
			a.foreign[id] = fault
		} else if err != nil {
			a.missing[id] = err
		}
		a.mu.Unlock()
	}
	return nil
}

// find teaches the reader the schema that has an ID, or returns why it is missing;
// a *message.Fault says that it is there and none of ours.
func (c *Catalog) find(ctx context.Context, id uint32) error {
	if c.reader.byID(id) != nil {
		return nil
	}
	if c.registry == nil {
		return errNoRegistry
	}
	schema, err := c.registry.Schema(ctx, id)
	if err != nil {
		return err
	}
	err = c.reader.LearnID(id, schema)
	switch {
	case err == nil:
		return nil
	case ours(schema):
		// A newer sluice wrote it: it can be read once this one is as new.
		return fmt.Errorf("its schema is of a newer sluice, or not usable: %w", err)
	}
	return &message.Fault{Code: message.CodeUnreadable, Reason: fmt.Sprintf("schema id %d of the registry is no data type of sluice", id)}
}

// ours reports whether a schema is one of a data type of sluice, of whatever
// version: a record that begins as all of them do.
func ours(schema string) bool {
	var top struct {
		Type   string `json:"type"`
		Fields []struct {
			Name string `json:"name"`
		} `json:"fields"`
	}
	if json.Unmarshal([]byte(schema), &top) != nil || top.Type != "record" || len(top.Fields) < 3 {
		return false
	}
	return top.Fields[0].Name == "id" && top.Fields[1].Name == "agent" && top.Fields[2].Name == "node"
}
