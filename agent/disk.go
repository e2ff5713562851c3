package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"
)

// pseudo are file systems that hold no data on a disk of this machine. Those of
// the network are among them: asking a dead one for its size never returns.
var pseudo = map[string]bool{
	"autofs": true, "binfmt_misc": true, "bpf": true, "cgroup": true, "cgroup2": true, "configfs": true,
	"debugfs": true, "devfs": true, "devpts": true, "devtmpfs": true, "efivarfs": true, "fusectl": true,
	"hugetlbfs": true, "mqueue": true, "nsfs": true, "nullfs": true, "proc": true, "procfs": true,
	"pstore": true, "ramfs": true, "rpc_pipefs": true, "securityfs": true, "selinuxfs": true,
	"squashfs": true, "sysfs": true, "tmpfs": true, "tracefs": true, "iso9660": true, "erofs": true,

	"afs": true, "ceph": true, "cifs": true, "fuse.sshfs": true, "nfs": true, "nfs4": true, "smb3": true,
	"smbfs": true,
}

func collectDisks(ctx context.Context, emit func(Message)) error {
	all, err := disk.PartitionsWithContext(ctx, true)
	if err != nil {
		return err
	}
	return reportDisks(realMounts(all, isDir), func(mount string) (*disk.UsageStat, error) {
		return disk.UsageWithContext(ctx, mount)
	}, emit)
}

// reportDisks emits one message for each mount, up to atMost.
func reportDisks(mounts []disk.PartitionStat, usage func(string) (*disk.UsageStat, error), emit func(Message)) error {
	var errs []error
	n := 0
	for _, p := range mounts {
		if n == atMost {
			break
		}
		u, err := usage(p.Mountpoint)
		if err != nil {
			errs = append(errs, fmt.Errorf("read size of %s: %w", p.Mountpoint, err))
			continue
		}
		if u.Total == 0 {
			continue
		}
		emit(Message{Type: systemType, Kind: "disk", Body: map[string]any{
			"mount": p.Mountpoint, "device": p.Device, "fstype": p.Fstype,
			"total": u.Total, "used": u.Used, "free": u.Free, "usage": u.UsedPercent,
		}})
		n++
	}
	return errors.Join(errs...)
}

// realMounts returns the mounts of file systems with data on them, each device
// once, at its shortest path: the root first.
func realMounts(all []disk.PartitionStat, isDir func(string) bool) []disk.PartitionStat {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b disk.PartitionStat) int {
		return cmp.Or(cmp.Compare(len(a.Mountpoint), len(b.Mountpoint)), cmp.Compare(a.Mountpoint, b.Mountpoint))
	})
	seen := map[string]bool{}
	var real []disk.PartitionStat
	for _, p := range all {
		// An overlay is what a container has for a root, and elsewhere the same
		// disk as its host's.
		if pseudo[p.Fstype] || p.Fstype == "overlay" && p.Mountpoint != "/" {
			continue
		}
		// Devices that name a type, such as overlay or none, are not one disk.
		device := p.Device
		if !strings.Contains(device, "/") {
			device = p.Mountpoint
		}
		// Containers mount single files, such as /etc/hosts.
		if seen[device] || !isDir(p.Mountpoint) {
			continue
		}
		seen[device] = true
		real = append(real, p)
	}
	return real
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}
