package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"sluice/message"
)

// backoff decides how long to wait before the next connection.
type backoff struct {
	rand       io.Reader
	first, max time.Duration // the ceilings of the first wait and of every wait
	failed     int           // attempts since the last that got anywhere
}

func newBackoff(rand io.Reader) backoff {
	return backoff{rand: rand, first: 500 * time.Millisecond, max: 15 * time.Second}
}

const (
	// slowest and slower bound the waits of an agent that is not let in.
	slower, slowest = 15 * time.Second, 60 * time.Second
	// spread is over how long the agents of a gateway that goes away come back,
	// and respread over how long one that restarts and has spread their ends.
	spread, respread = 3 * time.Second, time.Second
	// longest is the longest wait that a gateway may ask for.
	longest = time.Hour
)

// next returns how long to wait after err, and how the client then stands.
// progress says that the connection settled frames. A negative wait means that
// trying again is of no use.
func (b *backoff) next(err error, progress bool) (time.Duration, Status, error) {
	if progress {
		b.failed = 0
	}
	ceiling := b.max
	if b.failed < 16 {
		ceiling = min(b.max, b.first<<b.failed)
	}
	first := b.failed == 0
	b.failed++

	var (
		answer *rejection
		closed *websocket.CloseError
		alien  *foreign
	)
	switch {
	case errors.As(err, &answer):
		switch answer.status {
		case http.StatusBadRequest:
			return -1, Stopped, err
		case http.StatusUnauthorized, http.StatusForbidden:
			if first && answer.status == http.StatusUnauthorized {
				// A token that was just made may not have reached every gateway.
				return respread + b.jitter(respread), Rejected, err
			}
			return b.slow(), Rejected, err
		}
		if answer.retryAfter > 0 {
			return min(answer.retryAfter, longest) + b.jitter(time.Second), Waiting, err
		}
	case errors.As(err, &alien):
		return b.slow(), Rejected, err
	case errors.As(err, &closed):
		switch closed.Code {
		case websocket.ClosePolicyViolation:
			return b.slow(), Rejected, err
		case websocket.CloseGoingAway:
			ceiling = max(ceiling, spread)
		case websocket.CloseServiceRestart:
			// Another gateway may be there at once. If it is not, or says the
			// same, the waits grow as ever.
			if first {
				ceiling = respread
			}
		}
	}
	return b.jitter(ceiling), Waiting, err
}

// restarts reports whether err is a gateway's word that it restarts.
func restarts(err error) bool {
	closed, ok := errors.AsType[*websocket.CloseError](err)
	return ok && closed.Code == websocket.CloseServiceRestart
}

func (b *backoff) slow() time.Duration { return slower + b.jitter(slowest-slower) }

// jitter returns a duration below limit, each as likely. Without randomness it
// is half of limit.
func (b *backoff) jitter(limit time.Duration) time.Duration {
	var r [8]byte
	if _, err := io.ReadFull(b.rand, r[:]); err != nil {
		return limit / 2
	}
	return time.Duration(binary.BigEndian.Uint64(r[:]) % uint64(limit))
}

// rejection is an answer other than 101.
type rejection struct {
	status     int
	reason     string
	retryAfter time.Duration
}

func newRejection(resp *http.Response) *rejection {
	r := &rejection{status: resp.StatusCode}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 256))
	r.reason = message.Printable(string(bytes.TrimSpace(text)), 256)
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		r.retryAfter = time.Duration(min(s, int(longest/time.Second))) * time.Second
	}
	return r
}

// Error names the status, what the gateway said, and what to check.
func (r *rejection) Error() string {
	s := fmt.Sprintf("gateway answered %d %s", r.status, http.StatusText(r.status))
	if r.reason != "" {
		s += ": " + r.reason
	}
	switch r.status {
	case http.StatusBadRequest:
		s += " (it does not speak this version of the protocol: check that url is a sluice gateway)"
	case http.StatusUnauthorized:
		s += " (check that the token is one that the gateway knows)"
	case http.StatusForbidden:
		s += " (the agent is banned)"
	case http.StatusNotFound, http.StatusOK, http.StatusMovedPermanently, http.StatusFound:
		s += " (check that url is a sluice gateway)"
	}
	return s
}
