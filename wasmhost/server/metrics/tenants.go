package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// metric is one metric of tenants.
type metric struct {
	name, help string
	// sum is set for a counter, now for a gauge.
	sum func(*tenants.Totals) float64
	now func(*wasmhost.Usage) float64
}

var all = []metric{
	{name: "calls_total", help: "Calls of modules that ran.", sum: func(t *tenants.Totals) float64 { return float64(t.Calls) }},
	{name: "call_failures_total", help: "Calls of modules that failed.", sum: func(t *tenants.Totals) float64 { return float64(t.Failures) }},
	{name: "calls_refused_total", help: "Calls of modules that never ran: too many were under way or waited.", sum: func(t *tenants.Totals) float64 { return float64(t.Refused) }},
	{name: "call_seconds_total", help: "Time that calls of modules took, without their time in the queue.", sum: func(t *tenants.Totals) float64 { return t.WallNS.Seconds() }},
	{name: "call_queue_seconds_total", help: "Time that calls of modules waited for their turn.", sum: func(t *tenants.Totals) float64 { return t.QueuedNS.Seconds() }},
	{name: "fuel_total", help: "Fuel that calls of modules used, in units.", sum: func(t *tenants.Totals) float64 { return float64(t.Fuel) }},
	{name: "memory_byte_seconds_total", help: "Memory of calls of modules, times their duration.", sum: func(t *tenants.Totals) float64 { return t.ByteSeconds }},
	{name: "call_input_bytes_total", help: "Bytes that modules were given.", sum: func(t *tenants.Totals) float64 { return float64(t.InputBytes) }},
	{name: "call_output_bytes_total", help: "Bytes that modules returned.", sum: func(t *tenants.Totals) float64 { return float64(t.OutputBytes) }},

	{name: "calls_running", help: "Calls of modules that run.", now: func(u *wasmhost.Usage) float64 { return float64(u.Running) }},
	{name: "calls_suspended", help: "Calls of modules that have begun and wait for something.", now: func(u *wasmhost.Usage) float64 { return float64(u.Suspended) }},
	{name: "calls_queued", help: "Calls of modules that wait for their turn.", now: func(u *wasmhost.Usage) float64 { return float64(u.Waiting) }},
	{name: "memory_bytes", help: "Memory of modules' instances and images.", now: func(u *wasmhost.Usage) float64 { return float64(u.MemoryBytes) }},
	{name: "schema_bytes", help: "Memory of compiled schemas, about.", now: func(u *wasmhost.Usage) float64 { return float64(u.SchemaBytes) }},
	{name: "request_bytes", help: "Memory of the bodies of requests under way.", now: func(u *wasmhost.Usage) float64 { return float64(u.RequestBytes) }},
	{name: "stored_bytes", help: "Bytes of all revisions that are kept.", now: func(u *wasmhost.Usage) float64 { return float64(u.StoredBytes) }},
	{name: "revisions", help: "Revisions of modules that are kept.", now: func(u *wasmhost.Usage) float64 { return float64(u.Revisions) }},
	{name: "value_bytes", help: "Bytes of the values that modules keep.", now: func(u *wasmhost.Usage) float64 { return float64(u.Values.Bytes) }},
}

// collector reads the usage of all tenants at each scrape.
type collector struct {
	host     *wasmhost.Host
	byTenant bool
	descs    []*prometheus.Desc // as all
	count    *prometheus.Desc

	mu sync.Mutex // guards the fields below
	// last is what was seen of each tenant's counters, gone the sum of tenants that are no
	// more, so that a sum never falls.
	last map[string][]float64
	gone []float64
}

func newTenants(host *wasmhost.Host, byTenant bool) *collector {
	t := &collector{host: host, byTenant: byTenant, last: map[string][]float64{}, gone: make([]float64, len(all))}
	var labels []string
	if byTenant {
		labels = []string{"tenant"}
	}
	for _, m := range all {
		t.descs = append(t.descs, prometheus.NewDesc("genkit_wasm_"+m.name, m.help, labels, nil))
	}
	t.count = prometheus.NewDesc("genkit_wasm_tenants", "Tenants.", nil, nil)
	return t
}

// Describe implements [prometheus.Collector].
func (t *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range t.descs {
		out <- d
	}
	out <- t.count
}

// Collect implements [prometheus.Collector].
func (t *collector) Collect(out chan<- prometheus.Metric) {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := t.host.Tenants()
	sums := make([]float64, len(all))
	seen := make(map[string][]float64, len(names))
	for _, name := range names {
		u, err := t.host.Usage(name)
		if err != nil {
			continue // it was removed a moment ago
		}
		values := make([]float64, len(all))
		for i, m := range all {
			if m.now != nil {
				values[i] = m.now(&u)
			} else {
				values[i] = m.sum(&u.Total)
			}
			sums[i] += values[i]
		}
		seen[name] = values
		if t.byTenant {
			t.send(out, values, name)
		}
	}
	for name, old := range t.last {
		now, there := seen[name]
		for i, m := range all {
			if m.sum != nil && (!there || now[i] < old[i]) { // removed, or removed and made anew
				t.gone[i] += old[i]
			}
		}
	}
	t.last = seen
	if !t.byTenant {
		for i := range sums {
			sums[i] += t.gone[i]
		}
		t.send(out, sums)
	}
	out <- prometheus.MustNewConstMetric(t.count, prometheus.GaugeValue, float64(len(seen)))
}

func (t *collector) send(out chan<- prometheus.Metric, values []float64, labels ...string) {
	for i, m := range all {
		kind := prometheus.CounterValue
		if m.now != nil {
			kind = prometheus.GaugeValue
		}
		out <- prometheus.MustNewConstMetric(t.descs[i], kind, values[i], labels...)
	}
}
