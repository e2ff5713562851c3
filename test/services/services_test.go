package services

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

// The shared services live on: none of them may hold a goroutine of this process.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// outcome is a test that remembers how it ended.
type outcome struct {
	testing.TB
	skipped, failed string
}

func (*outcome) Helper()             {}
func (o *outcome) Skip(args ...any)  { o.skipped = fmt.Sprint(args...) }
func (o *outcome) Fatal(args ...any) { o.failed = fmt.Sprint(args...) }

func TestWithoutAServiceATestSkipsAndFailsInCI(t *testing.T) {
	why := errors.New("containers: no engine; maven: no java in PATH and no JAVA_HOME")
	for _, what := range []string{"a real Kafka", "a Kafka of its own", "a DynamoDB", "a schema registry"} {
		text := "needs " + what + ": " + why.Error()
		o := outcome{TB: t}
		newMachine(env(), &strings.Builder{}).miss(&o, what, why)
		if want := "SKIP: " + text; o.skipped != want || o.failed != "" {
			t.Errorf("skipped with %q and failed with %q, want to skip with %q", o.skipped, o.failed, want)
		}
		o = outcome{TB: t}
		newMachine(env("CI=true"), &strings.Builder{}).miss(&o, what, why)
		if o.failed != text || o.skipped != "" {
			t.Errorf("in CI skipped with %q and failed with %q, want to fail with %q", o.skipped, o.failed, text)
		}
	}
}

// TestWithNeitherDockerNorJava runs this package's tests of single services again
// where PATH has neither, and reads how they end.
func TestWithNeitherDockerNorJava(t *testing.T) {
	for _, c := range []struct{ name, test, ci, want string }{
		{"kafka is kfake", "TestChildKafka", "", "child: real=false"},
		{"kafka is kfake in CI too", "TestChildKafka", "true", "child: real=false"},
		{"real kafka skips", "TestKafkaRefusesWrongLogins", "", "SKIP: needs a real Kafka: containers: "},
		{"own kafka skips", "TestOwnKafkaKeepsDataOverKillAndStop", "", "SKIP: needs a Kafka of its own: containers: "},
		{"dynamodb skips", "TestDynamoDBKeepsAnItemForEveryRegion", "", "SKIP: needs a DynamoDB: containers: "},
		{"registry skips", "TestRegistryKeepsASchema", "", "SKIP: needs a schema registry: containers: "},
		{"real kafka fails in CI", "TestKafkaRefusesWrongLogins", "true", "FAIL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+c.test+"$", "-test.v")
			child.Env = []string{"PATH=" + t.TempDir(), "HOME=" + t.TempDir(), "CI=" + c.ci, childVariable + "=1",
				"DOCKER_HOST=unix:///nowhere/docker.sock"}
			out, err := child.CombinedOutput()
			if !strings.Contains(string(out), c.want) || !strings.Contains(string(out), "no java in PATH") {
				t.Errorf("printed (%v):\n%s\nwant %q and why", err, out, c.want)
			}
		})
	}
}

// childVariable marks this process as a child of one of its tests.
const childVariable = "SLUICE_TEST_SERVICES_CHILD"

// TestChildKafka is a part of TestWithNeitherDockerNorJava.
func TestChildKafka(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		return
	}
	b := Kafka(t)
	client := dial(t, kgo.SeedBrokers(b.Plain))
	create(t, client, "child")
	produce(t, client, "child", "one")
	if got := read(t, client, "child", 1); got[0] != "one" {
		t.Errorf("read %q", got[0])
	}
	fmt.Printf("child: real=%v\n", b.Real)
}

// TestChildSleeps is a part of TestNothingOutlivesAKilledTest.
func TestChildSleeps(t *testing.T) {
	dir := os.Getenv(childVariable)
	if dir == "" {
		return
	}
	j, err := newJVM("a sleep", launch{files: map[string]string{"file": "x"}, script: "exec sleep 600"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("folder", j.dir)
	<-t.Context().Done()
	j.remove()
}

func TestNothingOutlivesAKilledTest(t *testing.T) {
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildSleeps$", "-test.v")
	child.Env = append(os.Environ(), childVariable+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var folder string
	for folder == "" {
		var word string
		if _, err := fmt.Fscan(out, &word); err != nil {
			t.Fatal(err)
		}
		if word == "folder" {
			fmt.Fscan(out, &folder)
		}
	}
	var pid string
	eventually(t, "a pid", func() bool {
		text, err := os.ReadFile(filepath.Join(folder, "pid"))
		pid = strings.TrimSpace(string(text))
		return err == nil && pid != ""
	})
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed
	eventually(t, "the end of the process and of its folder", func() bool {
		_, err := os.Stat(folder)
		return os.IsNotExist(err) && exec.CommandContext(t.Context(), "sh", "-c", "kill -0 "+pid).Run() != nil
	})
}

// eventually waits for a condition that is sure to come.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s for %s", what)
		}
	}
}
