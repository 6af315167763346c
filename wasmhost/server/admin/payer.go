package admin

import (
	"context"
	"log/slog"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// payer is a tenant that pays for model calls, found by its name with each call.
type payer struct {
	of   *Tenants
	name string
}

// Payer returns the tenant as who pays for model calls, from its budget as it is set when a call
// begins. One that is not there pays nothing.
func (t *Tenants) Payer(name string) allowance.Payer { return payer{t, name} }

// May implements [allowance.Chooser].
func (p payer) May(_ context.Context, model string) error {
	r, _ := p.of.ledgerOf(p.name)
	if r == nil {
		return nil
	}
	return r.may(model)
}

func (r *record) may(model string) error {
	if r.State == Damaged {
		return r.damage()
	}
	if m := r.Budget.Models; len(m) > 0 && !policy.Matches(m, model) {
		return status.Publicf(status.PermissionDenied, "the tenant may not use the model %q", abi.Line(model, 120))
	}
	return nil
}

// Reserve implements [allowance.Payer]. It fails with PERMISSION_DENIED for a model that the
// tenant may not use, or that has no price where there is a budget of money, and with
// RESOURCE_EXHAUSTED, and when to come back, when a budget is used up, or reserved for calls
// under way.
func (p payer) Reserve(_ context.Context, model string) (func(allowance.Use), error) {
	r, l := p.of.ledgerOf(p.name)
	if r == nil {
		return func(allowance.Use) {}, nil
	}
	if err := r.may(model); err != nil {
		return nil, err
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

// ModelRate returns what is left of a tenant's model calls of a minute; false where they are not bounded.
func (t *Tenants) ModelRate(name string) (tenant.Rate, bool) {
	r, l := t.ledgerOf(name)
	if r == nil || r.Budget.ModelCallsPerMinute == 0 {
		return tenant.Rate{}, false
	}
	most := r.Budget.ModelCallsPerMinute
	now := t.now().UTC()
	l.mu.Lock()
	defer l.mu.Unlock()
	held := float64(most)
	if !l.filled.IsZero() {
		held = l.calls + max(0, now.Sub(l.filled).Seconds())*float64(most)/60
	}
	return tenant.RateAt(most, held), true
}

// Spent returns what a tenant has used of its budget; NOT_FOUND when there is none, DATA_LOSS when it is damaged.
func (t *Tenants) Spent(name string) (Spent, error) {
	r, l := t.ledgerOf(name)
	if r == nil {
		return Spent{}, noTenant(name)
	}
	if r.State == Damaged {
		return Spent{}, r.damage()
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
