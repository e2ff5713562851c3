package gateway

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"sluice/internal/kafka"
	"sluice/message"
)

// tokenPrefix begins every token, so that one that leaked is recognised.
const tokenPrefix = "tsk_"

// ErrExists says that there is an agent of that name.
var ErrExists = errors.New("the agent exists already")

// ErrNoAgent says that there is no agent of that name.
var ErrNoAgent = errors.New("there is no such agent")

// Writer writes records and waits until Kafka has them; *kafka.Producer is one.
type Writer interface {
	Produce(ctx context.Context, rs ...*kafka.Record) error
}

// Registry changes the topic of agents, which every gateway follows. Two that
// change the same agent at the same time overwrite each other: it is for people.
type Registry struct {
	Kafka    kafka.Config
	Producer Writer
	Log      *slog.Logger
	Clock    func() time.Time
	// Rand makes tokens; crypto/rand.Reader outside of tests.
	Rand io.Reader
}

// Add makes an agent and returns its token, which stands nowhere else. It
// returns ErrExists for a name that is taken.
func (r *Registry) Add(ctx context.Context, name string) (token string, err error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	agents, err := r.read(ctx)
	if err != nil {
		return "", err
	}
	if _, ok := agents[name]; ok {
		return "", fmt.Errorf("add agent %s: %w", name, ErrExists)
	}
	if token, err = NewToken(r.Rand); err != nil {
		return "", err
	}
	return token, r.write(ctx, Agent{Name: name, Tokens: []string{digestOf(token).String()}, Created: r.Clock()})
}

// NewToken returns a token that nobody has: 256 bits of random in base64url.
func NewToken(random io.Reader) (string, error) {
	secret := make([]byte, 32)
	if _, err := io.ReadFull(random, secret); err != nil {
		return "", fmt.Errorf("make a token: %w", err)
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(secret), nil
}

// Put makes sure that there is an agent of that name with this token, and writes
// nothing if there is. Other tokens of it are no longer good.
func (r *Registry) Put(ctx context.Context, name, token string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if len(token) < 16 {
		return fmt.Errorf("put agent %s: a token of %d bytes can be guessed, want 16 or more", name, len(token))
	}
	agents, err := r.read(ctx)
	if err != nil {
		return err
	}
	want := digestOf(token).String()
	a, ok := agents[name]
	if ok && len(a.Tokens) == 1 && a.Tokens[0] == want && !a.Banned {
		return nil
	}
	if !ok {
		a = Agent{Name: name, Created: r.Clock()}
	}
	a.Tokens, a.Banned = []string{want}, false
	return r.write(ctx, a)
}

// Remove takes an agent out. Gateways close its connections. It returns
// ErrNoAgent where there is none.
func (r *Registry) Remove(ctx context.Context, name string) error {
	agents, err := r.read(ctx)
	if err != nil {
		return err
	}
	if _, ok := agents[name]; !ok {
		return fmt.Errorf("remove agent %s: %w", name, ErrNoAgent)
	}
	if err := r.Producer.Produce(ctx, &kafka.Record{Topic: message.TopicAgents, Key: []byte(name)}); err != nil {
		return fmt.Errorf("remove agent %s: %w", name, err)
	}
	return nil
}

// List returns the agents there are, by name.
func (r *Registry) List(ctx context.Context) ([]Agent, error) {
	agents, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Agent, 0, len(agents))
	for _, name := range slices.Sorted(maps.Keys(agents)) {
		list = append(list, agents[name])
	}
	return list, nil
}

func checkName(name string) error {
	switch {
	case strings.HasPrefix(name, "_"):
		return fmt.Errorf("agent %q: names that begin with _ are the gateway's own", message.Printable(name, message.MaxName))
	case !message.ValidName(name):
		return fmt.Errorf("agent %q: want 1 to %d letters, digits and . _ : @ -, the first a letter or a digit",
			message.Printable(name, message.MaxName), message.MaxName)
	}
	return nil
}

func (r *Registry) write(ctx context.Context, a Agent) error {
	a.Created = a.Created.UTC().Truncate(time.Second)
	value, err := json.Marshal(a)
	if err == nil {
		err = r.Producer.Produce(ctx, &kafka.Record{Topic: message.TopicAgents, Key: []byte(a.Name), Value: value})
	}
	if err != nil {
		return fmt.Errorf("write agent %s: %w", a.Name, err)
	}
	return nil
}

// read returns what stands in the topic now. An entry that cannot be read changes
// nothing but the log, here as in every gateway.
func (r *Registry) read(ctx context.Context) (map[string]Agent, error) {
	span, err := r.Kafka.Range(ctx, time.Time{}, r.Log, message.TopicAgents)
	if err != nil {
		return nil, fmt.Errorf("read agents: %w", err)
	}
	agents := make(map[string]Agent)
	err = r.Kafka.Follow(ctx, kafka.FollowOptions{Range: span, Bounded: true}, r.Log,
		func(_ context.Context, rs []*kafka.Record) error {
			for _, rec := range rs {
				name := string(rec.Key)
				if rec.Value == nil {
					delete(agents, name)
					continue
				}
				a, err := parseAgent(name, rec.Value)
				if err != nil {
					r.Log.Warn("entry of an agent cannot be used", "topic", rec.Topic, "offset", rec.Offset, "err", err)
					continue
				}
				agents[name] = a
			}
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("read agents: %w", err)
	}
	return agents, nil
}
