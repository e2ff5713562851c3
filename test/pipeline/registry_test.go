package pipeline

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/avro"

	"sluice/internal/kafka"
	"sluice/internal/kafka/kafkatest"
	"sluice/message"
	"sluice/schemas"
	"sluice/test/process"
	"sluice/test/services"
)

const (
	ethereum = "ethereum_metrics"
	block    = `{"id":"a1","type":"ethereum_metrics","data":{"type":"block","body":{"number":%d,"hash":"0xé","difficulty":"58750003716598352816469","transactions":["0x01","0x02"]}}}`
)

func withRegistry(url string) string { return "schema_registry:\n  url: " + url + "\n" }

// typed returns the values on a data type's topic once there are n.
func (u *up) typed(dataType string, n int) (all [][]byte) {
	u.t.Helper()
	for _, r := range kafkatest.Wait(u.t, u.kafka(), func(rs []*kafka.Record) bool { return len(rs) >= n }, message.Topic(dataType)) {
		all = append(all, r.Value)
	}
	return all
}

func (u *up) mustPost(body string) {
	u.t.Helper()
	if code, said := u.post("application/json", body); code != http.StatusOK {
		u.t.Fatalf("post: %d %s", code, said)
	}
}

// ask reads JSON from a registry.
func ask(t *testing.T, url string, answer any) {
	t.Helper()
	code, body := process.Get(url)
	if code != http.StatusOK {
		t.Fatalf("%s: %d %s", url, code, body)
	}
	if err := json.Unmarshal([]byte(body), answer); err != nil {
		t.Fatalf("%s: %v in %s", url, err, body)
	}
}

// decode decodes a record of Confluent's form as any other tool does: with the
// schema that the registry has for the ID in its first five bytes, and a library
// that sluice decodes nothing with.
func decode(t *testing.T, registry string, value []byte) (schema string, record map[string]any) {
	t.Helper()
	if len(value) < 5 || value[0] != 0 {
		t.Fatalf("not Confluent's form: %x", value)
	}
	var kept struct{ Schema string }
	ask(t, fmt.Sprintf("%s/schemas/ids/%d", registry, binary.BigEndian.Uint32(value[1:])), &kept)
	parsed, err := avro.Parse(kept.Schema)
	if err != nil {
		t.Fatal(err)
	}
	rest, err := parsed.Decode(value[5:], &record)
	if err != nil || len(rest) > 0 {
		t.Fatalf("decode: %v, %d bytes left", err, len(rest))
	}
	return kept.Schema, record
}

// TestConfluentForm proves that with a registry any tool can read the typed topics
// and that sluice's own readers read both forms in one topic.
func TestConfluentForm(t *testing.T) {
	t.Run("fake", func(t *testing.T) { confluentForm(t, kafkatest.NewRegistry(t, 1000).Config().URL) })
	t.Run("apicurio", func(t *testing.T) { confluentForm(t, services.Registry(t).URL) })
}

func confluentForm(t *testing.T, registry string) {
	u := newUp(t, withRegistry(registry), "--agent=false")
	u.start()
	u.mustPost(fmt.Sprintf(block, 1))
	value := u.typed(ethereum, 1)[0]

	schema, record := decode(t, registry, value)
	set, err := schemas.Load("")
	if err != nil {
		t.Fatal(err)
	}
	if want := set.Type(ethereum).Schema; schema != want {
		t.Errorf("the registry has not kept the schema as it is: got\n%s, want\n%s", schema, want)
	}
	body, _ := json.Marshal(record["body"])
	if record["agent"] != "a1" || record["node"] != "a1" || !strings.Contains(string(body), "58750003716598352816469") || !strings.Contains(string(body), `"0xé"`) {
		t.Errorf("got %v", record)
	}
	for _, name := range set.Names() {
		var versions []int
		ask(t, registry+"/subjects/"+schemas.Subject(name)+"/versions", &versions)
		if len(versions) == 0 {
			t.Errorf("%s is not registered", name)
		}
	}

	// The same topic without the registry, and with it again.
	u.stop()
	if err := os.WriteFile(u.config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	u.start()
	u.mustPost(fmt.Sprintf(block, 2))
	u.typed(ethereum, 2)
	u.drained("archive", ethereum) // the ID is known from the schemas topic
	u.stop()
	if err := os.WriteFile(u.config, []byte(withRegistry(registry)), 0o600); err != nil {
		t.Fatal(err)
	}
	u.start()
	u.mustPost(fmt.Sprintf(block, 3))
	var forms []byte
	for _, v := range u.typed(ethereum, 3) {
		forms = append(forms, v[0])
	}
	if slices.Sort(forms); !slices.Equal(forms, []byte{0, 0, 0xC3}) {
		t.Errorf("got records that begin with %x, want two of Confluent's form and one single object", forms)
	}
	u.drained("archive", ethereum)
	process.Wait(t, "the page to have read both forms", func() bool {
		_, body := process.Get("http://" + u.dashboard + "/api/v1/nodes")
		return strings.Contains(body, `"a1"`)
	})
	u.stop()
	if got := u.archived(ethereum); len(got) != 3 {
		t.Errorf("the archive holds %v, want three messages", got)
	}
	if strings.Contains(u.log.String(), "sink failing") {
		t.Error("a sink could not read for a while")
	}
}

// TestRegistryAway proves that nothing is lost, refused or taken for a dead letter
// while the registry is away: neither at the start nor with a record whose ID
// nobody knows yet.
func TestRegistryAway(t *testing.T) {
	fake := kafkatest.NewRegistry(t, 1)
	fake.Away(true)
	u := newUp(t, withRegistry(fake.Config().URL), "--agent=false")
	said := make(chan bool, 1)
	go func() {
		defer fake.Away(false)
		for range 3000 {
			if strings.Contains(u.log.String(), "waiting for the schema registry") {
				said <- true
				return
			}
			<-time.After(20 * time.Millisecond)
		}
		said <- false
	}()
	u.start()
	if !<-said {
		t.Error("nothing was said of a registry that is away")
	}
	u.mustPost(fmt.Sprintf(block, 1))
	value := u.typed(ethereum, 1)[0]

	// Another program writes with an ID that it gets its registry to know later.
	fake.Away(true)
	p, err := u.kafka().NewProducer(kafka.ProducerOptions{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	foreign := binary.BigEndian.AppendUint32([]byte{0}, 77)
	record := kafkatest.Typed(t, ethereum, &message.Frame{ID: "b1/s/1", Agent: "b1"}, append(foreign, value[5:]...))
	if err := p.Produce(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	process.Wait(t, "a sink to say that it cannot ask", func() bool {
		return strings.Contains(u.log.String(), "id 77") && strings.Contains(u.log.String(), "schema_registry.url")
	})
	fake.Away(false)
	process.Wait(t, "a sink to say that there is no such id", func() bool { return fake.Asked("GET", "/schemas/ids/77") > 2 })
	if letters := kafkatest.Read(t, u.kafka(), message.TopicDeadLetters); len(letters) > 0 {
		t.Errorf("%d dead letters, want none: %s", len(letters), kafka.DeadLetter(letters[0]).Reason)
	}
	set, err := schemas.Load("")
	if err != nil {
		t.Fatal(err)
	}
	fake.Put(77, set.Type(ethereum).Schema)
	u.drained("archive", ethereum)
	process.Wait(t, "all sinks to go on", func() bool {
		code, _ := process.Get("http://" + u.admin + "/readyz")
		return code == http.StatusOK
	})
	u.stop()
}

// TestRegistryRefuses proves that a schema which the registry does not take ends
// the process in one line that says which and what to do.
func TestRegistryRefuses(t *testing.T) {
	fake := kafkatest.NewRegistry(t, 1)
	fake.Fail(kafkatest.Answer{Status: 404, Body: `{"error_code":40403}`}, kafkatest.Answer{Status: 409, Body: `{"error_code":409,"message":"field b removed"}`})
	cmd := exec.Command(program, "up", "--agent=false", "--data", t.TempDir(), "--gateway-listen", process.Addr(t),
		"--dashboard-listen", process.Addr(t), "--admin-listen", process.Addr(t), "--broker-listen", process.Addr(t))
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "SLUICE_SCHEMA_REGISTRY__URL="+fake.Config().URL)
	out, _ := cmd.CombinedOutput()
	last := out[strings.LastIndexByte(strings.TrimSpace(string(out)), '\n')+1:]
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	for _, want := range []string{"sluice: ", "sluice.ethereum_metrics-value", "field b removed", "compatible"} {
		if !strings.Contains(string(last), want) {
			t.Errorf("the last line does not say %q: %s", want, out)
		}
	}
	if _, err := os.Stat(filepath.Join(cmd.Dir, "sluice-data")); err == nil {
		t.Error("wrote into the current directory")
	}
}
