package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// accounts reads the totals of a book at each scrape. Its labels besides the tenant have few values: the kinds
// of calls, two outcomes, three directions, and the currencies of the server's prices.
type accounts struct {
	book                                            *usage.Book
	byTenant                                        bool
	calls, egress, tokens, money, unpriced, refused *prometheus.Desc
}

func newAccounts(book *usage.Book, byTenant bool) *accounts {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		if byTenant {
			labels = append(labels, "tenant")
		}
		return prometheus.NewDesc("genkit_wasm_usage_"+name, help, labels, nil)
	}
	return &accounts{
		book: book, byTenant: byTenant,
		calls:    desc("calls_total", "Calls that are in the accounts of usage, by what was called and how they ended: ok or failed.", "kind", "outcome"),
		egress:   desc("egress_bytes_total", "Bytes of the bodies that guests have sent and received by HTTP."),
		tokens:   desc("model_tokens_total", "Tokens that models reported: input, of which some are cached, and output.", "direction"),
		money:    desc("model_cost_total", "What calls of models cost by the server's prices, in the currency.", "currency"),
		unpriced: desc("model_unpriced_calls_total", "Calls of models whose cost is not known."),
		refused:  prometheus.NewDesc("genkit_wasm_usage_refused_calls_total", "Calls that were refused before they ran, by reason, such as budget.tokensPerDay.", []string{"reason"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (a *accounts) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{a.calls, a.egress, a.tokens, a.money, a.unpriced, a.refused} {
		out <- d
	}
}

// millionths of a currency's unit are what money is counted in.
const millionths = 1e6

// Collect implements [prometheus.Collector].
func (a *accounts) Collect(out chan<- prometheus.Metric) {
	type series struct {
		desc          *prometheus.Desc
		first, second string
		tenant        string
	}
	sums := map[series]float64{}
	for _, r := range a.book.Totals() {
		tenant := ""
		if a.byTenant {
			tenant = r.Tenant
		}
		add := func(desc *prometheus.Desc, value float64, labels ...string) {
			labels = append(labels, "", "")
			sums[series{desc, labels[0], labels[1], tenant}] += value
		}
		add(a.calls, float64(r.Calls-r.Failures), kindOf(r.Kind), "ok")
		add(a.calls, float64(r.Failures), kindOf(r.Kind), "failed")
		add(a.egress, float64(r.EgressBytes))
		add(a.tokens, float64(r.InputTokens), "input")
		add(a.tokens, float64(r.CachedTokens), "cached")
		add(a.tokens, float64(r.OutputTokens), "output")
		add(a.unpriced, float64(r.Unpriced))
		for currency, m := range r.Money {
			add(a.money, float64(m)/millionths, currency)
		}
	}
	for reason, n := range a.book.Refusals() {
		out <- prometheus.MustNewConstMetric(a.refused, prometheus.CounterValue, float64(n), reason)
	}
	for s, value := range sums {
		var labels []string
		for _, label := range []string{s.first, s.second} {
			if label != "" {
				labels = append(labels, label)
			}
		}
		if a.byTenant {
			labels = append(labels, s.tenant)
		}
		out <- prometheus.MustNewConstMetric(s.desc, prometheus.CounterValue, value, labels...)
	}
}

// kindOf is the kind, or "other" for one that is not known here.
func kindOf(kind usage.Kind) string {
	switch kind {
	case usage.Tool, usage.Middleware, usage.Format, usage.Model, usage.Flow,
		"embedder", "evaluator", "retriever", "indexer", "reranker", "resource", "module-model":
		return string(kind)
	}
	return "other"
}

// sinks reads how events are delivered at each scrape. Its label is the name of a sink, which
// the operator chose; there are few.
type sinks struct{ book *usage.Book }

func sinkDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("genkit_wasm_usage_sink_"+name, help, []string{"sink"}, nil)
}

var (
	sinkFailing   = sinkDesc("failing", "1 while the last delivery to the sink has failed and is tried again, else 0.")
	sinkDelivered = sinkDesc("delivered_events_total", "Events that the sink has taken.")
	sinkDropped   = sinkDesc("dropped_events_total", "Events that are lost because the sink's queue was full or damaged.")
	sinkRefused   = sinkDesc("refused_events_total", "Events that the sink's receiver has refused for good.")
	sinkQueued    = sinkDesc("queued_events", "Events that wait for the sink.")
	sinkBytes     = sinkDesc("queued_bytes", "Size of the events that wait for the sink.")
)

// Describe implements [prometheus.Collector].
func (s *sinks) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{sinkFailing, sinkDelivered, sinkDropped, sinkRefused, sinkQueued, sinkBytes} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (s *sinks) Collect(out chan<- prometheus.Metric) {
	for _, r := range s.book.Sinks() {
		failing := 0.0
		if r.Failing {
			failing = 1
		}
		out <- prometheus.MustNewConstMetric(sinkFailing, prometheus.GaugeValue, failing, r.Name)
		out <- prometheus.MustNewConstMetric(sinkDelivered, prometheus.CounterValue, float64(r.Delivered), r.Name)
		out <- prometheus.MustNewConstMetric(sinkDropped, prometheus.CounterValue, float64(r.Dropped+r.RefusalsDropped), r.Name)
		out <- prometheus.MustNewConstMetric(sinkRefused, prometheus.CounterValue, float64(r.Refused), r.Name)
		out <- prometheus.MustNewConstMetric(sinkQueued, prometheus.GaugeValue, float64(r.Queued+r.RefusalsQueued), r.Name)
		out <- prometheus.MustNewConstMetric(sinkBytes, prometheus.GaugeValue, float64(r.QueuedBytes), r.Name)
	}
}
