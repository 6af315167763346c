package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Sources are what a server's program counts outside of its host and its API. Each is asked at each scrape, and may be
// called concurrently; one that is nil has no metrics.
type Sources struct {
	// Audit returns how many entries the audit log could not write, and whether the last was one of them.
	Audit func() (failed int64, failing bool)
	// CertificateEnd returns when the certificate that serves ends.
	CertificateEnd func() time.Time
	// ClosedConnections are the connections that were closed without an answer, by reason. The reasons are
	// few, and no caller's.
	ClosedConnections func() map[string]int64
	// Issuers are those whose tokens are accepted.
	Issuers func() []Issuer
	// Journal returns how many events of the usage journal wait to be written again, and how many are lost.
	Journal func() (unwritten, lost int64)
}

// Issuer is what is known of the keys of an issuer of tokens.
type Issuer struct {
	// Issuer is its URL, which the operator chose; it is the label "issuer".
	Issuer string
	// Fetched is when its keys were last had; zero: never, and they have no age.
	Fetched time.Time
	// Failing is set when the last attempt to fetch them has failed.
	Failing bool
}

// WatchSources adds the metrics of sources. It is called once.
func (m *Metrics) WatchSources(s Sources) error {
	if err := m.registry.Register(&sources{s}); err != nil {
		return status.Errorf(status.Internal, "metrics: %w", err)
	}
	return nil
}

func sourceDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("genkit_wasm_"+name, help, labels, nil)
}

var (
	auditFailed      = sourceDesc("audit_failed_entries_total", "Entries that the audit log could not write.")
	auditFailing     = sourceDesc("audit_failing", "1 while the audit log can't be written, so that changes are refused, else 0.")
	certificateEnd   = sourceDesc("tls_certificate_not_after_timestamp_seconds", "When the certificate that serves ends, in seconds since 1970.")
	closed           = sourceDesc("connections_closed_total", "Connections that were closed without an answer, by reason.", "reason")
	issuerAge        = sourceDesc("oidc_keys_age_seconds", "Time since the keys of an issuer were fetched.", "issuer")
	issuerFailing    = sourceDesc("oidc_keys_failing", "1 while the last attempt to fetch the keys of an issuer has failed, else 0.", "issuer")
	journalLost      = sourceDesc("usage_journal_lost_events_total", "Events that are lost because the usage journal could not be written.")
	journalUnwritten = sourceDesc("usage_journal_unwritten_events", "Events that wait for the usage journal to be written again.")
)

// sources reads them at each scrape.
type sources struct{ from Sources }

// Describe implements [prometheus.Collector].
func (s *sources) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{auditFailed, auditFailing, certificateEnd, closed, issuerAge, issuerFailing, journalLost, journalUnwritten} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (s *sources) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	if s.from.Audit != nil {
		failed, failing := s.from.Audit()
		counter(auditFailed, failed)
		gauge(auditFailing, truth(failing))
	}
	if s.from.CertificateEnd != nil {
		gauge(certificateEnd, float64(s.from.CertificateEnd().Unix()))
	}
	if s.from.ClosedConnections != nil {
		for reason, n := range s.from.ClosedConnections() {
			counter(closed, n, reason)
		}
	}
	if s.from.Issuers != nil {
		for _, i := range worst(s.from.Issuers()) {
			gauge(issuerFailing, truth(i.Failing), i.Issuer)
			if !i.Fetched.IsZero() {
				gauge(issuerAge, time.Since(i.Fetched).Seconds(), i.Issuer)
			}
		}
	}
	if s.from.Journal != nil {
		unwritten, lost := s.from.Journal()
		counter(journalLost, lost)
		gauge(journalUnwritten, float64(unwritten))
	}
}

// worst has each issuer once, which may be there for several audiences: failing where one of them is, with the oldest keys.
func worst(all []Issuer) map[string]Issuer {
	found := map[string]Issuer{}
	for _, i := range all {
		if other, again := found[i.Issuer]; again {
			i.Failing = i.Failing || other.Failing
			if i.Fetched.IsZero() || !other.Fetched.IsZero() && other.Fetched.Before(i.Fetched) {
				i.Fetched = other.Fetched
			}
		}
		found[i.Issuer] = i
	}
	return found
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
