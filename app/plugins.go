package app

import (
	"sluice/gateway"
	"sluice/gateway/rest"
	"sluice/gateway/websocket"
	"sluice/normalizer/decode"
	"sluice/sinks"
	"sluice/sinks/archive"
	"sluice/sinks/dashboard"
	"sluice/sinks/dynamodb"
	"sluice/sinks/stdout"
)

// Plugins is what a build of sluice can speak and where it can write to. The
// keys are the names in the configuration.
type Plugins struct {
	// Protocols are the gateway's; those of the names in Decoders, or of package
	// decode, can be normalized.
	Protocols map[string]gateway.Protocol
	// Decoders are those of protocols that package decode does not know.
	Decoders map[string]decode.Decoder
	Sinks    map[string]sinks.Plugin
}

// Default returns the plugins that sluice comes with. This is the one place that
// names them.
func Default() Plugins {
	return Plugins{
		Protocols: map[string]gateway.Protocol{
			"websocket": websocket.Protocol(),
			"rest":      rest.Protocol(),
		},
		Decoders: map[string]decode.Decoder{},
		Sinks: map[string]sinks.Plugin{
			"archive":   archive.Plugin(),
			"dashboard": dashboard.Plugin(),
			"dynamodb":  dynamodb.Plugin(),
			"stdout":    stdout.Plugin(),
		},
	}
}
