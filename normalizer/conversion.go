package normalizer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/internal/kafka"
	"sluice/internal/wire"
	"sluice/message"
	"sluice/normalizer/decode"
	"sluice/schemas"
)

// Stage is the name of the normalizer in dead letters and metrics.
const Stage = "normalizer"

// rules is what a conversion goes by. It does not change.
type rules struct {
	types        *schemas.Set
	decoders     map[string]decode.Decoder
	topics       map[string]string // by data type
	past, future time.Duration
}

// conversion turns the frames of one partition of one poll into records. It is
// used by one goroutine.
type conversion struct {
	*rules
	emit  func(*kafka.Record)
	made  *kafka.Typed
	items []decode.Item
	// outcomes are those of the frame under way.
	outcomes []outcome
	tally    tally
	// panicked, if not nil, is told of a decoder or converter that failed.
	panicked func(f *message.Frame, what any)

	// What encode needs beside its arguments: a closure for each message would
	// be an allocation for each.
	head schemas.Head
	typ  *schemas.Type
	item *decode.Item
}

// outcome is what one index of a frame became: a message of dataType, or a dead
// letter with code.
type outcome struct {
	record   *kafka.Record
	dataType string
	code     message.Code
}

// tally counts outcomes until they are committed.
type tally struct {
	messages map[string]int
	letters  map[message.Code]int
	unknown  map[string]int
	empty    int
}

func newTally() tally {
	return tally{messages: map[string]int{}, letters: map[message.Code]int{}, unknown: map[string]int{}}
}

// frame emits the records of one frame: a message or a dead letter for each
// index, or one dead letter for all of it.
func (c *conversion) frame(f *message.Frame) {
	if f.ID == "" {
		// Not written by a gateway. Its place is as good an identity.
		f.ID = message.TopicIngest + "/" + f.Src.String()
	}
	c.outcomes = c.outcomes[:0]
	c.convert(f)
	if len(c.outcomes) == 0 {
		c.tally.empty++
	}
	for _, o := range c.outcomes {
		if o.code != "" {
			c.tally.letters[o.code]++
		} else {
			c.tally.messages[o.dataType]++
		}
		c.emit(o.record)
	}
	clear(c.outcomes)
}

// convert finds the outcomes of a frame. A panic is a mistake of ours or of a
// plugin, which would stop the partition at every start again: it costs the frame,
// as one dead letter, and is reported.
func (c *conversion) convert(f *message.Frame) {
	defer func() {
		if what := recover(); what != nil {
			if c.panicked != nil {
				c.panicked(f, what)
			}
			c.outcomes = c.outcomes[:0]
			c.whole(f, &message.Fault{Code: message.CodeDecoder, Reason: fmt.Sprintf("the decoder failed: %v", what)})
		}
	}()
	decoder, ok := c.decoders[f.Protocol]
	if !ok {
		c.whole(f, &message.Fault{Code: message.CodeProtocol, Reason: fmt.Sprintf("no decoder for protocol %q", message.Printable(f.Protocol, 64))})
		return
	}
	items, err := decoder(f, c.items[:0])
	if err != nil {
		c.whole(f, asFault(err))
		return
	}
	for i := range items {
		it := &items[i]
		fault := it.Fault
		if fault == nil {
			fault = c.message(f, it, i, len(items))
		}
		if fault != nil {
			c.letter(f, it.Raw, i, len(items), fault)
		}
	}
	clear(items)
	c.items = items[:0]
}

// message adds the message of an item, or returns why there is none.
func (c *conversion) message(f *message.Frame, it *decode.Item, index, count int) *message.Fault {
	typ := c.types.Type(it.Type)
	if typ == nil {
		return &message.Fault{Code: message.CodeUnknownType, Field: element(it) + "type",
			Reason: fmt.Sprintf("no schema for data type %q", message.Printable(it.Type, 64))}
	}
	received := f.ReceivedAt.UnixMilli()
	if it.HasTime {
		if it.Time < received-c.past.Milliseconds() || it.Time > received+c.future.Milliseconds() {
			return &message.Fault{Code: message.CodeTime, Field: element(it) + "time",
				Reason: fmt.Sprintf("%d is not within %s before and %s after the reception at %d, in milliseconds since 1970", it.Time, c.past, c.future, received)}
		}
	}
	c.head = schemas.Head{Agent: f.Agent, Node: it.Node, Network: f.Network, Genesis: f.Genesis, ReceivedAt: received, ObservedAt: it.Time}
	if it.Node == "" {
		c.head.Node = f.Agent
	}
	c.typ, c.item = typ, it
	r, err := c.made.Make(c.topics[it.Type], f, index, count, c.encode)
	if err != nil {
		return asFault(err)
	}
	c.outcomes = append(c.outcomes, outcome{record: r, dataType: it.Type})
	return nil
}

// room is what a record has beside its value: key, headers and framing.
const room = 64 << 10

func (c *conversion) encode(dst []byte, id string) ([]byte, error) {
	c.head.ID = id
	begin := len(dst)
	out, unknown, err := c.typ.Append(dst, &c.head, c.item.Kind, c.item.Format, c.item.Body)
	if err != nil {
		fault := asFault(err)
		if rest, ok := strings.CutPrefix(fault.Field, schemas.BodyPath); ok {
			fault.Field = c.item.Path(strings.TrimPrefix(rest, "."))
		} else {
			fault.Field = element(c.item) + fault.Field
		}
		return dst, fault
	}
	if n := len(out) - begin; n > kafka.MaxMessage-room {
		return dst, &message.Fault{Code: message.CodeTooLarge, Reason: fmt.Sprintf("%d bytes as a record, the limit is %d", n, kafka.MaxMessage-room)}
	}
	// The gateway's own frames are bodies as a whole; that they also name their
	// event is no news.
	if unknown > 0 && c.item.At != "" {
		c.tally.unknown[c.item.Type] += unknown
	}
	return out, nil
}

// element returns the path of an item's envelope, with a dot behind it; empty
// where the frame is the envelope.
func element(it *decode.Item) string {
	at, _, _ := strings.Cut(it.At, schemas.BodyPath)
	return at
}

func (c *conversion) whole(f *message.Frame, fault *message.Fault) {
	c.letter(f, f.Value, 0, 1, fault)
}

func (c *conversion) letter(f *message.Frame, raw []byte, index, count int, fault *message.Fault) {
	if !slices.Contains(message.Codes, fault.Code) {
		// A plugin's decoder made it up. Codes are a closed list: they are a label
		// of a metric.
		fault = &message.Fault{Code: message.CodeDecoder, Field: fault.Field, Reason: fmt.Sprintf("%s: %s", fault.Code, fault.Reason)}
	}
	c.outcomes = append(c.outcomes, outcome{code: fault.Code, record: kafka.DeadLetterRecord(&message.DeadLetter{
		Stage: Stage, ID: message.MessageID(f.ID, index), Agent: f.Agent, Index: index, Count: count,
		Code: fault.Code, Field: fault.Field, Reason: fault.Reason, Value: raw,
		Topic: message.TopicIngest, Partition: f.Src.Partition, Offset: f.Src.Offset, Src: f.Src,
		Protocol: f.Protocol, ContentType: f.ContentType, Connection: f.Connection,
		Network: f.Network, Genesis: f.Genesis, ReceivedAt: f.ReceivedAt, Attempts: 1,
	})})
}

// asFault returns err as a fault: decoders and schemas return nothing else, but
// a plugin's decoder may.
func asFault(err error) *message.Fault {
	if fault, ok := errors.AsType[*message.Fault](err); ok {
		return fault
	}
	return &message.Fault{Code: message.CodeMalformed, Reason: err.Error()}
}

// newDecoders returns the decoders of the protocols that sluice brings along,
// and those of plugins.
func newDecoders(more map[string]decode.Decoder) map[string]decode.Decoder {
	all := decode.Default(wire.DefaultLimits)
	maps.Copy(all, more)
	return all
}
