package agent

import (
	"context"
	"slices"
	"time"

	"github.com/shirou/gopsutil/v4/net"
)

// networkSampler reports the counters of the network interfaces, and how fast
// they went since the sample before.
type networkSampler struct {
	now  func() time.Time
	last map[string]net.IOCountersStat
	at   time.Time
}

func (s *networkSampler) collect(ctx context.Context, emit func(Message)) error {
	interfaces, err := net.InterfacesWithContext(ctx)
	if err != nil {
		return err
	}
	all, err := net.IOCountersWithContext(ctx, true)
	if err != nil {
		return err
	}
	s.report(liveInterfaces(interfaces), all, s.now(), emit)
	return nil
}

// report emits one message for each name that has counters.
func (s *networkSampler) report(names []string, all []net.IOCountersStat, at time.Time, emit func(Message)) {
	counters := make(map[string]net.IOCountersStat, len(all))
	for _, c := range all {
		counters[c.Name] = c
	}
	seconds := at.Sub(s.at).Seconds()
	for _, name := range names {
		c, ok := counters[name]
		if !ok {
			continue
		}
		body := map[string]any{
			"interface":  name,
			"bytes_sent": c.BytesSent, "bytes_received": c.BytesRecv,
			"packets_sent": c.PacketsSent, "packets_received": c.PacketsRecv,
			"errors_in": c.Errin, "errors_out": c.Errout, "drops_in": c.Dropin, "drops_out": c.Dropout,
		}
		last, ok := s.last[name]
		for _, r := range []struct {
			key       string
			from, now uint64
		}{
			{"bytes_sent_per_second", last.BytesSent, c.BytesSent},
			{"bytes_received_per_second", last.BytesRecv, c.BytesRecv},
			{"packets_sent_per_second", last.PacketsSent, c.PacketsSent},
			{"packets_received_per_second", last.PacketsRecv, c.PacketsRecv},
		} {
			// A counter that went down began anew: nobody knows how fast it went.
			if ok && seconds > 0 && r.now >= r.from {
				body[r.key] = float64(r.now-r.from) / seconds
			}
		}
		emit(Message{Type: systemType, Kind: "network", Body: body})
	}
	s.last, s.at = counters, at
}

// liveInterfaces returns the names of the interfaces that are up, without the
// loopback unless there is nothing else, at most atMost in the system's order,
// which has those of the hardware first.
func liveInterfaces(all []net.InterfaceStat) []string {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b net.InterfaceStat) int { return a.Index - b.Index })
	var names, loopback []string
	for _, i := range all {
		switch {
		case !slices.Contains(i.Flags, "up"):
		case slices.Contains(i.Flags, "loopback"):
			loopback = append(loopback, i.Name)
		default:
			names = append(names, i.Name)
		}
	}
	if len(names) == 0 {
		names = loopback
	}
	return names[:min(len(names), atMost)]
}
