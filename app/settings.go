package app

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/agent"
	"sluice/config"
	"sluice/gateway"
	"sluice/internal/kafka"
	"sluice/internal/telemetry"
	"sluice/message"
	"sluice/normalizer"
	"sluice/schemas"
)

// settings is the configuration of a process: every section of every role, so
// that one file serves all of them.
type settings struct {
	kafka   kafka.Config
	schemas schemaSettings
	// schemaRegistry has no URL where there is no registry.
	schemaRegistry kafka.SchemaRegistry
	gateway        gateway.Config
	protocols      map[string]any
	normalizer     normalizer.Config
	routes         map[string][]string
	sinks          map[string]*sinkSettings
	admin          adminSettings
	shutdown       shutdownSettings
	log            telemetry.Log
	agent          agent.Config
	system         agent.SystemConfig
	up             upSettings

	types    *schemas.Set
	warnings []string
}

type schemaSettings struct {
	Dir string `koanf:"dir" doc:"directory with more schemas, NAME.avsc for the data type NAME; empty for none"`
}

type adminSettings struct {
	Listen string `koanf:"listen" doc:"address of health, metrics and profiles; empty serves none"`
}

// Validate reports an address that is none.
func (a *adminSettings) Validate() error {
	if _, _, err := net.SplitHostPort(a.Listen); a.Listen != "" && err != nil {
		return fmt.Errorf("listen: %q is not host:port", a.Listen)
	}
	return nil
}

type shutdownSettings struct {
	Delay time.Duration `koanf:"delay" doc:"how long to go on serving, not ready, after being told to stop: time for a load balancer to see it"`
}

// Validate reports a delay that leaves no time to stop in.
func (s *shutdownSettings) Validate() error {
	if s.Delay < 0 || s.Delay > 15*time.Second {
		return fmt.Errorf("delay: %s is not between 0s and 15s", s.Delay)
	}
	return nil
}

type upSettings struct {
	Data      string      `koanf:"data" doc:"directory of up's data: the embedded broker's, the archive, a token"`
	Broker    string      `koanf:"broker" doc:"address of the embedded broker"`
	Retention config.Size `koanf:"retention_bytes" doc:"what the embedded broker keeps in all, shared out among its topics"`
	Agent     bool        `koanf:"agent" doc:"report this machine's own metrics"`
}

// Validate reports every setting that cannot be.
func (u *upSettings) Validate() error {
	var errs []error
	if u.Data == "" {
		errs = append(errs, errors.New("data: want a directory"))
	}
	if _, _, err := net.SplitHostPort(u.Broker); err != nil {
		errs = append(errs, fmt.Errorf("broker: %q is not host:port", u.Broker))
	}
	if u.Retention < 64<<20 {
		errs = append(errs, fmt.Errorf("retention_bytes: %s is less than 64MiB", u.Retention))
	}
	return errors.Join(errs...)
}

// sinkSettings is what every sink's section has, beside what its plugin has.
type sinkSettings struct {
	Plugin string `koanf:"plugin" doc:"what kind of sink this is"`
	From   string `koanf:"from" doc:"where to begin in a topic for which nothing is committed yet: earliest, latest or a time back such as -24h"`

	own   any
	types []string // routed to it, in order
}

// Validate reports a start that is none.
func (s *sinkSettings) Validate() error {
	if _, err := kafka.ParseStart(s.From); err != nil {
		return fmt.Errorf("from: got %q, %w", s.From, err)
	}
	return nil
}

// start returns From, which Validate has checked.
func (s *sinkSettings) start() kafka.Start {
	start, err := kafka.ParseStart(s.From)
	if err != nil {
		panic(err)
	}
	return start
}

// agentUnchecked is an agent.Config in a process that is no agent: its keys are
// checked, but nothing in it has to be there.
type agentUnchecked agent.Config

// role is what a command needs of the configuration beyond its being right.
type role struct {
	// agent: the agent section must be complete.
	agent bool
	// up: brokers are optional, and the defaults are those of the embedded one.
	up bool
	// sinks must be configured and routed to.
	sinks []string
}

// load reads and checks the configuration. Its error is a *config.Error, with
// every problem, or says which schemas are not usable.
func load(src config.Sources, plugins Plugins, r role) (*settings, *config.Loader, error) {
	s := &settings{
		kafka:          kafka.DefaultConfig(),
		schemaRegistry: kafka.DefaultSchemaRegistry(),
		gateway:        gateway.DefaultConfig(),
		protocols:      map[string]any{},
		normalizer:     normalizer.DefaultConfig(),
		routes:         map[string][]string{},
		sinks:          map[string]*sinkSettings{},
		admin:          adminSettings{Listen: "127.0.0.1:8081"},
		log:            telemetry.DefaultLog(),
		agent:          agent.DefaultConfig(),
		system:         agent.DefaultSystemConfig(),
		up:             upSettings{Data: "sluice-data", Broker: "127.0.0.1:9092", Retention: 512 << 20, Agent: true},
	}
	l := config.New(src)
	l.Default("sinks", map[string]any{
		"dashboard": map[string]any{"plugin": "dashboard"},
		"archive":   map[string]any{"plugin": "archive"},
	})
	both := []string{"dashboard", "archive"}
	l.Default("routes", map[string]any{"ethereum_metrics": both, "system_metrics": both, "networking_metrics": both})
	if err := l.Read(); err != nil {
		return nil, l, err
	}
	if r.up {
		s.embedded(l)
	}
	s.bind(l, plugins, r)

	types, schemaErr := schemas.Load(l.String("schemas.dir"))
	s.types = types
	if schemaErr == nil {
		s.checkRoutes(l)
	}
	err := l.Decode()
	if err == nil && schemaErr == nil {
		s.checkRoles(l, r)
		err = l.Err()
	}
	s.warnings = append(l.Warnings(), s.warnings...)
	if s.kafka.Exposed() {
		s.warnings = append(s.warnings, "kafka.sasl: PLAIN without kafka.tls shows the password to whoever listens on the way; set kafka.tls.enabled")
	}
	if s.schemaRegistry.Exposed() {
		s.warnings = append(s.warnings, "schema_registry.url: http shows the password to whoever listens on the way; use https")
	}
	if schemaErr != nil {
		err = errors.Join(err, &schemaError{schemaErr})
	}
	return s, l, err
}

// schemaError is a configuration problem too: the exit code says so.
type schemaError struct{ err error }

func (e *schemaError) Error() string { return "schemas.dir: " + e.err.Error() }

// embedded sets the defaults of `up`, which may have no Kafka to talk to.
func (s *settings) embedded(l *config.Loader) {
	if data := l.String("up.data"); data != "" {
		s.up.Data = data
	}
	s.kafka.Brokers = nil
	s.kafka.Topics.Partitions = 4
	s.kafka.Topics.Retention = 7 * 24 * time.Hour
	s.kafka.Topics.DeadLetterRetention = 7 * 24 * time.Hour
	// A sink of these names may be another plugin's by now.
	if l.String("sinks.archive.plugin") == "archive" {
		l.Default("sinks.archive", map[string]any{"dir": filepath.Join(s.up.Data, "archive")})
	}
	if addr := l.String("gateway.listen"); addr != "" && l.String("sinks.dashboard.plugin") == "dashboard" {
		l.Default("sinks.dashboard", map[string]any{"gateway_url": "http://" + reachable(addr)})
	}
}

func (s *settings) bind(l *config.Loader, plugins Plugins, r role) {
	l.Bind("kafka", &s.kafka)
	l.Bind("schemas", &s.schemas)
	l.Bind("schema_registry", &s.schemaRegistry)
	l.Bind("gateway", &s.gateway)
	l.Bind("normalizer", &s.normalizer)
	l.Bind("routes", &s.routes)
	l.Bind("admin", &s.admin)
	l.Bind("shutdown", &s.shutdown)
	l.Bind("log", &s.log)
	l.Bind("up", &s.up)
	if r.agent {
		l.Bind("agent", &s.agent)
	} else {
		l.Bind("agent", (*agentUnchecked)(&s.agent))
	}
	l.Bind("agent.system", &s.system)
	for _, name := range slices.Sorted(maps.Keys(plugins.Protocols)) {
		s.protocols[name] = plugins.Protocols[name].Settings()
		l.Bind("gateway.protocols."+name, s.protocols[name])
	}
	kinds := map[string][]any{}
	for name, p := range plugins.Sinks {
		kinds[name] = []any{&sinkSettings{Plugin: name, From: "earliest"}, p.Settings()}
	}
	l.Plugins("sinks", kinds)
	for _, name := range l.Keys("sinks") {
		section := "sinks." + name
		p, ok := plugins.Sinks[l.String(section+".plugin")]
		if !ok {
			continue
		}
		sink := &sinkSettings{From: "earliest", own: p.Settings()}
		s.sinks[name] = sink
		l.Bind(section, sink)
		l.Bind(section, sink.own)
	}
}

// checkRoutes reports routes of types that do not exist.
func (s *settings) checkRoutes(l *config.Loader) {
	for _, name := range l.Keys("routes") {
		if s.types.Type(name) == nil {
			guess := suggest(name, s.types.Names())
			l.Problem("routes."+name, "no schema for this data type%s; known are %s, and schemas.dir adds more", guess, strings.Join(s.types.Names(), ", "))
		}
	}
}

func suggest(word string, known []string) string {
	if g := config.Guess(word, known); g != "" {
		return fmt.Sprintf(" (did you mean %s?)", g)
	}
	return ""
}

// checkRoles reports what only the decoded settings show: routes to sinks that
// do not exist, and what the command cannot do without.
func (s *settings) checkRoles(l *config.Loader, r role) {
	names := slices.Sorted(maps.Keys(s.sinks))
	for _, dataType := range slices.Sorted(maps.Keys(s.routes)) {
		for i, name := range s.routes[dataType] {
			sink, ok := s.sinks[name]
			if !ok {
				l.Problem(fmt.Sprintf("routes.%s[%d]", dataType, i), "no sink is called %q%s; configured are %s", name, suggest(name, names), strings.Join(names, ", "))
				continue
			}
			if !slices.Contains(sink.types, dataType) {
				sink.types = append(sink.types, dataType)
			}
		}
	}
	for _, name := range names {
		// A sink that only the defaults name is nobody's mistake.
		if len(s.sinks[name].types) == 0 && !slices.Contains(r.sinks, name) && !l.Defaulted("sinks."+name+".plugin") {
			s.warnings = append(s.warnings, fmt.Sprintf("sinks.%s: no data type is routed to it, so it never gets a message; add it under routes", name))
		}
	}
	for _, name := range r.sinks {
		sink, ok := s.sinks[name]
		switch {
		case !ok:
			l.Problem("sinks", "no sink is called %q%s; configured are %s", name, suggest(name, names), strings.Join(names, ", "))
		case len(sink.types) == 0:
			l.Problem("routes", "no data type is routed to sink %s: add it to at least one", name)
		}
	}
	if !r.up && len(s.kafka.Brokers) == 0 {
		l.Problem("kafka.brokers", "want at least one address")
	}
}

// share gives each partition of the embedded broker its part of what it may
// keep on disk: what is retained, and the file that is being written.
func (s *settings) share() {
	topics := int64(len(s.types.Names())) + 2 // the typed ones, ingest and dead letters
	each := int64(s.up.Retention) / (topics * int64(s.kafka.Topics.Partitions))
	s.kafka.Topics.SegmentBytes = each / 4
	s.kafka.Topics.RetentionBytes = each - s.kafka.Topics.SegmentBytes
}

// slot returns the normalizer's: configured, else the pod's ordinal, else the
// host's name.
func (s *settings) slot(hostname func() (string, error)) (string, error) {
	if s.normalizer.Slot != "" {
		return s.normalizer.Slot, nil
	}
	host, err := hostname()
	if err != nil {
		return "", fmt.Errorf("find a slot for this normalizer: %w; set normalizer.slot", err)
	}
	if i := strings.LastIndexByte(host, '-'); i >= 0 && i+1 < len(host) && strings.Trim(host[i+1:], "0123456789") == "" {
		return host[i+1:], nil
	}
	return name(host), nil
}

// name makes an agent's or a slot's name of a host's.
func name(host string) string {
	clean := strings.Map(func(r rune) rune {
		if message.ValidName("a" + string(r)) {
			return r
		}
		return '-'
	}, host)
	clean = strings.TrimLeft(clean, "-._:@")
	if clean = clean[:min(len(clean), message.MaxName)]; clean == "" {
		return "this-machine"
	}
	return clean
}

// hostName returns what this machine is called, made fit to be a name.
func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return name("")
	}
	return name(host)
}
