package gateway

import "github.com/prometheus/client_golang/prometheus"

// Refusal is one of the reasons of sluice_agent_rejected_total.
type Refusal struct{ Reason, Meaning string }

// Refusals lists every reason there is. What a protocol from outside gives to
// Env.Reject and does not stand here counts as other, so that the list stays
// closed whatever an agent sends.
var Refusals = []Refusal{
	// Before a request is read.
	{"connections", "one connection more than limits.connections"},
	{"per_ip", "one connection more than limits.per_ip from one address"},
	{"tls", "TLS on a port that speaks plain HTTP"},
	{"slow_request", "a connection that sent no whole request header in time"},
	{"bad_request", "a request that is not HTTP, or whose header is too large"},
	{"not_found", "a path that no protocol serves"},
	{"method", "a method that the path does not have"},

	// By who asks, and by how things stand.
	{"no_token", "no Authorization: Bearer"},
	{"bad_token", "a token that no agent has"},
	{"banned", "a banned agent"},
	{"starting", "the gateway does not know the agents yet"},
	{"draining", "a login while the gateway stops"},
	{"stalled", "a login while Kafka does not answer"},
	{"full", "a login while as much is in flight as may be"},
	{"internal", "the gateway could not make a name for the connection"},

	// Websockets before and at hello.
	{"upgrade", "a plain request where a websocket is wanted"},
	{"subprotocol", "no subprotocol that the gateway has"},
	{"handshake", "a websocket handshake that is none"},
	{"hello_protocol", "something other than hello came first"},
	{"hello_too_large", "a hello larger than limits.before_login"},
	{"hello_timeout", "no hello within limits.login_timeout"},

	// Afterwards.
	{"frame_size", "a frame larger than limits.frame; the connection goes on"},
	{"ended_protocol", "a connection ended: what came is not of the protocol, or a flood of pings"},
	{"ended_too_large", "a connection ended: a message so large that it was not read to its end"},
	{"ended_timeout", "a connection ended: nothing came for too long, or a message not to its end"},
	{"ended_slow", "a connection ended: the agent did not read what the gateway wrote"},
	{"ended_not_stored", "a connection ended: Kafka answered a frame with an error"},
	{"ended_replaced", "a connection ended: the agent has newer ones"},
	{"ended_banned", "a connection ended: the agent was banned or removed, or its token was"},
	{"ended_draining", "a connection ended: the gateway stops"},

	// REST, by the word in the answer.
	{"rest_content_encoding", "a compressed body"},
	{"rest_content_type", "a body of another type than JSON, NDJSON or MessagePack"},
	{"rest_idempotency_key", "an Idempotency-Key that is no name, or several"},
	{"rest_too_large", "a body larger than limits.body"},
	{"rest_malformed", "a body that is not of its type, or did not come to its end"},
	{"rest_depth", "a body nested too deep"},
	{"rest_nodes", "a body of too many values"},
	{"rest_length", "a declared length that runs past the end"},
	{"rest_utf8", "text that is not UTF-8"},
	{"rest_duplicate", "a name twice in one object"},
	{"rest_number", "a number that no type holds"},
	{"rest_empty", "a body that holds no message"},
	{"rest_envelope", "a member of the envelope missing or of the wrong kind"},
	{"rest_foreign_id", "an id that is not the agent's"},
	{"rest_unknown_type", "a data type that has no schema"},
	{"rest_busy", "a body for which there is no room now"},
	{"rest_unknown", "Kafka did not say in time, or failed to say, whether it has the frame"},

	{other, "a reason of a protocol that is not in this list"},
}

const other = "other"

// endings are the reasons for which a gateway ends a connection, other than those
// that are the agent's doing and no refusal.
var endings = map[Reason]string{
	Malformed: "ended_protocol", TooLarge: "ended_too_large", Timeout: "ended_timeout", Slow: "ended_slow",
	NotStored: "ended_not_stored", Replaced: "ended_replaced", Banned: "ended_banned", Draining: "ended_draining",
}

// rejections counts refusals.
type rejections struct {
	vec      *prometheus.CounterVec
	byReason map[string]prometheus.Counter
}

// newRejections makes a counter for each reason, so that the first of a kind is
// an increase and not a series that nobody knew.
func newRejections() rejections {
	r := rejections{
		vec: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_agent_rejected_total",
			Help: "Connections, logins, requests, frames and connections' lives that were refused, by reason.",
		}, []string{"reason"}),
		byReason: make(map[string]prometheus.Counter, len(Refusals)),
	}
	for _, known := range Refusals {
		r.byReason[known.Reason] = r.vec.WithLabelValues(known.Reason)
	}
	return r
}

// add counts a refusal.
func (r rejections) add(reason string) {
	c, ok := r.byReason[reason]
	if !ok {
		c = r.byReason[other]
	}
	c.Inc()
}
