package gatewaytest

import (
	"sync"
	"testing"

	"sluice/internal/kafka"
	"sluice/message"
)

// Producer stands in for Kafka: it takes every record and, from one goroutine and
// in order, decides it at once or when the test says so.
type Producer struct {
	mu      sync.Mutex
	changed sync.Cond
	pending []entry
	decided []*kafka.Record
	allowed int   // frames that may be decided; negative for all
	silent  bool  // nothing is decided, not even the gateway's own frames
	err     error // what agents' frames are decided with
	ended   bool
	bytes   int64 // of the agents' frames that are pending
	most    int64 // the most that bytes was
}

type entry struct {
	r       *kafka.Record
	promise func(*kafka.Record, error)
}

func (e entry) own() bool { return protocol(e.r) == "gateway" }

func protocol(r *kafka.Record) string {
	var f message.Frame
	kafka.Frame(r, &f)
	return f.Protocol
}

// NewProducer returns a Producer that ends with the test.
func NewProducer(t testing.TB) *Producer {
	p := &Producer{allowed: -1}
	p.changed.L = &p.mu
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run()
	}()
	t.Cleanup(func() {
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		p.changed.Broadcast()
		<-done
	})
	return p
}

// TryProduce implements gateway.Producer.
func (p *Producer) TryProduce(r *kafka.Record, promise func(*kafka.Record, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := entry{r, promise}
	p.pending = append(p.pending, e)
	if !e.own() {
		p.bytes += int64(len(r.Value))
		p.most = max(p.most, p.bytes)
	}
	p.changed.Broadcast()
}

// run decides the first pending record that may be.
func (p *Producer) run() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.ended {
		i, ok := p.next()
		if !ok {
			p.changed.Wait()
			continue
		}
		e := p.pending[i]
		p.pending = append(p.pending[:i], p.pending[i+1:]...)
		var err error
		if !e.own() {
			err = p.err
			p.bytes -= int64(len(e.r.Value))
			if p.allowed > 0 {
				p.allowed--
			}
		}
		if err == nil {
			p.decided = append(p.decided, e.r)
		}
		p.mu.Unlock()
		e.promise(e.r, err)
		p.mu.Lock()
		p.changed.Broadcast()
	}
}

func (p *Producer) next() (int, bool) {
	if p.silent {
		return 0, false
	}
	for i, e := range p.pending {
		if e.own() || p.allowed != 0 {
			return i, true
		}
	}
	return 0, false
}

func (p *Producer) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.changed.Broadcast()
}

// Hold leaves agents' frames undecided from now on.
func (p *Producer) Hold() { p.set(func() { p.allowed = 0 }) }

// Silence leaves everything undecided, the gateway's own frames too.
func (p *Producer) Silence() { p.set(func() { p.silent = true }) }

// Allow decides n more frames.
func (p *Producer) Allow(n int) { p.set(func() { p.allowed = n }) }

// Release decides everything, and all that comes.
func (p *Producer) Release() { p.set(func() { p.allowed, p.silent = -1, false }) }

// Fail decides agents' frames with err from now on; nil ends that.
func (p *Producer) Fail(err error) { p.set(func() { p.err = err }) }

// Frames returns the frames of a protocol that were stored, in order.
func (p *Producer) Frames(name string) []message.Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	var fs []message.Frame
	for _, r := range p.decided {
		var f message.Frame
		if kafka.Frame(r, &f); f.Protocol == name {
			fs = append(fs, f)
		}
	}
	return fs
}

// Pending returns how many agents' frames are undecided.
func (p *Producer) Pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, e := range p.pending {
		if !e.own() {
			n++
		}
	}
	return n
}

// MostBytes returns the most bytes of agents' frames that were undecided at once.
func (p *Producer) MostBytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most
}
