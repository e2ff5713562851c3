package judge

import (
	"sync"
	"time"

	"sluice/message"
)

// Content is what one index of a frame says, in a form that can be compared
// wherever it was read.
type Content struct {
	Type, Kind string
	// Time is the event time in milliseconds, 0 where the sender gave none.
	Time int64
	// Body is the fields as JSON, names in order and absent ones left out.
	Body string
}

// Element is one index of a frame as it was sent.
type Element struct {
	Content
	// Code is what the dead letter must say that it becomes, empty for a message.
	Code message.Code
}

// Frame is one transmission, which has the same ID however often it is sent.
type Frame struct {
	ID, Agent string
	// Stream is within what order holds, and Seq the place there, ascending.
	Stream   string
	Seq      uint64
	Elements []Element
	// Sent is when it was given to whoever sends it.
	Sent time.Time

	acked   time.Time
	refused bool
}

// Ledger is what agents did. It is safe for concurrent use.
type Ledger struct {
	mu     sync.Mutex
	frames map[string]*Frame
	acked  int
	waits  []Wait
}

// Wait is how long a frame took to get somewhere.
type Wait struct {
	Sent time.Time
	For  time.Duration
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger { return &Ledger{frames: map[string]*Frame{}} }

// Sending notes a frame that is about to be sent.
func (l *Ledger) Sending(f *Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frames[f.ID] = f
}

// Untaken strikes a frame that was not sent after all.
func (l *Ledger) Untaken(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.frames, id)
}

// Acked notes an acknowledgement. It reports whether the frame is one that was
// sent.
func (l *Ledger) Acked(id string, at time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.frames[id]
	if f == nil {
		return false
	}
	if f.acked.IsZero() {
		f.acked = at
		l.acked++
		l.waits = append(l.waits, Wait{f.Sent, at.Sub(f.Sent)})
	}
	return true
}

// Refused notes that a frame was turned down for good.
func (l *Ledger) Refused(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.frames[id]; f != nil {
		f.refused = true
	}
}

// SentAt returns when a frame was sent, and whether it was.
func (l *Ledger) SentAt(id string) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.frames[id]; f != nil {
		return f.Sent, true
	}
	return time.Time{}, false
}

// Counts returns how many frames were sent and how many acknowledged.
func (l *Ledger) Counts() (sent, acked int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.frames), l.acked
}

// Waits returns how long each acknowledgement took.
func (l *Ledger) Waits() []Wait {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Wait(nil), l.waits...)
}
