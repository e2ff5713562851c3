package process

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// Patience is how long Wait waits.
const Patience = 2 * time.Minute

// Wait waits until ok, and fails the test when Patience ends.
func Wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", Patience, what)
		}
		<-tick.C
	}
}

// Get returns the status and the body of an answer, or 0 and the error.
func Get(url string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// Addr returns an address of this machine on which nothing listens. Its port is
// below those that systems give to outgoing connections, so that none of them
// takes it while the program is down.
func Addr(t testing.TB) string {
	t.Helper()
	const first, last = 10_000, 15_000
	for range 1000 {
		addr := "127.0.0.1:" + strconv.Itoa(first+rand.IntN(last-first))
		ln, err := net.Listen("tcp", addr)
		if err == nil {
			_ = ln.Close()
			return addr
		}
	}
	t.Fatal("no free port on this machine")
	return ""
}
