package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Pulse knows whether brokers still answer a reader without a group, of which
// they make two a second with or without traffic. The zero value has heard
// nothing. It is safe for concurrent use.
type Pulse struct {
	// Patience is how long the brokers may say nothing; 0 for 15 s.
	Patience time.Duration

	heard atomic.Pointer[time.Time]
}

// Err returns nil while the brokers answer. Else it says for how long they have
// not, and what to check.
func (p *Pulse) Err() error {
	at := p.heard.Load()
	if at == nil {
		return errors.New("kafka has not answered yet: check that the brokers are reachable")
	}
	if quiet := time.Since(*at); quiet > cmp.Or(p.Patience, patience) {
		return fmt.Errorf("kafka has not answered for %s: check that the brokers are reachable", quiet.Round(time.Second))
	}
	return nil
}

// hook returns what the reader's client is made with; a nil Pulse wants nothing.
func (p *Pulse) hook() kgo.Opt {
	if p == nil {
		return kgo.WithHooks()
	}
	return kgo.WithHooks(fetches{p})
}

// fetches is the hook of a client.
type fetches struct{ p *Pulse }

// OnBrokerRead implements kgo.HookBrokerRead.
func (f fetches) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	// The first fetch of an empty topic takes its time; until then any answer is
	// one.
	if err == nil && (kmsg.Key(key) == kmsg.Fetch || f.p.heard.Load() == nil) {
		f.p.heard.Store(new(time.Now()))
	}
}
