package websocket

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"sluice/gateway"
	"sluice/internal/wire"
)

// Settings is what users write about the protocol.
type Settings struct {
	Ping time.Duration `koanf:"ping" doc:"how often the gateway pings an agent"`
	Idle time.Duration `koanf:"idle" doc:"how long an agent may say nothing, not even answer a ping"`
}

// Validate reports every setting that cannot be.
func (s *Settings) Validate() error {
	var errs []error
	if s.Ping < time.Second || s.Ping > time.Minute {
		errs = append(errs, fmt.Errorf("ping: %s is not between 1s and 1m", s.Ping))
	}
	if s.Idle < max(2*s.Ping, 2*time.Second) || s.Idle > 10*time.Minute {
		errs = append(errs, fmt.Errorf("idle: %s is not between twice ping and 10m", s.Idle))
	}
	return errors.Join(errs...)
}

func defaults() Settings { return Settings{Ping: 25 * time.Second, Idle: time.Minute} }

// Protocol is the plugin.
func Protocol() gateway.Protocol {
	return gateway.Define([]string{"GET /v1/stream"}, defaults, build)
}

// formats are the subprotocols, and what they make of everything on a connection.
var formats = map[string]wire.Format{
	"sluice.v1.json":    wire.JSON,
	"sluice.v1.msgpack": wire.Msgpack,
}

type handler struct {
	settings Settings
	env      gateway.Env
	upgrader websocket.Upgrader
}

func build(s Settings, env gateway.Env) (http.Handler, error) {
	return &handler{settings: s, env: env, upgrader: websocket.Upgrader{
		HandshakeTimeout: 5 * time.Second,
		// Buffers of size 0 are those of net/http, used again. Compression stays
		// off: a limit on what is received does not limit what it expands to.
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			gateway.WriteJSON(w, status, gateway.Fault{Error: "handshake", Reason: reason.Error()})
		},
		// An Origin says which page a browser acts for, and matters where the
		// browser adds credentials by itself. This route takes only a token that
		// the client sets, never a cookie; and agents of other makes send
		// whatever Origin they like.
		CheckOrigin: func(*http.Request) bool { return true },
	}}, nil
}

// ServeHTTP lets an agent in and stays until the connection is over.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	agent, err := h.env.Host.Login(h.env.Name, gateway.BearerToken(r))
	if err != nil {
		gateway.Refuse(w, err)
		return
	}
	if !websocket.IsWebSocketUpgrade(r) {
		h.env.Reject("upgrade")
		w.Header().Set("Upgrade", "websocket")
		gateway.WriteJSON(w, http.StatusUpgradeRequired, gateway.Fault{Error: "upgrade", Reason: "want a websocket"})
		return
	}
	var format wire.Format
	header := http.Header{}
	for _, name := range websocket.Subprotocols(r) {
		if f, ok := formats[name]; ok {
			format = f
			header.Set("Sec-Websocket-Protocol", name)
			break
		}
	}
	if format == 0 {
		h.env.Reject("subprotocol")
		gateway.WriteJSON(w, http.StatusBadRequest, gateway.Fault{
			Error: "subprotocol", Reason: "want the subprotocol sluice.v1.json or sluice.v1.msgpack"})
		return
	}
	hijacked := &hijacker{ResponseWriter: w, idle: h.settings.Idle, message: h.env.Limits.MessageTimeout, clock: h.env.Clock}
	ws, err := h.upgrader.Upgrade(hijacked, r, header)
	if err != nil {
		h.env.Reject("handshake") // Upgrade has answered
		return
	}
	s := &stream{
		h: h, ws: ws, sock: hijacked.sock, agent: agent, format: format,
		wake: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	s.serve()
}

// hijacker gives gorilla a socket of ours where it asks for the connection.
type hijacker struct {
	http.ResponseWriter
	idle, message time.Duration
	clock         func() time.Time
	sock          *socket
}

// Hijack implements http.Hijacker. gorilla reads from what is returned here: it
// resets the reader to the connection.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.sock = &socket{Conn: c, idle: h.idle, message: h.message, clock: h.clock}
	return h.sock, rw, nil
}
