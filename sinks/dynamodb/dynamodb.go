package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/logging"

	"sluice/message"
	"sluice/sinks"
)

// How many requests are in flight at once. Conditional puts carry one item each,
// batches 25.
const (
	batchesInFlight = 4
	putsInFlight    = 8
)

// Sink writes messages to a table.
type Sink struct {
	config Config
	log    *slog.Logger
	meters meters
	// jitter returns a number in [0, 1).
	jitter func() float64

	// The waits; tests shorten them.
	timeout    time.Duration // of one request
	firstWait  time.Duration // before a request is repeated, doubled each time
	longest    time.Duration // such wait
	poll       time.Duration // between looks at a table that is being made
	activation time.Duration // how long they go on in one Open

	http   *http.Client
	client *dynamodb.Client
}

// New returns a sink with settings that are valid. The error is that its meters
// cannot be registered.
func New(c Config, env sinks.Env) (*Sink, error) {
	m, err := newMeters(env.Meters)
	if err != nil {
		return nil, fmt.Errorf("register meters: %w", err)
	}
	return &Sink{
		config: c, log: env.Log, meters: m, jitter: rand.Float64,
		timeout: 10 * time.Second, firstWait: 50 * time.Millisecond, longest: 5 * time.Second,
		poll: 500 * time.Millisecond, activation: 2 * time.Minute,
	}, nil
}

// Open reads the AWS configuration, anew in each call, and makes or checks the
// table.
func (s *Sink) Open(ctx context.Context) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	return s.ensure(ctx)
}

// connect makes the client. It sends nothing to DynamoDB.
func (s *Sink) connect(ctx context.Context) error {
	s.disconnect()
	base := awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = 5 * time.Second }).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout = 5 * time.Second
			t.MaxIdleConnsPerHost = max(batchesInFlight, putsInFlight)
		})
	options := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithHTTPClient(base),
		awsconfig.WithAppID("sluice"),
		awsconfig.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, args ...any) {
			s.log.Debug("aws sdk", "err", fmt.Sprintf(format, args...))
		})),
	}
	if s.config.Region != "" {
		options = append(options, awsconfig.WithRegion(s.config.Region))
	}
	if s.config.Profile != "" {
		options = append(options, awsconfig.WithSharedConfigProfile(s.config.Profile))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return fmt.Errorf("read AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return errors.New("no AWS region: set region, AWS_REGION or that of the profile")
	}
	s.client = dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		// A plain client, because the SDK's own hides how to close its connections.
		if b, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
			s.http = &http.Client{
				Transport:     b.GetTransport(),
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}
			o.HTTPClient = s.http
		}
		o.Credentials = credentials{cfg.Credentials}
		// The SDK computes the checksum of what it has not read, and gives up the
		// connection for the difference; TLS says more than a CRC.
		o.DisableValidateResponseChecksum = true
		// The sink repeats requests itself, and counts it.
		o.Retryer = aws.NopRetryer{}
		if s.config.Endpoint != "" {
			o.BaseEndpoint = aws.String(s.config.Endpoint)
		}
	})
	return nil
}

func (s *Sink) disconnect() {
	if s.http != nil {
		s.http.CloseIdleConnections()
	}
	s.http, s.client = nil, nil
}

// Close ends the connections.
func (s *Sink) Close(context.Context) error {
	s.disconnect()
	return nil
}

// Write puts the messages, then the latest items that they become.
func (s *Sink) Write(ctx context.Context, batch []message.Message) error {
	if s.client == nil {
		return errors.New("not open")
	}
	var refused []refusal
	rows := make([]*row, 0, len(batch))
	for i := range batch {
		r, no := s.rowOf(i, &batch[i])
		if no != nil {
			refused = append(refused, *no)
			continue
		}
		rows = append(rows, r)
	}
	no, err := settle(byKey(rows), func(tops []*row) ([]refusal, error) { return s.putHistory(ctx, tops) })
	refused = append(refused, no...)
	if err == nil && s.config.Latest {
		for _, no := range no {
			rows = slices.DeleteFunc(rows, func(r *row) bool { return r == no.row })
		}
		no, err = settle(newest(rows), func(tops []*row) ([]refusal, error) { return s.putLatest(ctx, tops) })
		refused = append(refused, no...)
	}
	if err != nil {
		return fmt.Errorf("write batch of %d: %w", len(batch), err)
	}
	var errs []error
	for _, r := range refused {
		errs = append(errs, &sinks.Rejected{Index: r.row.index, Code: r.code, Reason: message.Printable(r.reason, message.MaxReason)})
	}
	return errors.Join(errs...)
}
