package config

import (
	"os"
	"strings"
)

// Places lists where Find looks when no file was named, in order.
var Places = []string{"./sluice.yaml", "/etc/sluice/sluice.yaml"}

// Find returns the file to read: flag, else SLUICE_CONFIG, else the first of
// Places that exists, else "". One that was named is returned whether it exists
// or not, so that Read reports it.
func Find(flag string, environ []string, exists func(string) bool) string {
	if flag != "" {
		return flag
	}
	named := ""
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, "SLUICE_CONFIG="); ok {
			named = v
		}
	}
	if named != "" {
		return named
	}
	for _, p := range Places {
		if exists(p) {
			return p
		}
	}
	return ""
}

// Exists reports whether path is there and no directory. It is what Find takes
// outside of tests.
func Exists(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && !fi.IsDir()
}
