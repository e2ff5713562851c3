package services

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// artifact is something in Maven Central: a jar, which comes with all that it
// depends on, or an archive that has all in it.
type artifact struct {
	group, name, version string
	kind, classifier     string // of an archive
}

func (a artifact) archive() bool { return a.kind != "" }

// minJava is the oldest Java that runs all three services.
const minJava = 17

// maven starts services with this machine's Java, from jars that mvn fetches once
// per user and keeps in the cache folder.
type maven struct {
	getenv func(string) string
}

func (*maven) name() string { return "maven" }

func (m *maven) start(ctx context.Context, s *service, ports []int) (instance, error) {
	java, version, err := m.java(ctx)
	if err != nil {
		return nil, err
	}
	libraries, err := m.fetch(ctx, s)
	if err != nil {
		return nil, err
	}
	return newJVM(fmt.Sprintf("from Maven Central with java %d", version), s.launch(ports, false), []string{
		"JAVA=" + java, "LIBRARIES=" + libraries, "CLASSPATH=" + filepath.Join(libraries, "*"),
	})
}

var javaVersion = regexp.MustCompile(`version "(\d+)`)

// java finds the Java to use and its major version.
func (m *maven) java(ctx context.Context) (path string, version int, err error) {
	if home := m.getenv("JAVA_HOME"); home != "" {
		path = filepath.Join(home, "bin", "java")
	} else if path, err = exec.LookPath("java"); err != nil {
		return "", 0, errors.New("no java in PATH and no JAVA_HOME")
	}
	out, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return "", 0, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	found := javaVersion.FindSubmatch(out)
	if found == nil {
		return "", 0, fmt.Errorf("%s does not say its version: %s", path, bytes.TrimSpace(out))
	}
	if version, err = strconv.Atoi(string(found[1])); err != nil || version < minJava {
		return "", 0, fmt.Errorf("%s is java %s, older than %d", path, found[1], minJava)
	}
	return path, version, nil
}

// fetch returns the folder with the artifacts of s and all they depend on. It may
// take minutes the first time. Processes that come at the same time wait for the
// first; what a killed one left half fetched is fetched again, since a folder gets
// its name only when it is complete.
func (m *maven) fetch(ctx context.Context, s *service) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w", err)
	}
	cache = filepath.Join(cache, "sluice-services")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	pom := s.pom()
	sum := sha256.Sum256([]byte(pom))
	folder := filepath.Join(cache, s.artifacts[0].name+"-"+s.artifacts[0].version+"-"+hex.EncodeToString(sum[:4]))
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	lock := flock.New(folder + ".lock")
	if _, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return "", fmt.Errorf("wait for another fetch: %w", err)
	}
	defer func() { _ = lock.Close() }()
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", errors.New("no mvn in PATH to fetch the jars with")
	}
	// A folder of its own, since the mvn of a killed test may still write to the last.
	left, _ := filepath.Glob(folder + ".part-*")
	for _, l := range left {
		_ = os.RemoveAll(l) // in use or not, it is of no more use
	}
	part, err := os.MkdirTemp(cache, filepath.Base(folder)+".part-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(part) }()
	if err := os.Mkdir(filepath.Join(part, "libraries"), 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(part, "pom.xml"), []byte(pom), 0o644); err != nil {
		return "", err
	}
	goal := []string{"dependency:copy-dependencies"}
	if a := s.artifacts[0]; a.archive() {
		goal = []string{"dependency:unpack", "-Dartifact=" + strings.Join([]string{a.group, a.name, a.version, a.kind, a.classifier}, ":")}
	}
	fetch := exec.CommandContext(ctx, mvn, append(goal, "-q", "-B", "-DoutputDirectory=libraries")...)
	fetch.Dir = part
	if out, err := fetch.CombinedOutput(); err != nil {
		out = bytes.TrimSpace(out[:min(len(out), tailSize)])
		return "", fmt.Errorf("fetch %s with mvn: %w\n%s", s.name, err, out)
	}
	if err := os.Rename(filepath.Join(part, "libraries"), folder); err != nil {
		return "", err
	}
	return folder, nil
}

// pom is a project that depends on the artifacts, which is how mvn is asked for them.
func (s *service) pom() string {
	var b strings.Builder
	b.WriteString(`<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>` +
		`<groupId>sluice</groupId><artifactId>services</artifactId><version>1</version><dependencies>`)
	for _, a := range s.artifacts {
		fmt.Fprintf(&b, "<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version>", a.group, a.name, a.version)
		if a.archive() {
			fmt.Fprintf(&b, "<type>%s</type><classifier>%s</classifier>", a.kind, a.classifier)
		}
		b.WriteString("</dependency>")
	}
	b.WriteString("</dependencies></project>\n")
	return b.String()
}
