package chaos

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"sluice/test/process"
)

// program is sluice, built once for all tests.
var program string

var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		flag.Parse()
		if os.Getenv("SLUICE_TEST_LONG") == "" && flag.Lookup("test.list").Value.String() == "" {
			fmt.Println("LEFT OUT: the tests of whole processes on a real Kafka and DynamoDB take minutes; `make chaos` runs them (SLUICE_TEST_LONG=1)")
			return 0
		}
		dir, err := os.MkdirTemp("", "sluice-chaos-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if program, err = process.Build(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// chance returns the randomness of a test, and says how to have it again.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("SLUICE_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("SLUICE_TEST_SEED: %v", err)
		}
	}
	t.Logf("SLUICE_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
