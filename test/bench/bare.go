package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"sluice/internal/kafka"
	"sluice/message"
)

// The bare parts do the least that the stage beside them has to do with the same
// libraries: what they cost is what no stage built on these can go below.

// bareRead reads messages of websockets into memory and forgets them. It sends
// no acks, so senders go on without end.
func bareRead(_ context.Context, _ *task, log *slog.Logger) (*work, error) {
	var (
		mu     sync.Mutex
		counts []*atomic.Int64
	)
	upgrader := websocket.Upgrader{Subprotocols: []string{"sluice.v1.json"}}
	serve := func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			log.Warn("upgrade", "err", err)
			return
		}
		defer func() { _ = ws.Close() }()
		if _, _, err := ws.ReadMessage(); err != nil { // hello
			return
		}
		if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"welcome":{"limits":{"window":0}}}`)); err != nil {
			return
		}
		n := new(atomic.Int64)
		mu.Lock()
		counts = append(counts, n)
		mu.Unlock()
		var slab []byte
		for {
			_, r, err := ws.NextReader()
			if err != nil {
				return
			}
			if slab, err = readInto(slab, r); err != nil {
				return
			}
			n.Add(1)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: http.HandlerFunc(serve)}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	return &work{addr: l.Addr().String(), failed: failed, end: srv.Close, frames: func() int64 {
		mu.Lock()
		defer mu.Unlock()
		total := int64(0)
		for _, n := range counts {
			total += n.Load()
		}
		return total
	}}, nil
}

// readInto reads a message behind what is in slab, or into a new one where there
// is no room.
func readInto(slab []byte, r io.Reader) ([]byte, error) {
	const size, rest = 8 << 10, 2 << 10 // no frame of ours is longer than rest
	if cap(slab)-len(slab) < rest {
		slab = make([]byte, 0, size)
	}
	for {
		n, err := r.Read(slab[len(slab):cap(slab)])
		slab = slab[:len(slab)+n]
		if err == io.EOF {
			return slab, nil
		}
		if err != nil {
			return slab, err
		}
	}
}

// bareProduce produces the frames that the load would send, with the headers of
// the gateway's records, as many unanswered as the windows of all connections.
func bareProduce(_ context.Context, t *task, log *slog.Logger) (*work, error) {
	p, err := t.kafka().NewProducer(kafka.ProducerOptions{MaxRecords: 1 << 20, MaxBytes: 1 << 30}, log)
	if err != nil {
		return nil, err
	}
	f := &flow{
		p: p, rate: t.Load.Rate, limit: t.Frames, most: int64(t.Load.Conns) * int64(t.Load.Window),
		wake: make(chan struct{}, 1), failed: make(chan error, 1),
	}
	for i := range t.Load.Conns {
		a := source{key: []byte(agentName(i))}
		a.headers = kafka.FrameHeaders(&message.Frame{
			Protocol: "websocket", ContentType: t.Format.ContentType(), Connection: "c0ffee00c0ffee00",
		})
		a.headers[0].Value = []byte(agentName(i) + "/bench-" + strconv.FormatInt(time.Now().UnixNano(), 10) + "/1")
		m := newMix(i, t.Format)
		for range ring {
			a.values = append(a.values, m.next())
		}
		f.sources = append(f.sources, a)
	}
	return &work{begin: func() { go f.run() }, frames: f.stored.Load, failed: f.failed, end: func() error {
		f.closing.Store(true)
		p.Close()
		return nil
	}}, nil
}

// source is one agent of bareProduce.
type source struct {
	key     []byte
	headers []kafka.Header
	values  [][]byte
}

// flow produces from one goroutine.
type flow struct {
	p       *kafka.Producer
	sources []source
	rate    int
	limit   int64 // frames in all; 0 for no end
	most    int64 // frames unanswered

	sent     int64
	stored   atomic.Int64
	inFlight atomic.Int64
	waiting  atomic.Bool
	wake     chan struct{}
	closing  atomic.Bool
	failed   chan error
}

func (f *flow) run() {
	const turn = 64 // frames between two looks at the clock and the limits
	start := time.Now()
	var block []kafka.Record
	for !f.closing.Load() && (f.limit == 0 || f.sent < f.limit) {
		n := int64(turn)
		if f.rate > 0 {
			if n = int64(time.Since(start).Seconds()*float64(f.rate)) - f.sent; n < 1 {
				time.Sleep(time.Millisecond)
				continue
			}
		}
		if f.limit > 0 {
			n = min(n, f.limit-f.sent)
		}
		f.room()
		f.inFlight.Add(n)
		for range n {
			if len(block) == 0 {
				block = make([]kafka.Record, 16)
			}
			r := &block[0]
			block = block[1:]
			s := &f.sources[f.sent%int64(len(f.sources))]
			r.Topic, r.Key, r.Headers = message.TopicIngest, s.key, s.headers
			r.Value = s.values[f.sent/int64(len(f.sources))%int64(len(s.values))]
			f.p.TryProduce(r, f.decided)
			f.sent++
		}
	}
}

// room waits until frames are few enough.
func (f *flow) room() {
	for f.inFlight.Load() > f.most {
		f.waiting.Store(true)
		if f.inFlight.Load() > f.most {
			<-f.wake
		}
	}
}

func (f *flow) decided(_ *kafka.Record, err error) {
	if err != nil {
		if !f.closing.Load() {
			select {
			case f.failed <- fmt.Errorf("produce: %w", err):
			default:
			}
		}
		return
	}
	f.stored.Add(1)
	if f.inFlight.Add(-1) <= f.most && f.waiting.Load() && f.waiting.Swap(false) {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// copyGroup reads ingest for the bare copy.
const copyGroup = "sluice.bench.copy"

// bareCopy is a session that produces what it consumes, keys and values only, to
// a typed topic, in the normalizer's transactions.
func bareCopy(ctx context.Context, t *task, log *slog.Logger) (*work, error) {
	var copied atomic.Int64
	topic := message.Topic("ethereum_metrics")
	transform := func(_ context.Context, rs []*kafka.Record, emit func(*kafka.Record)) (func(), error) {
		out := make([]kafka.Record, len(rs))
		for i, r := range rs {
			out[i] = kafka.Record{Topic: topic, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}
			emit(&out[i])
		}
		return func() { copied.Add(int64(len(rs))) }, nil
	}
	o := kafka.SessionOptions{
		Group: copyGroup, Topics: []string{message.TopicIngest}, Slot: "bench", Fresh: t.Embedded,
		Every: 50 * time.Millisecond, Parallel: runtime.GOMAXPROCS(0),
	}
	return session(ctx, func(ctx context.Context) error {
		return t.kafka().RunSession(ctx, o, log, transform)
	}, copied.Load), nil
}
