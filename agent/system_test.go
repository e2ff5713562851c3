package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/net"
)

// kindFields returns the fields of each kind of system_metrics: the Avro type of
// each, and whether it may be absent.
func kindFields(t *testing.T) map[string]map[string]field {
	t.Helper()
	b, err := os.ReadFile("../schemas/system_metrics.avsc")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Fields []struct {
			Name string          `json:"name"`
			Type json.RawMessage `json:"type"`
		} `json:"fields"`
	}
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	var kinds []struct {
		Name   string `json:"name"`
		Fields []struct {
			Name string `json:"name"`
			Type any    `json:"type"`
		} `json:"fields"`
	}
	for _, f := range schema.Fields {
		if f.Name == "body" {
			if err := json.Unmarshal(f.Type, &kinds); err != nil {
				t.Fatal(err)
			}
		}
	}
	out := map[string]map[string]field{}
	for _, k := range kinds {
		out[k.Name] = map[string]field{}
		for _, f := range k.Fields {
			if union, ok := f.Type.([]any); ok {
				out[k.Name][f.Name] = field{avro: fmt.Sprint(union[1]), optional: true}
			} else {
				out[k.Name][f.Name] = field{avro: fmt.Sprint(f.Type)}
			}
		}
	}
	return out
}

type field struct {
	avro     string
	optional bool
}

// checkBody holds a body to the schema.
func checkBody(t *testing.T, kinds map[string]map[string]field, m Message) {
	t.Helper()
	fields, body := kinds[m.Kind], m.Body.(map[string]any)
	if m.Type != "system_metrics" || fields == nil {
		t.Fatalf("%s of %s is not in the schema", m.Kind, m.Type)
	}
	for name, f := range fields {
		v, ok := body[name]
		switch {
		case !ok && f.optional:
			continue
		case !ok:
			t.Errorf("%s has no %s", m.Kind, name)
			continue
		}
		good := false
		switch f.avro {
		case "double":
			_, good = v.(float64)
		case "long":
			_, good = v.(uint64)
		case "int":
			_, good = v.(int)
		case "string":
			_, good = v.(string)
		default:
			_, good = v.([]float64)
		}
		if !good {
			t.Errorf("%s.%s is the %T %v, and the schema has %s", m.Kind, name, v, v, f.avro)
		}
		if x, is := v.(float64); is && (x < 0 || (name == "usage" || name == "user" || name == "idle") && x > 100) {
			t.Errorf("%s.%s is %v", m.Kind, name, x)
		}
	}
	for name := range body {
		if _, ok := fields[name]; !ok {
			t.Errorf("%s.%s is not in the schema", m.Kind, name)
		}
	}
}

// TestSystem looks at the machine it runs on, twice.
func TestSystem(t *testing.T) {
	kinds := kindFields(t)
	seen := map[string]int{}
	for _, c := range System(DefaultSystemConfig()) {
		for range 2 {
			begin := time.Now()
			err := c.Collect(context.Background(), func(m Message) {
				seen[m.Kind]++
				checkBody(t, kinds, m)
				if m.Kind != c.Name() {
					t.Errorf("%s collects %s", c.Name(), m.Kind)
				}
			})
			if err != nil {
				t.Errorf("%s: %v", c.Name(), err)
			}
			if c.Name() == "cpu" && time.Since(begin) < time.Nanosecond {
				t.Error("the clock stands")
			}
		}
	}
	for _, kind := range []string{"cpu", "memory", "load", "network", "disk"} {
		if seen[kind] == 0 {
			t.Errorf("nothing about %s", kind)
		}
	}
}

func TestSystemConfig(t *testing.T) {
	c := SystemConfig{CPU: time.Second, Disk: -1}
	all := System(c)
	if len(all) != 1 || all[0].Name() != "cpu" || all[0].Period() != time.Second {
		t.Errorf("collectors %+v, want cpu alone", all)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.Load = time.Millisecond
	if err := c.Validate(); err == nil || err.Error() != "load: 1ms is less than 100ms" {
		t.Errorf("Validate: %v", err)
	}
}

// TestFirstCPUSampleStops ends the wait inside the first sample.
func TestFirstCPUSampleStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := (&cpuSampler{}).collect(ctx, func(Message) { t.Error("a sample of no time") })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

func TestCPUBody(t *testing.T) {
	last := []cpu.TimesStat{{User: 10, Idle: 100}, {User: 20, Idle: 100}}
	now := []cpu.TimesStat{
		{User: 12, Nice: 1, System: 2, Irq: 0.5, Softirq: 0.5, Iowait: 1, Steal: 1, Idle: 102},
		{User: 20, Idle: 110},
	}
	got, ok := cpuBody(last, now)
	// Core 0 spends 10 s: 7 at work, 1 waiting, 2 idle; core 1 is idle for 10 s.
	want := map[string]any{
		"usage": 35.0, "cores": 2, "per_core": []float64{70, 0},
		"user": 15.0, "system": 15.0, "iowait": 5.0, "idle": 60.0,
	}
	if _, linux := got["iowait"]; !linux {
		delete(want, "iowait")
	}
	if !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("body %v, want %v", got, want)
	}
	if _, ok := cpuBody(now, now); ok {
		t.Error("a load for no time")
	}
	if _, ok := cpuBody(last[:1], now); ok {
		t.Error("a load over a core that was not there")
	}
	// Idle time that goes backwards, as Linux has it, makes no load above 100.
	got, _ = cpuBody([]cpu.TimesStat{{Idle: 10}}, []cpu.TimesStat{{Idle: 9, User: 1}})
	if got["usage"] != 100.0 || got["idle"] != 0.0 {
		t.Errorf("body %v, want 100 percent", got)
	}
}

func TestRealMounts(t *testing.T) {
	mount := func(path, device, fstype string) disk.PartitionStat {
		return disk.PartitionStat{Mountpoint: path, Device: device, Fstype: fstype}
	}
	got := realMounts([]disk.PartitionStat{
		mount("/proc", "proc", "proc"), mount("/etc/hosts", "/dev/sda1", "ext4"), mount("/data/again", "/dev/sdb", "xfs"),
		mount("/data", "/dev/sdb", "xfs"), mount("/", "overlay", "overlay"), mount("/var/lib/docker/overlay2/x", "overlay", "overlay"),
		mount("/run", "tmpfs", "tmpfs"), mount("/nfs", "host:/x", "nfs4"), mount("/zfs", "pool/home", "zfs"), mount("/bind", "none", "btrfs"),
		mount("/bind2", "none", "btrfs"),
	}, func(path string) bool { return path != "/etc/hosts" })
	var paths []string
	for _, p := range got {
		paths = append(paths, p.Mountpoint)
	}
	if want := []string{"/", "/zfs", "/bind", "/data", "/bind2"}; !slices.Equal(paths, want) {
		t.Errorf("mounts %v, want %v", paths, want)
	}
}

func TestReportDisks(t *testing.T) {
	var mounts []disk.PartitionStat
	for i := range 30 {
		mounts = append(mounts, disk.PartitionStat{Mountpoint: fmt.Sprint("/", i)})
	}
	var got []string
	err := reportDisks(mounts, func(mount string) (*disk.UsageStat, error) {
		switch mount {
		case "/1":
			return nil, errors.New("gone")
		case "/2":
			return &disk.UsageStat{}, nil
		}
		return &disk.UsageStat{Total: 1}, nil
	}, func(m Message) { got = append(got, m.Body.(map[string]any)["mount"].(string)) })
	if err == nil || !strings.Contains(err.Error(), "read size of /1: gone") {
		t.Errorf("error %v, want that of /1", err)
	}
	if len(got) != atMost || got[0] != "/0" || got[1] != "/3" {
		t.Errorf("reported %v, want %d without /1 and /2", got, atMost)
	}
}

func TestNetworkRates(t *testing.T) {
	kinds := kindFields(t)
	s := &networkSampler{}
	var got map[string]any
	sample := func(second int, c net.IOCountersStat) {
		got = nil
		c.Name = "eth0"
		s.report([]string{"eth0", "gone"}, []net.IOCountersStat{{Name: "lo"}, c}, noon.Add(time.Duration(second)*time.Second), func(m Message) {
			checkBody(t, kinds, m)
			got = m.Body.(map[string]any)
		})
	}
	sample(0, net.IOCountersStat{BytesSent: 1000, BytesRecv: 50})
	if _, ok := got["bytes_sent_per_second"]; ok || got["bytes_sent"] != uint64(1000) {
		t.Errorf("first sample %v, want no rates", got)
	}
	sample(2, net.IOCountersStat{BytesSent: 1500, BytesRecv: 50, PacketsSent: 4, PacketsRecv: 1})
	for k, want := range map[string]float64{
		"bytes_sent_per_second": 250, "bytes_received_per_second": 0, "packets_sent_per_second": 2, "packets_received_per_second": 0.5,
	} {
		if got[k] != want {
			t.Errorf("%s is %v, want %v", k, got[k], want)
		}
	}
	sample(4, net.IOCountersStat{BytesSent: 100, BytesRecv: 60})
	if _, ok := got["bytes_sent_per_second"]; ok || got["bytes_received_per_second"] != 5.0 {
		t.Errorf("after a counter began anew: %v", got)
	}
}

func TestLiveInterfaces(t *testing.T) {
	lo := net.InterfaceStat{Index: 1, Name: "lo", Flags: []string{"up", "loopback"}}
	eth := net.InterfaceStat{Index: 2, Name: "eth0", Flags: []string{"up", "broadcast"}}
	down := net.InterfaceStat{Index: 3, Name: "eth1", Flags: []string{"broadcast"}}
	many := []net.InterfaceStat{lo}
	for i := range 40 {
		many = append([]net.InterfaceStat{{Index: 40 - i, Name: fmt.Sprint("veth", 40-i), Flags: []string{"up"}}}, many...)
	}
	for _, tt := range []struct {
		name string
		in   []net.InterfaceStat
		want []string
	}{
		{"hardware", []net.InterfaceStat{down, eth, lo}, []string{"eth0"}},
		{"loopback alone", []net.InterfaceStat{lo, down}, []string{"lo"}},
		{"none", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := liveInterfaces(tt.in); !slices.Equal(got, tt.want) {
				t.Errorf("interfaces %v, want %v", got, tt.want)
			}
		})
	}
	if got := liveInterfaces(many); len(got) != atMost || got[0] != "veth1" {
		t.Errorf("of many: %v, want %d from veth1 on", got, atMost)
	}
}
