package openai

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// maxCounters bounds Usage.Custom.
const maxCounters = 32

// usage maps the API's counts. Those that Genkit has no field for, such as audio
// and prediction tokens, cache misses and a cost, go to Custom under the server's
// names, counts of the two detail objects with the prefix prompt_ or completion_;
// zeros are left out there.
func usage(raw json.RawMessage) *model.Usage {
	var counts map[string]json.RawMessage
	if json.Unmarshal(raw, &counts) != nil || counts == nil {
		return nil
	}
	u := &model.Usage{}
	take := func(from map[string]json.RawMessage, name, to string) {
		n, ok := wire.Number(from[name])
		if _, told := u.Told(to); ok && !told {
			u.Tell(to, n)
			delete(from, name)
		}
	}
	details := func(name string) map[string]json.RawMessage {
		var m map[string]json.RawMessage
		_ = json.Unmarshal(counts[name], &m) // absent or null
		return m
	}
	prompt, completion := details("prompt_tokens_details"), details("completion_tokens_details")
	take(counts, "prompt_tokens", "inputTokens")
	take(counts, "completion_tokens", "outputTokens")
	take(counts, "input_tokens", "inputTokens") // as the APIs for images and sound say it
	take(counts, "output_tokens", "outputTokens")
	take(counts, "total_tokens", "totalTokens")
	take(prompt, "cached_tokens", "cachedContentTokens")
	take(completion, "reasoning_tokens", "thoughtsTokens")
	if n, ok := wire.Number(counts["prompt_cache_hit_tokens"]); ok {
		if _, told := u.Told("cachedContentTokens"); !told {
			u.Tell("cachedContentTokens", n)
		}
	}
	for _, group := range []struct {
		prefix string
		counts map[string]json.RawMessage
	}{{"", counts}, {"prompt_", prompt}, {"completion_", completion}} {
		for _, name := range slices.Sorted(maps.Keys(group.counts)) {
			n, ok := wire.Number(group.counts[name])
			if f, err := n.Float64(); !ok || err != nil || f == 0 || len(u.Custom) >= maxCounters {
				continue
			}
			u.Tell("custom."+group.prefix+name, n)
		}
	}
	return u
}
