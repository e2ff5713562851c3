package fleet

import (
	"slices"

	"sluice/message"
)

// maxMounts is the most file systems kept of one node; those heard of longest
// ago go first.
const maxMounts = 64

// node is what is known of one node on one network, group by group.
type node struct {
	network string
	id      string // Row.ID
	genesis fact[string]
	info    fact[information]
	head    fact[head]
	// top is the highest block ever seen and when it was first received, in ms.
	top struct {
		number float64
		at     int64
	}
	stats   fact[statistics]
	pending fact[Number]
	cpu     fact[Number]
	memory  fact[Number]
	load    fact[Number]
	latency fact[Number]
	machine fact[machine]
	disks   []disk
	// seen is when the last message was received, in ms.
	seen int64
}

type information struct{ name, client, network string }

type head struct {
	number Number
	hash   string
	at     int64 // ms, when it was received
}

type statistics struct {
	peers   Number
	syncing bool
}

// machine is what agents of POA say of a machine, in one message.
type machine struct{ cpu, memory, disk Number }

// disk is one file system.
type disk struct {
	mount string
	usage fact[Number]
}

// apply takes m, which speaks of n.
func (n *node) apply(m *message.Message) {
	at, received := stampOf(m), m.ReceivedAt.UnixMilli()
	n.seen = max(n.seen, received)
	if m.Genesis != "" {
		n.genesis.put(at, text(m.Genesis, maxHash))
	}
	b := m.Body
	switch m.Type {
	case "ethereum_metrics":
		n.applyEthereum(m.Kind, b, at, received)
	case "system_metrics":
		n.applySystem(m.Kind, b, at)
	case "networking_metrics":
		if m.Kind == "latency" {
			n.latency.put(at, measure(b["latency"]))
		}
	}
}

func (n *node) applyEthereum(kind string, b map[string]any, at stamp, received int64) {
	switch kind {
	case "information":
		n.info.put(at, information{
			name:    textOf(b["name"], maxName),
			client:  textOf(b["node"], maxClient),
			network: textOf(b["net"], maxNet),
		})
	case "block":
		// A block sent because the gateway asked for history is not the head.
		if historic, _ := b["historic"].(bool); historic {
			return
		}
		h := head{number: count(b["number"]), hash: textOf(b["hash"], maxHash), at: received}
		n.head.put(at, h)
		if !h.number.Known {
			return
		}
		switch {
		case n.top.at == 0 || h.number.Value > n.top.number:
			n.top.number, n.top.at = h.number.Value, received
		case h.number.Value == n.top.number:
			n.top.at = min(n.top.at, received)
		}
	case "pending":
		n.pending.put(at, count(b["pending"]))
	case "statistics":
		syncing, _ := b["syncing"].(bool)
		n.stats.put(at, statistics{peers: count(b["peers"]), syncing: syncing})
	}
}

func (n *node) applySystem(kind string, b map[string]any, at stamp) {
	switch kind {
	case "cpu":
		n.cpu.put(at, percent(b["usage"]))
	case "memory":
		n.memory.put(at, percent(b["usage"]))
	case "load":
		n.load.put(at, measure(b["load1"]))
	case "disk":
		d := disk{mount: textOf(b["mount"], maxName)}
		d.usage.put(at, percent(b["usage"]))
		n.putDisk(d)
	case "statistics":
		n.machine.put(at, machine{cpu: percent(b["cpu_load"]), memory: percent(b["memory_usage"]), disk: percent(b["disk_usage"])})
	}
}

// putDisk takes d unless something later is known of that file system. Of more
// than maxMounts the one whose latest message is the oldest goes, which is the
// same one in whatever order they come.
func (n *node) putDisk(d disk) {
	i := slices.IndexFunc(n.disks, func(o disk) bool { return o.mount == d.mount })
	if i >= 0 {
		n.disks[i].usage.merge(d.usage)
		return
	}
	n.disks = append(n.disks, d)
	if len(n.disks) <= maxMounts {
		return
	}
	oldest := 0
	for i, o := range n.disks {
		if n.disks[oldest].usage.at.supersedes(o.usage.at) {
			oldest = i
		}
	}
	n.disks = slices.Delete(n.disks, oldest, oldest+1)
}

// diskAge is how long, in ms of event time, a file system counts after the
// latest report of any: one that was unmounted is not said to be.
const diskAge = 10 * 60 * 1000

// fullest returns the usage of the fullest file system, and the stamp of the
// latest report.
func (n *node) fullest() fact[Number] {
	var latest fact[Number]
	for _, d := range n.disks {
		latest.merge(d.usage)
	}
	full := latest
	for _, d := range n.disks {
		u := d.usage
		if u.value.Known && u.at.event >= latest.at.event-diskAge && (!full.value.Known || u.value.Value > full.value.Value) {
			full.value = u.value
		}
	}
	return full
}

// later returns the value of the later of two facts, where both know one.
func later(a fact[Number], m fact[machine], of func(machine) Number) Number {
	b := fact[Number]{known: m.known, at: m.at, value: of(m.value)}
	switch {
	case !a.value.Known:
		return b.value
	case !b.value.Known || a.at.supersedes(b.at):
		return a.value
	default:
		return b.value
	}
}

// merge takes what o knows later than n. It is used for what a node says
// without naming a network it names elsewhere.
func (n *node) merge(o *node) {
	n.genesis.merge(o.genesis)
	n.info.merge(o.info)
	n.head.merge(o.head)
	n.stats.merge(o.stats)
	n.pending.merge(o.pending)
	n.cpu.merge(o.cpu)
	n.memory.merge(o.memory)
	n.load.merge(o.load)
	n.latency.merge(o.latency)
	n.machine.merge(o.machine)
	n.seen = max(n.seen, o.seen)
	switch {
	case o.top.at == 0:
	case n.top.at == 0 || o.top.number > n.top.number:
		n.top = o.top
	case o.top.number == n.top.number:
		n.top.at = min(n.top.at, o.top.at)
	}
	n.disks = slices.Clone(n.disks)
	for _, d := range o.disks {
		n.putDisk(d)
	}
}
