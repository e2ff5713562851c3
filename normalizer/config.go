package normalizer

import (
	"errors"
	"fmt"
	"time"

	"sluice/message"
)

// Config is what users set of the normalizer.
type Config struct {
	Slot   string        `koanf:"slot" doc:"the name of this normalizer among those that run at once, kept over restarts; empty takes the pod's ordinal or the host name"`
	Commit time.Duration `koanf:"commit" doc:"time between commits; readers of the typed topics wait half of it"`
	Past   time.Duration `koanf:"past" doc:"how long before its reception a message may have been made"`
	Future time.Duration `koanf:"future" doc:"how long after its reception, by the agent's clock, a message may have been made"`
}

// DefaultConfig returns the settings of a normalizer nobody configured.
func DefaultConfig() Config {
	return Config{Commit: 50 * time.Millisecond, Past: 30 * 24 * time.Hour, Future: 5 * time.Minute}
}

// Validate reports every setting that cannot be.
func (c *Config) Validate() error {
	var errs []error
	if c.Slot != "" && !message.ValidName(c.Slot) {
		errs = append(errs, fmt.Errorf("slot: %q is not a name of letters, digits and . _ : @ -", c.Slot))
	}
	if c.Commit < time.Millisecond || c.Commit > 5*time.Second {
		errs = append(errs, fmt.Errorf("commit: %s is not between 1ms and 5s", c.Commit))
	}
	if c.Past <= 0 {
		errs = append(errs, fmt.Errorf("past: %s is not positive", c.Past))
	}
	if c.Future < 0 {
		errs = append(errs, fmt.Errorf("future: %s is negative", c.Future))
	}
	return errors.Join(errs...)
}
