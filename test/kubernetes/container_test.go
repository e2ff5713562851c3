package kubernetes

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"sluice/app"
	"sluice/config"
)

// stopWithin is how long a stage may take to stop, shutdown.delay not counted
// (DESIGN §8), with time to end.
const stopWithin = 15 * time.Second

// checkContainers runs each container of sluice's in the pods of w: with its
// arguments and environment, and with its files in a directory of the test. Its
// context has ended, so that it goes as far as the first connection and no
// further.
func checkContainers(t *testing.T, objects []object, w workload) []string {
	t.Helper()
	c := &checker{objects: objects}
	for _, k := range w.containers() {
		c.run(t, w, k)
	}
	return c.problems
}

func (c *checker) run(t *testing.T, w workload, k corev1.Container) {
	t.Helper()
	if len(k.Command) > 0 {
		c.problem(w.object, "%s: has a command, and so not the image's entry point", k.Name)
	}
	env, found := mount(t, c, w, k)
	if !found {
		c.problem(w.object, "%s: no sluice.yaml in /etc/sluice, where sluice looks", k.Name)
		return
	}
	run := func(ctx context.Context, args ...string) (code int, out, errs string) {
		var o, e bytes.Buffer
		code = app.Run(ctx, app.Default(), args, app.Streams{Out: &o, Err: &e}, env)
		return code, o.String(), e.String()
	}
	line := strings.Join(k.Args, " ")
	// `--help` of a command that is none prints that of the one above.
	usage := "\n  sluice " + line
	if k.Args[0] == "sink" {
		usage = "\n  sluice sink NAME..."
	}
	if code, out, errs := run(t.Context(), append(slices.Clone(k.Args), "--help")...); code != 0 || !strings.Contains(out, usage) {
		c.problem(w.object, "%s: sluice %s is no command: exit code %d\n%s%s", k.Name, line, code, out, errs)
		return
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	code, _, errs := run(ended, k.Args...)
	// Told to stop before anything else: 0, or 130 for what is no stage.
	if code != 0 && code != 130 {
		c.problem(w.object, "%s: sluice %s: got exit code %d\n%s", k.Name, line, code, errs)
	}
	if strings.Contains(errs, "no such setting") {
		c.problem(w.object, "%s: has variables that are no settings:\n%s", k.Name, errs)
	}
	code, _, errs = run(t.Context(), "config", "validate")
	if code != 0 {
		c.problem(w.object, "%s: sluice config validate: got exit code %d\n%s", k.Name, code, errs)
	}
	for line := range strings.Lines(errs) {
		if strings.HasPrefix(line, "warning:") {
			c.problem(w.object, "%s: sluice config validate: %s", k.Name, line)
		}
	}
	if code, out, errs := run(t.Context(), "config", "print"); code == 0 {
		c.settings(t, w, k, out)
	} else {
		c.problem(w.object, "%s: sluice config print: got exit code %d\n%s", k.Name, code, errs)
	}
}

// settings compares settings with what the pod says of them.
func (c *checker) settings(t *testing.T, w workload, k corev1.Container, printed string) {
	t.Helper()
	var s struct {
		Gateway  struct{ Listen string }
		Admin    struct{ Listen string }
		Shutdown struct{ Delay string }
		Sinks    struct{ Dashboard struct{ Listen string } }
	}
	if err := yaml.Unmarshal([]byte(printed), &s); err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	addresses := map[string]string{"admin": s.Admin.Listen, "agents": s.Gateway.Listen, "page": s.Sinks.Dashboard.Listen}
	for _, p := range k.Ports {
		listen := addresses[p.Name]
		if !strings.HasSuffix(listen, fmt.Sprintf(":%d", p.ContainerPort)) {
			c.problem(w.object, "%s: port %s is %d, and sluice listens on %q", k.Name, p.Name, p.ContainerPort, listen)
		}
		if local := strings.HasPrefix(listen, "127."); local != (p.Name == "page") {
			c.problem(w.object, "%s: port %s: sluice listens on %q", k.Name, p.Name, listen)
		}
	}
	delay, err := time.ParseDuration(s.Shutdown.Delay)
	if err != nil {
		t.Fatal(err)
	}
	grace := time.Duration(*w.pod.Spec.TerminationGracePeriodSeconds) * time.Second
	if grace < delay+stopWithin {
		c.problem(w.object, "%s: %s are not enough to wait %s and to stop", k.Name, grace, delay)
	}
	if p := k.ReadinessProbe; p != nil && time.Duration(p.PeriodSeconds*p.FailureThreshold)*time.Second > max(delay, 2*time.Second) {
		c.problem(w.object, "%s: that it is not ready is seen after %d s at most, and it serves on for %s only", k.Name, p.PeriodSeconds*p.FailureThreshold, delay)
	}
}

// mount writes the files of a container into a directory of the test and
// returns its environment, with mounted paths leading there, and whether there is
// a sluice.yaml in its place.
func mount(t *testing.T, c *checker, w workload, k corev1.Container) (env []string, found bool) {
	t.Helper()
	root := t.TempDir()
	var places []string
	for _, m := range k.VolumeMounts {
		places = append(places, m.MountPath, filepath.Join(root, m.MountPath))
	}
	moved := strings.NewReplacer(places...)
	for _, m := range k.VolumeMounts {
		files := map[string]string{}
		for _, v := range w.pod.Spec.Volumes {
			switch {
			case v.Name != m.Name:
			case v.ConfigMap != nil:
				if cm, ok := find[*corev1.ConfigMap](c, v.ConfigMap.Name); ok {
					files = cm.Data
				}
			case v.Secret != nil:
				files = secrets(t)[v.Secret.SecretName]
			}
		}
		dir := filepath.Join(root, m.MountPath)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			path := filepath.Join(dir, name)
			if filepath.Join(m.MountPath, name) == config.Places[1] {
				found, text = true, moved.Replace(text)
				env = append(env, "SLUICE_CONFIG="+path)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, e := range k.Env {
		env = append(env, e.Name+"="+moved.Replace(e.Value))
	}
	for _, e := range k.EnvFrom {
		if s, ok := find[*corev1.Secret](c, e.SecretRef.Name); ok {
			for name, value := range s.Data {
				env = append(env, name+"="+string(value))
			}
		}
	}
	return env, found
}

// secrets are what docs/kubernetes.md has people make.
func secrets(t *testing.T) map[string]map[string]string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]map[string]string{
		"sluice-kafka": {"password": "secret", "ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))},
	}
}
