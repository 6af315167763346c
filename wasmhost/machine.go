package wasmhost

import (
	"cmp"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// machineMemory is the most memory that this process may use, as far as the system tells: the
// smaller of what the machine has and what its control groups were given.
func machineMemory() int64 { return memoryOf(os.DirFS("/")) }

// memoryOf reads the limits out of /proc and /sys. A process that runs in a control group
// without a namespace for them sees the whole hierarchy, in which /proc/self/cgroup says
// where it is; every group above it counts too.
func memoryOf(root fs.FS) int64 {
	const unknown = 8 << 30
	most := int64(0)
	if text, err := fs.ReadFile(root, "proc/meminfo"); err == nil {
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			most = kib << 10
		}
	}
	for _, file := range limitFiles(root) {
		text, err := fs.ReadFile(root, file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 && (most == 0 || n < most) {
			most = n
		}
	}
	return cmp.Or(most, unknown)
}

// limitFiles are the files that may hold a limit of this process's memory, those of the
// groups above its own included.
func limitFiles(root fs.FS) []string {
	const v2, v1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"
	files := []string{v2 + "/memory.max", v1 + "/memory.limit_in_bytes"}
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return files
	}
	for line := range strings.Lines(string(text)) {
		// hierarchy:controllers:path; version 2 has the hierarchy 0 and no controllers.
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		base, file := v2, "memory.max"
		switch {
		case parts[0] == "0" && parts[1] == "":
		case strings.Contains(","+parts[1]+",", ",memory,"):
			base, file = v1, "memory.limit_in_bytes"
		default:
			continue
		}
		for group := path.Clean("/" + parts[2]); group != "/"; group = path.Dir(group) {
			files = append(files, path.Join(base, group, file))
		}
	}
	return files
}
