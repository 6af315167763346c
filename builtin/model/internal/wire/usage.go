package wire

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// maxCounters bounds Usage.Custom.
const maxCounters = 32

// Count returns the value of a count, 0 where there is none, none below 0.
func Count(raw json.RawMessage) int64 {
	n, _ := Number(raw)
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil {
		return 0
	}
	const most = 1 << 40 // so that sums don't overflow
	return min(max(i, 0), most)
}

// TellCounters puts the numbers of an object into Usage.Custom, those of objects in it
// under "outer.inner". Zeros, and what is in without, are left out.
func TellCounters(u *model.Usage, prefix string, raw json.RawMessage, without ...string) {
	var counts map[string]json.RawMessage
	if json.Unmarshal(raw, &counts) != nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if slices.Contains(without, name) {
			continue
		}
		if prefix == "" && IsObject(counts[name]) {
			TellCounters(u, name+".", counts[name], without...)
			continue
		}
		n, ok := Number(counts[name])
		if f, err := n.Float64(); !ok || err != nil || f == 0 || len(u.Custom) >= maxCounters {
			continue
		}
		u.Tell("custom."+prefix+name, n)
	}
}
