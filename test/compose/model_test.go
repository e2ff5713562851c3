package compose

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"sluice/app"
)

// root is where compose.yaml is.
const root = "../.."

// load reads compose.yaml as `docker compose` does, with these profiles.
func load(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	o, err := cli.NewProjectOptions([]string{filepath.Join(dir, "compose.yaml")}, cli.WithWorkingDirectory(dir), cli.WithProfiles(profiles))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// isJob reports whether a service is done at some time.
func isJob(s *types.ServiceConfig) bool { return s.Restart == types.RestartPolicyOnFailure }

// isSluice reports whether a service runs our image.
func isSluice(s *types.ServiceConfig) bool { return strings.HasPrefix(s.Image, "sluice:") }

// pinned is an image of one release.
var pinned = regexp.MustCompile(`:v?[0-9]+(\.[0-9]+)+$`)

// secret is a variable that holds one; a file's name is none.
var secret = regexp.MustCompile(`(TOKEN|SECRET|PASSWORD|ACCESS_KEY|PRIVATE)(_ID|_KEY)?$|SECRET_ACCESS_KEY$`)

// faults returns what a service has that it should not, or lacks.
func faults(s *types.ServiceConfig) []string {
	var out []string
	bad := func(is bool, format string, args ...any) {
		if is {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	for _, p := range s.Ports {
		bad(p.HostIP != "127.0.0.1", "port %d is published on %q", p.Target, p.HostIP)
		bad(p.Published == "", "port %d is published wherever Docker likes", p.Target)
	}
	user, _, _ := strings.Cut(s.User, ":")
	bad(strings.Trim(user, "0123456789") != "" || user == "" || user == "0", "user is %q, want the number of one who is not root", s.User)
	bad(!s.ReadOnly, "the root file system can be written")
	bad(s.MemLimit <= 0, "no memory limit")
	bad(s.PidsLimit <= 0, "no limit of processes")
	bad(!slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0, "capabilities: dropped %v, added %v", s.CapDrop, s.CapAdd)
	bad(!slices.Contains(s.SecurityOpt, "no-new-privileges:true"), "new privileges can be had")
	bad(s.Privileged || s.NetworkMode != "" || s.Pid != "" || s.Ipc != "" || len(s.Devices) > 0 || s.UserNSMode != "", "shares something with the host")
	bad(s.ContainerName != "", "container_name %q: there can be no second one", s.ContainerName)
	for _, v := range s.Volumes {
		bad(v.Type == types.VolumeTypeBind && !v.ReadOnly, "%s of the host can be written", v.Source)
		bad(strings.Contains(v.Source, "docker.sock"), "has Docker itself")
	}
	for name, value := range s.Environment {
		fake := name == "AWS_ACCESS_KEY_ID" || name == "AWS_SECRET_ACCESS_KEY"
		bad(fake && (s.Name != "dynamodb-sink" || value == nil || *value != "local"), "credentials for AWS")
		bad(!fake && secret.MatchString(name), "the secret %s", name)
	}
	for on, d := range s.DependsOn {
		bad(d.Condition == types.ServiceConditionStarted, "waits for %s to be started, not to be of use", on)
	}
	bad(isJob(s) != (s.HealthCheck != nil && s.HealthCheck.Disable), "restart %s with health check %v", s.Restart, s.HealthCheck)
	bad(!isJob(s) && (s.Restart != types.RestartPolicyUnlessStopped || s.HealthCheck == nil || len(s.HealthCheck.Test) < 2), "restart %s with health check %v", s.Restart, s.HealthCheck)
	bad(s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < 15*time.Second, "is killed %v after it is told to stop", s.StopGracePeriod)
	bad(!isSluice(s) && !pinned.MatchString(s.Image), "image %s may be another tomorrow", s.Image)
	bad(!isSluice(s) && s.Build != nil, "is built and not ours")
	return out
}

// TestNothingExposed is T31 of the threat model: nothing is published beyond this
// machine, and every container has the least rights it can do with.
func TestNothingExposed(t *testing.T) {
	p := load(t, "*")
	if len(p.Services) < 12 {
		t.Fatalf("got %d services, want all of them", len(p.Services))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		s := p.Services[name]
		for _, f := range faults(&s) {
			t.Errorf("%s: %s", name, f)
		}
	}
}

// TestFaultsAreSeen shows the check above one fault at a time.
func TestFaultsAreSeen(t *testing.T) {
	short := types.Duration(time.Second)
	text := "AKIA"
	for _, tt := range []struct {
		name  string
		spoil func(*types.ServiceConfig)
	}{
		{"published to all", func(s *types.ServiceConfig) { s.Ports[0].HostIP = "" }},
		{"any port", func(s *types.ServiceConfig) { s.Ports[0].Published = "" }},
		{"no user", func(s *types.ServiceConfig) { s.User = "" }},
		{"root", func(s *types.ServiceConfig) { s.User = "0:1000" }},
		{"writable", func(s *types.ServiceConfig) { s.ReadOnly = false }},
		{"memory", func(s *types.ServiceConfig) { s.MemLimit = 0 }},
		{"processes", func(s *types.ServiceConfig) { s.PidsLimit = 0 }},
		{"capabilities kept", func(s *types.ServiceConfig) { s.CapDrop = nil }},
		{"capability added", func(s *types.ServiceConfig) { s.CapAdd = []string{"CHOWN"} }},
		{"new privileges", func(s *types.ServiceConfig) { s.SecurityOpt = nil }},
		{"privileged", func(s *types.ServiceConfig) { s.Privileged = true }},
		{"network of the host", func(s *types.ServiceConfig) { s.NetworkMode = "host" }},
		{"name", func(s *types.ServiceConfig) { s.ContainerName = "door" }},
		{"writable bind", func(s *types.ServiceConfig) { s.Volumes[0].ReadOnly = false }},
		{"credentials", func(s *types.ServiceConfig) { s.Environment["AWS_ACCESS_KEY_ID"] = &text }},
		{"secret", func(s *types.ServiceConfig) { s.Environment["SLUICE_AGENT__TOKEN"] = &text }},
		{"only started", func(s *types.ServiceConfig) {
			s.DependsOn["kafka"] = types.ServiceDependency{Condition: types.ServiceConditionStarted}
		}},
		{"never again", func(s *types.ServiceConfig) { s.Restart = "no" }},
		{"no health", func(s *types.ServiceConfig) { s.HealthCheck = nil }},
		{"no patience", func(s *types.ServiceConfig) { s.StopGracePeriod = &short }},
		{"any image", func(s *types.ServiceConfig) { s.Image = "apache/kafka:latest" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := load(t).Services["door"]
			if f := faults(&s); len(f) > 0 {
				t.Fatalf("before: %v", f)
			}
			tt.spoil(&s)
			if len(faults(&s)) == 0 {
				t.Error("no fault is seen")
			}
		})
	}
}

// TestProfiles pins what runs without a profile, and that what scales has no port
// of its own.
func TestProfiles(t *testing.T) {
	want := []string{"admit", "agent", "dashboard", "door", "dynamodb", "dynamodb-sink", "gateway", "kafka", "normalizer", "topics"}
	if got := slices.Sorted(maps.Keys(load(t).Services)); !slices.Equal(got, want) {
		t.Errorf("without a profile: got %v, want %v", got, want)
	}
	all := load(t, "*").Services
	for name, want := range map[string][]string{
		"registry": {"registry"}, "observability": {"prometheus", "grafana"}, "load": {"admit-load", "load"},
	} {
		for _, service := range want {
			if got := all[service].Profiles; !slices.Equal(got, []string{name}) {
				t.Errorf("%s: got profiles %v, want %s", service, got, name)
			}
		}
	}
	for _, name := range []string{"gateway", "normalizer", "dynamodb-sink", "agent", "load"} {
		for _, p := range all[name].Ports {
			t.Errorf("%s: port %s of the host is for one container", name, p.Published)
		}
	}
	taken := map[string]string{}
	for name, s := range all {
		for _, p := range s.Ports {
			if other := taken[p.Published]; other != "" {
				t.Errorf("%s and %s both want port %s", name, other, p.Published)
			}
			taken[p.Published] = name
		}
	}
}

// run runs sluice in this process.
func run(t *testing.T, environ []string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = app.Run(t.Context(), app.Default(), args, app.Streams{In: strings.NewReader(""), Out: &o, Err: &e}, environ)
	return code, o.String(), e.String()
}

// TestCommandsAndSettings runs each of our containers as far as it goes without a
// network: its command is one, its file is right, and each variable sets
// something.
func TestCommandsAndSettings(t *testing.T) {
	file := filepath.Join(root, "compose", "sluice.yaml")
	_, env, _ := run(t, nil, "config", "env", "--config", file)
	for name, s := range load(t, "*").Services {
		if !isSluice(&s) {
			continue
		}
		if code, _, errOut := run(t, nil, append(slices.Clone(s.Command), "--help")...); code != 0 {
			t.Errorf("%s: sluice %s: exit code %d: %s", name, strings.Join(s.Command, " "), code, errOut)
		}
		var environ []string
		for key, value := range s.Environment {
			base := strings.TrimSuffix(key, "_FILE")
			if strings.HasPrefix(key, "SLUICE_") && !regexp.MustCompile(`(?m)^`+base+`(\[_FILE\])? `).MatchString(env) {
				t.Errorf("%s: %s sets nothing", name, key)
			}
			if value != nil && base == key {
				environ = append(environ, key+"="+*value)
			}
		}
		if code, _, errOut := run(t, environ, "config", "validate", "--config", file); code != 0 {
			t.Errorf("%s: %s", name, errOut)
		}
		if !slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == "/etc/sluice/sluice.yaml" }) {
			t.Errorf("%s: has no configuration", name)
		}
	}
}
