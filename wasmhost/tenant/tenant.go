// Package tenant shares a host among its tenants: each has a quota, a place in a fair
// queue, and a bill.
//
// It owns the quota's JSON form, the queue before the pools of instances, and the
// events that say what each call has taken. Use:
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
	"encoding/json"
	"math"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Quota bounds what the calls of a tenant take together. A field that is 0 says
// nothing: see [Quota.Or].
type Quota struct {
	// Concurrency bounds the calls at a time.
	Concurrency int64 `json:"concurrency,omitempty"`
	// Queue bounds the calls that wait for their turn; further ones are refused at
	// once.
	Queue int64 `json:"queue,omitempty"`
	// CallsPerMinute bounds the calls of a minute; 0 is unlimited.
	CallsPerMinute int64 `json:"callsPerMinute,omitempty"`
	// FuelPerMinute bounds the fuel of a minute, in the units of wasmhost/meter;
	// calls under way end when it is used up. 0 is unlimited.
	FuelPerMinute int64 `json:"fuelPerMinute,omitempty"`
	// MemoryBytes bounds the memory of all instances and images.
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
	// Modules bounds how many modules may be in service.
	Modules int64 `json:"modules,omitempty"`
}

// Defaults are the quota of a tenant of which nothing is said.
func Defaults() Quota {
	return Quota{Concurrency: 32, Queue: 128, Modules: 1000}
}

type field struct {
	name string
	at   func(*Quota) *int64
	most int64
}

func fields() []field {
	return []field{
		{"concurrency", func(q *Quota) *int64 { return &q.Concurrency }, 1 << 20},
		{"queue", func(q *Quota) *int64 { return &q.Queue }, 1 << 20},
		{"callsPerMinute", func(q *Quota) *int64 { return &q.CallsPerMinute }, math.MaxInt32},
		{"fuelPerMinute", func(q *Quota) *int64 { return &q.FuelPerMinute }, math.MaxInt64 / 4},
		{"memoryBytes", func(q *Quota) *int64 { return &q.MemoryBytes }, 1 << 50},
		{"modules", func(q *Quota) *int64 { return &q.Modules }, math.MaxInt32},
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
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&q); err != nil {
		return Quota{}, status.Publicf(status.InvalidArgument, "quota: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if dec.More() {
		return Quota{}, status.Publicf(status.InvalidArgument, "quota: there is more than one JSON value")
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
