package kafka

import (
	"strconv"

	"sluice/message"
)

// FrameHeaders returns the headers of a frame's record but for its ID, which
// has the first place and is to be filled in: they are the same for every frame
// of a connection.
func FrameHeaders(f *message.Frame) []Header {
	h := make([]Header, 1, 6)
	h[0].Key = message.HeaderID
	add := func(key, value string) {
		if value != "" {
			h = append(h, Header{Key: key, Value: []byte(value)})
		}
	}
	add(message.HeaderProtocol, f.Protocol)
	add(message.HeaderContentType, f.ContentType)
	add(message.HeaderConnection, f.Connection)
	add(message.HeaderNetwork, f.Network)
	add(message.HeaderGenesis, f.Genesis)
	return h
}

// FrameRecord returns the record of the ingest topic that holds f.
func FrameRecord(f *message.Frame) *Record {
	h := FrameHeaders(f)
	h[0].Value = []byte(f.ID)
	return &Record{Topic: message.TopicIngest, Key: []byte(f.Agent), Value: f.Value, Headers: h, Timestamp: f.ReceivedAt}
}

// Frame fills f from a record of the ingest topic. Its strings for protocol and
// content type are the sender's, unchecked. Whatever f held before is gone, but
// the names that are the same are not copied again: frames of one agent often
// come in a row.
func Frame(r *Record, f *message.Frame) {
	connection := f.Connection
	*f = message.Frame{
		Agent: keep(f.Agent, r.Key), Value: r.Value, ReceivedAt: r.Timestamp,
		Src: message.Source{Partition: r.Partition, Offset: r.Offset},
	}
	for i := range r.Headers {
		v := r.Headers[i].Value
		switch r.Headers[i].Key {
		case message.HeaderID:
			f.ID = string(v)
		case message.HeaderProtocol:
			f.Protocol = known(v)
		case message.HeaderContentType:
			f.ContentType = known(v)
		case message.HeaderConnection:
			f.Connection = keep(connection, v)
		case message.HeaderNetwork:
			f.Network = string(v)
		case message.HeaderGenesis:
			f.Genesis = string(v)
		}
	}
}

// keep returns string(v): have, if it is that.
func keep(have string, v []byte) string {
	if have == string(v) {
		return have
	}
	return string(v)
}

// known returns string(v), without a copy for the few values nearly all frames
// have.
func known(v []byte) string {
	switch string(v) {
	case "websocket":
		return "websocket"
	case "rest":
		return "rest"
	case "gateway":
		return "gateway"
	case "ethstats":
		return "ethstats"
	case "application/json":
		return "application/json"
	case "application/msgpack":
		return "application/msgpack"
	}
	return string(v)
}

// Typed makes records of typed topics, many in one allocation. The zero value is
// ready. It belongs to one goroutine; the records are anyone's.
type Typed struct {
	records []Record
	headers []Header
	bytes   []byte
}

const (
	typedBlock = 64       // records in one allocation
	typedBytes = 64 << 10 // bytes in one allocation
	typedRoom  = 4 << 10  // bytes that must be left before a record is begun
	headers    = 4
)

// Make returns the record of the message at index among count of frame f. encode
// appends the message in single-object encoding to dst; when it returns an
// error, Make returns that and no record.
func (t *Typed) Make(topic string, f *message.Frame, index, count int, encode func(dst []byte, id string) ([]byte, error)) (*Record, error) {
	if cap(t.bytes)-len(t.bytes) < typedRoom {
		t.bytes = make([]byte, 0, typedBytes)
	}
	begin := len(t.bytes)
	b := message.AppendMessageID(t.bytes, f.ID, index)
	id := len(b)
	b, err := encode(b, string(b[begin:]))
	if err != nil {
		return nil, err
	}
	value := len(b)
	b = f.Src.Append(b)
	src := len(b)
	b = strconv.AppendInt(b, int64(index), 10)
	place := len(b)
	b = strconv.AppendInt(b, int64(count), 10)
	total := len(b)
	b = append(b, f.Agent...)
	t.bytes = b

	if len(t.records) == 0 {
		t.records = make([]Record, typedBlock)
		t.headers = make([]Header, typedBlock*headers)
	}
	r, h := &t.records[0], t.headers[:headers:headers]
	t.records, t.headers = t.records[1:], t.headers[headers:]
	h[0] = Header{Key: message.HeaderID, Value: b[begin:id:id]}
	h[1] = Header{Key: message.HeaderSrc, Value: b[value:src:src]}
	h[2] = Header{Key: message.HeaderIndex, Value: b[src:place:place]}
	h[3] = Header{Key: message.HeaderCount, Value: b[place:total:total]}
	*r = Record{Topic: topic, Key: b[total:len(b):len(b)], Value: b[id:value:value], Headers: h, Timestamp: f.ReceivedAt}
	return r, nil
}

// Message fills m from what a record of a typed topic says without its value.
func Message(r *Record, m *message.Message) {
	m.Type = message.TypeOf(r.Topic)
	m.Topic, m.Partition, m.Offset = r.Topic, r.Partition, r.Offset
	m.Agent, m.ReceivedAt = string(r.Key), r.Timestamp
	m.Count = 1
	for i := range r.Headers {
		v := r.Headers[i].Value
		switch r.Headers[i].Key {
		case message.HeaderID:
			m.ID = string(v)
		case message.HeaderSrc:
			m.Src, _ = message.ParseSource(v)
		case message.HeaderIndex:
			m.Index, _ = strconv.Atoi(string(v))
		case message.HeaderCount:
			m.Count, _ = strconv.Atoi(string(v))
		}
	}
}

// errorClass is what __connect.errors.exception.class.name holds. Tools made for
// Kafka Connect expect a name there; ours are codes.
const errorClass = "sluice."

// DeadLetterRecord returns the record of the dead letters topic that holds d.
func DeadLetterRecord(d *message.DeadLetter) *Record {
	h := make([]Header, 0, 20)
	add := func(key, value string) {
		if value != "" {
			h = append(h, Header{Key: key, Value: []byte(value)})
		}
	}
	add(message.HeaderID, d.ID)
	add(message.HeaderAgent, d.Agent)
	add(message.HeaderSrc, d.Src.String())
	add(message.HeaderIndex, strconv.Itoa(d.Index))
	add(message.HeaderCount, strconv.Itoa(d.Count))
	add(message.HeaderErrorCode, string(d.Code))
	add(message.HeaderErrorField, message.Printable(d.Field, 256))
	add(message.HeaderErrorStage, d.Stage)
	add(message.HeaderErrorTopic, d.Topic)
	add(message.HeaderErrorPartition, strconv.Itoa(int(d.Partition)))
	add(message.HeaderErrorOffset, strconv.FormatInt(d.Offset, 10))
	add(message.HeaderErrorClass, errorClass+string(d.Code))
	add(message.HeaderErrorMessage, message.Printable(d.Reason, message.MaxReason))
	add(message.HeaderAttempts, strconv.Itoa(max(d.Attempts, 1)))
	add(message.HeaderProtocol, d.Protocol)
	add(message.HeaderContentType, d.ContentType)
	add(message.HeaderConnection, d.Connection)
	add(message.HeaderNetwork, d.Network)
	add(message.HeaderGenesis, d.Genesis)
	return &Record{Topic: message.TopicDeadLetters, Key: []byte(d.Agent), Value: d.Value, Headers: h, Timestamp: d.ReceivedAt}
}

// DeadLetter reads a record of the dead letters topic.
func DeadLetter(r *Record) message.DeadLetter {
	d := message.DeadLetter{Agent: string(r.Key), Value: r.Value, ReceivedAt: r.Timestamp}
	for _, h := range r.Headers {
		v := string(h.Value)
		number, _ := strconv.ParseInt(v, 10, 64)
		switch h.Key {
		case message.HeaderID:
			d.ID = v
		case message.HeaderSrc:
			d.Src, _ = message.ParseSource(h.Value)
		case message.HeaderIndex:
			d.Index = int(number)
		case message.HeaderCount:
			d.Count = int(number)
		case message.HeaderErrorCode:
			d.Code = message.Code(v)
		case message.HeaderErrorField:
			d.Field = v
		case message.HeaderErrorStage:
			d.Stage = v
		case message.HeaderErrorTopic:
			d.Topic = v
		case message.HeaderErrorPartition:
			d.Partition = int32(number)
		case message.HeaderErrorOffset:
			d.Offset = number
		case message.HeaderErrorMessage:
			d.Reason = v
		case message.HeaderAttempts:
			d.Attempts = int(number)
		case message.HeaderProtocol:
			d.Protocol = v
		case message.HeaderContentType:
			d.ContentType = v
		case message.HeaderConnection:
			d.Connection = v
		case message.HeaderNetwork:
			d.Network = v
		case message.HeaderGenesis:
			d.Genesis = v
		}
	}
	return d
}
