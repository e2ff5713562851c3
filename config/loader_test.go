package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// write makes a file called sluice.yaml in a new folder and goes there.
func write(t *testing.T, text string) string {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("sluice.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "sluice.yaml"
}

func TestPrecedence(t *testing.T) {
	const file, variable, flag = "gateway: {listen: file}", "SLUICE_GATEWAY__LISTEN=variable", "flag"
	tests := []struct {
		name    string
		below   bool
		file    string
		environ []string
		flags   map[string]string
		want    string
		origin  string
	}{
		{name: "struct", want: "struct", origin: "default"},
		{name: "default over struct", below: true, want: "below", origin: "default"},
		{name: "file over default", below: true, file: file, want: "file", origin: "sluice.yaml:1"},
		{name: "variable over file", below: true, file: file, environ: []string{variable}, want: "variable", origin: "SLUICE_GATEWAY__LISTEN"},
		{name: "variable over struct", environ: []string{variable}, want: "variable", origin: "SLUICE_GATEWAY__LISTEN"},
		{name: "last variable counts", environ: []string{"SLUICE_GATEWAY__LISTEN=first", variable}, want: "variable", origin: "SLUICE_GATEWAY__LISTEN"},
		{name: "empty variable counts for nothing", file: file, environ: []string{"SLUICE_GATEWAY__LISTEN="}, want: "file", origin: "sluice.yaml:1"},
		{name: "flag over all", below: true, file: file, environ: []string{variable}, flags: map[string]string{"gateway.listen": flag}, want: "flag", origin: "flag"},
		{name: "empty flag counts", file: file, flags: map[string]string{"gateway.listen": ""}, want: "", origin: "flag"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src := Sources{Environ: tt.environ, Flags: tt.flags}
			if tt.file != "" {
				src.File = write(t, tt.file)
			}
			l := New(src)
			if tt.below {
				l.Default("gateway.listen", "below")
			}
			if err := l.Read(); err != nil {
				t.Fatal(err)
			}
			var c struct {
				Listen string `koanf:"listen"`
				Other  string `koanf:"other"`
			}
			c.Listen, c.Other = "struct", "kept"
			l.Bind("gateway", &c)
			if err := l.Decode(); err != nil {
				t.Fatal(err)
			}
			if c.Listen != tt.want || c.Other != "kept" {
				t.Errorf("got %+v, want %s", c, tt.want)
			}
			if got := l.String("gateway.listen"); tt.origin != "default" && got != tt.want {
				t.Errorf("String: got %q, want %q", got, tt.want)
			}
			var b strings.Builder
			if err := l.Print(&b, true); err != nil {
				t.Fatal(err)
			}
			if line := strings.Split(b.String(), "\n")[1]; !strings.HasSuffix(line, "# "+tt.origin) {
				t.Errorf("got %q, want it to end in %q", line, tt.origin)
			}
		})
	}
}

// TestKinds reads one value of each kind from a file and from variables.
func TestKinds(t *testing.T) {
	file, err := newSample(Sources{File: "testdata/sample.yml"})
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Decode(); err != nil {
		t.Fatal(err)
	}
	want := gatewayConfig{
		Listen: "0.0.0.0:3000", Port: 3000, Window: 64, Ratio: 0.5, Timeout: 90 * time.Second, Retention: -1,
		Frame: 3 << 19, Level: 4, Format: "json", Brokers: []string{"a:9092", "b:9092"},
		Waits: []time.Duration{0, 500 * time.Millisecond, 48 * time.Hour},
		TLS: tlsConfig{
			Cert: "007", Password: "hunter2", Headers: map[string]string{"x-one": "yes", "two words": "line\nbreak # no comment"},
			Keys: map[string]Secret{"first": "hunter3"},
		},
	}
	if !reflect.DeepEqual(file.gateway, want) {
		t.Errorf("file: got\n%#v\nwant\n%#v", file.gateway, want)
	}
	wantRoutes := map[string][]string{"ethereum_metrics": {"dashboard", "my-sink"}, "system_metrics": {"dashboard"}}
	if !reflect.DeepEqual(file.routes, wantRoutes) {
		t.Errorf("got %v, want %v", file.routes, wantRoutes)
	}

	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env, err := load(Sources{Environ: []string{
		"SLUICE_GATEWAY__LISTEN=0.0.0.0:3000", "SLUICE_GATEWAY__WINDOW=64", "SLUICE_GATEWAY__TIMEOUT=1m30s",
		"SLUICE_GATEWAY__RETENTION=-1", "SLUICE_GATEWAY__FRAME=1.5 mib", "SLUICE_GATEWAY__LEVEL=WARN",
		"SLUICE_GATEWAY__BROKERS=a:9092, b:9092,", "SLUICE_GATEWAY__WAITS=0,500ms,2d", "SLUICE_GATEWAY__DEBUG=true",
		"SLUICE_GATEWAY__TLS__CERT=007", "SLUICE_GATEWAY__TLS__PASSWORD_FILE=" + secret,
		"SLUICE_GATEWAY__TLS__HEADERS=x-one=yes,two words=a=b", "SLUICE_GATEWAY__TLS__KEYS=first=hunter3",
		"SLUICE_ROUTES__SYSTEM_METRICS=", "SLUICE_CONFIG=x", "SLUICE_TEST_KAFKA=x", "HOME=/",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want.TLS.Headers["two words"] = "a=b"
	want.Debug = true
	if !reflect.DeepEqual(env.gateway, want) {
		t.Errorf("environment: got\n%#v\nwant\n%#v", env.gateway, want)
	}
	if got := env.Warnings(); len(got) != 0 {
		t.Errorf("got warnings %q, want none", got)
	}
}

func TestEnvironment(t *testing.T) {
	const file = `sinks:
  my-sink: {plugin: dynamodb, table: metrics}
  other: {plugin: dynamodb, table: metrics}
`
	const twin = "  my_sink: {plugin: dynamodb, table: metrics}\n"
	tests := []struct {
		name, file string
		environ    []string
		problems   string
		warnings   string
		table      string // of my-sink
	}{
		{name: "dash", file: file, environ: []string{"SLUICE_SINKS__MY_SINK__TABLE=t"}, table: "t"},
		{
			name: "ambiguous", file: file + twin, environ: []string{"SLUICE_SINKS__MY_SINK__TABLE=t"}, table: "metrics",
			problems: "SLUICE_SINKS__MY_SINK__TABLE: stands for both sinks.my-sink.table and sinks.my_sink.table, set them in the file",
		},
		{name: "twins in peace", file: file + twin, environ: []string{"SLUICE_SINKS__OTHER__TABLE=t"}, table: "metrics"},
		{
			name: "sink that is not there", file: file, environ: []string{"SLUICE_SINKS__ELSEWHERE__TABLE=t"}, table: "metrics",
			warnings: "SLUICE_SINKS__ELSEWHERE__TABLE: no such setting",
		},
		{
			name: "near miss", file: file, environ: []string{"SLUICE_GATEWAY__LISTNE=x"}, table: "metrics",
			warnings: "SLUICE_GATEWAY__LISTNE: no such setting (did you mean SLUICE_GATEWAY__LISTEN?)",
		},
		{
			name: "one underscore", file: file, environ: []string{"SLUICE_GATEWAY_LISTEN=x"}, table: "metrics",
			warnings: "SLUICE_GATEWAY_LISTEN: no such setting (did you mean SLUICE_GATEWAY__LISTEN?)",
		},
		{
			name: "bad values", file: file, table: "metrics",
			environ: []string{"SLUICE_GATEWAY__PORT=x", "SLUICE_GATEWAY__WAITS=1s,2", "SLUICE_GATEWAY__TLS__HEADERS=a"},
			problems: `SLUICE_GATEWAY__PORT: gateway.port: got "x", wanted a whole number from 1 to 65535
SLUICE_GATEWAY__TLS__HEADERS: gateway.tls.headers: wanted name=value, separated by commas
SLUICE_GATEWAY__WAITS: gateway.waits[1]: got "2", wanted a duration with its unit, such as 500ms, 5s or 2d`,
		},
		{
			name: "both forms", file: file, table: "metrics",
			environ:  []string{"SLUICE_GATEWAY__TLS__PASSWORD=hunter2", "SLUICE_GATEWAY__TLS__PASSWORD_FILE=/nowhere"},
			problems: "SLUICE_GATEWAY__TLS__PASSWORD_FILE: gateway.tls.password: SLUICE_GATEWAY__TLS__PASSWORD is set too, wanted one of them",
		},
		{
			name: "file that is not there", file: file, table: "metrics", environ: []string{"SLUICE_GATEWAY__TLS__PASSWORD_FILE=/nowhere"},
			problems: "SLUICE_GATEWAY__TLS__PASSWORD_FILE: gateway.tls.password: /nowhere: open: no such file or directory",
		},
		{
			name: "file for no text", file: file, table: "metrics", environ: []string{"SLUICE_GATEWAY__PORT_FILE=/nowhere"},
			warnings: "SLUICE_GATEWAY__PORT_FILE: no such setting",
		},
		{
			name: "map and entry", file: file, table: "metrics",
			environ:  []string{"SLUICE_GATEWAY__TLS__KEYS=a=hunter2", "SLUICE_GATEWAY__TLS__KEYS__A=hunter2"},
			problems: "",
			warnings: "SLUICE_GATEWAY__TLS__KEYS__A: no such setting (did you mean SLUICE_GATEWAY__TLS__KEYS?)",
		},
		{
			name: "map and entry that is there", file: file + "gateway: {tls: {keys: {a: x}}}\n", table: "metrics",
			environ:  []string{"SLUICE_GATEWAY__TLS__KEYS=a=hunter2", "SLUICE_GATEWAY__TLS__KEYS__A=hunter2"},
			problems: "SLUICE_GATEWAY__TLS__KEYS__A: gateway.tls.keys.a: SLUICE_GATEWAY__TLS__KEYS is set too, wanted one of them",
		},
		{
			name: "map of lists as text", file: file, table: "metrics", environ: []string{"SLUICE_ROUTES=a"},
			problems: `SLUICE_ROUTES: routes: got "a", wanted a mapping of names to lists`,
		},
		{
			name: "secret", file: file, table: "metrics", environ: []string{"SLUICE_GATEWAY__TLS__PASSWORD=forbidden", "SLUICE_GATEWAY__TLS__KEYS=hunter2"},
			problems: `SLUICE_GATEWAY__TLS__KEYS: gateway.tls.keys: wanted name=value, separated by commas
SLUICE_GATEWAY__TLS__PASSWORD: gateway.tls.password: *** is too well known`,
		},
		{
			name: "not UTF-8", file: file, table: "metrics", environ: []string{"SLUICE_GATEWAY__LISTEN=\xff"},
			problems: "SLUICE_GATEWAY__LISTEN: gateway.listen: not UTF-8",
		},
		{
			name: "plugin", file: file, environ: []string{"SLUICE_SINKS__MY_SINK__PLUGIN=dashboard"},
			problems: "sluice.yaml:2: sinks.my-sink.table: unknown key",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := load(Sources{File: write(t, tt.file), Environ: tt.environ})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.problems {
				t.Errorf("got\n%s\nwant\n%s", got, tt.problems)
			}
			if got := strings.Join(s.Warnings(), "\n"); got != tt.warnings {
				t.Errorf("got warnings\n%s\nwant\n%s", got, tt.warnings)
			}
			if c, ok := s.sinks["my-sink"].(*dynamoConfig); ok && c.Table != tt.table {
				t.Errorf("got table %q, want %q", c.Table, tt.table)
			}
		})
	}
}

func TestFlags(t *testing.T) {
	s, err := load(Sources{Flags: map[string]string{
		"gateway.brokers": "a,b", "gateway.port": "9", "gateway.tls.headers": "a=b", "routes.new_metrics": "dashboard",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.gateway.Brokers, []string{"a", "b"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if s.gateway.Port != 9 || s.gateway.TLS.Headers["a"] != "b" || len(s.routes["new_metrics"]) != 1 {
		t.Errorf("got %+v %v", s.gateway, s.routes)
	}
	_, err = load(Sources{Flags: map[string]string{"gateway.prot": "9", "gateway.port": "x"}})
	want := "flag: gateway.port: got \"x\", wanted a whole number from 1 to 65535\n" +
		"flag: gateway.prot: unknown key (did you mean port?)"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestDefaultsStay makes sure that a setting with a problem is left alone.
func TestDefaultsStay(t *testing.T) {
	s, err := load(Sources{File: write(t, "gateway: {waits: [x, 1s], port: 0, brokers: [[a], b], tls: {headers: {a: [b], c: d}}}\n")})
	if err == nil {
		t.Fatal("got no error")
	}
	g := s.gateway
	if g.Port != 3000 || g.Waits != nil || !reflect.DeepEqual(g.Brokers, []string{"localhost:9092"}) {
		t.Errorf("got %+v", g)
	}
	if want := map[string]string{"c": "d"}; !reflect.DeepEqual(g.TLS.Headers, want) {
		t.Errorf("got %v, want %v", g.TLS.Headers, want)
	}
}

func TestUnreadableFile(t *testing.T) {
	big := write(t, strings.Repeat("# nothing\n", maxFile/10+1))
	tests := []struct{ name, file, want string }{
		{"absent", "absent.yaml", "absent.yaml: open: no such file or directory"},
		{"folder", ".", ".: read: is a directory"},
		{"too large", big, "sluice.yaml: larger than 1MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := newSample(Sources{File: tt.file})
			var e *Error
			if !errors.As(err, &e) || err.Error() != tt.want {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			s.Bind("dynamodb", &dynamoConfig{}) // whose table is missing, which now says nothing
			if err := s.Decode(); err == nil || err.Error() != tt.want {
				t.Errorf("Decode: got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestNothingGiven makes sure that what nobody configured says where it would go.
func TestNothingGiven(t *testing.T) {
	l := New(Sources{})
	l.Bind("dynamodb", &dynamoConfig{})
	want := "dynamodb.table: is missing"
	if err := l.Decode(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	l = New(Sources{File: write(t, "# nothing\n")})
	if err := l.Read(); err != nil {
		t.Fatal(err)
	}
	l.Bind("dynamodb", &dynamoConfig{})
	want = "sluice.yaml: dynamodb.table: is missing"
	if err := l.Decode(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFind(t *testing.T) {
	tests := []struct {
		name, flag string
		environ    []string
		exists     string
		want       string
	}{
		{"flag", "a.yaml", []string{"SLUICE_CONFIG=b.yaml"}, "./sluice.yaml", "a.yaml"},
		{"variable", "", []string{"SLUICE_CONFIG=b.yaml"}, "./sluice.yaml", "b.yaml"},
		{"empty variable", "", []string{"SLUICE_CONFIG="}, "./sluice.yaml", "./sluice.yaml"},
		{"system", "", nil, "/etc/sluice/sluice.yaml", "/etc/sluice/sluice.yaml"},
		{"none", "", nil, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Find(tt.flag, tt.environ, func(p string) bool { return p == tt.exists }); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	file := write(t, "")
	if !Exists(file) || Exists("absent") || Exists(".") {
		t.Error("Exists is wrong")
	}
}
