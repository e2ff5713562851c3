package websocket_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"sluice/gateway"
	"sluice/gateway/gatewaytest"
	"sluice/gateway/websocket"
	"sluice/internal/kafka"
)

// sink is a producer that has everything, batch by batch, from one goroutine.
type sink struct {
	mu    sync.Mutex
	batch []entry
	wake  chan struct{}
}

type entry struct {
	r       *kafka.Record
	promise func(*kafka.Record, error)
}

func (s *sink) TryProduce(r *kafka.Record, promise func(*kafka.Record, error)) {
	s.mu.Lock()
	s.batch = append(s.batch, entry{r, promise})
	first := len(s.batch) == 1
	s.mu.Unlock()
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *sink) run(done <-chan struct{}) {
	var spare []entry
	for {
		select {
		case <-done:
			return
		case <-s.wake:
		}
		time.Sleep(2 * time.Millisecond) // as the linger of a real one
		s.mu.Lock()
		batch := s.batch
		s.batch = spare[:0]
		s.mu.Unlock()
		for _, e := range batch {
			e.promise(e.r, nil)
		}
		clear(batch)
		spare = batch
	}
}

// BenchmarkStream is the whole of the websocket path but Kafka: frames of 423
// bytes, masked with zeros by raw sockets in the same process, in bursts of one
// write. It reports what the process used in all, senders included.
func BenchmarkStream(b *testing.B) {
	for _, shape := range []struct{ conns, burst int }{{100, 64}, {1000, 10}, {1000, 1}} {
		b.Run(fmt.Sprintf("%d connections, bursts of %d", shape.conns, shape.burst), func(b *testing.B) {
			stream(b, shape.conns, shape.burst)
		})
	}
}

func stream(b *testing.B, conns, burst int) {
	cfg := gateway.DefaultConfig()
	cfg.Listen, cfg.Limits.PerIP, cfg.Limits.PerAgent = "127.0.0.1:0", 0, conns
	p := &sink{wake: make(chan struct{}, 1)}
	done := make(chan struct{})
	defer close(done)
	go p.run(done)
	protocol := websocket.Protocol()
	g, err := gateway.New(cfg, gateway.Deps{
		Producer: p, Agents: &gatewaytest.Directory{Tokens: map[string]string{"token-a": "a"}},
		Types: func(string) bool { return true }, Log: slog.New(slog.DiscardHandler),
		Clock: time.Now, Rand: rand.Reader, Registerer: prometheus.NewRegistry(),
		Protocols: []gateway.Enabled{{Name: "websocket", Protocol: protocol, Settings: protocol.Settings()}},
	})
	if err != nil {
		b.Fatal(err)
	}
	run := gatewaytest.Run(b, g)

	frame := append([]byte{0x81, 0xfe, 423 >> 8, 423 & 0xff, 0, 0, 0, 0}, bytes.Repeat([]byte("x"), 423)...)
	write := bytes.Repeat(frame, burst)
	clients := make([]*client, conns)
	for i := range clients {
		clients[i] = open(b, run, "token-a", fmt.Sprint("s", i), 1)
	}
	each := max(b.N/conns/burst, 1) * burst
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := used()
	b.ResetTimer()
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() { flood(b, c.NetConn(), write, burst, each) })
	}
	all.Wait()
	b.StopTimer()
	frames := float64(each * conns)
	runtime.ReadMemStats(&after)
	b.ReportMetric(frames/b.Elapsed().Seconds(), "frames/s")
	b.ReportMetric(float64((used()-cpu).Nanoseconds())/1e3/frames, "cpu-us/frame")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/frames, "allocs/frame")
	b.ReportMetric(0, "ns/op")
}

// flood sends frames with at most 256 of them unacknowledged.
func flood(b *testing.B, c net.Conn, write []byte, burst, count int) {
	const window = 256
	sent, acked := 0, 0
	buf := make([]byte, 4096)
	var rest []byte
	for acked < count {
		for sent < count && sent+burst-acked <= window {
			if _, err := c.Write(write); err != nil {
				b.Error(err)
				return
			}
			sent += burst
		}
		n, err := c.Read(buf)
		if err != nil {
			b.Error(err)
			return
		}
		rest = append(rest, buf[:n]...)
		for len(rest) >= 2 && len(rest) >= 2+int(rest[1]) {
			text := string(rest[2 : 2+int(rest[1])])
			if rest[0]&0xf == gorilla.TextMessage && strings.HasPrefix(text, `{"ack"`) {
				_, _ = fmt.Sscanf(text, `{"ack":{"seq":%d}}`, &acked)
			}
			rest = rest[2+int(rest[1]):]
		}
	}
}

// used returns the CPU time of the process.
func used() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkReceive is the gateway's side alone: what a frame of 423 bytes costs
// when it is there, without sockets and without Kafka.
func BenchmarkReceive(b *testing.B) {
	protocol := websocket.Protocol()
	g, err := gateway.New(gateway.DefaultConfig(), gateway.Deps{
		Producer: instant{}, Agents: &gatewaytest.Directory{Tokens: map[string]string{"token-a": "a"}},
		Types: func(string) bool { return true }, Log: slog.New(slog.DiscardHandler),
		Clock: time.Now, Rand: rand.Reader, Registerer: prometheus.NewRegistry(),
		Protocols: []gateway.Enabled{{Name: "websocket", Protocol: protocol, Settings: protocol.Settings()}},
	})
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/v1/stream", nil)
	for k, v := range map[string]string{
		"Authorization": "Bearer token-a", "Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13",
		"Sec-Websocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-Websocket-Protocol": "sluice.v1.json",
	} {
		r.Header.Set(k, v)
	}
	c := &replay{first: masked(`{"hello":{"session":"s","next":1}}`), frame: masked(strings.Repeat("x", 423)), left: b.N}
	b.ReportAllocs()
	g.ServeHTTP(c, r)
	if c.left > 0 {
		b.Fatalf("ended with %d frames left", c.left)
	}
}

func masked(text string) []byte {
	mask := [4]byte{1, 2, 3, 4}
	b := append([]byte{0x81, 0xfe, byte(len(text) >> 8), byte(len(text))}, mask[:]...)
	for i := range len(text) {
		b = append(b, text[i]^mask[i%4])
	}
	return b
}

// instant is a producer that has everything at once.
type instant struct{}

func (instant) TryProduce(r *kafka.Record, promise func(*kafka.Record, error)) { promise(r, nil) }

// replay is a request and its connection, from which the same frame comes again
// and again.
type replay struct {
	net.Conn
	first, frame []byte
	at, left     int
}

func (*replay) Header() http.Header         { return http.Header{} }
func (*replay) WriteHeader(int)             {}
func (*replay) Write(b []byte) (int, error) { return len(b), nil }
func (r *replay) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return r, bufio.NewReadWriter(bufio.NewReader(r), bufio.NewWriter(r)), nil
}

func (r *replay) Read(p []byte) (n int, err error) {
	if len(r.first) > 0 {
		n = copy(p, r.first)
		r.first = r.first[n:]
		return n, nil
	}
	for n < len(p) && r.left > 0 {
		m := copy(p[n:], r.frame[r.at:])
		n += m
		if r.at += m; r.at == len(r.frame) {
			r.at = 0
			r.left--
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}
func (*replay) Close() error                     { return nil }
func (*replay) SetDeadline(time.Time) error      { return nil }
func (*replay) SetReadDeadline(time.Time) error  { return nil }
func (*replay) SetWriteDeadline(time.Time) error { return nil }
