package agent_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/agent"
)

// TestGatewayRestarts ends the connections of many agents with 1012, while they
// had nothing to say. They come back within a second, spread over it; one that
// finds nobody there waits longer and longer, as after any other failure.
func TestGatewayRestarts(t *testing.T) {
	const agents = 50
	var waits [3][]time.Duration
	for seed := range byte(agents) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			dial, dialed := pipes(func(_ int, conn net.Conn) {
				greet(t, conn)
				time.Sleep(time.Second)
				_, _ = conn.Write([]byte{0x88, 2, 1012 >> 8, 1012 & 0xff})
				_, _ = io.Copy(io.Discard, conn)
			})
			n := 0
			c, out := newClientAsIs(t, agent.Config{URL: "ws://127.0.0.1:1", Encoding: agent.JSON}, agent.Options{
				Rand: rand.NewChaCha8([32]byte{seed}),
				Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					if len(*dialed) > 0 {
						return nil, errors.New("nobody there")
					}
					return dial(ctx, network, addr)
				},
				OnState: func(s agent.State) {
					if s.Status != agent.Waiting || n == len(waits) {
						return
					}
					waits[n] = append(waits[n], s.Retry)
					if n++; n == len(waits) {
						cancel()
					}
				},
			})
			if err := c.Run(ctx); err != nil {
				t.Error(err)
			}
			if log := out.String(); strings.Count(log, "gateway restarts") != 1 || strings.Count(log, "level=WARN") != 1 {
				t.Errorf("want a line about the restart and a warning that nobody is there:\n%s", log)
			}
		})
	}
	for i, ceiling := range []time.Duration{time.Second, time.Second, 2 * time.Second} {
		var parts [4]int
		for _, w := range waits[i] {
			if w > ceiling {
				t.Errorf("wait %d is %s, want at most %s", i+1, w, ceiling)
			}
			parts[min(int(4*w/ceiling), 3)]++
		}
		for q, n := range parts {
			if n < agents/20 {
				t.Errorf("wait %d of %d agents falls %d times into quarter %d of %s: not spread", i+1, agents, n, q+1, ceiling)
			}
		}
	}
}
