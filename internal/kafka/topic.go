package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"sluice/message"
)

// Topics says how topics are created.
type Topics struct {
	Create              bool          `koanf:"create" doc:"create topics that are absent; false leaves it to the operator"`
	Partitions          int32         `koanf:"partitions" doc:"partitions of ingest and of each typed topic; fixed once created, since order is per partition"`
	Replication         int16         `koanf:"replication" doc:"replicas of each partition; 3 in production"`
	MinInsync           int16         `koanf:"min_insync" doc:"replicas that must have a record before it is acknowledged; 2 in production"`
	Retention           time.Duration `koanf:"retention" min:"-1" doc:"how long ingest and typed topics keep a record; -1 keeps all"`
	DeadLetterRetention time.Duration `koanf:"dead_letter_retention" min:"-1" doc:"how long a dead letter is kept; -1 keeps all"`
	RetentionBytes      int64         `koanf:"retention_bytes" doc:"bytes kept of each partition; -1 keeps all"`
	// SegmentBytes is the size of the files that a partition is kept in, 0 for
	// the broker's own. What is beyond retention goes a file at a time.
	SegmentBytes int64 `koanf:"-"`
}

// topic is one topic as sluice wants it.
type topic struct {
	name       string
	partitions int32
	configs    map[string]string
}

// maxBytes is the largest batch for a topic.
func maxBytes(topic string) int32 {
	if topic == message.TopicDeadLetters {
		return MaxDeadLetter
	}
	return MaxMessage
}

// wanted lists the topics of an installation with these data types.
func (t Topics) wanted(types []string) []topic {
	kept := func(name string, retention time.Duration) topic {
		ms := int64(-1)
		if retention >= 0 {
			ms = retention.Milliseconds()
		}
		configs := map[string]string{
			"cleanup.policy":      "delete",
			"retention.ms":        strconv.FormatInt(ms, 10),
			"retention.bytes":     strconv.FormatInt(t.RetentionBytes, 10),
			"max.message.bytes":   strconv.Itoa(int(maxBytes(name))),
			"min.insync.replicas": strconv.Itoa(int(t.MinInsync)),
		}
		if t.SegmentBytes > 0 {
			configs["segment.bytes"] = strconv.FormatInt(t.SegmentBytes, 10)
		}
		return topic{name, t.Partitions, configs}
	}
	compacted := func(name string) topic {
		return topic{name, 1, map[string]string{
			"cleanup.policy":      "compact",
			"max.message.bytes":   strconv.Itoa(int(maxBytes(name))),
			"min.insync.replicas": strconv.Itoa(int(t.MinInsync)),
		}}
	}
	all := []topic{
		kept(message.TopicIngest, t.Retention),
		kept(message.TopicDeadLetters, t.DeadLetterRetention),
		compacted(message.TopicSchemas),
		compacted(message.TopicAgents),
		compacted(message.TopicControl),
	}
	for _, name := range types {
		all = append(all, kept(message.Topic(name), t.Retention))
	}
	return all
}

// Difference is a setting of a topic that is not what the configuration says.
// It is reported and left as it is.
type Difference struct{ Topic, Setting, Got, Want string }

// String says what differs, and that it is left alone.
func (d Difference) String() string {
	return fmt.Sprintf("topic %s has %s %s, configured is %s; existing topics are never altered", d.Topic, d.Setting, d.Got, d.Want)
}

// EnsureTopics creates the topics that are absent, if the configuration allows
// it, and returns what differs in those that stand. It returns an error that
// names every topic that is missing or could not be made.
func (c Config) EnsureTopics(ctx context.Context, types []string, log *slog.Logger) ([]Difference, error) {
	cl, err := c.client(log)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)

	wanted := c.Topics.wanted(types)
	names := make([]string, len(wanted))
	for i, t := range wanted {
		names[i] = t.name
	}
	have, err := adm.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	var (
		diffs []Difference
		errs  []error
		stand []topic
	)
	for _, t := range wanted {
		detail := have[t.name]
		switch {
		case detail.Err == nil && len(detail.Partitions) > 0:
			stand = append(stand, t)
			if got := len(detail.Partitions); got != int(t.partitions) {
				diffs = append(diffs, Difference{t.name, "partitions", strconv.Itoa(got), strconv.Itoa(int(t.partitions))})
			}
		case !c.Topics.Create:
			errs = append(errs, fmt.Errorf("topic %s is missing and kafka.topics.create is false: make it with sluice topics create", t.name))
		default:
			if err := create(ctx, adm, t, c.Topics.Replication); err != nil {
				errs = append(errs, err)
				continue
			}
			log.Info("topic created", "topic", t.name, "partitions", t.partitions)
		}
	}
	more, err := configDifferences(ctx, adm, stand)
	if err != nil {
		errs = append(errs, err)
	}
	return append(diffs, more...), errors.Join(errs...)
}

func create(ctx context.Context, adm *kadm.Client, t topic, replication int16) error {
	configs := make(map[string]*string, len(t.configs))
	for k, v := range t.configs {
		configs[k] = new(v)
	}
	_, err := adm.CreateTopic(ctx, t.partitions, replication, configs, t.name)
	// Another process may have been quicker.
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s with %d partitions and %d replicas: %w", t.name, t.partitions, replication, err)
	}
	return nil
}

func configDifferences(ctx context.Context, adm *kadm.Client, stand []topic) ([]Difference, error) {
	if len(stand) == 0 {
		return nil, nil
	}
	names := make([]string, len(stand))
	for i, t := range stand {
		names[i] = t.name
	}
	described, err := adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	var diffs []Difference
	for _, t := range stand {
		rc, err := described.On(t.name, nil)
		if err == nil {
			err = rc.Err
		}
		if err != nil {
			return diffs, fmt.Errorf("describe topic %s: %w", t.name, err)
		}
		got := make(map[string]string, len(rc.Configs))
		for _, kv := range rc.Configs {
			got[kv.Key] = kv.MaybeValue()
		}
		for _, key := range slices.Sorted(maps.Keys(t.configs)) {
			if v, ok := got[key]; ok && v != t.configs[key] {
				diffs = append(diffs, Difference{t.name, key, v, t.configs[key]})
			}
		}
	}
	return diffs, nil
}
