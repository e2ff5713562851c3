package kafkatest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"sluice/internal/kafka"
)

// Registry is a schema registry in this process, with as much of Confluent's API
// as sluice uses. It ends with the test.
type Registry struct {
	srv     *httptest.Server
	handler http.Handler

	mu       sync.Mutex
	subjects map[string][]uint32
	schemas  map[uint32]string
	next     uint32
	fail     []Answer
	away     bool
	user     string
	password string
	asked    map[string]int
}

// Answer is what a Registry is made to say instead of what it would.
type Answer struct {
	Status int
	Body   string
}

// NewRegistry starts one that is empty and gives IDs from first on.
func NewRegistry(t testing.TB, first uint32) *Registry {
	t.Helper()
	r := &Registry{subjects: map[string][]uint32{}, schemas: map[uint32]string{}, next: first, asked: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /subjects/{subject}", r.lookup)
	mux.HandleFunc("POST /subjects/{subject}/versions", r.register)
	mux.HandleFunc("GET /subjects/{subject}/versions", r.versions)
	mux.HandleFunc("GET /schemas/ids/{id}", r.schema)
	r.handler = r.guard(mux)
	r.srv = httptest.NewServer(r.handler)
	t.Cleanup(r.srv.Close)
	return r
}

// Config returns how to reach it.
func (r *Registry) Config() kafka.SchemaRegistry {
	c := kafka.DefaultSchemaRegistry()
	c.URL, c.Timeout = r.srv.URL, 30*time.Second
	return c
}

// Handler returns it for a server at another address.
func (r *Registry) Handler() http.Handler { return r.handler }

// Away has it close every connection without an answer, or not any more.
func (r *Registry) Away(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

// Fail has it give these answers to the next requests.
func (r *Registry) Fail(answers ...Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = append(r.fail, answers...)
}

// Guard has it ask for a login.
func (r *Registry) Guard(user, password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.user, r.password = user, password
}

// Put gives it a schema with an ID, under no subject.
func (r *Registry) Put(id uint32, schema string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schemas[id] = schema
}

// ID returns the last ID of a subject, 0 where there is none.
func (r *Registry) ID(subject string) uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ids := r.subjects[subject]; len(ids) > 0 {
		return ids[len(ids)-1]
	}
	return 0
}

// Asked returns how many requests of a method and a path were answered as they
// should.
func (r *Registry) Asked(method, path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[method+" "+path]
}

// guard does what comes before an answer, and holds the lock while it is made.
func (r *Registry) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.away {
			panic(http.ErrAbortHandler)
		}
		user, password, _ := req.BasicAuth()
		if r.user != "" && (user != r.user || password != r.password) {
			refuse(w, http.StatusUnauthorized, 40101, "Unauthorized")
			return
		}
		if len(r.fail) > 0 {
			a := r.fail[0]
			r.fail = r.fail[1:]
			w.WriteHeader(a.Status)
			fmt.Fprint(w, a.Body)
			return
		}
		r.asked[req.Method+" "+req.URL.Path]++
		next.ServeHTTP(w, req)
	})
}

func refuse(w http.ResponseWriter, status, code int, text string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error_code": code, "message": text})
}

func (r *Registry) find(w http.ResponseWriter, req *http.Request) (subject, schema string, id uint32) {
	var body struct{ Schema string }
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil || !json.Valid([]byte(body.Schema)) {
		refuse(w, http.StatusUnprocessableEntity, 42201, "Invalid schema")
		return "", "", 0
	}
	subject = req.PathValue("subject")
	for _, id := range r.subjects[subject] {
		if r.schemas[id] == body.Schema {
			return subject, body.Schema, id
		}
	}
	return subject, body.Schema, 0
}

func (r *Registry) lookup(w http.ResponseWriter, req *http.Request) {
	switch subject, schema, id := r.find(w, req); {
	case subject == "":
	case len(r.subjects[subject]) == 0:
		refuse(w, http.StatusNotFound, 40401, "Subject '"+subject+"' not found.")
	case id == 0:
		refuse(w, http.StatusNotFound, 40403, "Schema not found")
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"subject": subject, "version": 1, "id": id, "schema": schema})
	}
}

func (r *Registry) register(w http.ResponseWriter, req *http.Request) {
	subject, schema, id := r.find(w, req)
	if subject == "" {
		return
	}
	if id == 0 {
		id = r.next
		r.next++
		r.schemas[id] = schema
		r.subjects[subject] = append(r.subjects[subject], id)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"id": id})
}

func (r *Registry) versions(w http.ResponseWriter, req *http.Request) {
	versions := []int{}
	for i := range r.subjects[req.PathValue("subject")] {
		versions = append(versions, i+1)
	}
	_ = json.NewEncoder(w).Encode(versions)
}

func (r *Registry) schema(w http.ResponseWriter, req *http.Request) {
	id, _ := strconv.ParseUint(req.PathValue("id"), 10, 32)
	schema, ok := r.schemas[uint32(id)]
	if !ok {
		refuse(w, http.StatusNotFound, 40403, "Schema not found")
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"schema": schema})
}
