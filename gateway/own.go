package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"sluice/internal/kafka"
	"sluice/message"
)

const (
	// ownProtocol is the protocol of the gateway's own frames, and ownAgent the
	// key of those that are about no agent. No agent can have that name.
	ownProtocol = "gateway"
	ownAgent    = "_gateway"

	// ownInFlight is how many of them are given to the producer at a time.
	ownInFlight = 256
	// ownTries is how often one is written before it is given up.
	ownTries = 5
	// aliveEvery is how often a connection says that it is there.
	aliveEvery = 20 * time.Second
)

// event is the body of the gateway's own frames.
type event struct {
	Event      string    `json:"event"`
	Connection string    `json:"connection,omitzero"`
	Protocol   string    `json:"protocol,omitzero"`
	Instance   string    `json:"instance,omitzero"`
	Reason     string    `json:"reason,omitzero"`
	Since      int64     `json:"since,omitzero"` // milliseconds
	Reasons    []refusal `json:"reasons,omitzero"`
}

type refusal struct {
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

// own writes the gateway's own frames. They wait here while Kafka is slow; what
// does not fit is counted as dropped. Refused logins are summed up meanwhile.
type own struct {
	producer Producer
	ages     *ages
	dropped  func(why string)
	most     int // frames that may wait

	mu       sync.Mutex
	queue    []ownFrame
	inFlight int
	refused  map[string]int64
	since    time.Time // of refused
	said     time.Time // when refused was last written
}

type ownFrame struct {
	message.Frame
	tries int
}

// add queues a frame about agent.
func (o *own) add(agent, id string, e event, at time.Time) {
	value, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("marshal %+v: %v", e, err)) // strings and numbers only
	}
	f := message.Frame{
		ID: id, Agent: agent, Protocol: ownProtocol, ContentType: "application/json",
		Connection: e.Connection, Value: value, ReceivedAt: at,
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.push(ownFrame{Frame: f})
}

func (o *own) push(f ownFrame) {
	if len(o.queue) >= o.most {
		o.dropped("full")
		return
	}
	o.queue = append(o.queue, f)
}

// refuse counts a refused login.
func (o *own) refuse(reason string, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refused == nil {
		o.refused, o.since = make(map[string]int64), at
	}
	o.refused[reason]++
}

// sumUp queues a frame with the logins refused since the last one, if there are
// any and that is a second ago.
func (o *own) sumUp(instance string, now time.Time) {
	o.mu.Lock()
	if o.refused == nil || now.Sub(o.said) < time.Second && !now.Before(o.said) {
		o.mu.Unlock()
		return
	}
	e := event{Event: "refused", Instance: instance, Since: o.since.UnixMilli()}
	for _, reason := range slices.Sorted(maps.Keys(o.refused)) {
		e.Reasons = append(e.Reasons, refusal{reason, o.refused[reason]})
	}
	o.refused, o.said = nil, now
	o.mu.Unlock()
	// One a second at most, so the time tells them apart, over restarts too.
	o.add(ownAgent, ownAgent+"/"+instance+"/"+strconv.FormatInt(now.UnixMilli(), 10), e, now)
}

// flush gives the producer what waits, as much as may be in flight.
func (o *own) flush() {
	o.mu.Lock()
	n := min(len(o.queue), ownInFlight-o.inFlight)
	due := slices.Clone(o.queue[:n])
	o.queue = slices.Delete(o.queue, 0, n)
	if len(o.queue) == 0 {
		o.queue = nil
	}
	o.inFlight += n
	o.mu.Unlock()
	for _, f := range due {
		r := kafka.FrameRecord(&f.Frame)
		o.ages.add(r.Timestamp)
		o.producer.TryProduce(r, func(r *kafka.Record, err error) { o.settle(f, r, err) })
	}
}

// settle ends a try. A frame whose fate is unknown is written again under the
// same ID: to those behind it is the same.
func (o *own) settle(f ownFrame, r *kafka.Record, err error) {
	o.ages.remove(r.Timestamp)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inFlight--
	if err == nil {
		return
	}
	if f.tries++; f.tries < ownTries {
		o.push(f)
	} else {
		o.dropped("failed")
	}
}

// idle reports whether everything is written.
func (o *own) idle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue) == 0 && o.inFlight == 0
}

// waiting returns how many frames were not given to the producer yet.
func (o *own) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue)
}
