package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/tinylib/msgp/msgp"

	"sluice/internal/wire"
	"sluice/message"
)

// hello is what an agent says first.
type hello struct {
	session string
	next    uint64
}

// maxNext keeps numbers such that every JSON reader holds them exactly.
const maxNext = 1 << 53

// errNoHello says that a message is a control message, but another.
var errNoHello = errors.New("no hello")

// parseHello reads a control message. Members that nobody knows are passed over;
// a message without a member hello gives errNoHello.
func parseHello(f wire.Format, b []byte) (hello, error) {
	if err := wire.Check(f, b, wire.DefaultLimits); err != nil {
		return hello{}, err
	}
	if f == wire.JSON {
		b = bytes.TrimLeft(b, " \t\r\n")
	}
	if !wire.IsObject(f, b) {
		return hello{}, errors.New("want an object with the member hello")
	}
	v, ok := wire.Member(f, b, "hello")
	if !ok {
		return hello{}, errNoHello
	}
	if !wire.IsObject(f, v) {
		return hello{}, errors.New("hello: want an object")
	}
	text, _ := wire.Member(f, v, "session")
	session, _ := wire.Text(f, text)
	if !message.ValidName(session) {
		return hello{}, fmt.Errorf("hello.session: want 1 to %d letters, digits and . _ : @ -, the first a letter or a digit", message.MaxName)
	}
	number, _ := wire.Member(f, v, "next")
	next, ok := parseNumber(f, number)
	if !ok || next < 1 || next > maxNext {
		return hello{}, errors.New("hello.next: want a whole number from 1 to 2^53")
	}
	return hello{session, next}, nil
}

func parseNumber(f wire.Format, b []byte) (uint64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	if f == wire.Msgpack {
		n, _, err := msgp.ReadUint64Bytes(b)
		return n, err == nil
	}
	n, err := strconv.ParseUint(string(b), 10, 64)
	return n, err == nil
}

// The control messages of the gateway, appended to dst.

func appendWelcome(dst []byte, f wire.Format, agent string, frame int64, window int) []byte {
	if f == wire.Msgpack {
		dst = msgp.AppendMapHeader(dst, 1)
		dst = msgp.AppendString(dst, "welcome")
		dst = msgp.AppendMapHeader(dst, 2)
		dst = msgp.AppendString(dst, "agent")
		dst = msgp.AppendString(dst, agent)
		dst = msgp.AppendString(dst, "limits")
		dst = msgp.AppendMapHeader(dst, 2)
		dst = msgp.AppendString(dst, "frame")
		dst = msgp.AppendInt64(dst, frame)
		dst = msgp.AppendString(dst, "window")
		return msgp.AppendInt(dst, window)
	}
	quoted, err := json.Marshal(agent)
	if err != nil {
		quoted = []byte(`""`) // not UTF-8, which no name of an agent is
	}
	dst = append(dst, `{"welcome":{"agent":`...)
	dst = append(dst, quoted...)
	dst = append(dst, `,"limits":{"frame":`...)
	dst = strconv.AppendInt(dst, frame, 10)
	dst = append(dst, `,"window":`...)
	dst = strconv.AppendInt(dst, int64(window), 10)
	return append(dst, "}}}"...)
}

func appendAck(dst []byte, f wire.Format, seq uint64) []byte {
	if f == wire.Msgpack {
		dst = msgp.AppendMapHeader(dst, 1)
		dst = msgp.AppendString(dst, "ack")
		dst = msgp.AppendMapHeader(dst, 1)
		dst = msgp.AppendString(dst, "seq")
		return msgp.AppendUint64(dst, seq)
	}
	dst = append(dst, `{"ack":{"seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	return append(dst, "}}"...)
}

func appendRefused(dst []byte, f wire.Format, seq uint64, code message.Code, limit int64) []byte {
	if f == wire.Msgpack {
		dst = msgp.AppendMapHeader(dst, 1)
		dst = msgp.AppendString(dst, "refused")
		dst = msgp.AppendMapHeader(dst, 3)
		dst = msgp.AppendString(dst, "seq")
		dst = msgp.AppendUint64(dst, seq)
		dst = msgp.AppendString(dst, "code")
		dst = msgp.AppendString(dst, string(code))
		dst = msgp.AppendString(dst, "limit")
		return msgp.AppendInt64(dst, limit)
	}
	dst = append(dst, `{"refused":{"seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	dst = append(dst, `,"code":"`...)
	dst = append(dst, code...)
	dst = append(dst, `","limit":`...)
	dst = strconv.AppendInt(dst, limit, 10)
	return append(dst, "}}"...)
}
