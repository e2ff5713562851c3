package agent

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"sluice/config"
	"sluice/message"
)

// Config is what a user writes about the connection to a gateway.
type Config struct {
	URL         string        `koanf:"url" doc:"Gateway to report to, ws://host:port or wss://host:port; /v1/stream is added where there is no path."`
	Token       config.Secret `koanf:"token" doc:"Bearer token that the gateway knows this agent by."`
	Name        string        `koanf:"name" doc:"Name that the token belongs to; empty takes the one that the gateway says."`
	Encoding    string        `koanf:"encoding" doc:"How frames are encoded: json or msgpack."`
	Buffer      int           `koanf:"buffer" doc:"Most frames kept until the gateway acknowledges them."`
	BufferBytes config.Size   `koanf:"buffer_bytes" doc:"Most bytes of frames kept until the gateway acknowledges them."`
	Linger      time.Duration `koanf:"linger" doc:"How long to go on sending what is unacknowledged after being told to stop; 0 means 2 s."`
}

// The values of Config.Encoding.
const (
	JSON    = "json"
	Msgpack = "msgpack"
)

// DefaultConfig returns the configuration that holds where a user writes
// nothing: MessagePack, 4096 frames, 8 MiB, 2 s. URL and Token have none.
func DefaultConfig() Config {
	return Config{Encoding: Msgpack, Buffer: 4096, BufferBytes: 8 << 20, Linger: 2 * time.Second}
}

// Validate returns every problem of c, joined, each as "key: problem".
func (c Config) Validate() error {
	var errs []error
	if _, err := endpoint(c.URL); err != nil {
		errs = append(errs, fmt.Errorf("url: %w", err))
	}
	switch token := c.Token.Reveal(); {
	case token == "":
		errs = append(errs, errors.New("token: missing"))
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		errs = append(errs, errors.New("token: has characters that no token has; was the line end copied with it?"))
	}
	if c.Name != "" && !message.ValidName(c.Name) {
		errs = append(errs, fmt.Errorf("name: %q is not 1 to %d letters, digits or . _ : @ -", c.Name, message.MaxName))
	}
	if c.Encoding != JSON && c.Encoding != Msgpack {
		errs = append(errs, fmt.Errorf("encoding: %q is neither %s nor %s", c.Encoding, JSON, Msgpack))
	}
	if c.Buffer < 1 {
		errs = append(errs, fmt.Errorf("buffer: %d is less than 1", c.Buffer))
	}
	if c.BufferBytes < 1 {
		errs = append(errs, fmt.Errorf("buffer_bytes: %d is less than 1", c.BufferBytes))
	}
	if c.Linger < 0 {
		errs = append(errs, fmt.Errorf("linger: %s is negative", c.Linger))
	}
	return errors.Join(errs...)
}

// withDefaults returns c with the defaults where it says nothing.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Encoding == "" {
		c.Encoding = d.Encoding
	}
	if c.Buffer == 0 {
		c.Buffer = d.Buffer
	}
	if c.BufferBytes == 0 {
		c.BufferBytes = d.BufferBytes
	}
	if c.Linger == 0 {
		c.Linger = d.Linger
	}
	return c
}

// endpoint returns the address of the gateway's stream.
func endpoint(s string) (*url.URL, error) {
	if s == "" {
		return nil, errors.New("missing")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		// The parser's own message repeats the text, which may hold a password.
		return nil, errors.New("not a URL; want ws://host:port or wss://host:port")
	case u.Scheme != "ws" && u.Scheme != "wss":
		return nil, fmt.Errorf("scheme %q is neither ws nor wss", u.Scheme)
	case u.Host == "":
		return nil, errors.New("no host; want ws://host:port or wss://host:port")
	case u.User != nil:
		return nil, errors.New("holds a user name; the credential is the token")
	}
	u.Fragment = ""
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/stream"
	}
	return u, nil
}
