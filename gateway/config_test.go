package gateway

import (
	"testing"
	"time"
)

func TestConfig(t *testing.T) {
	tests := []struct {
		name   string
		change func(c *Config)
		want   string
	}{
		{"defaults", func(*Config) {}, ""},
		{"no port", func(c *Config) { c.Listen = "localhost" }, `listen: "localhost" is not host:port`},
		{"frame larger than a record", func(c *Config) { c.Limits.Frame = 4 << 20 }, "limits.frame: 4MiB is not between 1KiB and 4032KiB"},
		{"no body", func(c *Config) { c.Limits.Body = 0 }, "limits.body: 0 is not between 1KiB and 4032KiB"},
		{"large hello", func(c *Config) { c.Limits.BeforeLogin = 2 << 20 }, "limits.before_login: 2MiB is not between 1KiB and 1MiB"},
		{"small budget", func(c *Config) { c.Ingest.InFlight = 1 << 20 }, "ingest.inflight_bytes: 1MiB is not between 8MiB and 1TiB"},
		{"long stall", func(c *Config) { c.Ingest.Stall = time.Minute }, "ingest.stall: 1m0s is not between 1s and 30s"},
		{"times", func(c *Config) { c.Limits.LoginTimeout, c.Limits.MessageTimeout = 0, 0 },
			"limits.login_timeout: 0s is not between 1s and 1m0s\nlimits.message_timeout: 0s is not between 1s and 10m0s"},
		{"nobody", func(c *Config) { c.Limits.Connections, c.Limits.PerIP, c.Limits.PerAgent = 0, -1, 0 },
			"limits.connections: 0 is less than 1\nlimits.per_ip: -1 is less than 0, which is no limit\nlimits.per_agent: 0 is less than 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := DefaultConfig()
			tt.change(&c)
			got := ""
			if err := c.Validate(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// The gateway's budget is reached before the producer's, whatever the frames.
func TestProducerOptions(t *testing.T) {
	c := DefaultConfig()
	o := c.ProducerOptions()
	if empty := int(c.Ingest.InFlight) / overhead; o.MaxRecords < empty+ownInFlight {
		t.Errorf("got room for %d records, want it for %d empty frames and %d of the gateway's own", o.MaxRecords, empty, ownInFlight)
	}
	if o.MaxBytes < int(c.Ingest.InFlight) {
		t.Errorf("got room for %d bytes, want the whole budget", o.MaxBytes)
	}
}
