package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"sluice/agent"
)

// ledger is what a gateway knows over all connections of one session.
type ledger struct {
	t  *testing.T
	mu sync.Mutex
	// frames are the bytes of each number, as they first came.
	frames map[uint64][]byte
	stored map[uint64]int64 // the index in the body of what was taken
	// settled is the number up to which the agent may have been told everything
	// on this connection.
	settled uint64
	told    map[uint64]bool // refused when they last came
	cuts    int
}

// serve takes, refuses, forgets to ack and cuts off as rng says, until there
// have been want cuts.
func (l *ledger) serve(c *fakeConn, rng *rand.Rand, want int) {
	l.mu.Lock()
	limit, window := 256<<10, 1+rng.IntN(40)
	if rng.IntN(3) == 0 {
		limit = 600
	}
	for seq := uint64(1); seq < c.nextSeq; seq++ {
		if _, ok := l.stored[seq]; !ok && !l.told[seq] {
			l.t.Errorf("connection begins at %d, and frame %d was neither taken nor refused", c.nextSeq, seq)
		}
	}
	l.settled = c.nextSeq - 1
	end, last := -1, l.cuts >= want
	if !last {
		l.cuts++
		end = rng.IntN(60)
	}
	l.mu.Unlock()
	if end == 0 {
		return // before the welcome
	}
	c.welcome("a1", limit, window)
	if rng.IntN(4) == 0 {
		c.say(object{"future": object{"any": []int{1}}})
	}
	for n := 1; n != end; n++ {
		seq, b, err := c.read()
		if err != nil {
			return
		}
		l.frame(c, seq, b, limit, window, last || rng.IntN(8) == 0)
	}
}

func (l *ledger) frame(c *fakeConn, seq uint64, b []byte, limit, window int, ack bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq > l.settled+uint64(window) {
		l.t.Errorf("frame %d with everything settled up to %d and a window of %d", seq, l.settled, window)
	}
	if was, ok := l.frames[seq]; ok && !bytes.Equal(was, b) {
		l.t.Errorf("frame %d came again as %q, was %q", seq, b, was)
	}
	l.frames[seq] = bytes.Clone(b)
	switch {
	case len(b) > limit:
		l.told[seq] = true
		c.refuse(seq, limit)
	default:
		delete(l.told, seq) // refused under a smaller limit, and now it fits
		e := c.envelope(b)
		if e.ID != "a1" || e.Type != "system_metrics" || e.Data.Type != "load" {
			l.t.Errorf("envelope of frame %d: %+v", seq, e)
		}
		l.stored[seq] = integer(e.Data.Body["index"])
	}
	if ack || seq >= l.settled+uint64(window) { // or the agent would wait for ever
		c.ack(seq)
		l.settled = max(l.settled, seq)
	}
	for l.settled < seq && l.told[l.settled+1] {
		l.settled++
	}
}

func integer(v any) int64 {
	var n int64
	if _, err := fmt.Sscan(fmt.Sprint(v), &n); err != nil {
		return -1
	}
	return n
}

// TestEveryFrameArrives cuts a connection a hundred times, mostly with acks on
// the way, while frames are sent: each taken frame arrives in its place, under
// its number, as the same bytes, or is refused and reported once.
func TestEveryFrameArrives(t *testing.T) {
	for _, encoding := range []string{agent.JSON, agent.Msgpack} {
		for seed := uint64(1); seed <= 3; seed++ {
			t.Run(fmt.Sprintf("%s/seed %d", encoding, seed), func(t *testing.T) {
				const cuts = 100
				l := &ledger{t: t, frames: map[uint64][]byte{}, stored: map[uint64]int64{}, told: map[uint64]bool{}}
				g := startGateway(t, func(c *fakeConn) {
					l.mu.Lock()
					rng := rand.New(rand.NewPCG(seed, uint64(l.cuts)))
					l.mu.Unlock()
					l.serve(c, rng, cuts)
				})
				var mu sync.Mutex
				refused, acked := map[uint64]int{}, uint64(0)
				c, _ := newClient(t, agent.Config{URL: g.url, Encoding: encoding, Buffer: 64}, agent.Options{
					OnRefused: func(r agent.Refused) {
						mu.Lock()
						defer mu.Unlock()
						refused[r.Seq]++
						if r.Code != "too_large" || r.Limit != 600 || len(r.Frame) <= 600 {
							t.Errorf("refused %+v", r)
						}
					},
					OnAck: func(seq uint64) {
						mu.Lock()
						defer mu.Unlock()
						if seq <= acked {
							t.Errorf("ack of %d after %d", seq, acked)
						}
						acked = seq
					},
				})
				stop := run(t, c)

				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				rng := rand.New(rand.NewPCG(seed, 1<<40))
				taken := 0
				enough := func() bool {
					l.mu.Lock()
					defer l.mu.Unlock()
					return l.cuts >= cuts && taken >= 500
				}
				for !enough() {
					body := object{"index": taken + 1}
					if rng.IntN(20) == 0 {
						body["padding"] = strings.Repeat("x", 1000)
					}
					err := c.Send(ctx, agent.Message{Type: "system_metrics", Kind: "load", Body: body})
					var large *agent.TooLarge
					switch {
					case errors.As(err, &large):
						if large.Limit != 600 || large.Size <= 1000 {
							t.Errorf("%+v", large)
						}
					case err != nil:
						t.Fatalf("Send after %d: %v", taken, err)
					default:
						taken++
					}
				}
				flush(t, c)
				if err := stop(); err != nil {
					t.Errorf("Run: %v", err)
				}

				l.mu.Lock()
				defer l.mu.Unlock()
				if got := len(l.frames); got != taken {
					t.Errorf("%d frames came, %d were taken", got, taken)
				}
				for seq := uint64(1); seq <= uint64(taken); seq++ {
					index, stored := l.stored[seq]
					if !stored && refused[seq] == 0 {
						t.Errorf("frame %d is lost", seq)
					}
					if stored && index != int64(seq) {
						t.Errorf("frame %d is message %d", seq, index)
					}
					if refused[seq] > 1 {
						t.Errorf("frame %d was reported refused %d times", seq, refused[seq])
					}
				}
				if len(refused) == 0 {
					t.Error("nothing was refused, so nothing was learned about it")
				}
				if got := c.Acked(); got != uint64(taken) {
					t.Errorf("Acked = %d, want %d", got, taken)
				}
			})
		}
	}
}
