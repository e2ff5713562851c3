package dashboard

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// pingEvery is how often a viewer has to show that it is there, and readWait
	// how long it may be silent.
	pingEvery = 20 * time.Second
	readWait  = 60 * time.Second
	// maxRequest is the largest message taken from a viewer, in bytes.
	maxRequest = 4 << 10
)

// viewer is one page that is kept live. The goroutine of its request reads, a
// second one writes.
type viewer struct {
	conn *websocket.Conn
	wake chan struct{} // holds one token while there may be something to take
	gone chan struct{} // closed when the reading ends

	// The hub's mu guards these.
	queue  []outgoing
	whole  bool // a snapshot is due
	synced bool // it had one
}

// wakeUp makes the writer look for something to send.
func (v *viewer) wakeUp() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// ServeHTTP keeps one page live until it goes, fails or the hub closes.
func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		http.Error(w, "this address speaks websocket", http.StatusUpgradeRequired)
		return
	}
	if h.full() {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	up := websocket.Upgrader{
		HandshakeTimeout: 10 * time.Second, Subprotocols: []string{subprotocol}, EnableCompression: true,
		WriteBufferSize: 4 << 10, ReadBufferSize: 1 << 10, CheckOrigin: sameOrigin,
	}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	defer conn.Close()
	if conn.Subprotocol() != subprotocol {
		closeWith(conn, websocket.CloseProtocolError, "the subprotocol is "+subprotocol)
		return
	}
	_ = conn.SetCompressionLevel(1)
	v := &viewer{conn: conn, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	if ok, err := h.join(v); !ok || err != nil {
		closeWith(conn, websocket.CloseTryAgainLater, "too many pages are open")
		return
	}
	defer h.leave(v)
	written := make(chan struct{})
	go func() {
		defer close(written)
		defer conn.Close() // ends the reading
		h.write(v)
	}()
	h.read(v)
	close(v.gone)
	_ = conn.Close()
	<-written
}

// read takes what the page says until it goes.
func (h *hub) read(v *viewer) {
	v.conn.SetReadLimit(maxRequest)
	alive := func(string) error { return v.conn.SetReadDeadline(time.Now().Add(readWait)) }
	_ = alive("")
	v.conn.SetPongHandler(alive)
	for {
		_, b, err := v.conn.ReadMessage()
		if err != nil {
			return
		}
		_ = alive("")
		req, err := parseRequest(b)
		if err != nil {
			closeWith(v.conn, websocket.CloseUnsupportedData, "not a JSON object")
			return
		}
		switch req.T {
		case "resync":
			h.resync(v)
		case "ping":
			if h.tell(v, short{T: "pong", Now: h.now()}) != nil {
				return
			}
		}
	}
}

// write sends what is queued until the page goes, a write fails or the hub
// closes.
func (h *hub) write(v *viewer) {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	if h.send(v, hello{T: "hello", Version: 1, Epoch: h.epoch, Now: h.now(), Hz: h.hz}) != nil {
		return
	}
	for {
		select {
		case <-v.gone:
			return
		case <-ping.C:
			if v.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(h.writeWait)) != nil {
				return
			}
		case <-v.wake:
			if h.flush(v) {
				return
			}
		}
	}
}

// flush sends what waits for v and reports whether that was all there will be.
func (h *hub) flush(v *viewer) (done bool) {
	for {
		list, bye, err := h.take(v)
		if err != nil {
			return true
		}
		for _, m := range list {
			_ = v.conn.SetWriteDeadline(time.Now().Add(h.writeWait))
			if v.conn.WritePreparedMessage(m.msg) != nil {
				return true
			}
		}
		if bye {
			if h.send(v, short{T: "bye", Now: h.now(), Code: "restart", RetryMs: retryAfter}) == nil {
				closeWith(v.conn, websocket.CloseServiceRestart, "the server goes away")
			}
			return true
		}
		if len(list) == 0 {
			return false
		}
	}
}

// send writes one message that only v gets.
func (h *hub) send(v *viewer, m any) error {
	_ = v.conn.SetWriteDeadline(time.Now().Add(h.writeWait))
	return v.conn.WriteJSON(m)
}

// closeWith tells the other side why the connection ends.
func closeWith(conn *websocket.Conn, code int, reason string) {
	_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
}

// sameOrigin reports whether a page of this very server asks. A browser always
// says whose page it is; what does not say it is no page and has no business on
// this route.
func sameOrigin(r *http.Request) bool {
	origin := r.Header["Origin"]
	if len(origin) != 1 {
		return false
	}
	u, err := url.Parse(origin[0])
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && strings.EqualFold(u.Host, r.Host)
}
