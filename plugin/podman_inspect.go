package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// podmanConfig is what `podman inspect` tells of a container, as far as it decides what
// `podman create` makes; the keys are podman's. It goes into exports.
type podmanConfig struct {
	ID           string   `json:"Id"`
	Name         string   `json:"Name"`
	Path         string   `json:"Path"`
	Args         []string `json:"Args"`
	Image        string   `json:"Image"`
	ImageName    string   `json:"ImageName"`
	Rootfs       string   `json:"Rootfs"`
	Pod          string   `json:"Pod"`
	IsInfra      bool     `json:"IsInfra"`
	Dependencies []string `json:"Dependencies"`
	// EffectiveCaps and BoundingCaps are names as CAP_KILL.
	EffectiveCaps []string              `json:"EffectiveCaps"`
	BoundingCaps  []string              `json:"BoundingCaps"`
	Mounts        []podmanMount         `json:"Mounts"`
	Network       podmanNetworkSettings `json:"NetworkSettings"`
	Config        podmanProcess         `json:"Config"`
	Host          podmanHostConfig      `json:"HostConfig"`
	// Sysctl is not told by inspect, but by the container's config.json.
	Sysctl map[string]string `json:"Sysctl,omitempty"`
}

type podmanMount struct {
	Type, Name, Source, Destination, Driver, Propagation string
	Options                                              []string
	RW                                                   bool
}

type podmanNetworkSettings struct {
	Networks map[string]podmanNetwork
}

type podmanNetwork struct {
	IPAddress, GlobalIPv6Address, MacAddress string
	Aliases                                  []string
}

type podmanProcess struct {
	Hostname, User, WorkingDir string
	Tty, OpenStdin             bool
	Env                        []string
	Labels, Annotations        map[string]string
	// StopSignal is a number until podman 4, a name since podman 5; Entrypoint a text, then
	// a list. Of this it matters only whether there is one.
	StopSignal, Entrypoint looseText
	Healthcheck            *podmanHealthcheck
	Umask                  string
	Timeout, StopTimeout   uint
	Passwd                 *bool
	Secrets                []struct{ Name string }
}

// podmanHealthcheck has times in nanoseconds.
type podmanHealthcheck struct {
	Test                           []string
	Interval, Timeout, StartPeriod int64
	Retries                        int
}

type podmanHostConfig struct {
	NetworkMode, IpcMode, PidMode, UTSMode, UsernsMode, CgroupMode, Cgroups, CgroupParent string
	LogConfig                                                                             struct{ Type, Tag, Size string }
	PortBindings                                                                          map[string][]struct{ HostIp, HostPort string }
	RestartPolicy                                                                         struct {
		Name              string
		MaximumRetryCount uint
	}
	AutoRemove, Privileged, ReadonlyRootfs, OomKillDisable, PublishAllPorts bool
	VolumesFrom, Dns, DnsOptions, DnsSearch, ExtraHosts                     []string
	GroupAdd, SecurityOpt                                                   []string
	Tmpfs                                                                   map[string]string
	ShmSize, Memory, MemoryReservation, MemorySwap, MemorySwappiness        int64
	CpuShares, CpuPeriod                                                    uint64
	CpuQuota, PidsLimit, CpuRealtimePeriod, CpuRealtimeRuntime              int64
	CpusetCpus, CpusetMems                                                  string
	BlkioWeight                                                             uint16
	BlkioWeightDevice, BlkioDeviceReadBps, BlkioDeviceWriteBps              []json.RawMessage
	BlkioDeviceReadIOps, BlkioDeviceWriteIOps                               []json.RawMessage
	OomScoreAdj                                                             int
	Devices                                                                 []struct{ PathOnHost, PathInContainer, CgroupPermissions string }
	Ulimits                                                                 []struct {
		Name       string
		Soft, Hard int64
	}
	CgroupConf map[string]string
	// IDMappings are INSIDE:OUTSIDE:COUNT, as --uidmap takes them.
	IDMappings struct{ UidMap, GidMap []string }
}

// looseText is a text, or a number or a list that stands for one.
type looseText string

// UnmarshalJSON implements json.Unmarshaler.
func (t *looseText) UnmarshalJSON(b []byte) error {
	var number int64
	if json.Unmarshal(b, &number) == nil {
		*t = looseText(strconv.FormatInt(number, 10))
		return nil
	}
	var list []string
	if json.Unmarshal(b, &list) == nil {
		*t = looseText(strings.Join(list, " "))
		return nil
	}
	return json.Unmarshal(b, (*string)(t))
}

// inspect asks podman about a container.
func (p podmanCommands) inspect(ctx context.Context, id string) (*podmanConfig, error) {
	said, err := p.output(ctx, "container", "inspect", id)
	if err != nil {
		return nil, err
	}
	var found []*podmanConfig
	if err := json.Unmarshal([]byte(said), &found); err != nil || len(found) != 1 || found[0] == nil {
		return nil, &RuntimeError{Program: p.program, Op: "container inspect", Err: fmt.Errorf("its answer about %d containers: %w", len(found), err)}
	}
	return found[0], nil
}

// output runs one command and returns what it prints.
func (p podmanCommands) output(ctx context.Context, args ...string) (string, error) {
	cmd, said, err := p.command(ctx, args...)
	if err != nil {
		return "", err
	}
	// A process group of its own, or Ctrl-C would hit podman halfway.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	printed := new(strings.Builder)
	cmd.Stdout = printed
	if err := p.failure(ctx, args[0], said, cmd.Run()); err != nil {
		return "", err
	}
	return strings.TrimSpace(printed.String()), nil
}

// describe implements exporter. Volumes are those that podman has made.
func (c *podmanContainer) describe(ctx context.Context, o *Origin) (map[string]string, error) {
	config, err := c.engine.inspect(ctx, c.entry.ID)
	if err != nil {
		return nil, err
	}
	if err := config.remakable(); err != nil {
		return nil, fmt.Errorf("%w: %s %w: checkpoint it into an image (--image), which restores into this container", ErrUnsupported, c.Candidate(), err)
	}
	text, err := os.ReadFile(filepath.Join(c.entry.bundle(), "config.json"))
	if err != nil {
		return nil, err
	}
	spec := new(runtimespec.Spec)
	if err := json.Unmarshal(text, spec); err != nil {
		return nil, fmt.Errorf("the configuration of %s: %w", c.Candidate(), err)
	}
	if spec.Linux != nil {
		config.Sysctl = spec.Linux.Sysctl
	}
	o.Podman = config
	volumes := map[string]string{}
	for _, m := range config.Mounts {
		if m.Type == "volume" {
			volumes[m.Name] = m.Source
		}
	}
	return volumes, nil
}
