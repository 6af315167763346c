package usage

import (
	"cmp"
	"math"
	"math/bits"
	"regexp"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Prices says what model tokens cost. It is safe for concurrent use, and does not change. A
// nil *Prices has no price of anything.
type Prices struct {
	currency string
	exact    map[string]price
	begins   map[string]price // by the text before the "*"
	lengths  []int            // of the keys of begins, the longest first
}

// price is what a million tokens cost.
type price struct {
	Input  *Money `json:"input"`
	Output *Money `json:"output"`
	Cached *Money `json:"cached,omitempty"` // of input tokens that the provider had cached; Input where it is absent
}

// Bounds of a table of prices.
const (
	// MaxPricesBytes bounds its text.
	MaxPricesBytes = 256 << 10
	maxPrices      = 1000
	maxPattern     = 200
	maxPrice       = 1_000_000 * micros // for a million tokens
)

var currencyName = regexp.MustCompile(`^[A-Z]{3}$`)

// ParsePrices reads a table:
//
//	{"currency": "USD", "models": {"openai/gpt-5-mini": {"input": 0.25, "cached": 0.025, "output": 2}, "openai/*": {…}}}
//
// Amounts are for a million tokens, as numbers or texts, with at most six places. A model's
// price is that of its name, else of the longest beginning. It fails with INVALID_ARGUMENT; a
// member that is not known is refused, because a mistyped price would be none.
func ParsePrices(raw []byte) (*Prices, error) {
	if len(raw) > MaxPricesBytes {
		return nil, status.Publicf(status.InvalidArgument, "prices of %d bytes exceed the limit of %d", len(raw), MaxPricesBytes)
	}
	var table struct {
		Currency string           `json:"currency"`
		Models   map[string]price `json:"models"`
	}
	if err := schema.Decode(raw, &table, schema.RefuseUnknown); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "prices: %w", err)
	}
	if !currencyName.MatchString(table.Currency) {
		return nil, status.Publicf(status.InvalidArgument, "prices: \"currency\": want three capital letters, such as \"USD\"")
	}
	if len(table.Models) > maxPrices {
		return nil, status.Publicf(status.InvalidArgument, "prices: %d models exceed the limit of %d", len(table.Models), maxPrices)
	}
	p := &Prices{currency: table.Currency, exact: map[string]price{}, begins: map[string]price{}}
	for pattern, cost := range table.Models {
		if err := cost.check(); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "prices: %q: %w", abi.Line(pattern, 80), err)
		}
		prefix, open := strings.CutSuffix(pattern, "*")
		switch {
		case pattern == "" || len(pattern) > maxPattern || strings.Contains(prefix, "*") || abi.Line(pattern, maxPattern) != pattern:
			return nil, status.Publicf(status.InvalidArgument, "prices: %q: want a model's name, or the beginning of names with one \"*\" at its end", abi.Line(pattern, 80))
		case open:
			p.begins[prefix] = cost
			if !slices.Contains(p.lengths, len(prefix)) {
				p.lengths = append(p.lengths, len(prefix))
			}
		default:
			p.exact[pattern] = cost
		}
	}
	slices.SortFunc(p.lengths, func(a, b int) int { return cmp.Compare(b, a) })
	return p, nil
}

func (c *price) check() error {
	if c.Input == nil || c.Output == nil {
		return status.Publicf(status.InvalidArgument, "want \"input\" and \"output\", and perhaps \"cached\"")
	}
	if c.Cached == nil {
		c.Cached = c.Input
	}
	for _, m := range []Money{*c.Input, *c.Output, *c.Cached} {
		if m > maxPrice {
			return status.Publicf(status.InvalidArgument, "a million tokens cost at most %s", Money(maxPrice))
		}
	}
	return nil
}

// Currency is the currency of all amounts; empty where there are no prices.
func (p *Prices) Currency() string {
	if p == nil {
		return ""
	}
	return p.currency
}

func (p *Prices) of(model string) (price, bool) {
	if p == nil {
		return price{}, false
	}
	if c, ok := p.exact[model]; ok {
		return c, true
	}
	for _, n := range p.lengths {
		if n <= len(model) {
			if c, ok := p.begins[model[:n]]; ok {
				return c, true
			}
		}
	}
	return price{}, false
}

// Has reports whether a model has a price.
func (p *Prices) Has(model string) bool {
	_, ok := p.of(model)
	return ok
}

// Cost is what a model call costs, rounded up to a millionth. Tokens of the total that are
// neither input nor output, which are a model's thoughts, cost as output. ok is false where
// that can't be known: the model has no price, or it answered and did not say what it used.
func (p *Prices) Cost(model string, use allowance.Use) (m Money, ok bool) {
	c, ok := p.of(model)
	if !ok || !use.Reported && use.Code == status.OK {
		return 0, false
	}
	cached := max(0, min(use.Cached, use.Input))
	output := max(use.Output, use.Total-use.Input)
	var high, low uint64
	for _, part := range []struct {
		tokens int64
		price  Money
	}{{use.Input - cached, *c.Input}, {cached, *c.Cached}, {output, *c.Output}} {
		h, l := bits.Mul64(uint64(max(0, part.tokens)), uint64(part.price)) //nolint:gosec // neither is negative
		var carry uint64
		low, carry = bits.Add64(low, l, 0)
		high, _ = bits.Add64(high, h, carry)
	}
	low, carry := bits.Add64(low, micros-1, 0) // rounded up
	if high += carry; high >= micros {
		return math.MaxInt64, true
	}
	n, _ := bits.Div64(high, low, micros)
	return Money(min(n, math.MaxInt64)), true //nolint:gosec // it fits
}
