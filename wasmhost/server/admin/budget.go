package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// Budget bounds the model calls of a tenant's requests and everything that these cause. A field
// that is 0, and no models, are no bound. Days and months are those of UTC.
type Budget struct {
	TokensPerDay   int64 `json:"tokensPerDay,omitempty"`
	TokensPerMonth int64 `json:"tokensPerMonth,omitempty"`
	// MoneyPerDay and MoneyPerMonth are in the currency of the server's prices. With one of
	// them, models that have no price can't be called.
	MoneyPerDay   usage.Money `json:"moneyPerDay,omitempty"`
	MoneyPerMonth usage.Money `json:"moneyPerMonth,omitempty"`

	ModelCallsPerMinute int64 `json:"modelCallsPerMinute,omitempty"`
	// Models are patterns of the models that may be called: "openai/gpt-5-mini", "openai/*".
	Models []string `json:"models,omitempty"`
}

// Spent is what a tenant has used of its budget.
type Spent struct {
	Day   Period `json:"day"`
	Month Period `json:"month"`
	// Money is absent where the server has no prices.
	Money *SpentMoney `json:"money,omitempty"`
}

// SpentMoney is what a tenant has spent on model calls that have a price.
type SpentMoney struct {
	Currency string      `json:"currency"`
	Day      MoneyPeriod `json:"day"`
	Month    MoneyPeriod `json:"month"`
}

// MoneyPeriod is a day or a month.
type MoneyPeriod struct {
	Spent    usage.Money `json:"spent"`
	Reserved usage.Money `json:"reserved"`        // kept free for calls under way
	Limit    usage.Money `json:"limit,omitempty"` // absent: none
	ResetsAt time.Time   `json:"resetsAt"`
}

// Period is a day or a month.
type Period struct {
	// Tokens are those that models have reported, Reserved those that are kept free for calls
	// under way.
	Tokens   int64     `json:"tokens"`
	Reserved int64     `json:"reserved"`
	Limit    int64     `json:"limit,omitempty"` // absent: none
	ResetsAt time.Time `json:"resetsAt"`
}

const (
	maxTokens         = 1 << 50
	maxCallsPerMinute = 1 << 30
	// minReserve is how many tokens are kept free for a call of a tenant whose calls were
	// smaller so far.
	minReserve = 1024
	// writeSpent is how often what was spent is written.
	writeSpent = 10 * time.Second
	// recentCalls is of how many calls the largest is kept free for the next one.
	recentCalls = 64
	// wrongClock is how far a clock may go back and the day that was begun still count; one
	// that goes back further was wrong before.
	wrongClock = 36 * time.Hour
	spentKind  = "spent"
)

func (b *Budget) check() error {
	for _, f := range []struct {
		name     string
		n, bound int64
	}{{"tokensPerDay", b.TokensPerDay, maxTokens}, {"tokensPerMonth", b.TokensPerMonth, maxTokens}, {"moneyPerDay", int64(b.MoneyPerDay), int64(usage.MaxMoney)}, {"moneyPerMonth", int64(b.MoneyPerMonth), int64(usage.MaxMoney)}, {"modelCallsPerMinute", b.ModelCallsPerMinute, maxCallsPerMinute}} {
		if f.n < 0 || f.n > f.bound {
			return status.Publicf(status.InvalidArgument, "tenant: \"budget.%s\" is %d, want 0 (not set) to %d", f.name, f.n, f.bound)
		}
	}
	raw, err := json.Marshal(policy.Policy{Grants: policy.Grants{Generate: b.Models}})
	if err == nil {
		_, err = policy.Parse(raw)
	}
	if err != nil {
		return status.Publicf(status.InvalidArgument, "tenant: \"budget.models\": %s", status.Convert(err).Message)
	}
	return nil
}

// spending is what a tenant has spent, as it is stored and counted.
type spending struct {
	ID          string      `json:"id"` // of the tenant
	Day         string      `json:"day"`
	Month       string      `json:"month"`
	DayTokens   int64       `json:"dayTokens"`
	MonthTokens int64       `json:"monthTokens"`
	Currency    string      `json:"currency,omitempty"` // of the amounts
	DayMoney    usage.Money `json:"dayMoney,omitempty"`
	MonthMoney  usage.Money `json:"monthMoney,omitempty"`
	// LostDay and LostMonth are those of which it is not known what was spent: until they
	// end, what has a limit is taken to be used up.
	LostDay   string `json:"lostDay,omitempty"`
	LostMonth string `json:"lostMonth,omitempty"`
}

// ledger counts what a tenant has spent.
type ledger struct {
	mu       sync.Mutex // guards the fields below
	spent    spending
	reserved amount
	recent   [recentCalls]amount // of the latest calls of this process
	next     int                 // of recent
	calls    float64
	filled   time.Time // when calls was brought up to date
	changed  bool
	revision string // of what is stored
}

// amount is what calls use.
type amount struct {
	tokens int64
	money  usage.Money
}

// largest is the most that one of the recent calls used. mu is held.
func (l *ledger) largest() (most amount) {
	for _, a := range l.recent {
		most.tokens, most.money = max(most.tokens, a.tokens), max(most.money, a.money)
	}
	return most
}

// payer is a tenant that pays for model calls, found by its name with each call.
type payer struct {
	of   *Tenants
	name string
}

// Payer returns the tenant as who pays for model calls, from its budget as it is set when a call
// begins. One that is not there pays nothing.
func (t *Tenants) Payer(name string) allowance.Payer { return payer{t, name} }

// Reserve implements [allowance.Payer]. It fails with PERMISSION_DENIED for a model that the
// tenant may not use, or that has no price where there is a budget of money, and with
// RESOURCE_EXHAUSTED, and when to come back, when a budget is used up, or reserved for calls
// under way.
func (p payer) Reserve(_ context.Context, model string) (func(allowance.Use), error) {
	r, l := p.of.ledgerOf(p.name)
	if r == nil {
		return func(allowance.Use) {}, nil
	}
	if m := r.Budget.Models; len(m) > 0 && !policy.Matches(m, model) {
		return nil, status.Publicf(status.PermissionDenied, "the tenant may not use the model %q", abi.Line(model, 120))
	}
	prices := p.of.config.Prices
	if (r.Budget.MoneyPerDay > 0 || r.Budget.MoneyPerMonth > 0) && !prices.Has(model) {
		return nil, status.Publicf(status.PermissionDenied, "the model %q has no price, and the tenant has a budget of money", abi.Line(model, 120))
	}
	now := p.of.now().UTC()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(r.ID, prices.Currency(), now)
	keep := l.largest()
	keep.tokens = max(minReserve, keep.tokens)
	if least, ok := prices.Cost(model, allowance.Use{Output: minReserve, Total: minReserve, Reported: true}); ok {
		keep.money = max(least, keep.money)
	}
	for _, part := range l.periods(&r.Budget, keep, now) {
		if err := part.admit(now); err != nil {
			return nil, err
		}
	}
	if err := l.takeCall(r.Budget.ModelCallsPerMinute, now); err != nil {
		return nil, err
	}
	l.reserved.tokens += keep.tokens
	l.reserved.money += keep.money
	var once sync.Once
	return func(use allowance.Use) {
		once.Do(func() {
			money, _ := prices.Cost(model, use)
			if use.Capped {
				p.of.log.Warn("a model has reported more tokens than its request can have caused, and the most that it can is counted",
					slog.String("tenant", p.name), slog.String("model", abi.Line(model, 120)), slog.Int64("tokens", use.Total))
			}
			l.settle(r.ID, prices.Currency(), keep, amount{max(0, use.Total), money}, p.of.now().UTC())
		})
	}, nil
}

// settle counts what a call has used, in the period in which it ends, and gives its
// reservation back.
func (l *ledger) settle(id, currency string, kept, used amount, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(id, currency, now)
	l.reserved.tokens -= kept.tokens
	l.reserved.money -= kept.money
	l.spent.DayTokens = min(l.spent.DayTokens+used.tokens, 2*maxTokens)
	l.spent.MonthTokens = min(l.spent.MonthTokens+used.tokens, 2*maxTokens)
	l.spent.DayMoney = l.spent.DayMoney.Plus(used.money)
	l.spent.MonthMoney = l.spent.MonthMoney.Plus(used.money)
	l.recent[l.next] = used
	l.next = (l.next + 1) % recentCalls
	l.changed = l.changed || used != amount{}
}

const monthOnly = "2006-01"

// turn begins a new day or month, or a new tenant. A clock that goes back begins none: what
// was spent stays counted. mu is held.
func (l *ledger) turn(id, currency string, now time.Time) {
	if l.spent.ID != id {
		l.spent = spending{ID: id}
	}
	if currency != "" && l.spent.Currency != currency { // amounts in another one can't be compared
		l.spent.Currency, l.spent.DayMoney, l.spent.MonthMoney = currency, 0, 0
		l.recent, l.reserved.money = [recentCalls]amount{}, 0
	}
	if day := now.Format(time.DateOnly); day > l.spent.Day {
		l.spent.Day, l.spent.DayTokens, l.spent.DayMoney, l.spent.LostDay = day, 0, 0, ""
	} else if began, err := time.Parse(time.DateOnly, l.spent.Day); err != nil || began.Sub(now) > wrongClock {
		l.spent.Day = day
	}
	if month := now.Format(monthOnly); month > l.spent.Month {
		l.spent.Month, l.spent.MonthTokens, l.spent.MonthMoney, l.spent.LostMonth = month, 0, 0, ""
	} else if began, err := time.Parse(monthOnly, l.spent.Month); err != nil || began.Sub(now) > wrongClock {
		l.spent.Month = month
	}
}

// period is a part of a budget: a number of tokens, or of millionths of money.
type period struct {
	budget               string // its name
	used, reserved, keep int64
	limit                int64
	lost                 bool // it is not known what was used
	resets               time.Time
	text                 func(int64) string // of the limit
}

// periods are the parts of a budget, for a call that keep is kept free for. mu is held.
func (l *ledger) periods(b *Budget, keep amount, now time.Time) []period {
	day, month := l.resets(now)
	lostDay, lostMonth := l.spent.LostDay != "", l.spent.LostMonth != ""
	tokens := func(unit string) func(int64) string {
		return func(n int64) string { return fmt.Sprintf("%d model tokens a %s", n, unit) }
	}
	money := func(unit string) func(int64) string {
		return func(n int64) string {
			return fmt.Sprintf("%s %s a %s for models", usage.Money(n), l.spent.Currency, unit)
		}
	}
	return []period{
		{"tokensPerDay", l.spent.DayTokens, l.reserved.tokens, keep.tokens, b.TokensPerDay, lostDay, day, tokens("day")},
		{"tokensPerMonth", l.spent.MonthTokens, l.reserved.tokens, keep.tokens, b.TokensPerMonth, lostMonth, month, tokens("month")},
		{"moneyPerDay", int64(l.spent.DayMoney), int64(l.reserved.money), int64(keep.money), int64(b.MoneyPerDay), lostDay, day, money("day")},
		{"moneyPerMonth", int64(l.spent.MonthMoney), int64(l.reserved.money), int64(keep.money), int64(b.MoneyPerMonth), lostMonth, month, money("month")},
	}
}

// resets are the ends of the day and the month that count. mu is held.
func (l *ledger) resets(now time.Time) (day, month time.Time) {
	began, err := time.Parse(time.DateOnly, l.spent.Day)
	if err != nil {
		began = now
	}
	y, m, d := began.Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC), time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
}

// admit refuses a call that the period has no room for. The first call is let in while
// anything is left, since nobody knows what it will take; others only where the rest is
// enough for them besides those under way. So no more than one call passes a budget, unless
// calls at the same time take more than any of those before them.
func (p period) admit(now time.Time) error {
	switch {
	case p.limit == 0:
		return nil
	case p.lost:
		return refused(p.budget, p.resets, p.resets.Sub(now), "what the tenant has used of its budget of %s is lost, so it counts as used up; it is free again at %s", p.text(p.limit), p.resets.Format(time.RFC3339))
	case p.used >= p.limit:
		return refused(p.budget, p.resets, p.resets.Sub(now), "the tenant has used its budget of %s; it is free again at %s", p.text(p.limit), p.resets.Format(time.RFC3339))
	case p.reserved > 0 && p.reserved+p.keep > p.limit-p.used:
		return refused(p.budget, now.Add(time.Second), time.Second, "what is left of the tenant's budget of %s is reserved for calls under way", p.text(p.limit))
	}
	return nil
}

func refused(budget string, free time.Time, wait time.Duration, format string, args ...any) error {
	return status.Publicf(status.ResourceExhausted, format, args...).WithRetryAfter(max(wait, time.Second)).
		WithDetails(map[string]any{"budget": budget, "freeAt": free.UTC().Truncate(time.Second)})
}

// takeCall counts a model call of this minute. mu is held.
func (l *ledger) takeCall(most int64, now time.Time) error {
	if most == 0 {
		l.filled = time.Time{}
		return nil
	}
	each := time.Minute / time.Duration(most)
	if l.filled.IsZero() {
		l.calls = float64(most)
	}
	l.calls = min(l.calls+max(0, now.Sub(l.filled).Seconds())*float64(most)/60, float64(most))
	l.filled = now
	if l.calls < 1 {
		wait := time.Duration((1 - l.calls) * float64(each))
		return refused("modelCallsPerMinute", now.Add(wait), wait, "the tenant has made its %d model calls a minute", most)
	}
	l.calls--
	return nil
}

// Spent returns what a tenant has used of its budget; NOT_FOUND when there is none.
func (t *Tenants) Spent(name string) (Spent, error) {
	r, l := t.ledgerOf(name)
	if r == nil {
		return Spent{}, noTenant(name)
	}
	now := t.now().UTC()
	l.mu.Lock()
	defer l.mu.Unlock()
	currency := t.config.Prices.Currency()
	l.turn(r.ID, currency, now)
	day, month := l.resets(now)
	spent := Spent{
		Day:   Period{l.spent.DayTokens, l.reserved.tokens, r.Budget.TokensPerDay, day},
		Month: Period{l.spent.MonthTokens, l.reserved.tokens, r.Budget.TokensPerMonth, month},
	}
	if currency != "" {
		spent.Money = &SpentMoney{
			Currency: currency,
			Day:      MoneyPeriod{l.spent.DayMoney, l.reserved.money, r.Budget.MoneyPerDay, day},
			Month:    MoneyPeriod{l.spent.MonthMoney, l.reserved.money, r.Budget.MoneyPerMonth, month},
		}
	}
	return spent, nil
}

// ledgerOf returns a tenant and its ledger; nil when there is no such tenant.
func (t *Tenants) ledgerOf(name string) (*record, *ledger) {
	t.mu.RLock()
	r, l := t.tenants[name], t.ledgers[name]
	t.mu.RUnlock()
	if r == nil || l != nil {
		return r, l
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ledgers[name] == nil {
		t.ledgers[name] = &ledger{}
	}
	return r, t.ledgers[name]
}
