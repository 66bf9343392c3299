package plugin

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// restoreAnnotation is the annotation that has the hook restore an image (package hook).
const restoreAnnotation = "dev.rethaw.restore"

func (r *remaking) namespaces() []string {
	h := &r.Host
	var list []string
	for _, n := range []struct{ option, mode string }{{"ipc", h.IpcMode}, {"pid", h.PidMode}, {"uts", h.UTSMode}, {"cgroupns", h.CgroupMode}} {
		list = optional(list, n.option, n.mode)
	}
	list = each(list, "uidmap", h.IDMappings.UidMap)
	list = each(list, "gidmap", h.IDMappings.GidMap)
	if h.UTSMode != "host" {
		list = optional(list, "hostname", r.Config.Hostname)
	}
	list = optional(list, "cgroup-parent", h.CgroupParent)
	if h.Cgroups != "default" {
		list = optional(list, "cgroups", h.Cgroups)
	}
	return pairs(list, "sysctl", r.Sysctl)
}

func (r *remaking) network() []string {
	h := &r.Host
	var list []string
	if len(r.Network.Networks) == 0 || h.NetworkMode != "bridge" {
		list = optional(list, "network", h.NetworkMode)
	} else {
		for _, name := range slices.Sorted(maps.Keys(r.Network.Networks)) {
			list = append(list, "--network="+r.attachment(name))
		}
	}
	for _, port := range slices.Sorted(maps.Keys(h.PortBindings)) {
		for _, b := range h.PortBindings[port] {
			host := b.HostIp
			if strings.Contains(host, ":") {
				host = "[" + host + "]"
			}
			list = append(list, "--publish="+host+":"+b.HostPort+":"+port)
		}
	}
	list = each(list, "dns", h.Dns)
	list = each(list, "dns-option", h.DnsOptions)
	list = each(list, "dns-search", h.DnsSearch)
	return each(list, "add-host", h.ExtraHosts)
}

// attachment is one network with the addresses that the container has there.
func (r *remaking) attachment(name string) string {
	n := r.Network.Networks[name]
	var options []string
	if !r.noIP {
		for _, ip := range []string{n.IPAddress, n.GlobalIPv6Address} {
			if ip != "" {
				options = append(options, "ip="+ip)
			}
		}
	}
	if n.MacAddress != "" && !r.noMAC {
		options = append(options, "mac="+n.MacAddress)
	}
	for _, alias := range n.Aliases {
		// The one that podman gives is the beginning of the id.
		if !strings.HasPrefix(r.ID, alias) {
			options = append(options, "alias="+alias)
		}
	}
	if len(options) == 0 {
		return name
	}
	return name + ":" + strings.Join(options, ",")
}

// capabilities asks for what tells the container's apart from those that podman gives here.
func (r *remaking) capabilities() []string {
	if r.Host.Privileged {
		return []string{"--privileged"}
	}
	var list []string
	for _, c := range r.caps {
		if !slices.Contains(r.BoundingCaps, c) {
			list = append(list, "--cap-drop="+c)
		}
	}
	root := r.Config.User == "" || strings.HasPrefix(r.Config.User+":", "0:") || strings.HasPrefix(r.Config.User+":", "root:")
	for _, c := range r.BoundingCaps {
		// Of another user than root only those become effective that were asked for.
		if !slices.Contains(r.caps, c) || !root && slices.Contains(r.EffectiveCaps, c) {
			list = append(list, "--cap-add="+c)
		}
	}
	return list
}

func (r *remaking) mounts() []string {
	h := &r.Host
	var list []string
	for _, m := range r.Mounts {
		mode := "ro"
		if m.RW {
			mode = "rw"
		}
		options := append([]string{mode}, m.Options...)
		if m.Propagation != "" {
			options = append(options, m.Propagation)
		}
		source := m.Source
		if m.Type == "volume" {
			source = m.Name
			if here, filled := r.volumes[m.Name]; filled {
				// It would be filled from the image otherwise.
				source, options = here, append(options, "nocopy")
			}
		}
		list = append(list, "--volume="+source+":"+m.Destination+":"+strings.Join(options, ","))
	}
	for _, point := range slices.Sorted(maps.Keys(h.Tmpfs)) {
		list = append(list, "--tmpfs="+point+":"+h.Tmpfs[point])
	}
	if h.ReadonlyRootfs {
		list = append(list, "--read-only", "--read-only-tmpfs=false")
	}
	for _, d := range h.Devices {
		device := d.PathOnHost + ":" + d.PathInContainer
		if d.CgroupPermissions != "" {
			device += ":" + d.CgroupPermissions
		}
		list = append(list, "--device="+device)
	}
	list = each(list, "security-opt", h.SecurityOpt)
	if h.IpcMode != "host" {
		list = optional(list, "shm-size", h.ShmSize)
	}
	return list
}

func (r *remaking) resources() []string {
	h := &r.Host
	list := optional(nil, "cpu-shares", h.CpuShares)
	list = optional(list, "cpu-period", h.CpuPeriod)
	list = optional(list, "cpu-quota", h.CpuQuota)
	list = optional(list, "cpu-rt-period", h.CpuRealtimePeriod)
	list = optional(list, "cpu-rt-runtime", h.CpuRealtimeRuntime)
	list = optional(list, "cpuset-cpus", h.CpusetCpus)
	list = optional(list, "cpuset-mems", h.CpusetMems)
	list = optional(list, "memory", h.Memory)
	list = optional(list, "memory-reservation", h.MemoryReservation)
	list = optional(list, "memory-swap", h.MemorySwap)
	if h.MemorySwappiness > 0 {
		list = append(list, fmt.Sprintf("--memory-swappiness=%d", h.MemorySwappiness))
	}
	list = optional(list, "blkio-weight", h.BlkioWeight)
	list = optional(list, "oom-score-adj", h.OomScoreAdj)
	list = optional(list, "oom-kill-disable", h.OomKillDisable)
	list = optional(list, "pids-limit", h.PidsLimit)
	for _, u := range h.Ulimits {
		name := strings.ToLower(strings.TrimPrefix(u.Name, "RLIMIT_"))
		list = append(list, fmt.Sprintf("--ulimit=%s=%d:%d", name, u.Soft, u.Hard))
	}
	return pairs(list, "cgroup-conf", h.CgroupConf)
}
