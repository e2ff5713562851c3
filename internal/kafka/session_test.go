package kafka

import (
	"testing"
	"time"
)

func TestHeldUp(t *testing.T) {
	began := time.Now()
	for _, tt := range []struct {
		name string
		took time.Duration
		want bool
	}{
		{"at once", 0, false},
		{"within what the broker waits", transactionTimeout - time.Second, false},
		{"longer than that", transactionTimeout + time.Second, true},
	} {
		if got := heldUp(began, began.Add(tt.took)); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	// A machine that slept: only the wall clock went on.
	if slept := began.Round(0).Add(time.Hour); !heldUp(began, slept) {
		t.Error("an hour of sleep is not noticed")
	}
}
