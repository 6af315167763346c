// Package tenant shares a host among its tenants: each has a quota, a place in a fair
// queue, and a bill.
//
// It owns the quota's JSON form, the queue before the pools of instances, and the
// events with the consumption of each call. Use:
//
//	gate := tenant.NewGate(256)
//	acme := gate.Join(tenant.Quota{Concurrency: 16, Queue: 64})
//	ctx, leave, err := acme.Enter(ctx) // RESOURCE_EXHAUSTED at once when its queue is full
//	defer leave()
//
// Everything here is safe for concurrent use.
package tenant

import (
	"bytes"
	"math"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Quota bounds the calls of a tenant, all of them together. A field that is 0 says
// nothing: see [Quota.Or].
type Quota struct {
	// Concurrency bounds the calls at a time.
	Concurrency int64 `json:"concurrency,omitempty"`
	// Queue bounds the calls that wait for a slot; further ones are refused at
	// once.
	Queue int64 `json:"queue,omitempty"`
	// Waiting bounds the calls that have begun and wait for something: a timer, a
	// server, a model, another guest, a slow reader. Such a call has no slot; while so
	// many wait, no other call of the tenant begins.
	Waiting int64 `json:"waiting,omitempty"`
	// Generates bounds the generate calls at a time, of the tenant's own and of its
	// guests; further ones are refused at once.
	Generates int64 `json:"generates,omitempty"`
	// RequestBytes bounds the bytes of the bodies of requests under way.
	RequestBytes int64 `json:"requestBytes,omitempty"`
	// Weight is how many calls the tenant is served when its turn in the queue
	// comes.
	Weight int64 `json:"weight,omitempty"`
	// CallsPerMinute bounds the calls of a minute; 0 is unlimited.
	CallsPerMinute int64 `json:"callsPerMinute,omitempty"`
	// FuelPerMinute bounds the fuel of a minute, in the units of wasmhost/internal/meter;
	// calls under way end when it is used up. 0 is unlimited.
	FuelPerMinute int64 `json:"fuelPerMinute,omitempty"`
	// EgressBytesPerMinute bounds the bytes of the bodies that guests send and receive by HTTP in a
	// minute; once they are used up, modules that may send requests are not called. 0 is unlimited.
	EgressBytesPerMinute int64 `json:"egressBytesPerMinute,omitempty"`
	// MemoryBytes bounds the memory of all instances and images.
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
	// Modules bounds how many modules may be in service.
	Modules int64 `json:"modules,omitempty"`
	// Revisions bounds how many revisions of a module are kept, the current one
	// included; the oldest go first.
	Revisions int64 `json:"revisions,omitempty"`
	// StoredBytes bounds the bytes of all kept revisions, equal ones counted once.
	StoredBytes int64 `json:"storedBytes,omitempty"`
	// LogBytesPerSecond bounds the lines that modules write into the log, as it is written there;
	// [LogBurst] seconds' bytes may be written at once. Lines beyond it are dropped.
	LogBytesPerSecond int64 `json:"logBytesPerSecond,omitempty"`
}

// Defaults are the quota of a tenant of which nothing is said.
func Defaults() Quota {
	return Quota{
		Concurrency: 32, Queue: 128, Waiting: 128, Generates: 64, RequestBytes: 64 << 20, Weight: 1,
		Modules: 1000, Revisions: 50, StoredBytes: 1 << 30, LogBytesPerSecond: 64 << 10,
	}
}

// maxFuel is the largest number up to which every reader of JSON tells whole numbers apart.
const maxFuel = 1<<53 - 1

type field struct {
	name string
	at   func(*Quota) *int64
	most int64
}

func fields() []field {
	return []field{
		{"concurrency", func(q *Quota) *int64 { return &q.Concurrency }, 1 << 20},
		{"queue", func(q *Quota) *int64 { return &q.Queue }, 1 << 20},
		{"waiting", func(q *Quota) *int64 { return &q.Waiting }, 1 << 20},
		{"generates", func(q *Quota) *int64 { return &q.Generates }, 1 << 20},
		{"requestBytes", func(q *Quota) *int64 { return &q.RequestBytes }, 1 << 40},
		{"weight", func(q *Quota) *int64 { return &q.Weight }, 100},
		{"callsPerMinute", func(q *Quota) *int64 { return &q.CallsPerMinute }, math.MaxInt32},
		{"fuelPerMinute", func(q *Quota) *int64 { return &q.FuelPerMinute }, maxFuel},
		{"egressBytesPerMinute", func(q *Quota) *int64 { return &q.EgressBytesPerMinute }, 1 << 50},
		{"memoryBytes", func(q *Quota) *int64 { return &q.MemoryBytes }, 1 << 50},
		{"modules", func(q *Quota) *int64 { return &q.Modules }, math.MaxInt32},
		{"revisions", func(q *Quota) *int64 { return &q.Revisions }, math.MaxInt32},
		{"storedBytes", func(q *Quota) *int64 { return &q.StoredBytes }, 1 << 50},
		{"logBytesPerSecond", func(q *Quota) *int64 { return &q.LogBytesPerSecond }, 1 << 40},
	}
}

// Or returns q with the fields that say nothing taken from other.
func (q Quota) Or(other Quota) Quota {
	for _, f := range fields() {
		if v := f.at(&q); *v == 0 {
			*v = *f.at(&other)
		}
	}
	return q
}

// MaxQuotaBytes bounds the text of a quota.
const MaxQuotaBytes = 16 << 10

// ParseQuota decodes and checks a quota; nothing gives the zero Quota. A field that is
// not known is refused, because a mistyped bound would be none. It fails with
// INVALID_ARGUMENT.
func ParseQuota(raw []byte) (Quota, error) {
	var q Quota
	if len(bytes.TrimSpace(raw)) == 0 {
		return q, nil
	}
	if len(raw) > MaxQuotaBytes {
		return q, status.Publicf(status.InvalidArgument, "quota of %d bytes exceeds the limit of %d", len(raw), MaxQuotaBytes)
	}
	if err := schema.Decode(raw, &q, schema.RefuseUnknown); err != nil {
		return Quota{}, status.Publicf(status.InvalidArgument, "quota: %w", err)
	}
	return q, q.Check()
}

// Check says which field is out of its range; INVALID_ARGUMENT.
func (q Quota) Check() error {
	for _, f := range fields() {
		if v := *f.at(&q); v < 0 || v > f.most {
			return status.Publicf(status.InvalidArgument, "quota: %q is %d, want 0 (not set) to %d", f.name, v, f.most)
		}
	}
	return nil
}
