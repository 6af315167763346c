package usage

import (
	"maps"
	"math"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Sums are what calls have used together.
type Sums struct {
	Calls           int64         `json:"calls"`
	Failures        int64         `json:"failures"` // of Calls
	Fuel            int64         `json:"fuel"`
	QueuedNS        time.Duration `json:"queuedNs"`
	WallNS          time.Duration `json:"wallNs"`          // that of a flow has in it those of what it called
	PeakMemoryBytes int64         `json:"peakMemoryBytes"` // the most of one call
	EgressBytes     int64         `json:"egressBytes"`
	InputBytes      int64         `json:"inputBytes"`
	OutputBytes     int64         `json:"outputBytes"`
	InputTokens     int64         `json:"inputTokens"`
	CachedTokens    int64         `json:"cachedTokens"`
	OutputTokens    int64         `json:"outputTokens"`
	Tokens          int64         `json:"tokens"`
	// Unpriced are calls of models whose cost is not known: Money has nothing of them.
	Unpriced int64 `json:"unpriced"`
	// Money is the cost of the others, by currency.
	Money map[string]Money `json:"money,omitempty"`
}

// counters are the numbers that are added.
func (s *Sums) counters() [13]*int64 {
	return [...]*int64{
		&s.Calls, &s.Failures, &s.Fuel, (*int64)(&s.QueuedNS), (*int64)(&s.WallNS), &s.EgressBytes, &s.InputBytes, &s.OutputBytes,
		&s.InputTokens, &s.CachedTokens, &s.OutputTokens, &s.Tokens, &s.Unpriced,
	}
}

// Add adds other sums. Numbers stop at the largest one.
func (s *Sums) Add(other *Sums) {
	from := other.counters()
	for i, n := range s.counters() {
		*n = plus(*n, *from[i])
	}
	s.PeakMemoryBytes = max(s.PeakMemoryBytes, other.PeakMemoryBytes)
	for currency, m := range other.Money {
		s.pay(currency, m)
	}
}

func (s *Sums) pay(currency string, m Money) {
	if s.Money == nil {
		s.Money = map[string]Money{}
	}
	s.Money[currency] = s.Money[currency].Plus(m)
}

// count adds one call.
func (s *Sums) count(e *Event) {
	s.Calls++
	if e.Code != status.OK {
		s.Failures++
	}
	add := func(n *int64, more int64) { *n = plus(*n, max(0, more)) }
	add(&s.Fuel, e.Fuel)
	add((*int64)(&s.QueuedNS), int64(e.QueuedNS))
	add((*int64)(&s.WallNS), int64(e.WallNS))
	add(&s.EgressBytes, e.EgressBytes)
	add(&s.InputBytes, e.InputBytes)
	add(&s.OutputBytes, e.OutputBytes)
	add(&s.InputTokens, e.InputTokens)
	add(&s.CachedTokens, e.CachedTokens)
	add(&s.OutputTokens, e.OutputTokens)
	add(&s.Tokens, e.Tokens)
	s.PeakMemoryBytes = max(s.PeakMemoryBytes, e.PeakMemoryBytes)
	if e.Priced != nil && !*e.Priced {
		s.Unpriced++
	}
	if e.Cost != nil {
		s.pay(e.Currency, max(0, *e.Cost))
	}
}

// valid refuses sums that no calls can have: those of a damaged line.
func (s *Sums) valid() bool {
	for _, n := range s.counters() {
		if *n < 0 {
			return false
		}
	}
	for currency, m := range s.Money {
		if m < 0 || !currencyName.MatchString(currency) {
			return false
		}
	}
	return len(s.Money) <= maxCurrencies && s.PeakMemoryBytes >= 0 && s.Failures <= s.Calls && s.Calls > 0 && s.Calls < math.MaxInt64
}

// maxCurrencies bounds the currencies of one row: those of a day on which the prices changed.
const maxCurrencies = 8

func (s *Sums) clone() Sums {
	c := *s
	c.Money = maps.Clone(s.Money)
	return c
}
