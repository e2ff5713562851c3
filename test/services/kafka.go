package services

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Broker is a Kafka: one broker, which makes no topic by itself and is its own
// controller.
type Broker struct {
	Plain string // host:port of PLAINTEXT
	TLS   string // host:port of TLS without a login; empty if it has none
	SASL  string // host:port of TLS with a login: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER
	CA    []byte // the certificate that signed the broker's, PEM

	// User and Password are for PLAIN and SCRAM; Token is for OAUTHBEARER.
	User, Password string

	Real   bool   // false for the embedded broker
	Docker string // ID of its container, empty if it is none
}

// Token returns what the broker takes for OAUTHBEARER: an unsigned JWT for User,
// valid from now for this long.
func (b Broker) Token(now time.Time, life time.Duration) string {
	claims, err := json.Marshal(map[string]any{"sub": b.User, "iat": now.Unix(), "exp": now.Add(life).Unix()})
	if err != nil {
		panic(err) // a string and two numbers
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(claims) + "."
}

// logging makes both libraries that an image or a class path may have for it log
// to the console, with times and without the hundreds of lines of all settings.
const logging = "-Dlog4j2.level=INFO -Dorg.slf4j.simpleLogger.showDateTime=true -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS " +
	"-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn -Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config.AbstractConfig=warn"

// apacheKafka is a broker that b describes once its ports are known.
func apacheKafka(b *Broker, settings map[string]string) (*service, error) {
	cert, err := newCertificate(time.Now())
	if err != nil {
		return nil, err
	}
	b.CA, b.User, b.Password, b.Real = cert.ca, "sluice", rand.Text(), true
	return &service{
		name:      "Kafka 4.2.0",
		image:     "apache/kafka:4.2.0",
		libraries: "/opt/kafka/libs",
		classpath: "/opt/kafka/libs/*",
		artifacts: []artifact{
			{group: "org.apache.kafka", name: "kafka_2.13", version: "4.2.0"},
			{group: "org.apache.kafka", name: "kafka-tools", version: "4.2.0"}, // the commands, see Command
			{group: "org.slf4j", name: "slf4j-simple", version: "1.7.36"},      // else there is no log
		},
		ports: 4,
		launch: func(ports []int, anywhere bool) launch {
			b.Plain, b.TLS, b.SASL = local(ports[0]), local(ports[1]), local(ports[2])
			return launch{
				files: map[string]string{"server.properties": properties(ports, anywhere, *b, cert, settings)},
				// Users of SCRAM are made with the storage, so that they are there from the
				// first connection on; a broker that starts again has its storage.
				script: fmt.Sprintf(`
cd "$DIR" && [ -e data/meta.properties ] || "$JAVA" -Xmx256m %[4]s -cp "$CLASSPATH" kafka.tools.StorageTool format \
	--cluster-id 5L6g3nShT-eMCtK--X86sw --config server.properties \
	--add-scram 'SCRAM-SHA-256=[name=%[1]s,password=%[2]s]' --add-scram 'SCRAM-SHA-512=[name=%[1]s,password=%[2]s]' || exit
exec "$JAVA" -Xms256m -Xmx512m %[4]s %[3]s -cp "$CLASSPATH" kafka.Kafka server.properties`, b.User, b.Password, logging, quick),
			}
		},
		ready: func(ctx context.Context, ports []int) error { return canCreateTopic(ctx, local(ports[0])) },
	}, nil
}

// properties is the file of settings of a broker.
func properties(ports []int, anywhere bool, b Broker, cert certificate, settings map[string]string) string {
	host := "127.0.0.1"
	if anywhere {
		host = "0.0.0.0"
	}
	const security = "org.apache.kafka.common.security."
	login := fmt.Sprintf("required username=%q password=%q", b.User, b.Password)
	// Inline PEM may have spaces where files have ends of lines.
	inline := func(pem []byte) string { return strings.ReplaceAll(strings.TrimSpace(string(pem)), "\n", " ") }
	all := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        "1",
		"controller.quorum.voters":       fmt.Sprintf("1@127.0.0.1:%d", ports[3]),
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "PLAINTEXT",
		"listeners":                      fmt.Sprintf("PLAINTEXT://%[1]s:%[2]d,SSL://%[1]s:%[3]d,SASL_SSL://%[1]s:%[4]d,CONTROLLER://127.0.0.1:%[5]d", host, ports[0], ports[1], ports[2], ports[3]),
		"advertised.listeners":           fmt.Sprintf("PLAINTEXT://%s,SSL://%s,SASL_SSL://%s", b.Plain, b.TLS, b.SASL),
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL",

		"ssl.keystore.type":                                                     "PEM",
		"ssl.keystore.certificate.chain":                                        inline(cert.chain),
		"ssl.keystore.key":                                                      inline(cert.key),
		"sasl.enabled.mechanisms":                                               "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
		"listener.name.sasl_ssl.plain.sasl.jaas.config":                         security + "plain.PlainLoginModule " + login + fmt.Sprintf(" user_%s=%q;", b.User, b.Password),
		"listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config":                 security + "scram.ScramLoginModule " + login + ";",
		"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config":                 security + "scram.ScramLoginModule " + login + ";",
		"listener.name.sasl_ssl.oauthbearer.sasl.jaas.config":                   security + fmt.Sprintf("oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=%q;", b.User),
		"listener.name.sasl_ssl.oauthbearer.sasl.server.callback.handler.class": security + "oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler",
		"listener.name.sasl_ssl.oauthbearer.sasl.login.callback.handler.class":  security + "oauthbearer.internals.unsecured.OAuthBearerUnsecuredLoginCallbackHandler",

		"log.dirs":                                         "data",
		"auto.create.topics.enable":                        "false",
		"group.initial.rebalance.delay.ms":                 "0",
		"offsets.topic.replication.factor":                 "1",
		"offsets.topic.num.partitions":                     "5",
		"transaction.state.log.replication.factor":         "1",
		"transaction.state.log.min.isr":                    "1",
		"transaction.state.log.num.partitions":             "5",
		"share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr":            "1",
		"share.coordinator.state.topic.num.partitions":     "1",
		"log.cleaner.dedupe.buffer.size":                   "16777216", // 128 MB of the heap else
	}
	maps.Copy(all, settings)
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&text, "%s=%s\n", key, all[key])
	}
	return text.String()
}

// canCreateTopic asks the broker whether a topic could be created, which it
// answers with yes only when broker and controller work, and creates none.
func canCreateTopic(ctx context.Context, addr string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RequestRetries(0), kgo.DialTimeout(2*time.Second))
	if err != nil {
		return err
	}
	defer client.Close()
	answers, err := kadm.NewClient(client).ValidateCreateTopics(ctx, 1, 1, nil, "services.ready")
	if err != nil {
		return fmt.Errorf("ask %s for a topic: %w", addr, err)
	}
	return answers.Error()
}

// kafka returns the Kafka that is shared by the tests of this process.
func (m *machine) kafka() (Broker, error) {
	b, ok, err := m.kafkaFromEnv()
	if ok {
		if err == nil {
			m.say("Kafka from %s at %s", envKafka, b.Plain)
		}
		return b, err
	}
	s, err := apacheKafka(&b, nil)
	if err != nil {
		return Broker{}, err
	}
	i, _, err := m.keep(s)
	if err != nil {
		return Broker{}, err
	}
	b.Docker = i.container()
	return b, nil
}
