package config

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// The structs below are what the parts of sluice bind, in small.
type gatewayConfig struct {
	Listen    string          `koanf:"listen" doc:"address to listen on"`
	Port      uint16          `koanf:"port" doc:"another port" min:"1"`
	Window    int             `koanf:"window" doc:"frames in flight" min:"8" max:"1024"`
	Ratio     float64         `koanf:"ratio" doc:"share of something"`
	Debug     bool            `koanf:"debug" doc:"say more"`
	Timeout   time.Duration   `koanf:"timeout" doc:"how long to wait"`
	Retention time.Duration   `koanf:"retention" doc:"how long to keep; -1 keeps all" min:"-1"`
	Frame     Size            `koanf:"frame" doc:"largest frame" max:"4MiB"`
	Level     slog.Level      `koanf:"level" doc:"log level"`
	Format    string          `koanf:"format" doc:"wire format" oneof:"json,msgpack"`
	Brokers   []string        `koanf:"brokers" doc:"host:port of brokers"`
	Waits     []time.Duration `koanf:"waits" doc:"pauses between attempts"`
	TLS       tlsConfig       `koanf:"tls" doc:"encryption"`

	Now func() time.Time `koanf:"-"`
}

type tlsConfig struct {
	Cert     string            `koanf:"cert" doc:"certificate file"`
	Password Secret            `koanf:"password" doc:"of the key"`
	Headers  map[string]string `koanf:"headers" doc:"extra headers"`
	Keys     map[string]Secret `koanf:"keys" doc:"keys by name"`
	Tokens   []Secret          `koanf:"tokens" doc:"accepted tokens"`
}

func (c *tlsConfig) Validate() error {
	if c.Password.Reveal() == "forbidden" {
		return fmt.Errorf("password: %s is too well known", c.Password.Reveal())
	}
	return nil
}

func (c *gatewayConfig) Validate() error {
	var errs []error
	if c.Listen == "" {
		errs = append(errs, errors.New("listen: must not be empty"))
	}
	if c.Timeout > time.Hour {
		errs = append(errs, errors.New("timeout: more than an hour"))
	}
	if c.Debug && c.Window == 8 {
		errs = append(errs, errors.New("debugging needs a larger window"))
	}
	for i, b := range c.Brokers {
		if b == "bad" {
			errs = append(errs, fmt.Errorf("brokers[%d]: %q has no port", i, b))
		}
	}
	return errors.Join(errs...)
}

type sinkConfig struct {
	Plugin string `koanf:"plugin" doc:"which plugin"`
	From   string `koanf:"from" doc:"where to start" oneof:"earliest,latest"`
}

type dynamoConfig struct {
	Table string `koanf:"table" doc:"table to write"`
	Token Secret `koanf:"token" doc:"credential"`
}

func (c *dynamoConfig) Validate() error {
	if c.Table == "" {
		return errors.New("table: is missing")
	}
	return nil
}

type dashboardConfig struct {
	Listen string `koanf:"listen" doc:"address of the page"`
}

// sample is a loader used the way the app uses it.
type sample struct {
	*Loader
	gateway gatewayConfig
	routes  map[string][]string
	sinks   map[string]any
}

func newSample(src Sources) (*sample, error) {
	s := &sample{
		Loader: New(src),
		gateway: gatewayConfig{
			Listen: "127.0.0.1:3000", Port: 3000, Window: 64, Ratio: 0.5, Timeout: 5 * time.Second,
			Retention: 30 * 24 * time.Hour, Frame: 256 << 10, Format: "json", Brokers: []string{"localhost:9092"},
		},
		routes: map[string][]string{},
		sinks:  map[string]any{},
	}
	s.Default("routes", map[string][]string{"system_metrics": {"dashboard"}})
	s.Default("sinks.dashboard.plugin", "dashboard")
	err := s.Read()
	s.Bind("gateway", &s.gateway)
	s.Bind("routes", &s.routes)
	kinds := map[string]func() any{
		"dynamodb":  func() any { return &dynamoConfig{} },
		"dashboard": func() any { return &dashboardConfig{Listen: "127.0.0.1:8080"} },
	}
	structs := map[string][]any{}
	for name, f := range kinds {
		structs[name] = []any{&sinkConfig{From: "earliest"}, f()}
	}
	s.Plugins("sinks", structs)
	names := s.Keys("sinks")
	for _, name := range names {
		if f := kinds[s.String("sinks."+name+".plugin")]; f != nil {
			s.sinks[name] = f()
			s.Bind("sinks."+name, &sinkConfig{From: "earliest"})
			s.Bind("sinks."+name, s.sinks[name])
		}
	}
	return s, err
}

// checkRoutes is what only the app can check.
func (s *sample) checkRoutes() {
	names := s.Keys("sinks")
	for typ, sinks := range s.routes {
		for i, name := range sinks {
			found := false
			for _, n := range names {
				found = found || n == name
			}
			if !found {
				hint := ""
				if g := Guess(name, names); g != "" {
					hint = " (did you mean " + g + "?)"
				}
				s.Problem(fmt.Sprintf("routes.%s[%d]", typ, i), "unknown sink %q%s", name, hint)
			}
		}
	}
}
