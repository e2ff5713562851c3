package gateway

import (
	"errors"
	"fmt"
	"net"
	"time"

	"sluice/config"
	"sluice/internal/kafka"
)

// Config is what users write about the gateway.
type Config struct {
	Listen string `koanf:"listen" doc:"address that agents connect to, host:port"`
	Limits Limits `koanf:"limits" doc:"what agents may do"`
	Ingest Ingest `koanf:"ingest" doc:"how frames go into Kafka"`
}

// Limits bounds what agents may do.
type Limits struct {
	Frame          config.Size   `koanf:"frame" doc:"largest websocket frame"`
	Body           config.Size   `koanf:"body" doc:"largest body of a REST request"`
	BeforeLogin    config.Size   `koanf:"before_login" doc:"largest message of a connection that has not logged in yet"`
	LoginTimeout   time.Duration `koanf:"login_timeout" doc:"how long a new connection may take to log in"`
	MessageTimeout time.Duration `koanf:"message_timeout" doc:"how long one message may take from its first byte to its last"`
	Connections    int           `koanf:"connections" doc:"most open connections of this gateway"`
	PerIP          int           `koanf:"per_ip" doc:"most open connections from one IPv4 address or one IPv6 /64; 0 for no limit"`
	PerAgent       int           `koanf:"per_agent" doc:"most long-lived connections of one agent; a newer one ends the oldest"`
}

// Ingest bounds what is on its way into Kafka.
type Ingest struct {
	InFlight config.Size   `koanf:"inflight_bytes" doc:"most memory for frames taken and not yet durable; beyond it reading pauses"`
	Stall    time.Duration `koanf:"stall" doc:"how long Kafka may owe an answer before the gateway takes nothing more"`
}

// DefaultConfig returns the settings of a gateway on this machine.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:3000",
		Limits: Limits{
			Frame:          256 << 10,
			Body:           1 << 20,
			BeforeLogin:    16 << 10,
			LoginTimeout:   10 * time.Second,
			MessageTimeout: 15 * time.Second,
			Connections:    10_000,
			PerIP:          50,
			PerAgent:       2,
		},
		Ingest: Ingest{InFlight: 64 << 20, Stall: 5 * time.Second},
	}
}

const (
	// maxFrame is the largest frame: one with its headers fits into a record
	// of the ingest topic, whatever the limits say.
	maxFrame = kafka.MaxMessage - 64<<10
	// minInFlight is room for the largest frames of a few agents.
	minInFlight = 8 << 20
	// maxStall is bounded by how far back ages can tell frames apart.
	maxStall = 30 * time.Second
)

// Validate reports every setting that cannot be.
func (c *Config) Validate() error {
	var errs []error
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("listen: %q is not host:port", c.Listen))
	}
	between := func(key string, got, low, high config.Size) {
		if got < low || got > high {
			errs = append(errs, fmt.Errorf("%s: %s is not between %s and %s", key, got, low, high))
		}
	}
	between("limits.frame", c.Limits.Frame, 1<<10, maxFrame)
	between("limits.body", c.Limits.Body, 1<<10, maxFrame)
	between("limits.before_login", c.Limits.BeforeLogin, 1<<10, 1<<20)
	between("ingest.inflight_bytes", c.Ingest.InFlight, minInFlight, 1<<40)
	lasting := func(key string, got, low, high time.Duration) {
		if got < low || got > high {
			errs = append(errs, fmt.Errorf("%s: %s is not between %s and %s", key, got, low, high))
		}
	}
	lasting("limits.login_timeout", c.Limits.LoginTimeout, time.Second, time.Minute)
	lasting("limits.message_timeout", c.Limits.MessageTimeout, time.Second, 10*time.Minute)
	lasting("ingest.stall", c.Ingest.Stall, time.Second, maxStall)
	if c.Limits.Connections < 1 {
		errs = append(errs, fmt.Errorf("limits.connections: %d is less than 1", c.Limits.Connections))
	}
	if c.Limits.PerIP < 0 {
		errs = append(errs, fmt.Errorf("limits.per_ip: %d is less than 0, which is no limit", c.Limits.PerIP))
	}
	if c.Limits.PerAgent < 1 {
		errs = append(errs, fmt.Errorf("limits.per_agent: %d is less than 1", c.Limits.PerAgent))
	}
	return errors.Join(errs...)
}

// ProducerOptions returns the bounds of the producer that a Gateway is to be
// given: such that the gateway's own budget is always reached first, since the
// producer reports that it is full only after the call, when a later frame of
// the same agent may have found room.
func (c Config) ProducerOptions() kafka.ProducerOptions {
	return kafka.ProducerOptions{
		MaxRecords: int(c.Ingest.InFlight/overhead) + ownInFlight + 1,
		MaxBytes:   2 * int(c.Ingest.InFlight), // names can be longer than overhead has them
	}
}
