package gateway

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestRoomIsNeverExceeded(t *testing.T) {
	m := room{size: 1000}
	var held, most atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 0))
			for range 2000 {
				n := random.Int64N(400) + 1
				if !m.take(n) && !m.wait(n, nil) {
					t.Error("wait gave up")
					return
				}
				now := held.Add(n)
				for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
				}
				for range 3 {
					runtime.Gosched() // the others try meanwhile
				}
				held.Add(-n)
				m.give(n)
			}
		})
	}
	all.Wait()
	if got := most.Load(); got > m.size {
		t.Errorf("got %d bytes held at once, want at most %d", got, m.size)
	}
	if used, waiting := m.used.Load(), m.waiting.Load(); used != 0 || waiting != 0 {
		t.Errorf("got %d bytes used and %d waiting at the end, want none", used, waiting)
	}
}

func TestRoomIsGivenInOrder(t *testing.T) {
	m := room{size: 10}
	if !m.take(10) {
		t.Fatal("the whole room cannot be taken")
	}
	var got []int
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range 5 {
		all.Go(func() {
			m.wait(10, nil)
			mu.Lock()
			got = append(got, i)
			mu.Unlock()
			m.give(10)
		})
		for m.waiting.Load() != int32(i+1) {
			time.Sleep(time.Millisecond)
		}
	}
	if m.take(0) {
		t.Error("somebody overtook those who wait")
	}
	m.give(10)
	all.Wait()
	if want := []int{0, 1, 2, 3, 4}; !slices.Equal(got, want) {
		t.Errorf("got the order %v, want %v", got, want)
	}
}

func TestRoomWaitEnds(t *testing.T) {
	m := room{size: 10}
	m.open(false)
	quit, quitted, small := make(chan struct{}), make(chan bool), make(chan bool)
	go func() { quitted <- m.wait(10, quit) }()
	for m.waiting.Load() != 1 {
		time.Sleep(time.Millisecond)
	}
	go func() { small <- m.wait(4, nil) }()
	for m.waiting.Load() != 2 {
		time.Sleep(time.Millisecond)
	}
	if m.free() {
		t.Error("a room that is shut is free")
	}
	close(quit)
	if <-quitted {
		t.Error("got room from one that is shut")
	}
	m.open(true)
	if !<-small {
		t.Error("got none from one that is open")
	}
	if got := m.used.Load(); got != 4 {
		t.Errorf("got %d bytes used, want 4", got)
	}
}

func TestAges(t *testing.T) {
	var a ages
	start := time.UnixMilli(1_795_453_669_123)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	if got := a.oldest(start); got != 0 {
		t.Errorf("got %s of nothing", got)
	}
	a.add(at(0))
	a.add(at(time.Second))
	for _, tt := range []struct{ now, want time.Duration }{{0, 0}, {5 * time.Second, 5 * time.Second}, {time.Hour, time.Hour}, {-time.Hour, 0}} {
		got := a.oldest(at(tt.now))
		if diff := (got - tt.want).Abs(); diff > 256*time.Millisecond {
			t.Errorf("after %s: got %s", tt.now, got)
		}
	}
	a.remove(at(0))
	if got := a.oldest(at(5 * time.Second)); (got - 4*time.Second).Abs() > 256*time.Millisecond {
		t.Errorf("got %s, want the age of the second", got)
	}
	a.remove(at(time.Second))
	if got := a.oldest(at(5 * time.Second)); got != 0 {
		t.Errorf("got %s when everything is decided", got)
	}
}
