package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"sluice/internal/kafka"
	"sluice/message"
)

// Agent is one entry of the topic of agents, whose key is the name.
type Agent struct {
	Name string `json:"-"`
	// Tokens holds digests, each as sha256: and 64 hexadecimal digits; two
	// while one token replaces another.
	Tokens  []string  `json:"tokens"`
	Created time.Time `json:"created"`
	// Banned keeps the agent out without forgetting it.
	Banned bool `json:"banned,omitzero"`
}

// digest is what is known of a token. Tokens are 256 random bits, so that a
// plain hash cannot be searched for, and costs nothing at each login.
type digest [sha256.Size]byte

const digestPrefix = "sha256:"

func digestOf(token string) digest { return sha256.Sum256([]byte(token)) }

func (d digest) String() string { return digestPrefix + hex.EncodeToString(d[:]) }

func parseDigest(s string) (d digest, err error) {
	text, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(text) != 2*len(d) {
		return d, fmt.Errorf("%q is not %s and %d hexadecimal digits", message.Printable(s, 80), digestPrefix, 2*len(d))
	}
	_, err = hex.Decode(d[:], []byte(text))
	return d, err
}

// Agents follows the topic of agents, and knows what stands in it. It implements
// Directory.
type Agents struct {
	kafka kafka.Config
	log   *slog.Logger

	pulse kafka.Pulse

	mu    sync.RWMutex
	table *table
	ready bool
	gone  []func(string)
}

// table is what a pass over the topic has found.
type table struct {
	agents  map[string][]digest
	byToken map[digest]owner
}

type owner struct {
	digest digest
	agent  string
	banned bool
}

func newTable() *table {
	return &table{agents: make(map[string][]digest), byToken: make(map[digest]owner)}
}

// NewAgents returns an Agents that knows nobody before Run.
func NewAgents(k kafka.Config, log *slog.Logger) *Agents {
	return &Agents{kafka: k, log: log, table: newTable()}
}

// Run reads the topic to its end, and then follows it, until the context ends.
// While Kafka is away it keeps what it knows and tries again.
func (a *Agents) Run(ctx context.Context) error {
	const pause = 2 * time.Second
	for {
		err := a.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			a.log.Warn("agents cannot be followed, trying again: check the brokers and the topic",
				"topic", message.TopicAgents, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// follow builds a table of its own, since an agent whose removal was compacted
// away is known by not being there, and puts it to use when it is complete.
func (a *Agents) follow(ctx context.Context) error {
	r, err := a.kafka.Range(ctx, time.Time{}, a.log, message.TopicAgents)
	if err != nil {
		return fmt.Errorf("find the end of %s: %w", message.TopicAgents, err)
	}
	next, complete := newTable(), false
	use := func() {
		complete = true
		a.replace(next)
	}
	return a.kafka.Follow(ctx, kafka.FollowOptions{Range: r, Ready: use, Pulse: &a.pulse, Client: "agents"}, a.log,
		func(_ context.Context, rs []*kafka.Record) error {
			for _, rec := range rs {
				if complete {
					a.apply(rec)
				} else if _, err := next.apply(rec); err != nil {
					a.complain(rec, err)
				}
			}
			return nil
		})
}

// replace puts a complete table to use, and reports whom it lost.
func (a *Agents) replace(next *table) {
	a.mu.Lock()
	var lost []string
	for name, tokens := range a.table.agents {
		if slices.ContainsFunc(tokens, func(d digest) bool {
			o, ok := next.byToken[d]
			return !ok || o.agent != name || o.banned
		}) {
			lost = append(lost, name)
		}
	}
	a.table, a.ready = next, true
	gone := a.gone
	a.mu.Unlock()
	for _, name := range lost {
		for _, f := range gone {
			f(name)
		}
	}
}

// apply takes in one record.
func (a *Agents) apply(r *kafka.Record) {
	a.mu.Lock()
	lost, err := a.table.apply(r)
	gone := a.gone
	a.mu.Unlock()
	if err != nil {
		a.complain(r, err)
	}
	if lost {
		for _, f := range gone {
			f(string(r.Key))
		}
	}
}

func (a *Agents) complain(r *kafka.Record, err error) {
	a.log.Warn("entry of an agent cannot be used", "topic", r.Topic, "offset", r.Offset,
		"agent", message.Printable(string(r.Key), message.MaxName), "err", err)
}

// apply takes in one record, and reports whether a token of the agent is no
// longer good. An entry that cannot be read changes nothing.
func (t *table) apply(r *kafka.Record) (lost bool, err error) {
	name := string(r.Key)
	var next []digest
	var e Agent
	if r.Value != nil {
		if e, err = parseAgent(name, r.Value); err != nil {
			return false, err
		}
		for _, s := range e.Tokens {
			d, err := parseDigest(s)
			if err != nil {
				return false, err
			}
			if o, ok := t.byToken[d]; ok && o.agent != name {
				return false, errors.New("a token belongs to another agent already")
			}
			next = append(next, d)
		}
	}
	for _, d := range t.agents[name] {
		lost = lost || e.Banned || !slices.Contains(next, d)
		delete(t.byToken, d)
	}
	delete(t.agents, name)
	if len(next) > 0 {
		t.agents[name] = next
	}
	for _, d := range next {
		t.byToken[d] = owner{d, name, e.Banned}
	}
	return lost, nil
}

func parseAgent(name string, value []byte) (Agent, error) {
	a := Agent{Name: name}
	if !message.ValidName(name) {
		return a, fmt.Errorf("%q cannot name an agent", message.Printable(name, message.MaxName))
	}
	if err := json.Unmarshal(value, &a); err != nil {
		return a, fmt.Errorf("read the entry of agent %s: %w", name, err)
	}
	return a, nil
}

// Ready implements Directory. Following the topic is what shows that Kafka is
// there while no agent sends anything.
func (a *Agents) Ready() error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if !a.ready {
		return fmt.Errorf("topic %s is not read to its end yet", message.TopicAgents)
	}
	return a.pulse.Err()
}

// Watch implements Directory.
func (a *Agents) Watch(gone func(agent string)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = append(a.gone, gone)
}

// Lookup implements Directory. What it does for an unknown token takes as long as
// for a known one.
func (a *Agents) Lookup(token string) (string, error) {
	d := digestOf(token)
	a.mu.RLock()
	o, known := a.table.byToken[d]
	a.mu.RUnlock()
	// Of an unknown token, o is zero and this compares with the zero digest.
	same := subtle.ConstantTimeCompare(d[:], o.digest[:]) == 1
	switch {
	case !same || !known:
		return "", ErrUnauthorized
	case o.banned:
		return "", ErrBanned
	}
	return o.agent, nil
}
