package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"sluice/config"
	"sluice/message"
)

// SchemaRegistry says where the schema registry is, if there is one.
type SchemaRegistry struct {
	URL      string        `koanf:"url" doc:"address of a schema registry with Confluent's API, of Apicurio http://HOST:8080/apis/ccompat/v7; typed records are then written in Confluent's form; empty for none"`
	User     string        `koanf:"user" doc:"user of the login at the registry; empty for no login"`
	Password config.Secret `koanf:"password" doc:"password of the login at the registry"`
	CAFile   string        `koanf:"ca_file" doc:"PEM file of the authorities that the registry's certificate comes from; empty for those of the system"`
	Timeout  time.Duration `koanf:"timeout" doc:"how long the registry may take for one answer"`
}

// DefaultSchemaRegistry returns the settings of no registry.
func DefaultSchemaRegistry() SchemaRegistry {
	return SchemaRegistry{Timeout: 5 * time.Second}
}

// Validate reports every setting that cannot be. No URL can be: there is no
// registry then.
func (c *SchemaRegistry) Validate() error {
	var errs []error
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		if c.User != "" || c.Password != "" || c.CAFile != "" {
			errs = append(errs, errors.New("url: empty, but other settings of schema_registry are there; want the registry's address"))
		}
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		// What cannot be parsed is not shown: it may hold a password.
		errs = append(errs, errors.New("url: want http://host:port or https://host:port, with a path where the registry has one"))
	case u.User != nil:
		errs = append(errs, errors.New("url: want no login in it; it goes to schema_registry.user and password"))
	case u.Scheme == "http" && c.CAFile != "":
		errs = append(errs, errors.New("ca_file: of no use with http; want a url with https"))
	}
	if (c.User == "") != (c.Password == "") {
		errs = append(errs, errors.New("user: want it together with password"))
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute {
		errs = append(errs, fmt.Errorf("timeout: %s is not between 100ms and 1m", c.Timeout))
	}
	return errors.Join(errs...)
}

// Exposed reports whether the connection would show the password to whoever
// listens on the way.
func (c *SchemaRegistry) Exposed() bool {
	u, err := url.Parse(c.URL)
	return err == nil && u.Scheme == "http" && c.Password != ""
}

// Registry is a client of a schema registry with Confluent's API. It keeps no
// connection open and is safe for concurrent use.
type Registry struct {
	addr string
	cl   *sr.Client
	log  *slog.Logger
}

// maxAnswer is how many bytes of an answer of the registry are read.
const maxAnswer = 4 << 20

// NewRegistry returns a client of the registry. It reads the file of
// authorities and connects to nothing.
func (c SchemaRegistry) NewRegistry(log *slog.Logger) (*Registry, error) {
	tc := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read schema_registry.ca_file: %w", err)
		}
		tc.RootCAs = x509.NewCertPool()
		if !tc.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("schema_registry.ca_file: %s holds no PEM certificate", c.CAFile)
		}
	}
	// It is asked a few times in the life of a process: a connection each.
	opts := []sr.ClientOpt{
		sr.URLs(c.URL), sr.UserAgent("sluice"),
		sr.HTTPClient(&http.Client{Timeout: c.Timeout, Transport: short{&http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: tc, ForceAttemptHTTP2: true, DisableKeepAlives: true,
		}}}),
	}
	if c.User != "" {
		opts = append(opts, sr.BasicAuth(c.User, c.Password.Reveal()))
	}
	cl, err := sr.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("make schema registry client: %w", err)
	}
	return &Registry{addr: c.URL, cl: cl, log: log}, nil
}

// short ends answers at maxAnswer.
type short struct{ http.RoundTripper }

func (s short) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	}
	return resp, err
}

// Register returns the ID of a schema under a subject, and the schema's text as
// readers get it for that ID. A schema that is not there is put there; one that
// is needs no right to write. A registry that is away or cannot answer is waited
// for, with a line in the log every few seconds, until the context ends, whose
// error is then returned. Any other error is the registry's last word, such as
// that the schema is not compatible with the subject's, and says what to do.
func (r *Registry) Register(ctx context.Context, subject, schema string) (id uint32, kept string, err error) {
	const every = 5 * time.Second
	var said time.Time
	for fails := 0; ; fails++ {
		id, kept, err = r.register(ctx, subject, schema)
		switch refused := (*registryError)(nil); {
		case err == nil:
			return id, kept, nil
		case ctx.Err() != nil:
			return 0, "", ctx.Err()
		case errors.As(err, &refused) && refused.final:
			return 0, "", fmt.Errorf("register schema under subject %s: %w", subject, err)
		}
		if now := time.Now(); now.Sub(said) >= every {
			said = now
			r.log.Warn("waiting for the schema registry", "addr", r.addr, "err", err)
		}
		timer := time.NewTimer(backoff(fails))
		select {
		case <-ctx.Done():
			timer.Stop()
			return 0, "", ctx.Err()
		case <-timer.C:
		}
	}
}

func (r *Registry) register(ctx context.Context, subject, schema string) (uint32, string, error) {
	s := sr.Schema{Schema: schema, Type: sr.TypeAvro}
	found, err := r.cl.LookupSchema(ctx, subject, s)
	id := found.ID
	if absent(err) {
		id, err = r.cl.RegisterSchema(ctx, subject, s, -1, -1)
	}
	if err != nil {
		return 0, "", r.explain(err)
	}
	if id < 1 || id > math.MaxInt32 {
		return 0, "", &registryError{addr: r.addr, text: fmt.Sprintf("gives the id %d, which a record has no room for", id), final: true}
	}
	kept, err := r.Schema(ctx, uint32(id))
	return uint32(id), kept, err
}

// ErrNoSchema says that a registry has no schema under an ID.
var ErrNoSchema = errors.New("no schema has this id")

// Schema returns the text of the schema that has an ID. It asks once; the error
// says what to check, and wraps ErrNoSchema if the registry answers that there
// is none.
func (r *Registry) Schema(ctx context.Context, id uint32) (string, error) {
	s, err := r.cl.SchemaByID(ctx, int(id))
	switch {
	case absent(err):
		return "", &registryError{addr: r.addr, text: ErrNoSchema.Error() + ": check that schema_registry.url is the registry that the record's writer used", err: ErrNoSchema}
	case err != nil:
		return "", r.explain(err)
	}
	return s.Schema, nil
}

// absent reports whether the registry says that it lacks a subject, a version
// or a schema; any other 404 comes from something that is no registry.
func absent(err error) bool {
	re, ok := errors.AsType[*sr.ResponseError](err)
	return ok && re.StatusCode == http.StatusNotFound && sr.IsNotFoundError(re.ErrorCode)
}

// registryError is what a registry said, or why it said nothing.
type registryError struct {
	addr, text string
	err        error
	final      bool // asking again gets the same answer
}

func (e *registryError) Error() string { return "schema registry " + e.addr + ": " + e.text }
func (e *registryError) Unwrap() error { return e.err }

// explain says what an error of the client means and what to check.
func (r *Registry) explain(err error) error {
	e := &registryError{addr: r.addr, err: err}
	re, ok := errors.AsType[*sr.ResponseError](err)
	if !ok {
		cause := err
		if u, ok := errors.AsType[*url.Error](err); ok {
			cause = u.Err // without the address, which is there already
		}
		e.text = "no answer: check that it runs and that schema_registry.url is right: "
		if errors.As(err, new(*tls.CertificateVerificationError)) {
			e.text = "its certificate is not trusted: check schema_registry.ca_file: "
		}
		e.text += message.Printable(cause.Error(), message.MaxReason)
		return e
	}
	said := fmt.Sprintf("HTTP %d: %s", re.StatusCode, message.Printable(re.Error(), message.MaxReason))
	switch code := re.StatusCode; {
	case code >= 500, code == http.StatusRequestTimeout, code == http.StatusTooManyRequests:
		e.text = "cannot answer now: " + said
		return e
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		e.text = "refuses the login: check schema_registry.user, password and what they may do there"
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed:
		e.text = "not a registry with Confluent's API: check schema_registry.url, of Apicurio it ends with /apis/ccompat/v7"
	case code == http.StatusConflict:
		e.text = "not compatible with the schemas the subject has: write with the schema from before or make this one compatible, or set the subject's compatibility to NONE if no reader minds"
	case code == http.StatusUnprocessableEntity:
		e.text = "not taken as a schema: check the file in schemas.dir, and the registry's rules and mode"
	default:
		e.text = "refused: check schema_registry.url"
	}
	e.text, e.final = e.text+" ("+said+")", true
	return e
}
