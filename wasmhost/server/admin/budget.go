package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// Budget bounds the model calls of a tenant's requests and everything that these cause. A field
// that is 0, and no models, are no bound. Days and months are those of UTC.
type Budget struct {
	TokensPerDay        int64 `json:"tokensPerDay,omitempty"`
	TokensPerMonth      int64 `json:"tokensPerMonth,omitempty"`
	ModelCallsPerMinute int64 `json:"modelCallsPerMinute,omitempty"`
	// Models are patterns of the models that may be called: "openai/gpt-5-mini", "openai/*".
	Models []string `json:"models,omitempty"`
}

// Spent is what a tenant has used of its budget.
type Spent struct {
	Day   Period `json:"day"`
	Month Period `json:"month"`
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
	spentKind  = "spent"
)

func (b *Budget) check() error {
	for _, f := range []struct {
		name     string
		n, bound int64
	}{{"tokensPerDay", b.TokensPerDay, maxTokens}, {"tokensPerMonth", b.TokensPerMonth, maxTokens}, {"modelCallsPerMinute", b.ModelCallsPerMinute, maxCallsPerMinute}} {
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
	ID          string `json:"id"` // of the tenant
	Day         string `json:"day"`
	Month       string `json:"month"`
	DayTokens   int64  `json:"dayTokens"`
	MonthTokens int64  `json:"monthTokens"`
}

// ledger counts what a tenant has spent.
type ledger struct {
	mu       sync.Mutex // guards the fields below
	spent    spending
	reserved int64
	largest  int64 // of the calls of this process
	calls    float64
	filled   time.Time // when calls was brought up to date
	changed  bool
	revision string // of what is stored
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
// tenant may not use and with RESOURCE_EXHAUSTED, and when to come back, when its budget is
// used up, or reserved for calls under way.
func (p payer) Reserve(_ context.Context, model string) (func(int64), error) {
	r, l := p.of.ledgerOf(p.name)
	if r == nil {
		return func(int64) {}, nil
	}
	if m := r.Budget.Models; len(m) > 0 && !policy.Matches(m, model) {
		return nil, status.Publicf(status.PermissionDenied, "the tenant may not use the model %q", abi.Line(model, 120))
	}
	now := p.of.now().UTC()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(r.ID, now)
	keep := max(minReserve, l.largest)
	for _, part := range l.periods(&r.Budget, now) {
		if err := part.admit(keep, now); err != nil {
			return nil, err
		}
	}
	if err := l.takeCall(r.Budget.ModelCallsPerMinute, now); err != nil {
		return nil, err
	}
	l.reserved += keep
	var once sync.Once
	return func(tokens int64) {
		once.Do(func() { l.settle(r.ID, keep, max(0, tokens), p.of.now().UTC()) })
	}, nil
}

// settle counts what a call has used, in the period in which it ends, and gives its
// reservation back.
func (l *ledger) settle(id string, kept, tokens int64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(id, now)
	l.reserved -= kept
	l.spent.DayTokens += tokens
	l.spent.MonthTokens += tokens
	l.largest = max(l.largest, tokens)
	l.changed = l.changed || tokens > 0
}

// turn begins a new day or month, or a new tenant. mu is held.
func (l *ledger) turn(id string, now time.Time) {
	if l.spent.ID != id {
		l.spent = spending{ID: id}
	}
	if day := now.Format(time.DateOnly); l.spent.Day != day {
		l.spent.Day, l.spent.DayTokens = day, 0
	}
	if month := now.Format("2006-01"); l.spent.Month != month {
		l.spent.Month, l.spent.MonthTokens = month, 0
	}
}

// period is a part of a budget.
type period struct {
	Period
	name string // of the budget
}

// periods are the two parts of a budget. mu is held.
func (l *ledger) periods(b *Budget, now time.Time) []period {
	y, m, d := now.Date()
	return []period{
		{Period{l.spent.DayTokens, l.reserved, b.TokensPerDay, time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)}, "tokensPerDay"},
		{Period{l.spent.MonthTokens, l.reserved, b.TokensPerMonth, time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)}, "tokensPerMonth"},
	}
}

// admit refuses a call that the period has no room for. The first call is let in while
// anything is left, since nobody knows what it will take; others only where the rest is
// enough for them besides those under way. So no more than one call passes a budget, unless
// calls at the same time take more than any before them.
func (p period) admit(keep int64, now time.Time) error {
	switch {
	case p.Limit == 0:
		return nil
	case p.Tokens >= p.Limit:
		return refused(p.name, p.ResetsAt, p.ResetsAt.Sub(now), "the tenant has used its budget of %d model tokens a %s; it is free again at %s", p.Limit, p.unit(), p.ResetsAt.Format(time.RFC3339))
	case p.Reserved > 0 && p.Tokens+p.Reserved+keep > p.Limit:
		return refused(p.name, now.Add(time.Second), time.Second, "what is left of the tenant's budget of %d model tokens a %s is reserved for calls under way", p.Limit, p.unit())
	}
	return nil
}

func (p period) unit() string {
	if p.name == "tokensPerDay" {
		return "day"
	}
	return "month"
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
	l.turn(r.ID, now)
	p := l.periods(&r.Budget, now)
	return Spent{p[0].Period, p[1].Period}, nil
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

// readSpent reads what was spent. What is damaged, or another tenant's, is forgotten.
func (t *Tenants) readSpent(ctx context.Context) error {
	docs, err := t.store.List(ctx, spentKind)
	if err != nil {
		return err
	}
	for _, d := range docs {
		l := &ledger{revision: d.Revision}
		r := t.tenants[d.Name]
		err := d.Problem
		if err == nil {
			err = schema.Decode(d.Value, &l.spent, schema.RefuseUnknown)
		}
		if err == nil && r != nil && r.ID == l.spent.ID {
			t.ledgers[d.Name] = l
			continue
		}
		if err != nil {
			t.log.ErrorContext(ctx, "what a tenant has spent can't be read, and is counted from nothing", slog.String("tenant", d.Name), slog.Any("error", err))
		}
		if err := t.store.Delete(ctx, spentKind, d.Name); err != nil {
			return err
		}
	}
	return nil
}

// keepSpent writes now and then what was spent, and once more at the end.
func (t *Tenants) keepSpent(ctx context.Context) {
	for pause(ctx, writeSpent) {
		t.writeSpent(ctx)
	}
	t.writeSpent(context.WithoutCancel(ctx))
}

func (t *Tenants) writeSpent(ctx context.Context) {
	t.mu.RLock()
	all := maps.Clone(t.ledgers)
	t.mu.RUnlock()
	for name, l := range all {
		if err := t.writeLedger(ctx, name, l); err != nil {
			t.log.WarnContext(ctx, "what a tenant has spent can't be stored yet", slog.String("tenant", name), slog.Any("error", err))
		}
	}
}

func (t *Tenants) writeLedger(ctx context.Context, name string, l *ledger) error {
	l.mu.Lock()
	if !l.changed {
		l.mu.Unlock()
		return nil
	}
	spent, revision := l.spent, l.revision
	l.changed = false
	l.mu.Unlock()
	defer t.changes.lock(name)() // not while the tenant is being deleted
	t.mu.RLock()
	r := t.tenants[name]
	gone := r == nil || r.ID != spent.ID || t.ledgers[name] != l
	t.mu.RUnlock()
	if gone {
		return nil
	}
	raw, err := rawjson.Encode(spent)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	d, err := t.store.Put(ctx, Document{Kind: spentKind, Name: name, Revision: revision, Value: raw})
	if errors.Is(err, status.ErrAborted) { // an earlier write was stored, although it failed
		if stored, getErr := t.store.Get(ctx, spentKind, name); getErr == nil {
			d, err = t.store.Put(ctx, Document{Kind: spentKind, Name: name, Revision: stored.Revision, Value: raw})
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.changed = true
		return err
	}
	l.revision = d.Revision
	return nil
}
