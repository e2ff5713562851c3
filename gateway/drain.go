package gateway

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"
)

const (
	// The phases of a shutdown, within the 10 s of the whole process.
	drainTime = 6500 * time.Millisecond
	closeTime = 500 * time.Millisecond
	flushTime = 2 * time.Second

	// Connections end one after the other, so far apart, but all of them within
	// spreadTime: whoever they come back to is not to meet all at once.
	endGap     = 10 * time.Millisecond
	spreadTime = 4 * time.Second
)

// shutdown ends everything, in the order in which an agent would want it:
//
//	not accepting ─► connections end, spread ─► requests end ─► Kafka has everything
//	      each: decided ─► acked ─► 1012 ─┘
//
// Until its turn comes, a connection is served as ever.
func (g *Gateway) shutdown(srv *http.Server, l *listener) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	g.log.Info("draining 1/4: nobody is let in any more")
	g.mu.Lock()
	g.draining = true
	g.mu.Unlock()
	_ = l.Close()
	// Connections between two requests close, the others after their answer. What
	// still asks is answered, and told to ask elsewhere; after Shutdown net/http
	// would close on it.
	srv.SetKeepAlivesEnabled(false)
	n := g.connected()
	g.log.Info("draining 2/4: connections end, spread out", "connections", n, "over", spread(n))
	g.endAll(ctx)
	g.log.Info("draining 3/4: waiting for what is being answered")
	until(ctx, func() bool { return g.connected() == 0 })
	_ = srv.Shutdown(ctx)
	_ = srv.Close()
	l.closeAll()
	ctx, cancel = context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	until(ctx, func() bool { return g.active.Load() == 0 })
	g.log.Info("draining 4/4: waiting for kafka to have what was taken")
	ctx, cancel = context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	until(ctx, func() bool {
		if !g.stalled.Load() {
			g.own.sumUp(g.instance, g.clock())
			g.own.flush()
		}
		return g.own.idle() && g.room.used.Load() == 0
	})
	if used := g.room.used.Load(); used > 0 {
		g.log.Warn("stopped while kafka owed answers; agents will send these frames again", "bytes", used)
	}
}

// spread returns how long the ends of n connections take: nothing for one.
func spread(n int) time.Duration {
	return min(time.Duration(max(n-1, 0))*endGap, spreadTime)
}

// endAll ends every connection there is, evenly over spread, and the rest at once
// when the context ends.
func (g *Gateway) endAll(ctx context.Context) {
	g.mu.Lock()
	left := slices.Collect(maps.Keys(g.conns))
	g.mu.Unlock()
	n, ended := len(left), 0
	began, over := time.Now(), spread(n)
	tick := time.NewTicker(endGap)
	defer tick.Stop()
	for {
		due := n
		if passed := time.Since(began); passed < over {
			due = 1 + int(int64(n-1)*int64(passed)/int64(over))
		}
		g.mu.Lock()
		for _, c := range left[ended:due] {
			g.end(c, Draining)
		}
		g.mu.Unlock()
		if ended = due; ended == n {
			return
		}
		select {
		case <-ctx.Done():
			over = 0
		case <-tick.C:
		}
	}
}

// until returns when ok is true, or the context ends.
func until(ctx context.Context, ok func() bool) {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
