package dashboard

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Settings is what a user writes about a dashboard.
type Settings struct {
	Listen     string        `koanf:"listen" doc:"Address the dashboard listens on, host:port."`
	Insecure   bool          `koanf:"insecure" doc:"Listen on an address that others can reach, though nobody has to sign in."`
	Hosts      []string      `koanf:"hosts" doc:"Names, without a port, that a browser may call the dashboard by, besides localhost."`
	GatewayURL string        `koanf:"gateway_url" doc:"Address of the gateway as agents reach it, http://host:port; empty takes the host of the page and port 3000."`
	URL        string        `koanf:"url" doc:"Address that people reach the page at, http://host:port, for the log; empty says where it listens."`
	Hz         int           `koanf:"hz" doc:"Most updates of a page per second, 1 to 10."`
	MaxViewers int           `koanf:"max_viewers" doc:"Most pages that are kept live at the same time."`
	History    time.Duration `koanf:"history" doc:"How far back the state is rebuilt at the start."`
	Window     time.Duration `koanf:"window" doc:"Last part of the history, after which the dashboard is ready."`
}

// DefaultSettings returns the settings that hold where a user writes nothing:
// 127.0.0.1:8080, 5 updates per second, 500 viewers, a day of history and a
// window of 10 minutes.
func DefaultSettings() Settings {
	return Settings{Listen: "127.0.0.1:8080", Hz: 5, MaxViewers: 500, History: 24 * time.Hour, Window: 10 * time.Minute}
}

// Validate returns every problem of s, joined, each as "key: problem".
func (s Settings) Validate() error {
	var errs []error
	if err := s.checkListen(); err != nil {
		errs = append(errs, fmt.Errorf("listen: %w", err))
	}
	for _, h := range s.Hosts {
		if !validHost(h) || strings.Contains(h, ":") && !strings.HasPrefix(h, "[") {
			errs = append(errs, fmt.Errorf("hosts: %q is not the name of a host; a port is not part of it", h))
		}
	}
	for _, u := range []struct{ key, value string }{{"gateway_url", s.GatewayURL}, {"url", s.URL}} {
		if u.value != "" && !validURL(u.value) {
			errs = append(errs, fmt.Errorf("%s: %q is not http://host:port or https://host:port", u.key, u.value))
		}
	}
	if s.Hz < 1 || s.Hz > 10 {
		errs = append(errs, fmt.Errorf("hz: %d is not 1 to 10", s.Hz))
	}
	if s.MaxViewers < 1 {
		errs = append(errs, fmt.Errorf("max_viewers: %d is less than 1", s.MaxViewers))
	}
	if s.History < 0 {
		errs = append(errs, fmt.Errorf("history: %s is negative", s.History))
	}
	if s.Window < 0 || s.Window > s.History {
		errs = append(errs, fmt.Errorf("window: %s is not within the history of %s", s.Window, s.History))
	}
	return errors.Join(errs...)
}

// validURL reports whether s is the address of a web server and nothing more.
func validURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && validHost(u.Host) && u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == ""
}

// errOpen explains why an address that others can reach is refused.
var errOpen = errors.New("others can reach this address and nobody has to sign in; " +
	"listen on 127.0.0.1, put a proxy that authenticates in front, or set insecure: true to let everybody look")

// checkListen reports whether Listen is an address and, unless Insecure, one of
// this machine alone. Of a name other than localhost only Open can tell.
func (s Settings) checkListen() error {
	host, _, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return fmt.Errorf("%q is not host:port", s.Listen)
	}
	if s.Insecure || host == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && !ip.Unmap().IsLoopback() {
		return fmt.Errorf("%q: %w", s.Listen, errOpen)
	}
	return nil
}

// validHost reports whether s has only characters of names and addresses of
// hosts, with or without a port.
func validHost(s string) bool {
	return s != "" && len(s) <= 260 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(".-_:[]", r)
	})
}

// Address returns where the page is, for whoever starts the process to say.
func (s Settings) Address() string { return s.Listen }
