package config

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// mask stands for a secret wherever one would be shown.
const mask = "***"

// Secret is text that nothing prints: whatever formats, marshals or logs it
// shows *** instead, or nothing for one that is not set. Keep it in exported
// fields: fmt calls no method on an unexported one and would show the text.
type Secret string

// Reveal returns the text.
func (s Secret) Reveal() string { return string(s) }

// Equal reports whether text is the secret, in a time that tells neither where
// they differ nor how long the secret is.
func (s Secret) Equal(text string) bool {
	a, b := sha256.Sum256([]byte(s)), sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// String returns the mask.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// GoString returns the mask.
func (s Secret) GoString() string { return s.String() }

// Format writes the mask for every verb; without it %d shows the text.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText returns the mask.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON returns the mask as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// LogValue returns the mask.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
