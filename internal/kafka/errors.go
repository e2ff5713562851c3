package kafka

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ErrFenced says that another process uses the same transactional or instance
// ID and that this one must stop.
var ErrFenced = errors.New("in use by another process")

func fenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) ||
		errors.Is(err, kerr.FencedInstanceID)
}

// retriable reports whether franz-go goes on by itself after err.
func retriable(err error) bool {
	var network net.Error
	return kerr.IsRetriable(err) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, net.ErrClosed) || errors.As(err, &network) ||
		errors.As(err, new(*kgo.ErrFirstReadEOF)) || errors.As(err, new(*kgo.ErrGroupSession))
}
