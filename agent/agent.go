package agent

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// Options are what a Client is given beside its configuration. The zero value
// works.
type Options struct {
	// Logger gets state changes; nil discards them.
	Logger *slog.Logger
	// Clock says when a message without a time was made; nil is time.Now.
	Clock func() time.Time
	// Rand makes the session's name and spreads reconnects; nil is crypto/rand.
	Rand io.Reader
	// Dial opens the network connection; nil is a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is used for wss; nil verifies against the system's roots.
	TLS *tls.Config
	// Registerer gets the client's metrics; nil for none.
	Registerer prometheus.Registerer

	// OnAck is called with the number of the last of the frames that are now
	// acknowledged, and OnRefused once for each frame that was refused. They are
	// called one at a time, in the order in which the gateway spoke, and hold up
	// its next word: they must return soon, and must not call Send or Flush.
	OnAck     func(seq uint64)
	OnRefused func(Refused)
	// OnState is called for each change of the connection, one call at a time.
	OnState func(State)
}

// Status is how the connection stands.
type Status int

// The statuses.
const (
	// Connecting means that the client dials.
	Connecting Status = iota
	// Connected means that the gateway has welcomed the agent.
	Connected
	// Waiting means that there is no connection, and a new attempt after Retry.
	Waiting
	// Rejected means that the gateway does not let the agent in. The client
	// tries again, slowly; somebody has to look at token and name.
	Rejected
	// Stopped means that Run is over.
	Stopped
)

// String returns the status in one word.
func (s Status) String() string {
	names := [...]string{"connecting", "connected", "waiting", "rejected", "stopped"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("Status(%d)", int(s))
	}
	return names[s]
}

// State is the status of the connection and what belongs to it.
type State struct {
	Status Status
	// Agent is who the gateway says we are, when Connected.
	Agent string
	// Err is why there is no connection, when Waiting, Rejected or Stopped by
	// an error.
	Err error
	// Retry is how long until the next attempt, when Waiting or Rejected.
	Retry time.Duration
}

// Client sends frames to a gateway and keeps them until they are settled.
type Client struct {
	cfg     Config
	opts    Options
	url     *url.URL
	log     *slog.Logger
	session string
	buffer  *buffer
	backoff backoff
	running atomic.Bool
}

// New returns a client for the gateway that cfg names; fields that are zero get
// their defaults. It does no I/O: Run connects. Messages may be sent before.
func New(cfg Config, opts Options) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Rand == nil {
		opts.Rand = rand.Reader
	}
	if opts.Dial == nil {
		opts.Dial = new(net.Dialer).DialContext
	}
	u, err := endpoint(cfg.URL)
	if err != nil {
		return nil, err
	}
	var session [16]byte
	if _, err := io.ReadFull(opts.Rand, session[:]); err != nil {
		return nil, fmt.Errorf("make a session name: %w", err)
	}
	c := &Client{
		cfg: cfg, opts: opts, url: u,
		log:     opts.Logger.With("addr", u.Host),
		session: hex.EncodeToString(session[:]),
		buffer:  newBuffer(cfg),
		backoff: newBackoff(opts.Rand),
	}
	if opts.Registerer != nil {
		if err := opts.Registerer.Register(metrics{c.buffer}); err != nil {
			return nil, fmt.Errorf("register agent metrics: %w", err)
		}
	}
	return c, nil
}

// Send takes one message as one frame. It returns once the frame is in the
// buffer, and waits while that is full, until there is room or ctx ends; Flush
// waits for the acknowledgement. Frames go out in the order in which they were
// taken. The error is *TooLarge, ErrClosed, that of ctx, or says what about the
// message cannot be encoded; the frame was not taken then.
func (c *Client) Send(ctx context.Context, m Message) error {
	return c.send(ctx, []Message{m}, false)
}

// SendBatch takes messages as one frame, which counts against the limit of one.
// It is as Send otherwise. No messages are no frame.
func (c *Client) SendBatch(ctx context.Context, messages []Message) error {
	if len(messages) == 0 {
		return nil
	}
	return c.send(ctx, messages, len(messages) > 1)
}

// TrySend is as SendBatch, but returns ErrFull where that would wait.
func (c *Client) TrySend(messages ...Message) error {
	if len(messages) == 0 {
		return nil
	}
	f, err := c.encode(messages, len(messages) > 1)
	if err != nil {
		return err
	}
	_, err = c.buffer.add(f)
	return err
}

func (c *Client) send(ctx context.Context, messages []Message, batch bool) error {
	f, err := c.encode(messages, batch)
	if err != nil {
		return err
	}
	for {
		room, err := c.buffer.add(f)
		if !errors.Is(err, ErrFull) {
			return err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *Client) encode(messages []Message, batch bool) (*frame, error) {
	f := &frame{elements: make([][]byte, len(messages)), batch: batch}
	now := c.opts.Clock()
	for i := range messages {
		var err error
		if f.elements[i], err = encodeElement(c.cfg.Encoding, &messages[i], now); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Acked returns the number up to which every frame is settled: durable in
// Kafka, or refused. Frames are numbered from 1 in the order of Send.
func (c *Client) Acked() uint64 {
	first, _, _ := c.buffer.state()
	return first - 1
}

// Pending returns how many frames are not settled.
func (c *Client) Pending() int {
	_, n, _ := c.buffer.state()
	return n
}

// Session returns the name of the run of numbers: a frame's ID is agent,
// session and number.
func (c *Client) Session() string { return c.session }

// Flush waits until every frame taken before the call is settled. It returns
// the error of ctx, or ErrClosed when Run ended before.
func (c *Client) Flush(ctx context.Context) error {
	first, n, changed := c.buffer.state()
	last := first + uint64(n)
	for first < last {
		if c.buffer.isOver() {
			return ErrClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
		first, _, changed = c.buffer.state()
	}
	return nil
}

// Run keeps a connection to the gateway and sends what Send takes, until ctx
// ends. Then it takes nothing more, goes on for Config.Linger or until nothing
// is pending, closes and returns nil; Pending says what was left. It returns an
// error only for what trying again cannot mend. A client runs once.
func (c *Client) Run(ctx context.Context) error {
	if !c.running.CompareAndSwap(false, true) {
		return errors.New("agent client was run before")
	}
	// The connection outlives ctx by the time that flushing takes.
	g, work := errgroup.WithContext(context.WithoutCancel(ctx))
	g.Go(func() error {
		select {
		case <-ctx.Done():
			c.linger(work)
			return errStop
		case <-work.Done():
			return nil
		}
	})
	g.Go(func() error { return c.keep(work, ctx.Done()) })
	err := g.Wait()
	c.buffer.end()
	if errors.Is(err, errStop) {
		err = nil
	}
	if n := c.Pending(); n > 0 {
		c.log.Warn("agent stopped before the gateway acknowledged everything", "err", fmt.Errorf("%d frames are lost", n))
	}
	c.tell(State{Status: Stopped, Err: err})
	return err
}

// errStop ends the connection after the last flush.
var errStop = errors.New("agent stopped")

// linger refuses new frames and waits until the others are settled, for
// Config.Linger at most.
func (c *Client) linger(work context.Context) {
	c.buffer.close()
	timer := time.NewTimer(c.cfg.Linger)
	defer timer.Stop()
	for {
		_, n, changed := c.buffer.state()
		if n == 0 {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			return
		case <-work.Done():
			return
		}
	}
}

// keep connects, and connects again, until ctx ends. When hurry closes, a wait
// that is on ends: there is little time left to flush.
func (c *Client) keep(ctx context.Context, hurry <-chan struct{}) error {
	logged := Connected // what of this outage is in the log
	for {
		c.tell(State{Status: Connecting})
		conn := &connection{client: c}
		err := conn.run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if conn.welcomed {
			logged = Connected
		}
		wait, status, err := c.backoff.next(err, conn.progress)
		if wait < 0 {
			return err
		}
		say := status
		switch {
		case conn.welcomed && restarts(err):
			c.log.Info("gateway restarts, connecting again")
			say = logged // whether that comes to nothing is another line
		case status == logged:
		case status == Rejected:
			c.log.Warn("gateway does not let this agent in, check token and name", "err", err)
		case logged == Connected:
			c.log.Warn("no connection to the gateway, trying again", "err", err)
		}
		logged = say
		c.tell(State{Status: status, Err: err, Retry: wait})
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-hurry:
			hurry = nil
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

func (c *Client) tell(s State) {
	if c.opts.OnState != nil {
		c.opts.OnState(s)
	}
}
