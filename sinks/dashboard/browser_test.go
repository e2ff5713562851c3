package dashboard

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	dto "github.com/prometheus/client_model/go"

	"sluice/message"
)

// findBrowser returns a Chromium. Without one the test cannot say anything.
func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROME_BIN"), "chromium", "chromium-browser", "google-chrome"} {
		if name == "" {
			continue
		}
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("no Chromium found; set CHROME_BIN")
	}
	t.Skip("no Chromium found; set CHROME_BIN")
	return ""
}

// tab is a browser with one page. Its console must stay free of errors, but for
// those that expected names.
type tab struct {
	t   *testing.T
	ctx context.Context
}

func newTab(t *testing.T, expected string) *tab {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(findBrowser(t)), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1400, 900), chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	actx, cancelA := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancelC := chromedp.NewContext(actx)
	ctx, cancelT := context.WithTimeout(ctx, 3*patience)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	done, console := make(chan struct{}), chromedp.Console(ctx)
	go func() {
		defer close(done)
		for m, err := range console {
			if err != nil {
				return
			}
			bad := m.IsException() || m.Type == chromedp.ConsoleError
			if s := fmt.Sprint(m); bad && (expected == "" || !strings.Contains(s, expected)) {
				t.Errorf("browser console: %s", s)
			}
		}
	}()
	t.Cleanup(func() { _ = chromedp.Cancel(ctx); cancelT(); cancelC(); cancelA(); <-done })
	return &tab{t, ctx}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// until waits for an expression to be true.
func (b *tab) until(expression string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(patience))); err != nil {
		got, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body.innerText.slice(0, 2000)"))
		b.t.Fatalf("waited for %s: %v; the page says:\n%s", expression, err, got)
	}
}

// eval returns the value of an expression as text.
func (b *tab) eval(expression string) string {
	b.t.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// theme sets what the page is told of the viewer's preference.
func (b *tab) theme(scheme string) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
		b.t.Fatal(err)
	}
}

// shoot saves the page as a picture where TEST_ARTIFACTS says.
func (b *tab) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("TEST_ARTIFACTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "dash-"+name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// population returns the messages of a fleet as it may be: most do well, some
// do not.
func (b *bench) population() []message.Message {
	rnd := rand.New(rand.NewPCG(1, 2))
	clients := []string{
		"Geth/v1.17.10-stable/linux-amd64/go1.26.8", "Nethermind/v1.35.2+cb8b3a1f/linux-x64/dotnet9.0.8", "besu/v26.4.0/linux-x86_64/openjdk-java-25",
		"erigon/3.4.1/linux-amd64/go1.26.1", "reth/v1.9.3-27a8c0f/x86_64-unknown-linux-gnu",
	}
	var list []message.Message
	for i := range 14 {
		agent := fmt.Sprintf("%s-%d", []string{"eu-west", "us-east", "ap-south", "sa-east"}[i%4], i/4+1)
		head, network := int64(21_413_882), "1"
		if i >= 11 {
			head, network = 9_218_405, "11155111"
		}
		switch i {
		case 5:
			head -= 214
		case 9:
			head -= 2
		case 7, 10:
			head -= int64(40 * i)
		}
		of := func(typ, kind string, fields body) {
			m := b.msg(agent, typ, kind, fields)
			m.Network, m.Genesis = network, ""
			m.ReceivedAt = m.ReceivedAt.Add(-time.Duration(rnd.IntN(9000)) * time.Millisecond)
			if i == 7 || i == 10 {
				m.ReceivedAt = m.ReceivedAt.Add(-time.Duration(90+(i-7)*1300) * time.Second)
			}
			list = append(list, m)
		}
		of("networking_metrics", "connected", body{"connection": agent + "/1", "protocol": "websocket"})
		of("ethereum_metrics", "information", body{"name": agent, "node": clients[i%len(clients)], "net": network})
		of("ethereum_metrics", "block", body{"number": head, "hash": fmt.Sprintf("0x%064x", head)})
		of("ethereum_metrics", "statistics", body{"peers": int64(20 + rnd.IntN(60)), "syncing": i == 5})
		of("ethereum_metrics", "pending", body{"pending": int64(100 + rnd.IntN(4000))})
		if i%6 != 3 {
			of("system_metrics", "cpu", body{"usage": 5 + 60*rnd.Float64(), "cores": int32(8)})
			of("system_metrics", "memory", body{"usage": 30 + 60*rnd.Float64()})
			of("system_metrics", "disk", body{"mount": "/", "usage": 40 + 58*rnd.Float64()})
		}
		switch i {
		case 7:
			m := b.msg(agent, "networking_metrics", "alive", body{"connection": agent + "/1"})
			list = append(list, m)
		case 10:
			of("networking_metrics", "disconnected", body{"connection": agent + "/1", "reason": "closed"})
		}
	}
	list = append(list, b.msg("gateway", "networking_metrics", "refused", body{"reasons": []any{body{"reason": "bad_token", "count": int64(3)}}}))
	return list
}

func TestBrowser(t *testing.T) {
	d := newBench(t, nil)
	addr := d.Addr().String()
	b := newTab(t, "/api/v1/live") // when the server goes, the browser says so
	b.theme("light")

	// Nobody there yet: the page says how to change that, for this very host.
	b.do(chromedp.Navigate(d.url("/")))
	b.until(`document.querySelector("#feed .word").textContent === "live"`)
	b.until(`document.querySelector("#empty").innerText.includes("http://127.0.0.1:3000/data") && document.querySelector("#fleet").hidden`)
	b.shoot("empty")

	// A fleet appears without a reload.
	d.write(d.population()...)
	b.until(`document.querySelectorAll("#rows tr").length === 14 && document.querySelector("#empty").hidden`)
	b.until(`document.querySelector("#t-lagging").textContent === "1" && document.querySelector("#t-stale").textContent === "1" && document.querySelector("#t-offline").textContent === "1"`)
	b.until(`document.querySelector("#reasons").textContent === "bad_token 3"`)
	b.until(`document.querySelector('tr[data-node="us-east-2"] .beh').textContent === "−214"`)
	b.shoot("light")
	b.theme("dark")
	b.shoot("dark")

	// A row changes in place.
	b.do(chromedp.Evaluate[chromedp.Void](`void (window.row = document.querySelector('tr[data-node="eu-west-1"]'))`))
	d.write(d.onMain("eu-west-1", 21_413_890))
	b.until(`window.row.isConnected && window.row.querySelector(".blk").textContent === "21,413,890" && window.row.className === "s-ok"`)
	b.until(`document.querySelector('tr[data-node="us-east-1"]').className === "s-lagging" && document.querySelector('tr[data-node="us-east-1"] .beh').textContent === "−8"`)

	// All that came without a new snapshot; a message that is missed brings one.
	if got := d.resyncs(); got != 0 {
		t.Errorf("snapshots asked for: got %v, want 0", got)
	}
	d.hub.mu.Lock()
	d.hub.seq++
	d.hub.mu.Unlock()
	d.write(d.onMain("eu-west-1", 21_413_891))
	b.until(`window.row.isConnected && window.row.querySelector(".blk").textContent === "21,413,891"`)
	if got := d.resyncs(); got != 1 {
		t.Errorf("snapshots asked for after a gap: got %v, want 1", got)
	}

	// Hostile names are text.
	const hostile = `<img src=x onerror="document.title='owned'">`
	d.write(d.block(hostile, 21_413_890), d.msg(hostile, "ethereum_metrics", "information", body{"name": "<b>n</b>", "node": "<script>document.title='owned'</script>/v1", "net": "1"}))
	b.until(`[...document.querySelectorAll("#rows .name")].some((e) => e.textContent === ` + "`" + hostile + "`" + `)`)
	b.do(chromedp.Navigate(d.url("/"))) // the server's rendering too
	b.until(`document.querySelectorAll("#rows tr").length === 15 && document.querySelector("#feed .word").textContent === "live"`)
	if got := b.eval(`document.title + document.querySelectorAll("main img, main script, main b b").length`); got != "Nodes · sluice0" {
		t.Errorf("title and foreign elements: got %q", got)
	}

	// Filter and order are in the address.
	b.do(chromedp.SendKeys(chromedp.CSS("#q"), "besu"), chromedp.Click(chromedp.CSS(`a[data-key="block"]`)))
	b.until(`document.querySelectorAll("#rows tr").length === 3 && location.search === "?q=besu&sort=block" && document.querySelector("th.blk").ariaSort === "ascending"`)
	want := b.eval(`[...document.querySelectorAll("#rows tr")].map((r) => r.dataset.node).join()`)
	b.do(chromedp.Navigate(d.url("/?q=besu&sort=block")))
	b.until(`document.querySelector("#feed .word").textContent === "live"`)
	if got := b.eval(`[...document.querySelectorAll("#rows tr")].map((r) => r.dataset.node).join()`); got != want {
		t.Errorf("rows after a reload: got %s, want %s", got, want)
	}

	// A phone needs no sideways scrolling.
	for _, scheme := range []string{"light", "dark"} {
		b.theme(scheme)
		b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateScale(2)), chromedp.Navigate(d.url("/")))
		b.until(`document.querySelector("#feed .word").textContent === "live"`)
		if got := b.eval("document.documentElement.scrollWidth"); got != "390" {
			t.Errorf("width of the page on a phone: got %s, want 390", got)
		}
		if got := b.eval(`document.querySelector('tr[data-node="eu-west-1"] .name').scrollWidth <= document.querySelector('tr[data-node="eu-west-1"] .name').clientWidth`); got != "true" {
			t.Error("a phone cuts off the name of a node")
		}
		b.shoot("phone-" + scheme)
	}
	b.theme("light")
	b.do(chromedp.EmulateViewport(1400, 900))

	// The server goes: the page says so and keeps what it has. It comes back: so
	// does the page, by itself and without doubles.
	d.shut()
	b.until(`document.querySelector("#banner").textContent.startsWith("Connection lost. You see the state of ") && document.querySelectorAll("#rows tr").length === 15`)
	b.shoot("lost")
	again := newBench(t, func(s *Settings) { s.Listen = addr })
	again.offset = d.offset
	again.write(again.onMain("eu-west-1", 21_413_892), again.onMain("new", 21_413_892))
	b.until(`document.querySelector("#banner").textContent === "" && document.querySelectorAll("#rows tr").length === 2 && document.querySelector('tr[data-node="eu-west-1"] .blk').textContent === "21,413,892"`)
}

// resyncs returns how many snapshots pages were sent besides their first.
func (b *bench) resyncs() float64 {
	b.t.Helper()
	var m dto.Metric
	if err := b.hub.meters.resyncs.Write(&m); err != nil {
		b.t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// onMain returns a block of a chain whose genesis the agent does not name.
func (b *bench) onMain(agent string, number int64) message.Message {
	m := b.block(agent, number)
	m.Genesis = ""
	return m
}

func TestBrowserOfMachines(t *testing.T) {
	d := newBench(t, nil)
	d.caught.Store(false)
	b := newTab(t, "")
	b.theme("dark")
	b.do(chromedp.Navigate(d.url("/connect")))
	b.until(`document.querySelectorAll(".copy button").length === 4`)
	b.shoot("connect")
	b.do(chromedp.Navigate(d.url("/")))
	b.until(`document.querySelector("#feed .word").textContent === "live"`)
	b.until(`!document.querySelector("#reading").hidden && document.querySelector("#empty").hidden && document.querySelector("#t-online").textContent === "–"`)
	b.shoot("reading")
	d.caught.Store(true)
	for i, name := range []string{"laptop", "build-1", "build-2"} {
		for kind, fields := range map[string]body{
			"cpu": {"usage": 7.5 + 20*float64(i), "cores": int32(8)}, "memory": {"usage": 41.0 + 10*float64(i)},
			"disk": {"mount": "/", "usage": 63.0 + 15*float64(i)},
		} {
			m := d.msg(name, "system_metrics", kind, fields)
			m.Network, m.Genesis = "", ""
			d.write(m)
		}
	}
	b.until(`document.querySelector("#reading").hidden && document.querySelectorAll("#rows tr").length === 3`)
	b.until(`document.querySelector('tr[data-node="build-2"] .disk .v').textContent === "93%"`)
	if got := b.eval(`getComputedStyle(document.querySelector("th.blk")).display`); got != "none" {
		t.Errorf("columns of chains are shown though no node speaks of one: display %s", got)
	}
	b.shoot("machines")
}
