package services

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// tools are the commands of Kafka's own distribution, by the class behind each.
var tools = map[string]string{
	"kafka-configs.sh":          "kafka.admin.ConfigCommand",
	"kafka-console-consumer.sh": "org.apache.kafka.tools.consumer.ConsoleConsumer",
	"kafka-console-producer.sh": "org.apache.kafka.tools.ConsoleProducer",
	"kafka-consumer-groups.sh":  "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
	"kafka-get-offsets.sh":      "org.apache.kafka.tools.GetOffsetShell",
	"kafka-topics.sh":           "org.apache.kafka.tools.TopicCommand",
	"kafka-transactions.sh":     "org.apache.kafka.tools.TransactionsCommand",
}

// Tool returns one of Kafka's own commands, such as kafka-consumer-groups.sh, with
// --bootstrap-server set to b. It runs in the broker's container if there is one,
// else with this machine's Java; where neither is, the test skips, and fails if CI
// is set. Starting one takes seconds.
func (b Broker) Tool(t testing.TB, tool string, args ...string) *exec.Cmd {
	t.Helper()
	class, ok := tools[tool]
	if !ok {
		t.Fatalf("%s is none of the tools that are known", tool)
	}
	args = append([]string{"--bootstrap-server", b.Plain}, args...)
	if b.Docker != "" {
		return exec.CommandContext(t.Context(), "docker", append([]string{"exec", "--interactive", b.Docker, "/opt/kafka/bin/" + tool}, args...)...)
	}
	m := &maven{getenv: os.Getenv}
	java, _, err := m.java(t.Context())
	if err != nil {
		here().miss(t, "Kafka's own commands", err)
	}
	s, err := apacheKafka(new(Broker), nil)
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := m.fetch(t.Context(), s)
	if err != nil {
		here().miss(t, "Kafka's own commands", err)
	}
	return exec.CommandContext(t.Context(), java, append([]string{"-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(libraries, "*"), class}, args...)...)
}
