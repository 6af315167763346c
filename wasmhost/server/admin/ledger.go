package admin

import (
	"fmt"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

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

// resets are the ends of the day and the month that count. After a clock went back the day need not be of the month. mu is held.
func (l *ledger) resets(now time.Time) (day, month time.Time) {
	began := func(form, text string) time.Time {
		if at, err := time.Parse(form, text); err == nil {
			return at
		}
		return now
	}
	y, m, d := began(time.DateOnly, l.spent.Day).Date()
	day = time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)
	y, m, _ = began(monthOnly, l.spent.Month).Date()
	return day, time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
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
