package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/twmb/franz-go/pkg/kfake"
)

// ErrInUse says that another process works on the same data directory.
var ErrInUse = errors.New("in use by another sluice")

// Broker is a Kafka-protocol broker inside this process, for `up` and for tests.
// Real clients can connect to it. What it acknowledged survives kill -9 of the
// process, not the loss of power: it leaves writing to the disk to the system,
// since waiting for the disk made its crash behaviour worse (measured).
// It is not exactly once across a kill: a frame may come twice.
type Broker struct {
	cluster *kfake.Cluster
	lock    *flock.Flock
	log     *slog.Logger
}

// retentionEvery is how often what is too old or too much is removed.
const retentionEvery = time.Minute

// StartBroker starts a broker that listens on addr, an address of this machine,
// and keeps its data below dir, which it locks; "" keeps it in memory.
// Topics are never made by themselves.
func StartBroker(addr, dir string, log *slog.Logger) (*Broker, error) {
	b := &Broker{log: log}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("sluice-embedded"),
		kfake.BrokerConfigs(map[string]string{"message.max.bytes": fmt.Sprint(MaxDeadLetter)}),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			return new(net.ListenConfig).Listen(context.Background(), network, addr)
		}),
	}
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
		b.lock = flock.New(filepath.Join(dir, "lock"))
		held, err := b.lock.TryLock()
		if err != nil {
			return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
		}
		if !held {
			return nil, fmt.Errorf("data directory %s is %w: stop that one or choose another with --data", dir, ErrInUse)
		}
		opts = append(opts, kfake.DataDir(filepath.Join(dir, "kafka")))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		b.unlock()
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("address %s is in use: stop what listens there or choose another address for the broker: %w", addr, err)
		}
		return nil, fmt.Errorf("start embedded broker on %s: %w", addr, err)
	}
	b.cluster = cluster
	return b, nil
}

// Addr returns the address that clients connect to.
func (b *Broker) Addr() string { return b.cluster.ListenAddrs()[0] }

// Run keeps retention until the context ends.
func (b *Broker) Run(ctx context.Context) error {
	tick := time.NewTicker(retentionEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			b.Retain()
		}
	}
}

// Retain removes what is too old or too much by the settings of each topic, as
// Run does every minute.
func (b *Broker) Retain() {
	b.cluster.ApplyRetention()
	b.cluster.Compact()
}

// Close stops the broker in order and gives the directory free.
func (b *Broker) Close() {
	b.cluster.Close()
	b.unlock()
}

func (b *Broker) unlock() {
	if b.lock == nil {
		return
	}
	if err := b.lock.Unlock(); err != nil {
		b.log.Warn("data directory not unlocked", "err", err)
	}
}
