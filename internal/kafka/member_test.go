package kafka

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/message"
)

// wantErr wants an error that holds text, or none for "".
func wantErr(t *testing.T, when string, err error, text string) {
	t.Helper()
	if text == "" && err != nil {
		t.Errorf("%s: got %v, want ready", when, err)
	}
	if text != "" && (err == nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "check ")) {
		t.Errorf("%s: got %v, want %q and what to check", when, err, text)
	}
}

func TestMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Member
		m.hook("g")
		heartbeat := func(err error) {
			answers{&m}.OnBrokerRead(kgo.BrokerMetadata{}, int16(kmsg.Heartbeat), 10, 0, 0, err)
		}
		// beat has the coordinator answer for so long.
		beat := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				time.Sleep(3 * time.Second)
				heartbeat(nil)
			}
		}
		wantErr(t, "before it joined", m.Err(), "not a member of group g yet")
		m.joined()
		wantErr(t, "with its share", m.Err(), "")
		beat(24 * time.Hour)
		wantErr(t, "after a day without traffic", m.Err(), "")

		time.Sleep(20 * time.Second)
		heartbeat(errors.New("connection refused"))
		answers{&m}.OnBrokerRead(kgo.BrokerMetadata{}, int16(kmsg.Metadata), 10, 0, 0, nil)
		wantErr(t, "20 s after the last answer", m.Err(), "coordinator of group g has not answered for 20s")
		heartbeat(nil)
		wantErr(t, "with the next answer", m.Err(), "")

		m.left()
		wantErr(t, "lost", m.Err(), "not a member")
		m.joined()
		wantErr(t, "back", m.Err(), "")

		m.begin()
		beat(20 * time.Second)
		wantErr(t, "with a transaction that does not end", m.Err(), "a transaction has been open for 21s")
		m.end(false)
		wantErr(t, "after its end", m.Err(), "")

		// Clients that get as far as a transaction, and no further.
		for range 5 {
			m.failed(errors.New("not authorized"))
			wantErr(t, "between clients", m.Err(), "not authorized")
			time.Sleep(2 * time.Second)
			m.joined()
			m.begin()
			beat(9 * time.Second)
			wantErr(t, "in the transaction of the next client", m.Err(), "not authorized")
		}
		m.end(true)
		wantErr(t, "after a commit", m.Err(), "")

		m.failed(errors.New("end of file"))
		m.joined()
		wantErr(t, "at once after a failure", m.Err(), "failed 1 times")
		beat(9 * time.Second)
		wantErr(t, "with nothing to do for some seconds", m.Err(), "")
	})
	wantErr(t, "nil", (*Member)(nil).Err(), "")
}

// TestMemberWithoutBroker takes the broker away from readers that have nothing to
// do, and gives it back.
func TestMemberWithoutBroker(t *testing.T) {
	log, dir := slog.New(slog.DiscardHandler), t.TempDir()
	b, err := StartBroker("127.0.0.1:0", dir, log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { b.Close() }()
	addr := b.Addr()
	c := DefaultConfig()
	c.Brokers, c.Topics.Partitions = []string{addr}, 1
	if _, err := c.EnsureTopics(t.Context(), nil, log); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// Heartbeats are 1.5 s apart.
	session, group := &Member{Patience: 4 * time.Second}, &Member{Patience: 4 * time.Second}
	pulse := &Pulse{Patience: 2 * time.Second}
	stands, err := c.Range(ctx, time.Time{}, log, message.TopicIngest)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 3)
	go func() {
		ended <- c.Follow(ctx, FollowOptions{Range: stands, Pulse: pulse}, log, func(context.Context, []*Record) error { return nil })
	}()
	go func() {
		ended <- c.RunSession(ctx, SessionOptions{Group: "s", Topics: []string{message.TopicIngest}, Slot: "1", Member: session}, log,
			func(context.Context, []*Record, func(*Record)) (func(), error) { return nil, nil })
	}()
	go func() {
		ended <- c.RunGroup(ctx, GroupOptions{Group: "g", Topics: []string{message.TopicIngest}, Member: group}, log,
			func(context.Context, []*Record) error { return nil })
	}()
	until := func(what string, ok func(error) bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !ok(session.Err()) || !ok(group.Err()) || !ok(pulse.Err()); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited a minute for %s: %v, %v, %v", what, session.Err(), group.Err(), pulse.Err())
			}
		}
	}
	ready := func(err error) bool { return err == nil }
	until("all to be ready", ready)
	b.Close()
	until("all to say so", func(err error) bool { return err != nil && strings.Contains(err.Error(), "check ") })
	if b, err = StartBroker(addr, dir, log); err != nil {
		t.Fatal(err)
	}
	until("all to be ready again", ready)
	cancel()
	for range 3 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
