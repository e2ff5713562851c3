package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/config"
)

func TestSecurityValidate(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*Config)
		want string // empty: all is well
	}{
		{"nothing", func(*Config) {}, ""},
		{"tls", func(c *Config) { c.TLS = TLS{Enabled: true, CAFile: "ca.pem"} }, ""},
		{"ca without tls", func(c *Config) { c.TLS.CAFile = "ca.pem" }, "tls.enabled"},
		{"certificate without key", func(c *Config) { c.TLS = TLS{Enabled: true, CertFile: "c.pem"} }, "tls.cert_file"},
		{"key without certificate", func(c *Config) { c.TLS = TLS{Enabled: true, KeyFile: "k.pem"} }, "tls.cert_file"},
		{"scram", func(c *Config) { c.SASL = SASL{Mechanism: "SCRAM-SHA-512", User: "u", Password: "p"} }, ""},
		{"unknown mechanism", func(c *Config) { c.SASL = SASL{Mechanism: "scram", User: "u", Password: "p"} }, "sasl.mechanism"},
		{"user without mechanism", func(c *Config) { c.SASL.User = "u" }, "sasl.mechanism"},
		{"plain without user", func(c *Config) { c.SASL = SASL{Mechanism: "PLAIN", Password: "p"} }, "sasl.user"},
		{"plain without password", func(c *Config) { c.SASL = SASL{Mechanism: "PLAIN", User: "u"} }, "sasl.password"},
		{"token", func(c *Config) { c.SASL = SASL{Mechanism: "OAUTHBEARER", TokenFile: "t"} }, ""},
		{"token without file", func(c *Config) { c.SASL = SASL{Mechanism: "OAUTHBEARER"} }, "sasl.token_file"},
		{"codec", func(c *Config) { c.Compression = "zstd" }, ""},
		{"unknown codec", func(c *Config) { c.Compression = "brotli" }, "compression"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := DefaultConfig()
			tt.set(&c)
			err := c.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want+":")) {
				t.Errorf("got %v, want one about %q", err, tt.want)
			}
		})
	}
}

// TestSecurityFiles pins that a file that cannot be used is named together with
// its setting, before anything is dialled.
func TestSecurityFiles(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		tls  TLS
		want string
	}{
		{"no ca", TLS{Enabled: true, CAFile: filepath.Join(dir, "none")}, "kafka.tls.ca_file"},
		{"junk ca", TLS{Enabled: true, CAFile: junk}, "kafka.tls.ca_file"},
		{"junk certificate", TLS{Enabled: true, CertFile: junk, KeyFile: junk}, "kafka.tls.cert_file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := DefaultConfig()
			c.TLS = tt.tls
			if _, err := c.client(slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want one that names %s", err, tt.want)
			}
		})
	}
}

// TestSecurityRemedies connects wrongly in each way to a broker that wants TLS
// and a login, and checks that the line to the operator names the setting.
func TestSecurityRemedies(t *testing.T) {
	pair, ca := certificate(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	broker := func(opts ...kfake.Opt) string {
		cluster, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		return cluster.ListenAddrs()[0]
	}
	both := []kfake.Opt{kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "u", "p"), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}})}
	secure, open := broker(both...), broker()
	right := Config{
		TLS:  TLS{Enabled: true, CAFile: ca},
		SASL: SASL{Mechanism: "SCRAM-SHA-256", User: "u", Password: "p"},
	}
	for _, tt := range []struct {
		name, addr string
		set        func(*Config)
		want       string // empty: it connects
	}{
		{"right", secure, func(*Config) {}, ""},
		{"password", secure, func(c *Config) { c.SASL.Password = "wrong" }, "kafka.sasl"},
		{"mechanism", secure, func(c *Config) { c.SASL.Mechanism = "SCRAM-SHA-512" }, "kafka.sasl"},
		{"authority", secure, func(c *Config) { c.TLS.CAFile = "" }, "kafka.tls.ca_file"},
		{"name", secure, func(c *Config) { c.TLS.ServerName = "elsewhere" }, "kafka.tls.ca_file and server_name"},
		{"no tls", secure, func(c *Config) { c.TLS = TLS{} }, "kafka.tls"},
		{"tls to a plain port", open, func(c *Config) { c.SASL = SASL{} }, "kafka.tls.enabled"},
		{"nobody there", nobody, func(*Config) {}, "kafka.brokers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := DefaultConfig()
			c.Brokers, c.TLS, c.SASL = []string{tt.addr}, right.TLS, right.SASL
			tt.set(&c)
			cl, err := c.client(slog.New(slog.DiscardHandler), kgo.RequestRetries(0))
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			ctx, cancel := context.WithTimeout(t.Context(), answer)
			defer cancel()
			err = cl.Ping(ctx)
			if tt.want == "" {
				if err != nil {
					t.Errorf("got %v, want a connection", err)
				}
				return
			}
			if err == nil {
				t.Fatal("connected")
			}
			if got := c.remedy(err); !strings.Contains(got, tt.want) {
				t.Errorf("for %v: got %q, want it to name %s", err, got, tt.want)
			}
			if strings.Contains(err.Error(), "wrong") {
				t.Errorf("error shows the password: %v", err)
			}
		})
	}
}

// TestTokenFile pins that a renewed token is the one that is used.
func TestTokenFile(t *testing.T) {
	s := SASL{Mechanism: "OAUTHBEARER", TokenFile: filepath.Join(t.TempDir(), "token")}
	if _, err := s.token(t.Context()); err == nil || !strings.Contains(err.Error(), "kafka.sasl.token_file") {
		t.Errorf("no file: got %v", err)
	}
	for _, want := range []string{"first", "second"} {
		if err := os.WriteFile(s.TokenFile, []byte(want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.token(t.Context()); err != nil || got.Token != want {
			t.Errorf("got %q, %v, want %q", got.Token, err, want)
		}
	}
	if err := os.WriteFile(s.TokenFile, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.token(t.Context()); err == nil {
		t.Error("an empty file was taken for a token")
	}
}

func TestExposed(t *testing.T) {
	c := Config{SASL: SASL{Mechanism: "PLAIN", User: "u", Password: config.Secret("p")}}
	if !c.Exposed() {
		t.Error("PLAIN without TLS shows the password, want it said")
	}
	c.TLS.Enabled = true
	if c.Exposed() {
		t.Error("PLAIN over TLS shows nothing")
	}
}

// certificate returns one for 127.0.0.1 and the file of the authority, which is
// itself.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// TestRack pins that readers say where they are.
func TestRack(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	asked := make(chan *kmsg.FetchRequest, 1)
	cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		select {
		case asked <- r.(*kmsg.FetchRequest):
		default:
		}
		return nil, nil, false
	})
	c := DefaultConfig()
	c.Brokers, c.Rack = cluster.ListenAddrs(), "zone-a"
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Follow(ctx, FollowOptions{Range: Range{Start: Offsets{"t": {0: 0}}, End: Offsets{}}}, slog.New(slog.DiscardHandler),
			func(context.Context, []*Record) error { return nil })
	}()
	if got := <-asked; got.Rack != "zone-a" {
		t.Errorf("fetches for rack %q, want zone-a", got.Rack)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
