package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Member knows whether a reader works as a member of its consumer group, with or
// without traffic. The zero value is ready, and not in the group; a nil Member
// takes everything and complains of nothing. It is safe for concurrent use.
//
// It is told by the reader when the group gives it partitions or takes it for
// gone, and by the client of every answer of the coordinator, of which there is
// one each 1.5 s whether or not there is traffic.
type Member struct {
	// Patience is how long the coordinator may say nothing, and how long a
	// transaction may be open; 0 for 15 s.
	Patience time.Duration

	mu    sync.Mutex
	group string
	// in is set while the group counts us in, since when, and heard when the
	// coordinator last answered.
	in           bool
	since, heard time.Time
	// busy is since when a transaction is open, zero between transactions.
	busy time.Time
	// err ended the last client. It counts until there is reason to believe that
	// the next one does better.
	err      error
	failures int
	failing  time.Time
}

// patience is how long Kafka may say nothing until that is worth a word: longer
// than it takes to lose a leader and find another.
const patience = 15 * time.Second

// settling is how long a client is a member after the failure of the one before
// until the failure is taken for over, where no transaction shows it.
const settling = 5 * time.Second

// Err returns nil while the reader works in its group. Else it says since when it
// does not, why, and what to check.
func (m *Member) Err() error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now, most := time.Now(), cmp.Or(m.Patience, patience)
	if m.in && m.busy.IsZero() && now.Sub(m.since) > settling {
		m.err, m.failures = nil, 0
	}
	quiet, open := now.Sub(m.heard), now.Sub(m.busy)
	switch {
	case m.err != nil:
		return fmt.Errorf("reading as a member of group %s failed %d times in %s: check the brokers and the rights of this user: %w",
			m.group, m.failures, now.Sub(m.failing).Round(time.Second), m.err)
	case !m.in && m.group == "":
		return errors.New("not a member of a group yet: check that the brokers are reachable")
	case !m.in:
		return fmt.Errorf("not a member of group %s yet: check that the brokers are reachable", m.group)
	case quiet > most:
		return fmt.Errorf("the coordinator of group %s has not answered for %s: check that the brokers are reachable", m.group, quiet.Round(time.Second))
	case !m.busy.IsZero() && open > most:
		return fmt.Errorf("a transaction has been open for %s: check the brokers", open.Round(time.Second))
	}
	return nil
}

// hook returns what a client of the group is made with.
func (m *Member) hook(group string) kgo.Opt {
	if m == nil {
		return kgo.WithHooks()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.group = group
	return kgo.WithHooks(answers{m})
}

// joined notes that the group gave us our share, which may be nothing.
func (m *Member) joined() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.in {
		m.in, m.since = true, time.Now()
	}
	m.heard = time.Now()
}

// left notes that the group does not count us in any more.
func (m *Member) left() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.in = false
}

// failed notes that a client ended with an error.
func (m *Member) failed(err error) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.failing = time.Now()
	}
	m.err, m.in, m.busy = err, false, time.Time{}
	m.failures++
}

// begin notes that a transaction is open, end that it is not any more, and
// whether it was committed.
func (m *Member) begin() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy = time.Now()
}

func (m *Member) end(committed bool) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy = time.Time{}
	if committed {
		m.err, m.failures = nil, 0
	}
}

// answers is the hook of a client.
type answers struct{ m *Member }

// OnBrokerRead implements kgo.HookBrokerRead.
func (a answers) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if err != nil {
		return
	}
	switch kmsg.Key(key) {
	case kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.ConsumerGroupHeartbeat:
		a.m.mu.Lock()
		a.m.heard = time.Now()
		a.m.mu.Unlock()
	}
}
