package agent_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/vmihailenco/msgpack/v5"
	"go.uber.org/goleak"

	"sluice/agent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	token    = "token-that-must-not-be-shown"
	patience = 60 * time.Second
)

// fakeGateway speaks the gateway's side of the protocol. serve has each
// connection to itself, after hello; returning cuts it off.
type fakeGateway struct {
	t     *testing.T
	url   string
	serve func(*fakeConn)

	mu      sync.Mutex
	count   int    // of connections
	session string // of all of them
	open    sync.WaitGroup
}

// fakeConn is the gateway's end of one connection.
type fakeConn struct {
	*fakeGateway
	ws      *websocket.Conn
	kind    int    // of websocket messages
	number  int    // of the connection, from 0
	hello   string // the session
	nextSeq uint64 // the number of the next frame
}

func startGateway(t *testing.T, serve func(*fakeConn)) *fakeGateway {
	t.Helper()
	g := &fakeGateway{t: t, serve: serve}
	g.start(httptest.NewServer(g))
	return g
}

// startTLS is as startGateway, with the configuration that trusts it.
func startTLS(t *testing.T, serve func(*fakeConn)) (*fakeGateway, *tls.Config) {
	t.Helper()
	g := &fakeGateway{t: t, serve: serve}
	srv := httptest.NewTLSServer(g)
	g.start(srv)
	return g, &tls.Config{RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
}

func (g *fakeGateway) start(srv *httptest.Server) {
	g.t.Cleanup(func() { srv.Close(); g.open.Wait() })
	g.url = "ws" + strings.TrimPrefix(srv.URL, "http")
}

func (g *fakeGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v1/stream" || r.Header.Get("Authorization") != "Bearer "+token {
		g.t.Errorf("request for %s with %q", r.URL.Path, r.Header.Get("Authorization"))
	}
	up := websocket.Upgrader{Subprotocols: []string{"sluice.v1.json", "sluice.v1.msgpack"}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	g.open.Add(1)
	defer g.open.Done()
	c := &fakeConn{fakeGateway: g, ws: ws, kind: websocket.BinaryMessage}
	if ws.Subprotocol() == "sluice.v1.json" {
		c.kind = websocket.TextMessage
	}
	kind, b, err := ws.ReadMessage()
	if err != nil {
		return
	}
	var hello struct {
		Hello struct {
			Session string `json:"session"`
			Next    uint64 `json:"next"`
		} `json:"hello"`
	}
	if err := c.decode(b, &hello); err != nil || kind != c.kind || hello.Hello.Session == "" || hello.Hello.Next == 0 {
		g.t.Errorf("hello of websocket type %d: %q: %v", kind, b, err)
	}
	c.hello, c.nextSeq = hello.Hello.Session, hello.Hello.Next
	g.mu.Lock()
	if g.count > 0 && c.hello != g.session {
		g.t.Errorf("session %q, and before it was %q", c.hello, g.session)
	}
	c.number, g.session = g.count, c.hello
	g.count++
	g.mu.Unlock()
	g.serve(c)
}

func (c *fakeConn) decode(b []byte, v any) error {
	if c.kind == websocket.TextMessage {
		return json.Unmarshal(b, v)
	}
	d := msgpack.NewDecoder(bytes.NewReader(b))
	d.SetCustomStructTag("json")
	return d.Decode(v)
}

// say sends a control message; an agent that is gone is no error.
func (c *fakeConn) say(v any) {
	var (
		b   []byte
		err error
	)
	if c.kind == websocket.TextMessage {
		b, err = json.Marshal(v)
	} else {
		b, err = msgpack.Marshal(v)
	}
	if err != nil {
		c.t.Error(err)
	}
	_ = c.ws.WriteMessage(c.kind, b)
}

type object = map[string]any

func (c *fakeConn) welcome(name string, frame, window int) {
	c.say(object{"welcome": object{"agent": name, "limits": object{"frame": frame, "window": window}}})
}

func (c *fakeConn) ack(seq uint64) { c.say(object{"ack": object{"seq": seq}}) }

func (c *fakeConn) refuse(seq uint64, limit int) {
	c.say(object{"refused": object{"seq": seq, "code": "too_large", "limit": limit}})
}

// read returns the next frame and its number.
func (c *fakeConn) read() (uint64, []byte, error) {
	kind, b, err := c.ws.ReadMessage()
	if err != nil {
		return 0, nil, err
	}
	if kind != c.kind {
		c.t.Errorf("frame of websocket type %d, want %d", kind, c.kind)
	}
	c.nextSeq++
	return c.nextSeq - 1, b, nil
}

// ackAll takes everything and acknowledges it, until the agent is gone; it
// returns how that ended.
func (c *fakeConn) ackAll(frame func(seq uint64, b []byte)) error {
	for {
		seq, b, err := c.read()
		if err != nil {
			return err
		}
		if frame != nil {
			frame(seq, b)
		}
		c.ack(seq)
	}
}

// envelope is a data frame as the decoders behind the gateway see it.
type envelope struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Time int64  `json:"time"`
	Node string `json:"node"`
	Data struct {
		Type string `json:"type"`
		Body object `json:"body"`
	} `json:"data"`
}

func (c *fakeConn) envelope(b []byte) envelope {
	var e envelope
	if err := c.decode(b, &e); err != nil {
		c.t.Errorf("frame %q: %v", b, err)
	}
	return e
}

// logs keeps what a client logs, and fails the test if that holds the token.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newClient returns a client that reconnects at once.
func newClient(t *testing.T, cfg agent.Config, opts agent.Options) (*agent.Client, *logs) {
	t.Helper()
	c, out := newClientAsIs(t, cfg, opts)
	c.SetBackoff(time.Millisecond, 2*time.Millisecond)
	return c, out
}

// newClientAsIs returns a client that waits as it does outside of tests.
func newClientAsIs(t *testing.T, cfg agent.Config, opts agent.Options) (*agent.Client, *logs) {
	t.Helper()
	out := new(logs)
	t.Cleanup(func() {
		if strings.Contains(out.String(), token) {
			t.Errorf("the token is in the log:\n%s", out)
		}
	})
	opts.Logger = slog.New(slog.NewTextHandler(out, nil))
	cfg.Token = token
	c, err := agent.New(cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c, out
}

// run runs c until the returned function is called, which returns its error.
func run(t *testing.T, c *agent.Client) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() {
			cancel()
			select {
			case err = <-done:
			case <-time.After(patience):
				err = errors.New("Run did not return")
			}
		})
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return stop
}

func flush(t *testing.T, c *agent.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Flush(ctx); err != nil {
		t.Fatalf("Flush with %d frames pending: %v", c.Pending(), err)
	}
}
