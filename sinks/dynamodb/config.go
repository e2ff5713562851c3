package dynamodb

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"sluice/sinks"
)

// Config is the settings of the sink.
type Config struct {
	Table    string        `koanf:"table" doc:"table to write to"`
	Region   string        `koanf:"region" doc:"AWS region; empty takes it from AWS_REGION or the profile"`
	Endpoint string        `koanf:"endpoint" doc:"address of another DynamoDB, such as http://127.0.0.1:8000; empty takes the region's"`
	Profile  string        `koanf:"profile" doc:"profile of the AWS configuration files; empty takes AWS_PROFILE or the usual chain"`
	Create   bool          `koanf:"create" doc:"make the table where it is absent, billed per request, and turn its expiry on where ttl asks for it"`
	TTL      time.Duration `koanf:"ttl" doc:"how long after its event time a message expires; 0 keeps all; latest items stay"`
	Latest   bool          `koanf:"latest" doc:"keep the latest message of each node and kind as an item of its own"`
}

// DefaultConfig returns the settings of a sink that has none: the table sluice,
// made where it is absent, with latest items and without expiry, at the address
// and with the credentials of the usual AWS chain.
func DefaultConfig() Config { return Config{Table: "sluice", Create: true, Latest: true} }

var (
	tableName  = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)
	regionName = regexp.MustCompile(`^[a-z0-9-]*$`)
)

// Validate reports every setting that cannot be.
func (c *Config) Validate() error {
	var errs []error
	if !tableName.MatchString(c.Table) {
		errs = append(errs, fmt.Errorf("table: %q is not 3 to 255 letters, digits and . _ -", c.Table))
	}
	if !regionName.MatchString(c.Region) {
		errs = append(errs, fmt.Errorf("region: %q is not the name of a region, such as eu-central-1", c.Region))
	}
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			errs = append(errs, fmt.Errorf("endpoint: %q is not http://host:port or https://host:port", c.Endpoint))
		}
	}
	if c.TTL < 0 || c.TTL > 0 && c.TTL < time.Second {
		errs = append(errs, fmt.Errorf("ttl: %s is neither 0 nor at least a second", c.TTL))
	}
	return errors.Join(errs...)
}

// Plugin makes sinks that write to DynamoDB.
func Plugin() sinks.Plugin {
	return sinks.Define(DefaultConfig, func(c Config, env sinks.Env) (sinks.Sink, sinks.Traits, error) {
		if err := c.Validate(); err != nil {
			return nil, sinks.Traits{}, err
		}
		s, err := New(c, env)
		if err != nil {
			return nil, sinks.Traits{}, err
		}
		return s, sinks.Traits{Delivery: sinks.Shared, Bodies: true, Batch: 500, Linger: 50 * time.Millisecond}, nil
	})
}
