package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
)

const (
	// handshakeTimeout is how long dialing, the upgrade and the welcome may take
	// each.
	handshakeTimeout = 10 * time.Second
	// idleTimeout is how long the gateway, which pings every 25 s, may be silent.
	// It also ends a write that does not end: a gateway that reads nothing for
	// now still pings.
	idleTimeout = 60 * time.Second
	// closeTimeout is how long a close may take on both sides together.
	closeTimeout = time.Second
	// controlLimit is the largest control message, in bytes.
	controlLimit = 64 << 10
)

// connection is one connection to the gateway, from dialing to its end.
type connection struct {
	client *Client
	ws     *websocket.Conn
	socket *socket
	pings  chan string // payloads to answer
	// release undoes what ends the connection with the context.
	release func() bool

	welcomed bool // the gateway answered hello
	progress bool // frames were settled, or it lasted until a ping
}

// run connects and works until the connection ends, and says why it did. When
// ctx ends it closes in good order.
func (k *connection) run(ctx context.Context) error {
	k.pings = make(chan string, 1)
	defer func() {
		if k.release != nil {
			k.release()
		}
	}()
	if err := k.dial(ctx); err != nil {
		return err
	}
	defer k.ws.Close()
	k.ws.SetReadLimit(controlLimit)
	if err := k.login(); err != nil {
		return fmt.Errorf("log in: %w", err)
	}

	// The first to fail closes the socket under the other.
	g, ends := errgroup.WithContext(context.WithoutCancel(ctx))
	g.Go(func() error {
		defer k.socket.Close()
		return k.read()
	})
	g.Go(func() error {
		err := k.write(ctx.Done(), ends.Done())
		if err != nil {
			k.socket.Close()
		}
		return err
	})
	return g.Wait()
}

// dial opens the network connection and upgrades it.
func (k *connection) dial(ctx context.Context) error {
	c := k.client
	use := func(conn net.Conn, err error) (net.Conn, error) {
		if err != nil {
			return nil, err
		}
		k.socket = &socket{Conn: conn}
		// From here on everything ends soon after ctx, blocked or not.
		k.release = context.AfterFunc(ctx, func() { k.socket.expire(time.Now().Add(closeTimeout)) })
		return k.socket, nil
	}
	d := websocket.Dialer{
		NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return use(c.opts.Dial(ctx, network, addr))
		},
		TLSClientConfig:  c.opts.TLS,
		HandshakeTimeout: handshakeTimeout,
		Subprotocols:     []string{"sluice.v1." + c.cfg.Encoding},
		WriteBufferSize:  16 << 10, // a larger message goes out in fragments of this size
		ReadBufferSize:   4 << 10,
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: webURL(c.url)})
	if err != nil {
		return fmt.Errorf("read proxy settings: %w", err)
	}
	if proxy != nil {
		d.Proxy = http.ProxyURL(proxy)
	} else {
		// Frames are gathered above TLS and share its records. Behind a proxy TLS
		// begins only after the proxy's handshake, and they are gathered below.
		d.NetDialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return use(c.dialTLS(ctx, network, addr))
		}
	}
	header := http.Header{"Authorization": {"Bearer " + c.cfg.Token.Reveal()}, "User-Agent": {"sluice-agent"}}
	//nolint:bodyclose // what gorilla returns of a refusal is in memory
	ws, resp, err := d.DialContext(ctx, c.url.String(), header)
	if errors.Is(err, websocket.ErrBadHandshake) && resp != nil {
		return newRejection(resp)
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	k.ws = ws
	if got, want := ws.Subprotocol(), d.Subprotocols[0]; got != want {
		ws.Close()
		return fmt.Errorf("gateway chose subprotocol %q, not %s: check that url is a sluice gateway", got, want)
	}
	return nil
}

// dialTLS opens a connection with TLS on it.
func (c *Client) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := c.opts.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	cfg := c.opts.TLS.Clone()
	if cfg == nil {
		cfg = new(tls.Config)
	}
	if cfg.ServerName == "" {
		cfg.ServerName = c.url.Hostname()
	}
	cfg.NextProtos = []string{"http/1.1"}
	cfg.DynamicRecordSizingDisabled = true // small records would undo the gathering
	t := tls.Client(conn, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return t, nil
}

// webURL returns u as the proxy settings know it.
func webURL(u *url.URL) *url.URL {
	web := *u
	web.Scheme = map[string]string{"ws": "http", "wss": "https"}[u.Scheme]
	return &web
}

// login says hello and reads until the welcome.
func (k *connection) login() error {
	c := k.client
	if err := k.ws.SetReadDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	next := c.buffer.rewind()
	if err := k.ws.WriteMessage(k.kind(), encodeHello(c.cfg.Encoding, c.session, next)); err != nil {
		return err
	}
	for {
		m, err := k.next()
		if err != nil {
			return err
		}
		if m.Welcome == nil {
			continue
		}
		if err := c.buffer.begin(m.Welcome); err != nil {
			k.close(websocket.CloseNormalClosure, "")
			return err
		}
		k.welcomed = true
		c.log.Info("connected", "agent", m.Welcome.Agent)
		c.tell(State{Status: Connected, Agent: m.Welcome.Agent})
		return nil
	}
}

// read follows the gateway's words until the connection ends, and returns why
// it did.
func (k *connection) read() error {
	c := k.client
	k.ws.SetPingHandler(func(payload string) error {
		k.progress = true // it has lasted
		// The writer answers: it alone writes, and may be waiting for a gateway
		// that reads nothing for now.
		select {
		case k.pings <- payload:
		default:
		}
		return k.alive()
	})
	for {
		if err := k.alive(); err != nil {
			return err
		}
		m, err := k.next()
		if err != nil {
			return err
		}
		switch {
		case m.Ack != nil:
			news, err := c.buffer.ack(m.Ack.Seq)
			if err != nil {
				k.close(websocket.CloseProtocolError, "ack of a frame never sent")
				return err
			}
			if news {
				k.progress = true
				if c.opts.OnAck != nil {
					c.opts.OnAck(m.Ack.Seq)
				}
			}
		case m.Refused != nil:
			data, err := c.buffer.refuse(m.Refused.Seq)
			if err != nil {
				k.close(websocket.CloseProtocolError, "refusal of a frame never sent")
				return err
			}
			if data != nil {
				k.progress = true
				if c.opts.OnRefused != nil {
					c.opts.OnRefused(Refused{Seq: m.Refused.Seq, Code: m.Refused.Code, Limit: int(m.Refused.Limit), Frame: data})
				}
			}
		}
	}
}

// alive puts the end of patience off.
func (k *connection) alive() error {
	return k.ws.SetReadDeadline(time.Now().Add(idleTimeout))
}

// next reads one control message.
func (k *connection) next() (control, error) {
	kind, b, err := k.ws.ReadMessage()
	if err != nil {
		return control{}, err
	}
	if kind != k.kind() {
		return control{}, fmt.Errorf("control message of websocket type %d, and the encoding has %d", kind, k.kind())
	}
	return decodeControl(k.client.cfg.Encoding, b)
}

// write sends what the buffer lets out, everything that is there in one go,
// until the reader ends or it is told to stop.
func (k *connection) write(stop, ends <-chan struct{}) error {
	b := k.client.buffer
	var (
		frames [][]byte
		ping   string
		pinged bool
	)
	for {
		frames = b.take(frames[:0])
		if len(frames) > 0 || pinged {
			k.socket.cork()
			err := k.writeAll(frames)
			if err == nil && pinged {
				err = k.ws.WriteControl(websocket.PongMessage, []byte(ping), time.Time{})
			}
			if flushed := k.socket.uncork(); err == nil {
				err = flushed
			}
			if err != nil {
				return fmt.Errorf("write: %w", err)
			}
			clear(frames)
		}
		// A burst that was cut short goes on before anything is waited for.
		select {
		case ping, pinged = <-k.pings:
			continue
		default:
			pinged = false
		}
		if len(frames) == burst {
			continue
		}
		select {
		case <-b.wake:
		case ping = <-k.pings:
			pinged = true
		case <-ends:
			return nil
		case <-stop:
			k.close(websocket.CloseNormalClosure, "")
			return nil
		}
	}
}

func (k *connection) writeAll(frames [][]byte) error {
	for _, f := range frames {
		if err := k.ws.WriteMessage(k.kind(), f); err != nil {
			return err
		}
	}
	return nil
}

// close says why the connection ends. The gateway answers with the same, which
// ends the reader.
func (k *connection) close(code int, reason string) {
	_ = k.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(closeTimeout))
}

// kind is the type of every websocket message of this encoding.
func (k *connection) kind() int {
	if k.client.cfg.Encoding == JSON {
		return websocket.TextMessage
	}
	return websocket.BinaryMessage
}
