package gateway

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

// What a client is told to wait, in seconds, before it tries again: the same
// gateway, or one that is another by then.
const retryAfter, retryElsewhere = 5, 1

// Fault is the body of every answer that refuses a request.
type Fault struct {
	// Error is a word for programs, Reason a sentence for people.
	Error string `json:"error"`
	// Field is the member at fault, such as [3].type; empty where none is.
	Field  string `json:"field,omitzero"`
	Reason string `json:"reason"`
}

// WriteJSON answers a request with v.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, `{"error":"internal","reason":"the answer cannot be written"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

// Refuse answers a request with what an error of a Host means in HTTP: 401, 403,
// 413 or 503.
func Refuse(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, ErrUnauthorized):
		w.Header().Set("WWW-Authenticate", `Bearer realm="sluice"`)
		WriteJSON(w, http.StatusUnauthorized, Fault{Error: "unauthorized", Reason: "want the header Authorization: Bearer with the token of an agent"})
	case errors.Is(err, ErrBanned):
		WriteJSON(w, http.StatusForbidden, Fault{Error: "banned", Reason: err.Error()})
	case errors.Is(err, ErrTooLarge):
		WriteJSON(w, http.StatusRequestEntityTooLarge, Fault{Error: "too_large", Reason: err.Error()})
	case errors.Is(err, ErrDraining):
		w.Header().Set("Connection", "close")
		w.Header().Set("Retry-After", strconv.Itoa(retryElsewhere))
		WriteJSON(w, http.StatusServiceUnavailable, Fault{Error: "draining", Reason: "the gateway stops, connect again"})
	default:
		Unavailable(w, "busy", "the gateway takes nothing now, try again later")
	}
}

// Unavailable answers a request with 503 and Retry-After.
func Unavailable(w http.ResponseWriter, code, reason string) {
	w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	WriteJSON(w, http.StatusServiceUnavailable, Fault{Error: code, Reason: reason})
}

// BearerToken returns the token of a request's Authorization header, or "". A
// token in the URL is not looked for: URLs end up in logs.
func BearerToken(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// status keeps what http.ServeMux says of a request that it has no handler for.
type status struct {
	header http.Header
	code   int
}

func (s *status) Header() http.Header         { return s.header }
func (s *status) Write(p []byte) (int, error) { return len(p), nil }
func (s *status) WriteHeader(code int)        { s.code = code }

// unrouted answers a request that is for no protocol.
func (g *Gateway) unrouted(w http.ResponseWriter, r *http.Request, h http.Handler) {
	s := &status{header: make(http.Header)}
	h.ServeHTTP(s, r)
	served := "this gateway serves " + strings.Join(g.patterns, ", ")
	if s.code == http.StatusMethodNotAllowed {
		g.metrics.rejected.add("method")
		w.Header().Set("Allow", s.header.Get("Allow"))
		WriteJSON(w, s.code, Fault{Error: "method", Reason: served})
		return
	}
	g.metrics.rejected.add("not_found")
	WriteJSON(w, http.StatusNotFound, Fault{Error: "not_found", Reason: served})
}
