package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestConfigValidate(t *testing.T) {
	good := DefaultConfig()
	good.URL, good.Token = "ws://127.0.0.1:3000", "abc"
	if err := good.Validate(); err != nil {
		t.Fatalf("the defaults with url and token: %v", err)
	}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no url", func(c *Config) { c.URL = "" }, "url: missing"},
		{"http", func(c *Config) { c.URL = "http://h:1" }, `url: scheme "http" is neither ws nor wss`},
		{"no scheme", func(c *Config) { c.URL = "h:3000" }, `url: scheme "h" is neither ws nor wss`},
		{"no host", func(c *Config) { c.URL = "ws:///x" }, "url: no host; want ws://host:port or wss://host:port"},
		{"no url at all", func(c *Config) { c.URL = "ws://a b:secret@%" }, "url: not a URL; want ws://host:port or wss://host:port"},
		{"user", func(c *Config) { c.URL = "ws://u:p@h" }, "url: holds a user name; the credential is the token"},
		{"no token", func(c *Config) { c.Token = "" }, "token: missing"},
		{"line end", func(c *Config) { c.Token = "abc\n" }, "token: has characters that no token has; was the line end copied with it?"},
		{"name", func(c *Config) { c.Name = "a/b" }, `name: "a/b" is not 1 to 128 letters, digits or . _ : @ -`},
		{"encoding", func(c *Config) { c.Encoding = "xml" }, `encoding: "xml" is neither json nor msgpack`},
		{"buffer", func(c *Config) { c.Buffer = -1 }, "buffer: -1 is less than 1"},
		{"bytes", func(c *Config) { c.BufferBytes = -1 }, "buffer_bytes: -1 is less than 1"},
		{"linger", func(c *Config) { c.Linger = -time.Second }, "linger: -1s is negative"},
		{"two", func(c *Config) { c.URL, c.Token = "", "" }, "url: missing\ntoken: missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good
			tt.change(&c)
			if err := c.Validate(); err == nil || err.Error() != tt.want {
				t.Errorf("Validate: %v, want %s", err, tt.want)
			}
			if _, err := New(c, Options{}); err == nil || err.Error() != tt.want {
				t.Errorf("New: %v, want %s", err, tt.want)
			}
		})
	}
}

func TestConfigHidesToken(t *testing.T) {
	c := Config{URL: "ws://h", Token: "hush"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(format, c); strings.Contains(got, "hush") {
			t.Errorf("%s shows %s", format, got)
		}
	}
}

func TestEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"ws://h:3000":      "ws://h:3000/v1/stream",
		"wss://h/":         "wss://h/v1/stream",
		"wss://h/edge/v1":  "wss://h/edge/v1",
		"ws://[::1]:3000#": "ws://[::1]:3000/v1/stream",
	} {
		if got, err := endpoint(in); err != nil || got.String() != want {
			t.Errorf("endpoint(%q) = %v, %v, want %s", in, got, err, want)
		}
	}
}
