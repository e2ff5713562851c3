package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"sluice/message"
)

// tries is how often a request is sent before the whole batch is given back to
// the runner, which waits longer and says that the sink is not ready. Repeating
// one request costs a throttled table less than repeating a batch.
const tries = 4

// call sends one request, with a time limit, and repeats it a few times after
// what passes by itself. All errors but the context's are *requestError.
func (s *Sink) call(ctx context.Context, op string, send func(context.Context) error) error {
	for try := 1; ; try++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.meters.requests.Inc()
		err := s.once(ctx, send)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		slow := throttled(err)
		if slow {
			s.meters.throttles.Inc()
		}
		if try == tries || !slow && !passing(err) {
			return &requestError{op: op, table: s.config.Table, hint: s.hint(op, err), err: err}
		}
		if err := s.pause(ctx, try); err != nil {
			return err
		}
	}
}

func (s *Sink) once(ctx context.Context, send func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return send(ctx)
}

// pause waits before the next try.
func (s *Sink) pause(ctx context.Context, try int) error { return sleep(ctx, s.wait(try)) }

// wait returns how long to wait after a try: twice as long each time, less up to
// half of it by chance, so that instances that were throttled together do not
// come back together.
func (s *Sink) wait(try int) time.Duration {
	wait := min(s.firstWait<<min(try-1, 20), s.longest)
	return wait - time.Duration(s.jitter()*float64(wait)/2)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// requestError is a request that DynamoDB did not carry out, as an operator is to
// read it.
type requestError struct {
	op, table, hint string
	err             error
}

// Error returns the request, what DynamoDB or the network says, and what to
// check.
func (e *requestError) Error() string {
	what := e.err.Error()
	if api, ok := errors.AsType[smithy.APIError](e.err); ok {
		what = api.ErrorCode() + ": " + api.ErrorMessage()
	} else if c, ok := errors.AsType[*credentialsError](e.err); ok {
		what = c.Error()
	} else if send, ok := errors.AsType[*smithyhttp.RequestSendError](e.err); ok {
		what = send.Err.Error()
	}
	s := fmt.Sprintf("%s on table %s: %s", e.op, e.table, message.Printable(what, message.MaxReason))
	if e.hint != "" {
		s += "; " + e.hint
	}
	return s
}

// Unwrap returns the error of the SDK.
func (e *requestError) Unwrap() error { return e.err }

// code returns the name that DynamoDB gave an error, empty where it gave none.
func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

func status(err error) int {
	if r, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && r.Response != nil {
		return r.HTTPStatusCode()
	}
	return 0
}

// throttled reports whether the table or the account is at its limit.
func throttled(err error) bool {
	c := code(err)
	_, known := retry.DefaultThrottleErrorCodes[c]
	return known || c == "LimitExceeded" || status(err) == http.StatusTooManyRequests
}

// passing reports whether a moment later the same request may succeed: DynamoDB
// failed, or the connection did. What no answer came to within the time limit
// has waited long enough for the runner to know.
func passing(err error) bool {
	switch {
	case errors.As(err, new(*credentialsError)), errors.Is(err, context.DeadlineExceeded):
		return false
	case status(err) >= 500:
		return true
	}
	// The last two are a connection that ended within an answer. (The SDK closes a
	// request's body when the answer begins, at which net/http, where it has not
	// quite finished with the body, gives up the connection.)
	return errors.As(err, new(*smithyhttp.RequestSendError)) || errors.As(err, new(*net.OpError)) || errors.Is(err, io.ErrUnexpectedEOF)
}

// invalid reports whether DynamoDB refused what a request holds, for good.
func invalid(err error) bool {
	return code(err) == "ValidationException" || status(err) == http.StatusRequestEntityTooLarge
}

// refuse makes a refusal of an error for which invalid holds.
func refuse(r *row, err error) refusal {
	if status(err) == http.StatusRequestEntityTooLarge {
		return refusal{r, message.CodeTooLarge, "DynamoDB takes no request as large"}
	}
	what := err.Error()
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		what = api.ErrorMessage()
	}
	return refusal{r, message.CodeUnsupported, "DynamoDB refuses the item: " + what}
}

// hint returns what an operator is to check.
func (s *Sink) hint(op string, err error) string {
	switch c := code(err); c {
	case "ResourceNotFoundException":
		return "check table and region, or set create: true"
	case "AccessDeniedException", "AccessDenied":
		return "allow dynamodb:" + op + " on the table (docs/dynamodb.md has the policy)"
	case "ExpiredTokenException", "ExpiredToken":
		return "renew the credentials"
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "IncompleteSignatureException",
		"MissingAuthenticationToken", "MissingAuthenticationTokenException", "NotAuthorized", "OptInRequired":
		return "check the access key, profile and region"
	case "ItemCollectionSizeLimitExceededException":
		return "the table has a local index, which bounds what one agent can hold: use a table without"
	}
	switch {
	case throttled(err):
		return "the table or the account is at its limit: check its capacity"
	case errors.As(err, new(*credentialsError)):
		return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, profile, or a role"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s: check endpoint and network", s.timeout)
	case errors.As(err, new(*smithyhttp.RequestSendError)):
		return "check endpoint, region and network"
	}
	return ""
}

// credentials marks the errors of a provider: the way to credentials is made of
// requests too, and their errors look like those of DynamoDB.
type credentials struct{ from aws.CredentialsProvider }

// Retrieve returns what the provider does, or a *credentialsError.
func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	got, err := c.from.Retrieve(ctx)
	if err != nil {
		return got, &credentialsError{err}
	}
	return got, nil
}

type credentialsError struct{ err error }

// Error returns the provider's error.
func (e *credentialsError) Error() string { return "no credentials: " + e.err.Error() }

// Unwrap returns the provider's error.
func (e *credentialsError) Unwrap() error { return e.err }
