package usage

import (
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Calls that are refused cost their callers next to nothing, and so there may be any number of them. They make
// no event each: those of a tenant that were refused for the same reason within a minute make one, with
// their number. These events have a queue of their own in front of each sink, which is small.

const (
	// refusalsEvery is how often the refusals that were counted become events.
	refusalsEvery = time.Minute
	// maxRefusalKeys bounds the tenants and reasons that are counted apart. What is beyond is counted
	// for the tenant Other.
	maxRefusalKeys = 4096
	// refusalQueueBytes bounds the events of refusals that wait for a sink: no less than those of a minute take.
	refusalQueueBytes = 2 << 20
)

// refusalKey is what refusals have in common that are counted together.
type refusalKey struct {
	name, id, reason string // name and id are the tenant's
	code             status.Code
}

type refusal struct {
	count int64
	since time.Time
}

// refusals counts what was refused.
type refusals struct {
	mu     sync.Mutex // guards the fields below
	counts map[refusalKey]*refusal
}

// reasons are the words of [ReasonOf]. What a guest or a model's provider puts into the details of its error can make
// others, which count as one.
var reasons = map[string]bool{
	"suspended": true, "denied": true, "notFound": true, "invalid": true, "limit": true, "unavailable": true, "other": true,
	"budget.tokensPerDay": true, "budget.tokensPerMonth": true, "budget.moneyPerDay": true, "budget.moneyPerMonth": true, "budget.modelCallsPerMinute": true,
	"quota.concurrency": true, "quota.queue": true, "quota.waiting": true, "quota.generates": true, "quota.requestBytes": true, "quota.callsPerMinute": true,
	"quota.fuelPerMinute": true, "quota.egressBytesPerMinute": true, "quota.memoryBytes": true, "quota.modules": true, "quota.revisions": true,
	"quota.storedBytes": true,
}

func (r *refusals) add(key refusalKey, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.counts[key]
	if one == nil && len(r.counts) >= maxRefusalKeys {
		key = refusalKey{name: Other, reason: Other, code: key.code} // as many as there are codes
		one = r.counts[key]
	}
	if one == nil {
		if r.counts == nil {
			r.counts = map[refusalKey]*refusal{}
		}
		one = &refusal{since: now}
		r.counts[key] = one
	}
	one.count++
}

// take returns an event for each key, without an ID, and counts from nothing.
func (r *refusals) take(now time.Time) []Event {
	r.mu.Lock()
	counts := r.counts
	r.counts = nil
	r.mu.Unlock()
	events := make([]Event, 0, len(counts))
	for key, one := range counts {
		events = append(events, Event{
			Time: now, Tenant: key.name, TenantID: key.id, Kind: Refused, Name: key.reason, Code: key.code, Count: one.count, Since: one.since,
		})
	}
	return events
}

// ReasonOf says in a word why a call was refused. What has used up or taken a field of a quota or a budget is
// that field, "quota.callsPerMinute" or "budget.tokensPerDay", as the error's details name it. Other
// reasons are "suspended", "denied" (what the tenant may not use), "notFound" (no such tool, model or flow),
// "invalid" (a request that breaks its schema or is too long), "limit" (too much at a time),
// "unavailable", and "other".
func ReasonOf(err error) string {
	var d struct {
		Budget string `json:"budget"`
		Quota  string `json:"quota"`
		State  string `json:"state"`
	}
	e := status.Convert(err)
	if e == nil {
		return "other"
	}
	if json.Unmarshal(e.Details, &d) != nil {
		d.Budget, d.Quota, d.State = "", "", "" // of another shape
	}
	exhausted := e.Code == status.ResourceExhausted
	switch {
	case exhausted && isField(d.Budget):
		return "budget." + d.Budget
	case exhausted && isField(d.Quota):
		return "quota." + d.Quota
	case e.Code == status.PermissionDenied && d.State == "suspended":
		return d.State
	}
	switch e.Code {
	case status.PermissionDenied:
		return "denied"
	case status.NotFound:
		return "notFound"
	case status.InvalidArgument:
		return "invalid"
	case status.ResourceExhausted:
		return "limit"
	case status.Unavailable:
		return "unavailable"
	}
	return "other"
}

// isField reports whether a text can be the name of a field of a quota or a budget.
func isField(name string) bool {
	return name != "" && len(name) <= 40 && !strings.ContainsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') })
}
