package wasmhost

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
)

func TestTheMemoryOfAControlGroupIsSeen(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text + "\n")} }
	const machine = "MemTotal:       16777216 kB"
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  int64
	}{
		"nothing is known":                {fstest.MapFS{}, 8 << 30},
		"the machine's":                   {fstest.MapFS{"proc/meminfo": file(machine)}, 16 << 30},
		"a group in a namespace":          {fstest.MapFS{"proc/meminfo": file(machine), "sys/fs/cgroup/memory.max": file("1073741824"), "proc/self/cgroup": file("0::/")}, 1 << 30},
		"a group without a namespace":     {fstest.MapFS{"proc/meminfo": file(machine), "proc/self/cgroup": file("0::/system.slice/x.service"), "sys/fs/cgroup/system.slice/x.service/memory.max": file("2147483648")}, 2 << 30},
		"a group above it":                {fstest.MapFS{"proc/meminfo": file(machine), "proc/self/cgroup": file("0::/a/b"), "sys/fs/cgroup/a/memory.max": file("1073741824"), "sys/fs/cgroup/a/b/memory.max": file("max")}, 1 << 30},
		"version 1":                       {fstest.MapFS{"proc/meminfo": file(machine), "proc/self/cgroup": file("9:cpu,memory:/docker/1\n3:cpuset:/x"), "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": file("3221225472")}, 3 << 30},
		"a group that has no limit":       {fstest.MapFS{"proc/meminfo": file(machine), "proc/self/cgroup": file("0::/a"), "sys/fs/cgroup/a/memory.max": file("max")}, 16 << 30},
		"what is no group":                {fstest.MapFS{"proc/meminfo": file(machine), "proc/self/cgroup": file("nonsense\n0::/../../etc")}, 16 << 30},
		"version 1's way to say no limit": {fstest.MapFS{"proc/meminfo": file(machine), "sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712")}, 16 << 30},
	} {
		assert.Equal(t, c.want, memoryOf(c.files), name)
	}
}
