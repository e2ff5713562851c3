package gateway

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Env is what a protocol is given to work with.
type Env struct {
	// Name is the protocol's; it stands in the header of its frames.
	Name   string
	Host   Host
	Limits Limits
	// Types reports whether a data type has a schema.
	Types func(dataType string) bool
	// Reject counts a refusal under one of the reasons of Refusals. What the
	// host refuses, in Login and Connect, it counts itself.
	Reject func(reason string)
	Log    *slog.Logger
	Clock  func() time.Time
	Rand   io.Reader
	Meters prometheus.Registerer
}

// Protocol is a way for agents to talk to the gateway. Define makes one.
type Protocol struct {
	// Patterns lists what it serves, in the form of http.ServeMux.
	Patterns []string
	// Settings returns a pointer to a fresh struct that holds the defaults.
	Settings func() any
	// New builds the handler from what Settings returned, decoded and checked.
	// It does no I/O. The handler is called for each request that matches one
	// of Patterns; one that hijacks the connection returns when it is done
	// with it, and has closed it by then.
	New func(settings any, env Env) (http.Handler, error)
}

// Define makes a protocol of the patterns that it serves, a struct of settings,
// whose fields carry koanf and doc tags and hold the defaults, and the function
// that builds the handler from it.
func Define[C any](patterns []string, defaults func() C, build func(C, Env) (http.Handler, error)) Protocol {
	return Protocol{
		Patterns: patterns,
		Settings: func() any {
			c := defaults()
			return &c
		},
		New: func(settings any, env Env) (http.Handler, error) {
			c, ok := settings.(*C)
			if !ok {
				return nil, fmt.Errorf("settings of protocol %s: got %T, want %T", env.Name, settings, c)
			}
			return build(*c, env)
		},
	}
}
