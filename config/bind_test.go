package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestSharedSections binds two structs to one path and one below another.
func TestSharedSections(t *testing.T) {
	l := New(Sources{File: write(t, "sinks: {a: {plugin: p, table: t, deep: {listen: x}}}\nskipped: {anything: [1]}\n")})
	if err := l.Read(); err != nil {
		t.Fatal(err)
	}
	common, own, deep := sinkConfig{}, dynamoConfig{}, dashboardConfig{}
	l.Bind("sinks.a", &common)
	l.Bind("sinks.a", &own)
	l.Bind("sinks.a.deep", &deep)
	l.Skip("skipped")
	if err := l.Decode(); err != nil {
		t.Fatal(err)
	}
	if common.Plugin != "p" || own.Table != "t" || deep.Listen != "x" {
		t.Errorf("got %+v %+v %+v", common, own, deep)
	}
}

func TestBindPanics(t *testing.T) {
	tests := []struct {
		name   string
		target any
	}{
		{"value", dynamoConfig{}},
		{"nil", (*dynamoConfig)(nil)},
		{"scalar", new(string)},
		{"no tag", &struct{ A string }{}},
		{"camel case", &struct {
			A string `koanf:"camelCase"`
		}{}},
		{"two underscores", &struct {
			A string `koanf:"a__b"`
		}{}},
		{"embedded", &struct {
			dynamoConfig `koanf:"a"`
		}{}},
		{"unexported", &struct {
			a string `koanf:"a"`
		}{}},
		{"pointer", &struct {
			A *string `koanf:"a"`
		}{}},
		{"func", &struct {
			A func() `koanf:"a"`
		}{}},
		{"map of structs", &map[string]dynamoConfig{}},
		{"bad bound", &struct {
			A int `koanf:"a" min:"x"`
		}{}},
		{"bound of text", &struct {
			A string `koanf:"a" min:"1"`
		}{}},
		{"oneof of secrets", &struct {
			A Secret `koanf:"a" oneof:"a,b"`
		}{}},
		{"oneof of numbers", &struct {
			A int `koanf:"a" oneof:"1,2"`
		}{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("got no panic")
				}
			}()
			New(Sources{}).Bind("a", tt.target)
		})
	}
}

// TestDefault puts every kind of value below the file.
func TestDefault(t *testing.T) {
	l := New(Sources{File: write(t, "g: {tls: {headers: {a: file}}}\n")})
	l.Default("g", map[string]any{
		"port": 9, "debug": true, "ratio": 0.25, "timeout": time.Minute, "frame": Size(1 << 20), "brokers": []any{"a", "b"},
		"waits": []time.Duration{time.Second}, "tls": map[string]any{"password": Secret("hunter2"), "headers": map[string]string{"a": "x", "b": "y"}},
	})
	l.Default("g.port", 10)
	if err := l.Read(); err != nil {
		t.Fatal(err)
	}
	var g gatewayConfig
	g.Listen, g.Window = "x", 8
	want := gatewayConfig{
		Listen: "x", Port: 10, Window: 8, Debug: false, Ratio: 0.25, Timeout: time.Minute, Frame: 1 << 20, Brokers: []string{"a", "b"},
		Waits: []time.Duration{time.Second},
		TLS:   tlsConfig{Password: "hunter2", Headers: map[string]string{"a": "file", "b": "y"}, Keys: nil},
	}
	l.Default("g.debug", false)
	l.Bind("g", &g)
	if err := l.Decode(); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, want) {
		t.Errorf("got\n%#v\nwant\n%#v", g, want)
	}
	if got, want := l.String("g.port"), "10"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := l.Keys("g.tls"), []string{"headers", "password"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, bad := range []any{nil, struct{}{}, []any{map[string]any{}}, func() {}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%T: got no panic", bad)
				}
			}()
			l.Default("a", bad)
		}()
	}
}

// TestTextOfSizes covers the methods that flags and encoders call.
func TestTextOfSizes(t *testing.T) {
	var s Size
	if err := s.UnmarshalText([]byte("2MiB")); err != nil || s != 2<<20 {
		t.Errorf("got %d, %v", s, err)
	}
	if err := s.UnmarshalText([]byte("2M")); err == nil {
		t.Error("got no error")
	}
	if b, err := Size(2 << 20).MarshalText(); err != nil || string(b) != "2MiB" {
		t.Errorf("got %s, %v", b, err)
	}
}

// TestUnknownBelowLayers says where a section comes from that no file has.
func TestUnknownBelowLayers(t *testing.T) {
	l := New(Sources{Flags: map[string]string{"a.b.c": "x"}})
	l.Default("d.e", "x")
	l.Bind("f", &dashboardConfig{})
	want := "flag: a: unknown key\nd: unknown key"
	if err := l.Decode(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestSettingAndSection binds a setting where a section is bound already.
func TestSettingAndSection(t *testing.T) {
	l := New(Sources{File: write(t, "a: {listen: x}\n")})
	if err := l.Read(); err != nil {
		t.Fatal(err)
	}
	l.Bind("a", &dashboardConfig{})
	l.Bind("a.listen", &dashboardConfig{})
	want := "sluice.yaml:1: a.listen: this name is that of a setting and of a section, choose another"
	if err := l.Decode(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestProblemAfterDecode adds a problem after Decode and decodes twice.
func TestProblemAfterDecode(t *testing.T) {
	l := New(Sources{File: write(t, "a:\n  listen: x\n  listn: y\n")})
	if err := l.Read(); err != nil {
		t.Fatal(err)
	}
	l.Bind("a", &dashboardConfig{})
	first := l.Decode()
	l.Problem("a.listen", "port %d is taken", 8080)
	want := "sluice.yaml:2: a.listen: port 8080 is taken\nsluice.yaml:3: a.listn: unknown key (did you mean listen?)"
	for _, err := range []error{l.Err(), l.Decode()} {
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if first == nil || strings.Contains(first.Error(), "taken") {
		t.Errorf("got %v", first)
	}
}
