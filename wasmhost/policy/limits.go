package policy

import (
	"math"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Limits bound a module. In a policy a zero field says nothing; in the limits of a
// server it means unlimited only where the comment says so.
type Limits struct {
	// TimeoutMS is the wall time of one call in milliseconds.
	TimeoutMS int64 `json:"timeoutMs,omitempty"`
	// Fuel bounds the work of one call, in the units of wasmhost/internal/meter.
	Fuel int64 `json:"fuel,omitempty"`
	// MemoryBytes bounds the linear memory of one instance.
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
	// TableElements bounds each table.
	TableElements int64 `json:"tableElements,omitempty"`
	// InputBytes and OutputBytes bound the input and the output of a call.
	InputBytes  int64 `json:"inputBytes,omitempty"`
	OutputBytes int64 `json:"outputBytes,omitempty"`
	// Concurrency bounds the calls of one module at a time.
	Concurrency int64 `json:"concurrency,omitempty"`
	// CallsPerMinute bounds the calls of one module; 0 is unlimited.
	CallsPerMinute int64 `json:"callsPerMinute,omitempty"`
	// HTTPRequests bounds the HTTP requests of one call, redirects included.
	HTTPRequests int64 `json:"httpRequests,omitempty"`
	// HTTPRequestBytes and HTTPResponseBytes bound one body, the latter after
	// it was decompressed.
	HTTPRequestBytes  int64 `json:"httpRequestBytes,omitempty"`
	HTTPResponseBytes int64 `json:"httpResponseBytes,omitempty"`
	// KVKeys, KVBytes and KVValueBytes bound the values of a module in its
	// key-value store: entries, bytes of keys and values together, one value.
	KVKeys       int64 `json:"kvKeys,omitempty"`
	KVBytes      int64 `json:"kvBytes,omitempty"`
	KVValueBytes int64 `json:"kvValueBytes,omitempty"`
	// HostCalls bounds the capability calls of one call, emit, interrupt and
	// context aside.
	HostCalls int64 `json:"hostCalls,omitempty"`
}

// defaultFuelPerMS is the default fuel for each millisecond of the time limit. A tight
// loop of compiled code uses 3 to 10 million units in a millisecond, so that by default
// the time limit ends a call and the fuel stands far behind it, as a bound that does not
// depend on a clock.
const defaultFuelPerMS = 40_000_000

// Defaults are the limits of a server that says nothing. The time limit is the one that
// ends a guest; see [Limits.OrDefaults] for the fuel.
func Defaults() Limits {
	const timeoutMS = 5000
	return Limits{
		TimeoutMS: timeoutMS, Fuel: timeoutMS * defaultFuelPerMS, MemoryBytes: 32 << 20, TableElements: 10_000,
		InputBytes: 1 << 20, OutputBytes: 256 << 10, Concurrency: 16,
		HTTPRequests: 20, HTTPRequestBytes: 1 << 20, HTTPResponseBytes: 4 << 20,
		KVKeys: 1000, KVBytes: 1 << 20, KVValueBytes: 64 << 10, HostCalls: 1000,
	}
}

// The hardest limits that a server may be given.
const (
	maxTimeoutMS   = 10 * 60 * 1000
	maxMemoryBytes = 4 << 30
	maxBodyBytes   = 64 << 20
	maxConcurrency = 4096
	maxTable       = 10_000_000
	maxKVBytes     = 1 << 30
	maxKVValue     = 1 << 20
	maxHostCalls   = 100_000
	// maxFuel is the largest number up to which every reader of JSON tells whole numbers apart.
	maxFuel = 1<<53 - 1
)

// PageBytes is a page of WebAssembly memory.
const PageBytes = 64 << 10

type field struct {
	name string
	at   func(*Limits) *int64
	most int64
}

func fields() []field {
	return []field{
		{"timeoutMs", func(l *Limits) *int64 { return &l.TimeoutMS }, maxTimeoutMS},
		{"fuel", func(l *Limits) *int64 { return &l.Fuel }, maxFuel},
		{"memoryBytes", func(l *Limits) *int64 { return &l.MemoryBytes }, maxMemoryBytes},
		{"tableElements", func(l *Limits) *int64 { return &l.TableElements }, maxTable},
		{"inputBytes", func(l *Limits) *int64 { return &l.InputBytes }, maxBodyBytes},
		{"outputBytes", func(l *Limits) *int64 { return &l.OutputBytes }, maxBodyBytes},
		{"concurrency", func(l *Limits) *int64 { return &l.Concurrency }, maxConcurrency},
		{"callsPerMinute", func(l *Limits) *int64 { return &l.CallsPerMinute }, math.MaxInt32},
		{"httpRequests", func(l *Limits) *int64 { return &l.HTTPRequests }, maxHostCalls},
		{"httpRequestBytes", func(l *Limits) *int64 { return &l.HTTPRequestBytes }, maxBodyBytes},
		{"httpResponseBytes", func(l *Limits) *int64 { return &l.HTTPResponseBytes }, maxBodyBytes},
		{"kvKeys", func(l *Limits) *int64 { return &l.KVKeys }, math.MaxInt32},
		{"kvBytes", func(l *Limits) *int64 { return &l.KVBytes }, maxKVBytes},
		{"kvValueBytes", func(l *Limits) *int64 { return &l.KVValueBytes }, maxKVValue},
		{"hostCalls", func(l *Limits) *int64 { return &l.HostCalls }, maxHostCalls},
	}
}

func (l *Limits) check() error {
	for _, f := range fields() {
		if v := *f.at(l); v < 0 || v > f.most {
			return status.Publicf(status.InvalidArgument, "policy: limit %q is %d, want 0 (not set) to %d", f.name, v, f.most)
		}
	}
	if l.MemoryBytes != 0 && l.MemoryBytes < PageBytes {
		return status.Publicf(status.InvalidArgument, "policy: limit \"memoryBytes\" is %d, want at least one page of WebAssembly, %d", l.MemoryBytes, PageBytes)
	}
	return nil
}

// Within returns l tightened to outer: each limit is the smaller of the two, and
// outer's where l says nothing.
func (l Limits) Within(outer Limits) Limits {
	for _, f := range fields() {
		mine, theirs := f.at(&l), *f.at(&outer)
		if *mine == 0 || (theirs != 0 && *mine > theirs) {
			*mine = theirs
		}
	}
	return l
}

// Timeout returns TimeoutMS as a duration.
func (l Limits) Timeout() time.Duration { return time.Duration(l.TimeoutMS) * time.Millisecond }

// OrDefaults is l.Or(Defaults()), with a fuel that fits the time limit where l sets a
// time limit and no fuel: which of the two binds does not change with it.
func (l Limits) OrDefaults() Limits {
	defaults := Defaults()
	if l.TimeoutMS > 0 {
		defaults.Fuel = l.TimeoutMS * defaultFuelPerMS
	}
	return l.Or(defaults)
}

// Or returns l with the fields that say nothing taken from other.
func (l Limits) Or(other Limits) Limits {
	for _, f := range fields() {
		if v := f.at(&l); *v == 0 {
			*v = *f.at(&other)
		}
	}
	return l
}
