package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"sluice/sinks/dashboard/fleet"
)

// plain holds the plain page: templates, and the files it is served with.
//
//go:embed plain
var plain embed.FS

// policy lets a page load and reach nothing but this server, and nobody frame
// it.
const policy = "default-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

// server answers all requests but those for live updates.
type server struct {
	settings Settings
	picture  func() picture
	pages    *pages
	log      *slog.Logger
}

// newHandler returns the handler of all routes.
func newHandler(s Settings, show func() picture, live http.Handler, log *slog.Logger) (http.Handler, error) {
	p, err := newPages()
	if err != nil {
		return nil, err
	}
	assets, err := newAssets()
	if err != nil {
		return nil, err
	}
	srv := &server{settings: s, picture: show, pages: p, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", srv.nodes)
	mux.HandleFunc("/connect", srv.connect)
	mux.HandleFunc("/api/v1/nodes", srv.apiNodes)
	mux.HandleFunc("/api/v1/nodes/{id}", srv.apiNode)
	mux.Handle("/api/v1/live", live)
	mux.Handle("/assets/{name}", assets)
	mux.HandleFunc("/", srv.notFound)
	return guard(s, mux), nil
}

// guard sets the headers of every answer and turns away what has no business
// here. A page elsewhere can make a browser call this machine by a name that it
// controls, and then read the answers; so the name has to be one of ours.
func guard(s Settings, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		switch {
		case !ownHost(s, r.Host):
			http.Error(w, "the dashboard is not called by this name; setting hosts lists the names it answers to", http.StatusForbidden)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "the dashboard is for reading", http.StatusMethodNotAllowed)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// ownHost reports whether host, with or without a port, is a name that the
// dashboard answers to: this machine's own, an address of it, or a configured
// one. Without configured names an insecure dashboard answers to any.
func ownHost(s Settings, host string) bool {
	if s.Insecure && len(s.Hosts) == 0 {
		return true
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if name == "localhost" {
		return true
	}
	if ip, err := netip.ParseAddr(name); err == nil && ip.Unmap().IsLoopback() {
		return true
	}
	return slices.ContainsFunc(s.Hosts, func(h string) bool { return strings.EqualFold(strings.Trim(h, "[]"), name) })
}

// nodes serves the table of all nodes.
func (s *server) nodes(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.render(w, http.StatusOK, "nodes", nodesPage(s.picture(), q.Get("q"), q.Get("sort"), s.lines(r)))
}

// connect serves how to connect an agent.
func (s *server) connect(w http.ResponseWriter, r *http.Request) {
	s.render(w, http.StatusOK, "connect", page{Title: "Connect", Here: "connect", Now: s.picture().now.UnixMilli(), Connect: s.lines(r)})
}

func (s *server) notFound(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		s.json(w, http.StatusNotFound, map[string]string{"error": "no such address"})
		return
	}
	s.render(w, http.StatusNotFound, "missing", page{Title: "Not found", Now: s.picture().now.UnixMilli()})
}

// lines returns how to connect an agent, for who reached us by this request.
func (s *server) lines(r *http.Request) connectLines {
	return newConnectLines(s.settings.GatewayURL, r.Host)
}

// apiNodes serves everything that the table shows, and some more.
func (s *server) apiNodes(w http.ResponseWriter, _ *http.Request) {
	p := s.picture()
	s.json(w, http.StatusOK, struct {
		Now     int64           `json:"now"`
		Caught  bool            `json:"caught"`
		Rate    fleet.Number    `json:"rate"`
		Count   fleet.Count     `json:"count"`
		Chains  []fleet.Chain   `json:"chains"`
		Refused []fleet.Refusal `json:"refused"`
		Nodes   []fleet.Row     `json:"nodes"`
	}{p.now.UnixMilli(), p.caught, p.rate, p.Count, p.Chains, p.Refused, p.Rows})
}

// apiNode serves one node by its ID.
func (s *server) apiNode(w http.ResponseWriter, r *http.Request) {
	p := s.picture()
	i := slices.IndexFunc(p.Rows, func(row fleet.Row) bool { return row.ID == r.PathValue("id") })
	if i < 0 {
		s.json(w, http.StatusNotFound, map[string]string{"error": "no such node"})
		return
	}
	s.json(w, http.StatusOK, struct {
		Now  int64     `json:"now"`
		Node fleet.Row `json:"node"`
	}{p.now.UnixMilli(), p.Rows[i]})
}

// json writes v. Markup in it is escaped, in case a browser is made to show it.
func (s *server) json(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		s.log.Error("answer could not be encoded", "err", err)
		http.Error(w, "the answer could not be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

// render writes a page, whole or not at all.
func (s *server) render(w http.ResponseWriter, status int, name string, p page) {
	var b bytes.Buffer
	if err := s.pages.render(&b, name, p); err != nil {
		s.log.Error("page could not be made", "path", name, "err", err)
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.Copy(w, &b)
}

// asset is one file as it is served.
type asset struct {
	contentType, etag string
	body              []byte
}

// assets serves the files of the page by name. Their ETag is made of what they
// hold: an embedded file has no time of change.
type assets map[string]asset

func newAssets() (assets, error) {
	names, err := fs.Glob(plain, "plain/assets/*")
	if err != nil {
		return nil, fmt.Errorf("list the files of the page: %w", err)
	}
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	a := make(assets, len(names))
	for _, name := range names {
		b, err := plain.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read a file of the page: %w", err)
		}
		sum := sha256.Sum256(b)
		a[path.Base(name)] = asset{types[path.Ext(name)], `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`, b}
	}
	return a, nil
}

// ServeHTTP serves one file, or nothing to a browser that has it.
func (a assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := a[r.PathValue("name")]
	if !ok {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("ETag", f.etag)
	h.Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
}

// quietLog returns the log of net/http, whose lines are about broken requests.
func quietLog(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelDebug) }
