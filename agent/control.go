package agent

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/tinylib/msgp/msgp"
)

// control is a control message of the gateway. At most one member is set; none
// is where the gateway said something that this version does not know.
type control struct {
	Welcome *welcome `json:"welcome"`
	Ack     *ack     `json:"ack"`
	Refused *refusal `json:"refused"`
}

type welcome struct {
	Agent  string `json:"agent"`
	Limits limits `json:"limits"`
}

type limits struct {
	// Frame is the largest frame in bytes, Window the most frames that may be
	// unacknowledged.
	Frame  int64 `json:"frame"`
	Window int64 `json:"window"`
}

type ack struct {
	Seq uint64 `json:"seq"`
}

type refusal struct {
	Seq   uint64 `json:"seq"`
	Code  string `json:"code"`
	Limit int64  `json:"limit"`
}

// encodeHello returns the first message of a connection.
func encodeHello(encoding, session string, next uint64) []byte {
	if encoding == JSON {
		return fmt.Appendf(nil, `{"hello":{"session":%q,"next":%d}}`, session, next)
	}
	b := msgp.AppendMapHeader(nil, 1)
	b = msgp.AppendString(b, "hello")
	b = msgp.AppendMapHeader(b, 2)
	b = msgp.AppendString(b, "session")
	b = msgp.AppendString(b, session)
	b = msgp.AppendString(b, "next")
	return msgp.AppendUint64(b, next)
}

// decodeControl reads a control message.
func decodeControl(encoding string, b []byte) (control, error) {
	var (
		c   control
		err error
	)
	if encoding == JSON {
		err = json.Unmarshal(b, &c)
	} else {
		c, err = decodeMsgpack(b)
	}
	if err != nil {
		return control{}, fmt.Errorf("read control message: %w", err)
	}
	return c, nil
}

func decodeMsgpack(b []byte) (control, error) {
	var c control
	rest, err := eachMember(b, func(name string, b []byte) ([]byte, error) {
		switch name {
		case "welcome":
			c.Welcome = new(welcome)
			return c.Welcome.decode(b)
		case "ack":
			c.Ack = new(ack)
			return eachMember(b, func(name string, b []byte) (_ []byte, err error) {
				if name == "seq" {
					c.Ack.Seq, b, err = msgp.ReadUint64Bytes(b)
					return b, err
				}
				return msgp.Skip(b)
			})
		case "refused":
			c.Refused = new(refusal)
			return c.Refused.decode(b)
		}
		return msgp.Skip(b)
	})
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after its end", len(rest))
	}
	return c, err
}

func (w *welcome) decode(b []byte) ([]byte, error) {
	return eachMember(b, func(name string, b []byte) (_ []byte, err error) {
		switch name {
		case "agent":
			w.Agent, b, err = msgp.ReadStringBytes(b)
			return b, err
		case "limits":
			return eachMember(b, func(name string, b []byte) (_ []byte, err error) {
				switch name {
				case "frame":
					w.Limits.Frame, b, err = msgp.ReadInt64Bytes(b)
				case "window":
					w.Limits.Window, b, err = msgp.ReadInt64Bytes(b)
				default:
					b, err = msgp.Skip(b)
				}
				return b, err
			})
		}
		return msgp.Skip(b)
	})
}

func (r *refusal) decode(b []byte) ([]byte, error) {
	return eachMember(b, func(name string, b []byte) (_ []byte, err error) {
		switch name {
		case "seq":
			r.Seq, b, err = msgp.ReadUint64Bytes(b)
		case "code":
			r.Code, b, err = msgp.ReadStringBytes(b)
		case "limit":
			r.Limit, b, err = msgp.ReadInt64Bytes(b)
		default:
			b, err = msgp.Skip(b)
		}
		return b, err
	})
}

// eachMember calls read for every member of the map that b begins with, and
// returns what follows the map. read gets the bytes from the member's value on
// and returns those behind it.
func eachMember(b []byte, read func(name string, b []byte) ([]byte, error)) ([]byte, error) {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	for ; n > 0 && err == nil; n-- {
		var name string
		if name, b, err = msgp.ReadStringBytes(b); err == nil {
			b, err = read(name, b)
		}
	}
	return b, err
}
