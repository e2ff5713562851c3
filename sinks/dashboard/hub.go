package dashboard

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// idlePing is after how long without a change viewers hear that the server is
	// still there.
	idlePing = 5 * time.Second
	// maxBehind is how old the oldest message waiting for a viewer may be. Older
	// ones go, all of them, and a snapshot takes their place.
	maxBehind = 2 * time.Second
	// retryAfter is how long a viewer is asked to wait after a bye, in ms.
	retryAfter = 1000
)

// hub keeps all viewers at the same state. It compares the state with the one
// sent before, a few times a second, and hands every viewer the same message.
type hub struct {
	picture func() picture
	meters  meters
	epoch   string
	hz      int
	limit   int
	// writeWait is how long one write may block before the viewer is closed.
	writeWait time.Duration

	mu      sync.Mutex // guards what is below and the queues of the viewers
	viewers map[*viewer]bool
	left    sync.WaitGroup // of the viewers
	closed  bool
	seq     uint64
	sent    picture
	summary []byte           // of sent, as JSON
	ids     map[string]int   // the number of every row of sent, by its ID
	numbers int              // given so far
	said    time.Time        // when anything was last sent
	whole   []outgoing       // the snapshot of sent, nil until one asks for it
	rows    map[string]int32 // where each row of sent stands in it
}

// outgoing is a message made once for all viewers.
type outgoing struct {
	at  time.Time
	msg *websocket.PreparedMessage
}

// newHub returns a hub that shows what picture returns.
func newHub(s Settings, show func() picture, m meters) *hub {
	var epoch [6]byte
	_, _ = rand.Read(epoch[:]) // never fails, see crypto/rand
	return &hub{
		picture: show, meters: m, epoch: hex.EncodeToString(epoch[:]), hz: s.Hz, limit: s.MaxViewers, writeWait: 10 * time.Second,
		viewers: make(map[*viewer]bool), ids: make(map[string]int), rows: make(map[string]int32),
	}
}

// run updates the viewers until ctx ends.
func (h *hub) run(ctx context.Context) error {
	tick := time.NewTicker(time.Second / time.Duration(h.hz))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := h.tick(time.Now()); err != nil {
				return err
			}
		}
	}
}

// tick sends what changed, if anyone looks.
func (h *hub) tick(now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.viewers) == 0 {
		return nil
	}
	return h.update(now)
}

// update compares the state with the one sent before and queues the difference.
// The caller holds mu. Now is the clock that queues are measured by.
func (h *hub) update(now time.Time) error {
	p := h.picture()
	d := delta{T: "delta", Now: p.now.UnixMilli()}
	rows := make(map[string]int32, len(p.Rows))
	for i := range p.Rows {
		r := &p.Rows[i]
		rows[r.ID] = int32(i)
		old, ok := h.rows[r.ID]
		if ok {
			if up := changes(h.ids[r.ID], &h.sent.Rows[old], r); up != nil {
				d.Up = append(d.Up, up)
			}
			continue
		}
		h.numbers++
		h.ids[r.ID] = h.numbers
		d.Add = append(d.Add, values(h.numbers, r))
	}
	for i := range h.sent.Rows {
		id := h.sent.Rows[i].ID
		if _, ok := rows[id]; !ok {
			d.Del = append(d.Del, h.ids[id])
			delete(h.ids, id)
		}
	}
	s := summarize(p)
	summary, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode a summary: %w", err)
	}
	if !bytes.Equal(summary, h.summary) {
		d.summary = s
	}
	h.sent, h.rows, h.summary = p, rows, summary
	if d.Up == nil && d.Add == nil && d.Del == nil && d.summary == nil {
		if now.Sub(h.said) < idlePing {
			return nil
		}
		return h.say(now, short{T: "ping", Now: d.Now})
	}
	h.seq++
	d.Seq, h.whole = h.seq, nil
	return h.say(now, d)
}

// say queues one message for every viewer. The caller holds mu.
func (h *hub) say(now time.Time, m any) error {
	h.said = now
	if len(h.viewers) == 0 {
		return nil
	}
	msg, err := prepare(m)
	if err != nil {
		return err
	}
	for v := range h.viewers {
		if len(v.queue) > 0 && now.Sub(v.queue[0].at) > maxBehind {
			v.queue, v.whole = nil, true
		}
		if !v.whole {
			v.queue = append(v.queue, outgoing{now, msg})
		}
		v.wakeUp()
	}
	return nil
}

// join adds a viewer, which gets a snapshot first. It returns false when there
// are too many or the hub is closed.
func (h *hub) join(v *viewer) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.viewers) >= h.limit {
		return false, nil
	}
	if len(h.viewers) == 0 {
		if err := h.update(time.Now()); err != nil {
			return false, err
		}
	}
	h.viewers[v] = true
	h.left.Add(1)
	h.meters.viewers.Set(float64(len(h.viewers)))
	v.whole = true
	v.wakeUp()
	return true, nil
}

// leave removes a viewer that joined.
func (h *hub) leave(v *viewer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.viewers, v)
	h.meters.viewers.Set(float64(len(h.viewers)))
	h.left.Done()
}

// full reports whether no viewer can join.
func (h *hub) full() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed || len(h.viewers) >= h.limit
}

// take returns what v is to send next, nil for nothing, and whether it is to
// say goodbye after that.
func (h *hub) take(v *viewer) (list []outgoing, bye bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !v.whole {
		list, v.queue = v.queue, nil
		return list, h.closed, nil
	}
	if h.whole == nil {
		for _, s := range parts(h.epoch, h.seq, h.sent, h.ids) {
			msg, err := prepare(s)
			if err != nil {
				return nil, false, err
			}
			h.whole = append(h.whole, outgoing{msg: msg})
		}
	}
	if v.synced {
		h.meters.resyncs.Inc()
	}
	v.queue, v.whole, v.synced = nil, false, true
	return h.whole, h.closed, nil
}

// resync gives v a snapshot in the place of what waits for it.
func (h *hub) resync(v *viewer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v.queue, v.whole = nil, true
	v.wakeUp()
}

// tell queues one message for v alone.
func (h *hub) tell(v *viewer, m any) error {
	msg, err := prepare(m)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	// Answers never make a queue longer than updates do.
	if len(v.queue) < 64 && !v.whole {
		v.queue = append(v.queue, outgoing{time.Now(), msg})
	}
	v.wakeUp()
	return nil
}

// close says goodbye to all viewers and waits until they are gone. Those that
// are not when ctx ends are cut off.
func (h *hub) close(ctx context.Context) {
	h.mu.Lock()
	h.closed = true
	for v := range h.viewers {
		v.wakeUp()
	}
	h.mu.Unlock()
	cut := context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for v := range h.viewers {
			_ = v.conn.Close()
		}
	})
	defer cut()
	h.left.Wait()
}

// prepare encodes a message once for all who get it.
func prepare(m any) (*websocket.PreparedMessage, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode a live message: %w", err)
	}
	msg, err := websocket.NewPreparedMessage(websocket.TextMessage, b)
	if err != nil {
		return nil, fmt.Errorf("prepare a live message: %w", err)
	}
	return msg, nil
}

// now returns the clock of the state, in ms.
func (h *hub) now() int64 { return h.picture().now.UnixMilli() }
