package pipeline

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sluice/internal/kafka"
	"sluice/internal/kafka/kafkatest"
	"sluice/message"
	"sluice/test/process"
)

// TestHostileFrames proves that each bad frame on a websocket ends as one dead
// letter and nothing else, that the frames beside them arrive, and that the
// largest frame there is fits the dead letters.
func TestHostileFrames(t *testing.T) {
	u := newUp(t, "", "--agent=false")
	u.start()
	now := time.Now().UnixMilli()
	envelope := func(kind, body string) string {
		return fmt.Sprintf(`{"id":"a1","type":"ethereum_metrics","time":%d,"data":{"type":%q,"body":%s}}`, now, kind, body)
	}
	good := envelope("pending", `{"pending":3}`)
	hostile := []struct {
		subprotocol, frame string
		code               message.Code
	}{
		{"msgpack", "\xdd\xff\xff\xff\xff", message.CodeLength},
		{"msgpack", "\xdf\xff\xff\xff\xff", message.CodeLength},
		{"msgpack", "\xc6\xff\xff\xff\xff", message.CodeLength},
		{"msgpack", strings.Repeat("\x91", 256<<10), message.CodeDepth},
		{"msgpack", "\x91\xca\x7f\x80\x00\x00", message.CodeNumber}, // +Inf
		{"json", strings.Repeat("[", 256<<10), message.CodeDepth},
		{"json", strings.Replace(good, "3", "1e999", 1), message.CodeNumber},
		{"json", strings.Replace(good, "ethereum", "ethereum\xff", 1), message.CodeUTF8},
		{"json", strings.Replace(good, `"type":"ethereum_metrics",`, "", 1), message.CodeEnvelope},
		{"json", strings.Replace(good, "ethereum_metrics", "weather", 1), message.CodeUnknownType},
		{"json", strings.Replace(good, "a1", "a2", 1), message.CodeForeignID},
		{"json", strings.Replace(good, fmt.Sprint(now), "1", 1), message.CodeTime},
		{"json", strings.Replace(good, fmt.Sprintf(`"time":%d,`, now), "", 1), message.CodeEnvelope},
		{"json", "", message.CodeMalformed},
		{"json", "[]", message.CodeEmpty},
		{"json", envelope("pending", `{"pending":"`+strings.Repeat("x", 256<<10-200)+`"}`), message.CodeInvalid},
	}
	want := map[message.Code]int{}
	for _, subprotocol := range []string{"json", "msgpack"} {
		var frames []string
		for _, h := range hostile {
			if h.subprotocol == subprotocol {
				frames = append(frames, h.frame)
				want[h.code]++
			}
		}
		if subprotocol == "json" {
			frames = append(frames, good)
		}
		sendRaw(t, u, subprotocol, frames)
	}
	rs := kafkatest.Wait(t, u.kafka(), func(rs []*kafka.Record) bool { return len(rs) >= len(hostile)+1 },
		message.TopicDeadLetters, message.Topic("ethereum_metrics"))
	got := map[message.Code]int{}
	for _, r := range rs {
		if r.Topic == message.TopicDeadLetters {
			d := kafka.DeadLetter(r)
			got[d.Code]++
			if len(d.Reason) > message.MaxReason || d.Reason == "" {
				t.Errorf("%s: reason %q", d.Code, d.Reason)
			}
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("dead letters by code: got %v, want %v", got, want)
	}
	if code, body := process.Get("http://" + u.admin + "/readyz"); code != http.StatusOK {
		t.Errorf("after it all: %d %s", code, body)
	}
	if topics := kafkatest.Read(t, u.kafka(), message.TopicIngest); len(topics) < len(hostile)+1 {
		t.Errorf("ingest holds %d frames, want every one as it came", len(topics))
	}
	u.stop()
}

// sendRaw sends frames over a connection of its own and waits until the last is
// acknowledged.
func sendRaw(t *testing.T, u *up, encoding string, frames []string) {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"sluice.v1." + encoding}, HandshakeTimeout: 30 * time.Second}
	ws, resp, err := d.Dial("ws://"+u.gateway+"/v1/stream", http.Header{"Authorization": {"Bearer " + u.token()}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	defer resp.Body.Close()
	kind, hello := websocket.TextMessage, fmt.Sprintf(`{"hello":{"session":"s-%s","next":1}}`, encoding)
	if encoding == "msgpack" {
		kind, hello = websocket.BinaryMessage, "\x81\xa5hello\x82\xa7session\xa3raw\xa4next\x01"
	}
	for _, m := range append([]string{hello}, frames...) {
		if err := ws.WriteMessage(kind, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	last := fmt.Sprintf(`"seq":%d`, len(frames))
	if encoding == "msgpack" {
		last = "\xa3ack\x81\xa3seq" + string(rune(len(frames)))
	}
	_ = ws.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		_, m, err := ws.ReadMessage()
		if err != nil {
			t.Fatalf("waiting for the last acknowledgement: %v", err)
		}
		if strings.Contains(string(m), "ack") && strings.Contains(string(m), last) {
			return
		}
	}
}
