package plugin

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// remakingOf decodes what podman inspect tells.
func remakingOf(t *testing.T, text string) *remaking {
	t.Helper()
	c := new(podmanConfig)
	if err := json.Unmarshal([]byte(text), c); err != nil {
		t.Fatal(err)
	}
	return &remaking{podmanConfig: c, name: "n", image: "img", caps: []string{"CAP_A", "CAP_B"}}
}

// TestRemaking: fields of podman inspect, in the forms of podman 4 and 5, and the options that they become.
func TestRemaking(t *testing.T) {
	for _, one := range []struct {
		name, inspect string
		want, not     []string
	}{
		{"command", `{"Path":"/a","Args":["b","--c"],"Config":{"Entrypoint":""}}`, []string{"--entrypoint=", "-- img /a b --c"}, nil},
		{"entrypoint of podman 5", `{"Path":"/a b","Args":["c"],"Config":{"Entrypoint":["/a b"]}}`, []string{`--entrypoint=["/a b"]`, "-- img c"}, nil},
		{"init", `{"Path":"/dev/init","Args":["--","/a","b"],"Config":{"Annotations":{"io.podman.annotations.init":"TRUE"}}}`, []string{"--init", "-- img /a b"}, []string{"/dev/init"}},
		{"signal of podman 4", `{"Config":{"StopSignal":2}}`, []string{"--stop-signal=2"}, nil},
		{"signal of podman 5", `{"Config":{"StopSignal":"SIGINT"}}`, []string{"--stop-signal=SIGINT"}, nil},
		{"environment", `{"Config":{"Env":["container=podman","A=b c","HOSTNAME=x"]}}`, []string{"--env=A=b c"}, []string{"HOSTNAME", "container=podman"}},
		{"annotations", `{"Config":{"Annotations":{"a":"b","io.podman.x":"y","dev.rethaw.restore":"i","dev.rethaw.checkpoint.after":"1s"}}}`,
			[]string{"--annotation=a=b", "--annotation=dev.rethaw.checkpoint.after=1s"}, []string{"io.podman", "dev.rethaw.restore"}},
		{"capabilities of root", `{"BoundingCaps":["CAP_A","CAP_C"],"EffectiveCaps":["CAP_A","CAP_C"]}`, []string{"--cap-drop=CAP_B", "--cap-add=CAP_C"}, []string{"--cap-add=CAP_A"}},
		{"capabilities of a user", `{"Config":{"User":"5"},"BoundingCaps":["CAP_A","CAP_B"],"EffectiveCaps":["CAP_B"]}`, []string{"--cap-add=CAP_B"}, []string{"--cap-add=CAP_A", "--cap-drop"}},
		{"privileged", `{"HostConfig":{"Privileged":true},"BoundingCaps":["CAP_Z"]}`, []string{"--privileged"}, []string{"CAP_Z"}},
		{"health", `{"Config":{"Healthcheck":{"Test":["CMD","a","b c"],"Interval":30000000000,"Retries":3}}}`, []string{`--health-cmd=["a","b c"]`, "--health-interval=30s", "--health-retries=3"}, nil},
		{"no health", `{"Config":{"Healthcheck":{"Test":["NONE"]}}}`, []string{"--no-healthcheck"}, nil},
		{"no network", `{"HostConfig":{"NetworkMode":"none"}}`, []string{"--network=none"}, nil},
		{"networks", `{"Id":"abcdef","HostConfig":{"NetworkMode":"bridge"},"NetworkSettings":{"Networks":{"n":{"IPAddress":"1.2.3.4","MacAddress":"02:00","Aliases":["abcd","db"]}}}}`,
			[]string{"--network=n:ip=1.2.3.4,mac=02:00,alias=db"}, nil},
		{"ports", `{"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"::1","HostPort":"8080"},{"HostIp":"","HostPort":"81"}]}}}`, []string{"--publish=[::1]:8080:80/tcp", "--publish=:81:80/tcp"}, nil},
		{"mounts", `{"Mounts":[{"Type":"bind","Source":"/a","Destination":"/b","Options":["rbind"],"Propagation":"rprivate"},{"Type":"volume","Name":"v","Source":"/x","Destination":"/c","RW":true}]}`,
			[]string{"--volume=/a:/b:ro,rbind,rprivate", "--volume=v:/c:rw"}, nil},
		{"users", `{"HostConfig":{"UsernsMode":"private","IDMappings":{"UidMap":["0:1000:10","10:5:1"],"GidMap":["0:2000:11"]}}}`, []string{"--uidmap=0:1000:10", "--uidmap=10:5:1", "--gidmap=0:2000:11"}, nil},
		{"restart", `{"HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}}}`, []string{"--restart=on-failure:3"}, nil},
		{"read-only", `{"HostConfig":{"ReadonlyRootfs":true,"Tmpfs":{"/t":"rw"}}}`, []string{"--read-only --read-only-tmpfs=false", "--tmpfs=/t:rw"}, nil},
		{"limits", `{"HostConfig":{"Memory":5,"PidsLimit":7,"MemorySwappiness":-1,"Ulimits":[{"Name":"RLIMIT_NOFILE","Soft":1,"Hard":2}]}}`,
			[]string{"--memory=5", "--pids-limit=7", "--ulimit=nofile=1:2"}, []string{"swappiness"}},
	} {
		args := " " + strings.Join(remakingOf(t, one.inspect).args(), " ") + " "
		for _, want := range one.want {
			if !strings.Contains(args, " "+want+" ") {
				t.Errorf("%s: %q is not in %s", one.name, want, args)
			}
		}
		for _, not := range one.not {
			if strings.Contains(args, not) {
				t.Errorf("%s: %q is in %s", one.name, not, args)
			}
		}
	}
}

// TestRemakingIsNoInjection: no value of an export becomes an option of its own.
func TestRemakingIsNoInjection(t *testing.T) {
	evil := "--privileged"
	r := remakingOf(t, `{"Path":"--privileged","Args":["--privileged"],"Config":{"User":"--privileged","Env":["--privileged"],"Hostname":"--privileged","Labels":{"--privileged":"x"}},
		"HostConfig":{"GroupAdd":["--privileged"],"SecurityOpt":["--privileged"],"CgroupParent":"--privileged"},"Mounts":[{"Type":"bind","Source":"--privileged","Destination":"--privileged"}]}`)
	args := r.args()
	options := args[:slices.Index(args, "--")]
	if slices.Contains(options, evil) {
		t.Errorf("%q", options)
	}
}

// TestNotRemakable: what podman cannot make anew from what it tells is refused by name.
func TestNotRemakable(t *testing.T) {
	for text, why := range map[string]string{
		`{"Pod":"p"}`: "pod", `{"Rootfs":"/x"}`: "--rootfs", `{"Dependencies":["x"]}`: "other containers",
		`{"HostConfig":{"NetworkMode":"container:x"}}`: "namespace", `{"HostConfig":{"UsernsMode":"private"}}`: "user namespace",
		`{"Config":{"Secrets":[{"Name":"s"}]}}`: "secrets", `{"Mounts":[{"Type":"image"}]}`: "mounts",
		`{"Mounts":[{"Type":"volume","Driver":"nfs"}]}`: "driver", `{"HostConfig":{"BlkioWeightDevice":[{}]}}`: "block devices",
		`{"Mounts":[{"Type":"bind","Source":"/a:b"}]}`: "colon",
	} {
		if err := remakingOf(t, text).remakable(); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := remakingOf(t, `{"HostConfig":{"NetworkMode":"bridge","IpcMode":"shareable"}}`).remakable(); err != nil {
		t.Error(err)
	}
}
