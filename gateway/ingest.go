package gateway

import (
	"errors"

	"sluice/internal/kafka"
	"sluice/message"
)

// Login implements Host.
func (g *Gateway) Login(_, token string) (string, error) {
	if g.agents.Ready() != nil {
		g.metrics.rejected.add("starting")
		return "", ErrBusy
	}
	agent, err := "", ErrUnauthorized
	if token != "" {
		agent, err = g.agents.Lookup(token)
	}
	if err != nil {
		reason := "bad_token"
		switch {
		case token == "":
			reason = "no_token"
		case errors.Is(err, ErrBanned):
			reason = "banned"
		}
		g.metrics.rejected.add(reason)
		g.own.refuse(reason, g.clock())
		return "", err
	}
	if err := g.taking(); err != nil {
		return "", err
	}
	return agent, nil
}

// taking returns ErrBusy while nothing new is let in.
func (g *Gateway) taking() error {
	g.mu.Lock()
	draining := g.draining
	g.mu.Unlock()
	reason := ""
	switch {
	case draining:
		g.metrics.rejected.add("draining")
		return ErrDraining
	case g.stalled.Load():
		reason = "stalled"
	case !g.room.free():
		reason = "full"
	default:
		return nil
	}
	g.metrics.rejected.add(reason)
	return ErrBusy
}

// Ingest implements Host.
func (g *Gateway) Ingest(f *message.Frame, done func(error)) error {
	if len(f.Value) > maxFrame {
		return ErrTooLarge
	}
	if !g.room.take(overhead + int64(cap(f.Value))) {
		return ErrBusy
	}
	if f.ReceivedAt.IsZero() {
		f.ReceivedAt = g.clock()
	}
	r := kafka.FrameRecord(f)
	g.ages.add(r.Timestamp)
	if c := g.counts[f.Protocol]; c != nil {
		c.add(len(f.Value))
	}
	if g.tracer != nil {
		g.beginTrace(r, f.Protocol, f.Connection)
	}
	g.producer.TryProduce(r, func(r *kafka.Record, err error) {
		g.settle(r, err)
		done(err)
	})
	return nil
}

// settle gives back what a frame held.
func (g *Gateway) settle(r *kafka.Record, err error) {
	if g.tracer != nil {
		g.endTrace(r, err)
	}
	left := g.ages.remove(r.Timestamp)
	if err != nil {
		g.metrics.errors.WithLabelValues(produceReason(err)).Inc()
	} else if left%sampleEvery == 0 {
		g.metrics.produce.Observe(g.clock().Sub(r.Timestamp).Seconds())
	}
	g.room.give(overhead + int64(cap(r.Value)))
}
