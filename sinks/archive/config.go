package archive

import (
	"errors"
	"fmt"
	"time"

	"sluice/config"
	"sluice/sinks"
)

// Config is the settings of the sink.
type Config struct {
	Dir      string        `koanf:"dir" doc:"directory of the files; processes may share it"`
	Codec    string        `koanf:"codec" doc:"compression: deflate, which every Avro tool reads, snappy or null"`
	RollSize config.Size   `koanf:"roll_size" doc:"a file that is this large is finished"`
	RollAge  time.Duration `koanf:"roll_age" doc:"a file that was begun this long ago is finished"`
}

// DefaultConfig returns the settings of a sink that has none.
func DefaultConfig() Config {
	return Config{Dir: "archive", Codec: "deflate", RollSize: 64 << 20, RollAge: 10 * time.Minute}
}

// Validate reports every setting that cannot be.
func (c *Config) Validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("dir: want a directory"))
	}
	if _, ok := codecs[c.Codec]; !ok {
		errs = append(errs, fmt.Errorf("codec: %q is none of deflate, snappy, null", c.Codec))
	}
	if c.RollSize < 1 {
		errs = append(errs, fmt.Errorf("roll_size: %s is not a size", c.RollSize))
	}
	if c.RollAge < time.Second {
		errs = append(errs, fmt.Errorf("roll_age: %s is less than a second", c.RollAge))
	}
	return errors.Join(errs...)
}

// Plugin makes sinks that write files.
func Plugin() sinks.Plugin {
	return sinks.Define(DefaultConfig, func(c Config, env sinks.Env) (sinks.Sink, sinks.Traits, error) {
		if err := c.Validate(); err != nil {
			return nil, sinks.Traits{}, err
		}
		// Large batches make large blocks and few syncs.
		return New(c, env), sinks.Traits{Delivery: sinks.Shared, Batch: 2000, Linger: 500 * time.Millisecond}, nil
	})
}
