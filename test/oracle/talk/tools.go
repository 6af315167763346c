//go:build peers

package talk

import (
	"encoding/json"
	"sync"
	"time"
)

// The types of the tools' edges; both Go engines infer their schemas from them.
type (
	pair struct {
		A int `json:"a"`
		B int `json:"b"`
	}
	person struct {
		Name string `json:"name"`
	}
	greeting struct {
		Text string `json:"text"`
	}
	question struct {
		Q string `json:"q"`
	}
	number struct {
		N int `json:"n"`
	}
	bounded struct {
		N int `json:"n" jsonschema:"maximum=10"`
	}
	nothing struct{}
)

// lag is how much longer the tool "slow" takes than the tool "fast": what shows in
// which order an engine keeps answers that arrive out of order.
const lag = 30 * time.Millisecond

// recorder notes the runs of tools.
type recorder struct {
	mu   sync.Mutex // guards runs
	runs []string
}

func (r *recorder) note(name string, in any) {
	raw, _ := json.Marshal(in) //nolint:errchkjson // the types above
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs = append(r.runs, name+" "+string(raw))
}
