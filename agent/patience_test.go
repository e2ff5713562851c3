package agent_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/agent"
)

// pipes returns a Dial whose other ends go to serve, for bubbles in which time
// is not real, and the times at which it was called.
func pipes(serve func(n int, conn net.Conn)) (dial func(context.Context, string, string) (net.Conn, error), at *[]time.Time) {
	at = new([]time.Time)
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		n := len(*at)
		*at = append(*at, time.Now())
		go func() {
			defer far.Close()
			serve(n, far)
		}()
		return near, nil
	}, at
}

func TestRejections(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		status       agent.Status
		from, to     time.Duration // of the wait
		err          string
	}{
		{"bad request", "400 Bad Request\r\n", agent.Stopped, 0, 0, "400 Bad Request"},
		{"unauthorized", "401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n", agent.Rejected, time.Second, 2 * time.Second, "check that the token"},
		{"banned", "403 Forbidden\r\n", agent.Rejected, 15 * time.Second, 60 * time.Second, "banned"},
		{"not found", "404 Not Found\r\n", agent.Waiting, 0, 500 * time.Millisecond, "check that url"},
		{"busy", "503 Service Unavailable\r\nRetry-After: 7\r\n", agent.Waiting, 7 * time.Second, 8 * time.Second, "503"},
		{"busy for no time", "503 Service Unavailable\r\n", agent.Waiting, 0, 500 * time.Millisecond, "503"},
		{"other subprotocol", "101 Switching Protocols\r\n", agent.Waiting, 0, 500 * time.Millisecond, "subprotocol"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				dial, dialed := pipes(func(n int, conn net.Conn) {
					if n == 1 {
						cancel()
					}
					upgrade(t, conn, tt.answer)
				})
				var first agent.State
				c, _ := newClientAsIs(t, agent.Config{URL: "ws://127.0.0.1:1"}, agent.Options{Dial: dial, OnState: func(s agent.State) {
					if first.Err == nil && s.Status != agent.Connecting {
						first = s
					}
				}})
				err := c.Run(ctx)
				if (err != nil) != (tt.status == agent.Stopped) {
					t.Errorf("Run: %v", err)
				}
				if first.Status != tt.status || first.Err == nil || !strings.Contains(first.Err.Error(), tt.err) {
					t.Errorf("state %v: %v, want %v: %s", first.Status, first.Err, tt.status, tt.err)
				}
				if first.Retry < tt.from || first.Retry > tt.to {
					t.Errorf("retries after %s, want %s to %s", first.Retry, tt.from, tt.to)
				}
				if tt.status != agent.Stopped {
					if got := (*dialed)[1].Sub((*dialed)[0]); got != first.Retry {
						t.Errorf("dialed again after %s, want %s", got, first.Retry)
					}
				}
			})
		})
	}
}

// TestUnauthorized pins that a token which is not known yet is tried again soon,
// and after that seldom.
func TestUnauthorized(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		dial, dialed := pipes(func(n int, conn net.Conn) {
			if n == 2 {
				cancel()
			}
			upgrade(t, conn, "401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n")
		})
		c, _ := newClientAsIs(t, agent.Config{URL: "ws://127.0.0.1:1"}, agent.Options{Dial: dial})
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
		if got := (*dialed)[1].Sub((*dialed)[0]); got < time.Second || got > 2*time.Second {
			t.Errorf("second try after %s, want 1 to 2 s", got)
		}
		if got := (*dialed)[2].Sub((*dialed)[1]); got < 15*time.Second || got > time.Minute {
			t.Errorf("third try after %s, want 15 to 60 s", got)
		}
	})
}

// TestBackoffGrows dials a gateway that is not there, as many agents.
func TestBackoffGrows(t *testing.T) {
	ceilings := []time.Duration{500, 1000, 2000, 4000, 8000, 15000, 15000, 15000} // ms
	longest := make([]time.Duration, len(ceilings))
	for seed := range byte(50) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			n := 0
			c, out := newClientAsIs(t, agent.Config{URL: "ws://127.0.0.1:1"}, agent.Options{
				Rand: rand.NewChaCha8([32]byte{seed}),
				Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody there") },
				OnState: func(s agent.State) {
					if s.Status != agent.Waiting || n == len(ceilings) {
						return
					}
					longest[n] = max(longest[n], s.Retry)
					if n++; n == len(ceilings) {
						cancel()
					}
				},
			})
			if err := c.Run(ctx); err != nil {
				t.Error(err)
			}
			if got := strings.Count(out.String(), "level=WARN"); got != 1 {
				t.Errorf("%d warnings for one outage:\n%s", got, out)
			}
		})
	}
	for i, ms := range ceilings {
		if ceiling := ms * time.Millisecond; longest[i] > ceiling || longest[i] < ceiling/2 {
			t.Errorf("the longest wait number %d of 50 agents is %s, want nearly %s", i+1, longest[i], ceiling)
		}
	}
}

// TestSilence leaves a gateway that says nothing for 60 s, pings included.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		dial, dialed := pipes(func(n int, conn net.Conn) {
			if n == 1 {
				cancel()
				return
			}
			greet(t, conn)
			_, _ = io.Copy(io.Discard, conn)
		})
		c, _ := newClientAsIs(t, agent.Config{URL: "ws://127.0.0.1:1", Encoding: agent.JSON}, agent.Options{Dial: dial})
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
		if got := (*dialed)[1].Sub((*dialed)[0]); got < 60*time.Second || got > 61*time.Second {
			t.Errorf("left after %s, want 60 s and a wait", got)
		}
	})
}

// TestPausedGateway stays with a gateway that reads nothing for ten minutes and
// pings: it waits for Kafka, and a new connection would only wait again.
func TestPausedGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, dialed := pipes(func(_ int, conn net.Conn) {
			greet(t, conn)
			for range 24 {
				time.Sleep(25 * time.Second)
				if _, err := conn.Write([]byte{0x89, 0}); err != nil {
					t.Errorf("ping: %v", err)
				}
			}
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				_, _ = io.Copy(io.Discard, conn)
			}()
			text(conn, `{"ack":{"seq":3}}`)
			<-gone
		})
		c, _ := newClientAsIs(t, agent.Config{URL: "ws://127.0.0.1:1", Encoding: agent.JSON}, agent.Options{Dial: dial})
		for range 3 {
			if err := c.TrySend(agent.Message{Type: "system_metrics", Kind: "load", Body: object{}}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		if err := c.Flush(context.Background()); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(*dialed) != 1 {
			t.Errorf("dialed %d times", len(*dialed))
		}
	})
}

// TestForeignToken does not send frames that would all become dead letters.
func TestForeignToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		dial, _ := pipes(func(_ int, conn net.Conn) {
			greet(t, conn)
			b := make([]byte, 1)
			if _, err := io.ReadFull(conn, b); err != nil || b[0] != 0x88 {
				t.Errorf("got %x after the welcome, want a close: %v", b, err)
			}
			_, _ = io.Copy(io.Discard, conn)
		})
		c, out := newClientAsIs(t, agent.Config{URL: "ws://127.0.0.1:1", Encoding: agent.JSON, Name: "b2"}, agent.Options{
			Dial: dial,
			OnState: func(s agent.State) {
				if s.Status == agent.Rejected {
					cancel()
				}
			},
		})
		if err := c.TrySend(agent.Message{Type: "system_metrics", Kind: "load", Body: object{}}); err != nil {
			t.Fatal(err)
		}
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
		if c.Pending() != 1 || !strings.Contains(out.String(), `belongs to agent \"a1\", and this is \"b2\"`) {
			t.Errorf("%d pending, and the log says\n%s", c.Pending(), out)
		}
	})
}

// upgrade answers the request for a websocket.
func upgrade(t *testing.T, conn net.Conn, answer string) {
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		t.Errorf("read request: %v", err)
		return
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if strings.HasPrefix(answer, "101") {
		answer += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	} else {
		answer += "Content-Length: 0\r\n"
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 "+answer+"\r\n")
}

// greet brings a connection in JSON up to the welcome of agent a1.
func greet(t *testing.T, conn net.Conn) {
	upgrade(t, conn, "101 Switching Protocols\r\nSec-WebSocket-Protocol: sluice.v1.json\r\n")
	head := make([]byte, 6) // two of the header, four of the mask
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Errorf("read hello: %v", err)
		return
	}
	if _, err := io.CopyN(io.Discard, conn, int64(head[1]&0x7f)); err != nil {
		t.Errorf("read hello: %v", err)
	}
	text(conn, `{"welcome":{"agent":"a1","limits":{"frame":262144,"window":8}}}`)
}

// text writes a short text message.
func text(conn net.Conn, s string) {
	_, _ = conn.Write(append([]byte{0x81, byte(len(s))}, s...))
}

// TestStopEndsWait stops a client that waits for its next attempt: it makes that
// at once, as long as it has something to send.
func TestStopEndsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		dial, dialed := pipes(func(n int, conn net.Conn) {
			if n == 0 {
				upgrade(t, conn, "503 Service Unavailable\r\nRetry-After: 100\r\n")
				return
			}
			greet(t, conn)
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				t.Errorf("read frame: %v", err)
			}
			text(conn, `{"ack":{"seq":1}}`)
			_, _ = io.Copy(io.Discard, conn)
		})
		c, _ := newClientAsIs(t, agent.Config{URL: "ws://127.0.0.1:1", Encoding: agent.JSON}, agent.Options{
			Dial: dial,
			OnState: func(s agent.State) {
				if s.Status == agent.Waiting {
					cancel()
				}
			},
		})
		if err := c.TrySend(agent.Message{Type: "system_metrics", Kind: "load", Body: object{}}); err != nil {
			t.Fatal(err)
		}
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
		if c.Pending() != 0 || len(*dialed) != 2 {
			t.Errorf("%d frames pending after %d attempts, want 0 after 2", c.Pending(), len(*dialed))
		}
	})
}
