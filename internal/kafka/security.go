package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"sluice/config"
)

// TLS says how connections to the brokers are encrypted.
type TLS struct {
	Enabled    bool   `koanf:"enabled" doc:"encrypt the connections to the brokers"`
	CAFile     string `koanf:"ca_file" doc:"PEM file of the authorities that the brokers' certificates come from; empty for those of the system"`
	CertFile   string `koanf:"cert_file" doc:"PEM file of the certificate that sluice shows to the brokers, read again for each connection; empty for none"`
	KeyFile    string `koanf:"key_file" doc:"PEM file of that certificate's key"`
	ServerName string `koanf:"server_name" doc:"name that the brokers' certificates must be for; empty for the host of each address"`
}

func (t *TLS) validate() []error {
	var errs []error
	if !t.Enabled && (t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.ServerName != "") {
		errs = append(errs, errors.New("tls.enabled: false, but other settings of tls are there; set it to true or remove them"))
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		errs = append(errs, errors.New("tls.cert_file: want it together with tls.key_file"))
	}
	return errs
}

// config reads the files.
func (t *TLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read kafka.tls.ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kafka.tls.ca_file: %s holds no PEM certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		if _, err := t.certificate(nil); err != nil {
			return nil, err
		}
		c.GetClientCertificate = t.certificate
	}
	return c, nil
}

// certificate reads the pair that stands there now: it may have been renewed.
func (t *TLS) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read kafka.tls.cert_file and key_file: %w", err)
	}
	return &pair, nil
}

// SASL says who sluice is to the brokers.
type SASL struct {
	Mechanism string        `koanf:"mechanism" doc:"PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; empty for no login"`
	User      string        `koanf:"user" doc:"user of PLAIN and SCRAM"`
	Password  config.Secret `koanf:"password" doc:"password of PLAIN and SCRAM"`
	TokenFile string        `koanf:"token_file" doc:"file of the OAUTHBEARER token, read again for each login"`
}

// The mechanisms, RFC 4616, 5802, 7677 and 7628.
const (
	saslPlain  = "PLAIN"
	saslSHA256 = "SCRAM-SHA-256"
	saslSHA512 = "SCRAM-SHA-512"
	saslOAuth  = "OAUTHBEARER"
)

var mechanisms = []string{saslPlain, saslSHA256, saslSHA512, saslOAuth}

func (s *SASL) validate() []error {
	var errs []error
	switch {
	case s.Mechanism == "":
		if s.User != "" || s.Password != "" || s.TokenFile != "" {
			errs = append(errs, fmt.Errorf("sasl.mechanism: empty, but other settings of sasl are there; want one of %s", strings.Join(mechanisms, ", ")))
		}
	case !slices.Contains(mechanisms, s.Mechanism):
		errs = append(errs, fmt.Errorf("sasl.mechanism: %q is none of %s", s.Mechanism, strings.Join(mechanisms, ", ")))
	case s.Mechanism == saslOAuth:
		if s.TokenFile == "" {
			errs = append(errs, errors.New("sasl.token_file: want the file of the token, since sasl.mechanism is OAUTHBEARER"))
		}
	default:
		if s.User == "" {
			errs = append(errs, fmt.Errorf("sasl.user: want a name, since sasl.mechanism is %s", s.Mechanism))
		}
		if s.Password == "" {
			errs = append(errs, fmt.Errorf("sasl.password: want one, since sasl.mechanism is %s", s.Mechanism))
		}
	}
	return errs
}

// Exposed reports whether the connections would show the password to whoever
// listens on the way.
func (c Config) Exposed() bool { return c.SASL.Mechanism == saslPlain && !c.TLS.Enabled }

func (s *SASL) mechanism() sasl.Mechanism {
	switch s.Mechanism {
	case saslPlain:
		return plain.Auth{User: s.User, Pass: s.Password.Reveal()}.AsMechanism()
	case saslSHA256:
		return scram.Auth{User: s.User, Pass: s.Password.Reveal()}.AsSha256Mechanism()
	case saslSHA512:
		return scram.Auth{User: s.User, Pass: s.Password.Reveal()}.AsSha512Mechanism()
	default:
		return oauth.Oauth(s.token)
	}
}

func (s *SASL) token(context.Context) (oauth.Auth, error) {
	b, err := os.ReadFile(s.TokenFile)
	if err != nil {
		return oauth.Auth{}, fmt.Errorf("read kafka.sasl.token_file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return oauth.Auth{}, fmt.Errorf("kafka.sasl.token_file: %s is empty", s.TokenFile)
	}
	return oauth.Auth{Token: token}, nil
}

// secured returns the options of TLS and SASL.
func (c Config) secured() ([]kgo.Opt, error) {
	var opts []kgo.Opt
	if c.TLS.Enabled {
		tc, err := c.TLS.config()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(tc))
	}
	if c.SASL.Mechanism != "" {
		opts = append(opts, kgo.SASL(c.SASL.mechanism()))
	}
	return opts, nil
}

// remedy says what to check when a broker cannot be reached for err.
func (c Config) remedy(err error) string {
	var (
		verify *tls.CertificateVerificationError
		header tls.RecordHeaderError
		alert  tls.AlertError
		first  *kgo.ErrFirstReadEOF
	)
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		return "the broker refuses the login: check kafka.sasl.mechanism, user and password or token_file"
	case errors.As(err, &verify):
		return "the broker's certificate is not trusted: check kafka.tls.ca_file and server_name"
	case errors.As(err, &header):
		return "the broker does not speak TLS at this address: check kafka.tls.enabled and the port in kafka.brokers"
	case errors.As(err, &alert):
		return "the broker refuses the TLS connection: check kafka.tls.cert_file and key_file"
	case errors.As(err, &first), errors.Is(err, io.EOF), strings.Contains(err.Error(), "plaintext connection speaking to a tls endpoint"):
		// franz-go has no error of its own for an alert where an answer is due.
		return "the broker closes the connection: check whether this port wants TLS or a login, settings kafka.tls and kafka.sasl"
	}
	if c.TLS.Enabled && errors.Is(err, context.DeadlineExceeded) {
		return "nobody answers in TLS at this address: check kafka.brokers, and kafka.tls.enabled if the port does not speak it"
	}
	return "check that a broker runs at this address and that kafka.brokers is right"
}
