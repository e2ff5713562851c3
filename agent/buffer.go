package agent

import (
	"fmt"
	"sync"
)

// frame is one data frame from Send until it is settled: acknowledged, or
// refused with nothing unacknowledged before it.
type frame struct {
	// data is what goes out. It never changes once it is there: a frame sent
	// again is the same bytes.
	data []byte
	// elements are the encoded messages while the agent's name is not known and
	// data cannot be made; nil afterwards.
	elements [][]byte
	batch    bool
	// refused is set when the gateway refused it. It keeps its number, and goes
	// out again in its place on a new connection.
	refused bool
}

func (f *frame) size() int {
	n := len(f.data)
	for _, e := range f.elements {
		n += len(e)
	}
	return n
}

// name makes the frame's bytes.
func (f *frame) name(encoding, agent string) {
	if f.elements == nil {
		return
	}
	f.data = appendFrame(make([]byte, 0, f.size()+len(f.elements)*(len(agent)+8)+8), encoding, agent, f.elements, f.batch)
	f.elements = nil
}

// buffer holds the frames that are not settled, in the order of their numbers.
// Its methods may be called from any goroutine.
type buffer struct {
	encoding           string
	maxFrames, maxSize int

	mu     sync.Mutex
	frames []*frame // frames[i] has the number first+i
	size   int      // of all frames, in bytes
	first  uint64   // the first number not settled
	sent   uint64   // the next number to go out on this connection
	agent  string   // whose frames these are; empty until known
	window uint64
	limit  int  // bytes of a frame
	closed bool // nothing more is taken
	over   bool // nothing more is sent
	// changed is closed, and made anew, when frames are settled and when closed
	// or over becomes true.
	changed chan struct{}
	// wake has a token when there may be something to write.
	wake chan struct{}

	counts counts
}

// counts are running totals.
type counts struct {
	taken, written, refused, connections, skipped uint64
}

// defaultLimit is the limit of a frame before the gateway said its own.
const defaultLimit = 256 << 10

func newBuffer(cfg Config) *buffer {
	return &buffer{
		encoding: cfg.Encoding, maxFrames: cfg.Buffer, maxSize: int(cfg.BufferBytes),
		first: 1, sent: 1, agent: cfg.Name, window: 1, limit: defaultLimit,
		changed: make(chan struct{}), wake: make(chan struct{}, 1),
	}
}

// add takes f, or returns ErrFull and the channel to wait on before trying
// again, ErrClosed or *TooLarge.
func (b *buffer) add(f *frame) (<-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, ErrClosed
	}
	if b.agent != "" {
		f.name(b.encoding, b.agent)
	}
	size := f.size()
	if size > b.limit {
		return nil, &TooLarge{Size: size, Limit: b.limit}
	}
	// A frame larger than the whole buffer goes alone, or it would never go.
	if len(b.frames) > 0 && (len(b.frames) >= b.maxFrames || b.size+size > b.maxSize) {
		return b.changed, ErrFull
	}
	b.frames = append(b.frames, f)
	b.size += size
	b.counts.taken++
	b.signal()
	return nil, nil
}

// rewind begins a connection: everything goes out again from the number that it
// returns.
func (b *buffer) rewind() (next uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// Nothing is on the connection yet, so frames refused before need no place
	// on it as long as none that is alive precedes them.
	b.sent = b.first + uint64(len(b.frames))
	b.settle(b.first)
	b.sent = b.first
	return b.first
}

// begin sets what the gateway's welcome said and makes the frames that waited
// for the agent's name.
func (b *buffer) begin(w *welcome) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.agent == "" {
		b.agent = w.Agent
	}
	if b.agent != w.Agent {
		return &foreign{want: b.agent, got: w.Agent}
	}
	b.counts.connections++
	b.window = uint64(max(w.Limits.Window, 1))
	if w.Limits.Frame > 0 {
		b.limit = int(w.Limits.Frame)
	}
	b.size = 0
	for _, f := range b.frames {
		f.name(b.encoding, b.agent)
		b.size += len(f.data)
	}
	return nil
}

// foreign says that the token belongs to somebody else. Frames sent with it
// would all become dead letters.
type foreign struct{ want, got string }

func (e *foreign) Error() string {
	return fmt.Sprintf("the token belongs to agent %q, and this is %q: check name and token", e.got, e.want)
}

// burst is how many frames take hands out at most.
const burst = 256

// take appends to dst the frames that may go out now, a burst at most, and
// counts them as sent.
func (b *buffer) take(dst [][]byte) [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	end := min(b.first+uint64(len(b.frames)), b.first+b.window, b.sent+burst)
	for ; b.sent < end; b.sent++ {
		dst = append(dst, b.frames[b.sent-b.first].data)
		b.counts.written++
	}
	return dst
}

// ack settles everything up to seq. It reports whether that was anything, and
// an error when seq was never sent on this connection.
func (b *buffer) ack(seq uint64) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if seq >= b.sent {
		return false, fmt.Errorf("ack of frame %d, and the last one sent is %d", seq, b.sent-1)
	}
	if seq < b.first {
		return false, nil
	}
	b.settle(seq + 1)
	return true, nil
}

// refuse marks seq as refused. It returns its bytes the first time, and nil
// when that is no news.
func (b *buffer) refuse(seq uint64) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if seq >= b.sent {
		return nil, fmt.Errorf("refusal of frame %d, and the last one sent is %d", seq, b.sent-1)
	}
	if seq < b.first {
		return nil, nil
	}
	f, data := b.frames[seq-b.first], []byte(nil)
	if !f.refused {
		f.refused = true
		b.counts.refused++
		data = f.data
	}
	b.settle(b.first)
	return data, nil
}

// settle drops the frames before the number to, and after them those that were
// refused: no later ack is needed for them. One that has yet to go out on this
// connection stays, or its number would go to another frame.
func (b *buffer) settle(to uint64) {
	n := int(to - b.first)
	for n < len(b.frames) && b.frames[n].refused && b.first+uint64(n) < b.sent {
		n++
	}
	if n == 0 {
		return
	}
	for i, f := range b.frames[:n] {
		b.size -= f.size()
		b.frames[i] = nil
	}
	b.frames = b.frames[n:]
	b.first += uint64(n)
	b.broadcast()
	b.signal() // the window has moved
}

func (b *buffer) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// close makes the buffer take nothing more.
func (b *buffer) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.broadcast()
}

// end closes the buffer and says that nothing more will be sent either.
func (b *buffer) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.over = true, true
	b.broadcast()
}

// isOver reports whether end was called.
func (b *buffer) isOver() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.over
}

// broadcast wakes everybody who waits for a change.
func (b *buffer) broadcast() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// state returns the first number not settled, how many frames are not, and the
// channel that closes when that changes.
func (b *buffer) state() (first uint64, pending int, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.first, len(b.frames), b.changed
}
