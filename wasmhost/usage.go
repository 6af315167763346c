package wasmhost

import (
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// Usage is a tenant's consumption now, and since the host began.
type Usage struct {
	Running     int   `json:"running"`     // calls that have a slot
	Suspended   int   `json:"suspended"`   // calls that have begun and wait for something
	Waiting     int   `json:"waiting"`     // calls in the queue
	MemoryBytes int64 `json:"memoryBytes"` // instances and images
	SchemaBytes int64 `json:"schemaBytes"` // compiled schemas of modules, about
	// RequestBytes is the memory of the bodies of requests under way.
	RequestBytes int64                     `json:"requestBytes"`
	PeakBytes    int64                     `json:"peakBytes"`   // the most that ever was
	Revisions    int                       `json:"revisions"`   // of all modules that are kept
	StoredBytes  int64                     `json:"storedBytes"` // their bytes, equal content counted once
	Values       kv.Report                 `json:"values"`      // values that modules keep by the capability kv
	Quota        tenants.Quota             `json:"quota"`
	Total        tenants.Totals            `json:"total"`
	Modules      map[string]tenants.Totals `json:"modules"`
	// Log counts lines of modules that were not written into the log; nil when there is
	// none.
	Log *tenants.LinesReport `json:"log,omitempty"`
	// Journal tells of events that the sink could not write; nil where it can't tell.
	Journal *tenants.JournalReport `json:"journal,omitempty"`
}

// Usage returns a tenant's consumption; NOT_FOUND when there is no such
// tenant.
func (h *Host) Usage(tenantName string) (Usage, error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Quota: t.quota, Modules: map[string]tenants.Totals{}}
	load := t.calls.Load()
	u.Running, u.Suspended, u.Waiting = load.Running, load.Suspended, load.Queued
	u.RequestBytes = t.requests.Used()
	u.MemoryBytes, u.PeakBytes = t.account.MemoryBytes()
	u.SchemaBytes = t.schemas.Load()
	h.mu.RLock()
	u.Revisions, u.StoredBytes = t.kept.revisions(), t.kept.bytes()
	h.mu.RUnlock()
	if r, ok := h.kv.(kv.Reporter); ok {
		u.Values = r.Report(tenantName)
	}
	if dropped := t.lines.Dropped(); dropped.Lines > 0 {
		u.Log = &dropped
	}
	if r, ok := h.usage.(interface {
		Report(tenant string) tenants.JournalReport
	}); ok {
		report := r.Report(tenantName)
		u.Journal = &report
	}
	t.bill.mu.Lock()
	defer t.bill.mu.Unlock()
	u.Total = t.bill.total
	u.Total.Refused = load.Refused
	for name, sum := range t.bill.modules {
		u.Modules[name] = *sum
	}
	return u, nil
}

// CallRate returns what is left of a tenant's calls of modules of a minute; false where they are not bounded, and
// where there is no such tenant.
func (h *Host) CallRate(tenantName string) (tenants.Rate, bool) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return tenants.Rate{}, false
	}
	return t.calls.Rate()
}
