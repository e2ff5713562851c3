package gateway

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"
)

// room is the budget of bytes that are taken and not yet decided. Taking and
// giving back cost an atomic operation each as long as nobody waits.
//
// Those who wait get room in the order in which they came, and nobody overtakes
// them: with many agents and little room, none starves.
type room struct {
	size    int64
	used    atomic.Int64
	shut    atomic.Bool // nothing is taken, whatever there is
	waiting atomic.Int32

	mu    sync.Mutex
	queue list.List // of *waiter
}

type waiter struct {
	n     int64
	ready chan struct{} // closed when n was taken for it
}

// take takes n bytes, or reports false.
func (m *room) take(n int64) bool {
	if m.shut.Load() || m.waiting.Load() > 0 {
		return false
	}
	return m.add(n)
}

func (m *room) add(n int64) bool {
	for {
		used := m.used.Load()
		if used+n > m.size {
			return false
		}
		if m.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// give gives n bytes back.
func (m *room) give(n int64) {
	m.used.Add(-n)
	if m.waiting.Load() > 0 {
		m.grant()
	}
}

// open lets bytes be taken, or not.
func (m *room) open(yes bool) {
	m.shut.Store(!yes)
	if yes && m.waiting.Load() > 0 {
		m.grant()
	}
}

// free reports whether something can be taken now.
func (m *room) free() bool {
	return !m.shut.Load() && m.waiting.Load() == 0 && m.used.Load() < m.size
}

// wait takes n bytes as soon as there is room. It reports false if quit was
// closed before.
func (m *room) wait(n int64, quit <-chan struct{}) bool {
	w := &waiter{n: n, ready: make(chan struct{})}
	m.mu.Lock()
	e := m.queue.PushBack(w)
	m.waiting.Add(1)
	m.mu.Unlock()
	m.grant() // room may have come before anybody saw us wait
	select {
	case <-w.ready:
		return true
	case <-quit:
	}
	m.mu.Lock()
	select {
	case <-w.ready:
		m.mu.Unlock()
		m.give(n)
	default:
		m.queue.Remove(e)
		m.waiting.Add(-1)
		m.mu.Unlock()
		m.grant() // those behind may want less
	}
	return false
}

func (m *room) grant() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for e := m.queue.Front(); e != nil && !m.shut.Load(); e = m.queue.Front() {
		w := e.Value.(*waiter)
		if !m.add(w.n) {
			return
		}
		m.queue.Remove(e)
		m.waiting.Add(-1)
		close(w.ready)
	}
}

// ages counts frames that are taken and not yet decided by when they were
// taken, in steps of a quarter of a second: their oldest says how long Kafka
// has owed an answer. It tells apart what is at most a minute old, which is
// enough, because nothing is taken long before that.
type ages [256]struct{ step, n atomic.Int64 }

// stepBits is the length of a step in milliseconds, as a power of two.
const stepBits = 8

func (a *ages) add(at time.Time) {
	step := at.UnixMilli() >> stepBits
	s := &a[uint64(step)%uint64(len(a))]
	s.n.Add(1)
	if s.step.Load() != step {
		s.step.Store(step)
	}
}

// remove takes off what add counted, and returns what is left of its step.
func (a *ages) remove(at time.Time) int64 {
	return a[uint64(at.UnixMilli()>>stepBits)%uint64(len(a))].n.Add(-1)
}

// oldest returns the age of the oldest frame, give or take a step; 0 if there
// is none.
func (a *ages) oldest(now time.Time) time.Duration {
	step := now.UnixMilli() >> stepBits
	var most int64
	for i := range a {
		if a[i].n.Load() > 0 {
			most = max(most, step-a[i].step.Load())
		}
	}
	return time.Duration(most<<stepBits) * time.Millisecond
}
