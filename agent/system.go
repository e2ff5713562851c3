package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
)

// SystemConfig says how often the collectors of System look. A period of 0 or
// less turns a collector off.
type SystemConfig struct {
	CPU     time.Duration `koanf:"cpu" doc:"Period of the processor load; 0 turns it off."`
	Memory  time.Duration `koanf:"memory" doc:"Period of memory and swap; 0 turns it off."`
	Load    time.Duration `koanf:"load" doc:"Period of the load averages; 0 turns it off."`
	Network time.Duration `koanf:"network" doc:"Period of the network interfaces; 0 turns it off."`
	Disk    time.Duration `koanf:"disk" doc:"Period of the file systems; 0 turns it off."`
}

// DefaultSystemConfig returns 15 s for the disk and 2 s for everything else.
func DefaultSystemConfig() SystemConfig {
	const often = 2 * time.Second
	return SystemConfig{CPU: often, Memory: often, Load: often, Network: often, Disk: 15 * time.Second}
}

// Validate returns every problem of c, joined, each as "key: problem".
func (c SystemConfig) Validate() error {
	var errs []error
	for _, p := range []struct {
		key    string
		period time.Duration
	}{{"cpu", c.CPU}, {"memory", c.Memory}, {"load", c.Load}, {"network", c.Network}, {"disk", c.Disk}} {
		if p.period > 0 && p.period < 100*time.Millisecond {
			errs = append(errs, fmt.Errorf("%s: %s is less than 100ms", p.key, p.period))
		}
	}
	return errors.Join(errs...)
}

// systemType is the data type of everything that System collects.
const systemType = "system_metrics"

// atMost is how many file systems, and how many network interfaces, are
// reported.
const atMost = 16

// System returns the collectors of this machine's processors, memory, load,
// network interfaces and file systems. Their messages are those of the
// system_metrics schema. The environment variables HOST_PROC and HOST_SYS move
// what they read, for an agent in a container.
func System(c SystemConfig) []Collector {
	return system(c, time.Now)
}

func system(c SystemConfig, now func() time.Time) []Collector {
	all := []*sampler{
		{name: "cpu", period: c.CPU, collect: (&cpuSampler{}).collect},
		{name: "memory", period: c.Memory, collect: collectMemory},
		{name: "load", period: c.Load, collect: collectLoad},
		{name: "network", period: c.Network, collect: (&networkSampler{now: now}).collect},
		{name: "disk", period: c.Disk, collect: collectDisks},
	}
	var on []Collector
	for _, s := range all {
		if s.period > 0 {
			on = append(on, s)
		}
	}
	return on
}

// sampler is a Collector made of a function.
type sampler struct {
	name    string
	period  time.Duration
	collect func(ctx context.Context, emit func(Message)) error
}

func (s *sampler) Name() string          { return s.name }
func (s *sampler) Period() time.Duration { return s.period }

func (s *sampler) Collect(ctx context.Context, emit func(Message)) error {
	return s.collect(ctx, emit)
}

// cpuSampler reports the load since the sample before.
type cpuSampler struct {
	last []cpu.TimesStat // of each core; nil before the first sample
}

// firstLook is how long the first sample lasts, which has none before it.
const firstLook = 500 * time.Millisecond

func (s *cpuSampler) collect(ctx context.Context, emit func(Message)) error {
	if s.last == nil {
		var err error
		if s.last, err = cpu.TimesWithContext(ctx, true); err != nil {
			return err
		}
		timer := time.NewTimer(firstLook)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	now, err := cpu.TimesWithContext(ctx, true)
	if err != nil {
		return err
	}
	body, ok := cpuBody(s.last, now)
	s.last = now
	if ok {
		emit(Message{Type: systemType, Kind: "cpu", Body: body})
	}
	return nil
}

// cpuBody returns the load between two looks at the cores, and false when there
// is none to tell: no time has passed, or cores have come or gone.
func cpuBody(last, now []cpu.TimesStat) (map[string]any, bool) {
	if len(now) == 0 || len(last) != len(now) {
		return nil, false
	}
	var total, idle, user, system, iowait float64
	cores := make([]float64, len(now))
	for i := range now {
		a, b := &last[i], &now[i]
		// Guest time is in user time already. Idle and iowait may go backwards on
		// Linux, so no difference is trusted to be positive.
		d := func(a, b float64) float64 { return max(b-a, 0) }
		u := d(a.User, b.User) + d(a.Nice, b.Nice)
		y := d(a.System, b.System) + d(a.Irq, b.Irq) + d(a.Softirq, b.Softirq)
		w, free := d(a.Iowait, b.Iowait), d(a.Idle, b.Idle)
		all := u + y + w + free + d(a.Steal, b.Steal)
		cores[i] = percent(all-w-free, all)
		total, idle, user, system, iowait = total+all, idle+free, user+u, system+y, iowait+w
	}
	if total <= 0 {
		return nil, false
	}
	body := map[string]any{
		"usage": percent(total-idle-iowait, total), "cores": len(now), "per_core": cores,
		"user": percent(user, total), "system": percent(system, total), "idle": percent(idle, total),
	}
	if runtime.GOOS == "linux" {
		body["iowait"] = percent(iowait, total) // others do not count it
	}
	return body, true
}

// percent returns part of whole in percent, 0 to 100.
func percent(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return min(max(part/whole*100, 0), 100)
}

func collectMemory(ctx context.Context, emit func(Message)) error {
	v, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return err
	}
	body := map[string]any{
		"total": v.Total, "used": v.Used, "available": v.Available, "free": v.Free, "usage": v.UsedPercent,
	}
	swap, err := mem.SwapMemoryWithContext(ctx)
	if err == nil {
		body["swap_total"], body["swap_used"] = swap.Total, swap.Used
	}
	emit(Message{Type: systemType, Kind: "memory", Body: body})
	if err != nil {
		return fmt.Errorf("read swap: %w", err)
	}
	return nil
}

func collectLoad(ctx context.Context, emit func(Message)) error {
	avg, err := load.AvgWithContext(ctx)
	if err != nil {
		return err
	}
	emit(Message{Type: systemType, Kind: "load", Body: map[string]any{
		"load1": avg.Load1, "load5": avg.Load5, "load15": avg.Load15,
	}})
	return nil
}
