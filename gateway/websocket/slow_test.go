package websocket

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"sluice/gateway"
)

// TestSlowReader: an agent that does not read what it is told is slow, not lost.
func TestSlowReader(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want gateway.Reason
	}{
		{"deadline", os.ErrDeadlineExceeded, gateway.Slow},
		{"deadline of a socket", &net.OpError{Op: "write", Err: os.ErrDeadlineExceeded}, gateway.Slow},
		{"reset", &net.OpError{Op: "write", Err: syscall.ECONNRESET}, gateway.Lost},
		{"closed", websocket.ErrCloseSent, gateway.Lost},
		{"pipe", io.ErrClosedPipe, gateway.Lost},
	}
	for _, tt := range tests {
		if got := unwritten(tt.err); got.reason != tt.want || got.code != 0 {
			t.Errorf("%s: got %+v, want %s and nothing said", tt.name, got, tt.want)
		}
	}
}
