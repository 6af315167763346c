package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// readSpent reads what was spent. Another tenant's is deleted. The accounts of the usage, where
// there are some, are written more often, and count where they say more.
//
// A record that is damaged is made anew of these accounts. Where there are none, or they do not go
// back far enough, or are damaged as well, the budget counts as used up until its period ends:
// counted from nothing, it would let a tenant spend it once more.
func (t *Tenants) readSpent(ctx context.Context) error {
	docs, err := t.store.List(ctx, spentKind)
	if err != nil {
		return err
	}
	kept := t.accounts(ctx)
	now := t.now().UTC()
	for _, d := range docs {
		r := t.tenants[d.Name]
		if r != nil && r.State == Damaged {
			continue // it is not known whose it is until the tenant can be read
		}
		l := &ledger{revision: d.Revision}
		err := d.Problem
		if err == nil {
			err = schema.Decode(d.Value, &l.spent, schema.RefuseUnknown)
		}
		if err == nil && r != nil && r.ID == l.spent.ID {
			t.ledgers[d.Name] = l
			continue
		}
		if err := t.store.Delete(ctx, spentKind, d.Name); err != nil {
			return err
		}
		if err == nil || r == nil {
			continue
		}
		l = &ledger{spent: spending{ID: r.ID}, changed: true}
		l.turn(r.ID, t.config.Prices.Currency(), now)
		day, month := kept.whole(r, now)
		if !day {
			l.spent.LostDay = l.spent.Day
		}
		if !month {
			l.spent.LostMonth = l.spent.Month
		}
		t.log.ErrorContext(ctx, "what a tenant has spent can't be read; it is counted anew from the accounts of the usage, or, where these don't have it all, as used up",
			slog.String("tenant", d.Name), slog.Bool("day_known", day), slog.Bool("month_known", month), slog.Any("error", err))
		t.ledgers[d.Name] = l
	}
	for name, r := range t.tenants {
		if r.State != Damaged {
			t.raise(name, r, kept, now)
		}
	}
	for name, l := range t.ledgers {
		if l.changed && l.revision == "" { // the damaged record is gone: what replaces it is stored before anything is spent
			if err := t.writeLedger(ctx, name, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// accounts are what the accounts of the usage know of this day and this month.
type accounts struct {
	day, month             map[string]usage.Sums // by the ID of the tenant
	wholeDay, wholeMonth   bool                  // nothing of them is damaged
	began                  time.Time             // of the accounts; zero where there are none
	startOfDay, startMonth time.Time
}

func (t *Tenants) accounts(ctx context.Context) (a accounts) {
	book := t.config.Usage
	if book == nil {
		return a
	}
	now := t.now().UTC()
	y, m, d := now.Date()
	a.startOfDay, a.startMonth = time.Date(y, m, d, 0, 0, 0, 0, time.UTC), time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	var err error
	if a.day, a.wholeDay, err = book.ModelCalls(ctx, a.startOfDay, now); err == nil {
		a.month, a.wholeMonth, err = book.ModelCalls(ctx, a.startMonth, now)
	}
	if err != nil {
		t.log.ErrorContext(ctx, "the accounts of the usage can't be read", slog.Any("error", err))
		return accounts{}
	}
	a.began = book.Began()
	return a
}

// whole reports whether the accounts have everything of a tenant, of this day and this month.
func (a *accounts) whole(r *record, _ time.Time) (day, month bool) {
	if a.began.IsZero() {
		return false, false
	}
	since := func(start time.Time) bool { return !a.began.After(start) || !a.began.After(r.CreatedAt) }
	return a.wholeDay && since(a.startOfDay), a.wholeMonth && since(a.startMonth)
}

// raise lets the accounts count where they say more than the record.
func (t *Tenants) raise(name string, r *record, a accounts, now time.Time) {
	day, month := a.day[r.ID], a.month[r.ID]
	if day.Tokens == 0 && month.Tokens == 0 {
		return
	}
	l := t.ledgers[name]
	if l == nil {
		l = &ledger{}
		t.ledgers[name] = l
	}
	currency := t.config.Prices.Currency()
	l.turn(r.ID, currency, now)
	was := l.spent
	if l.spent.Day == now.Format(time.DateOnly) {
		l.spent.DayTokens, l.spent.DayMoney = max(l.spent.DayTokens, day.Tokens), max(l.spent.DayMoney, day.Money[currency])
	}
	if l.spent.Month == now.Format(monthOnly) {
		l.spent.MonthTokens, l.spent.MonthMoney = max(l.spent.MonthTokens, month.Tokens), max(l.spent.MonthMoney, month.Money[currency])
	}
	l.changed = l.changed || was != l.spent
}

// anew makes a record for a damaged tenant, with its ID where that is known, and the ledger of what it has
// spent. What it has spent counts as its whole budget where that is damaged as well.
func (t *Tenants) anew(ctx context.Context, old *record, s Settings) (*record, *ledger, error) {
	r, l := fresh(old.Name, s), &ledger{}
	d, err := t.store.Get(ctx, spentKind, old.Name)
	if err == nil {
		err = schema.Decode(d.Value, &l.spent, schema.RefuseUnknown)
	} else if !errors.Is(err, status.ErrNotFound) && !errors.Is(err, status.ErrDataLoss) {
		return nil, nil, err
	}
	switch {
	case err == nil && l.spent.ID != "":
		r.ID, l.revision = l.spent.ID, d.Revision
		return r, l, nil
	case errors.Is(err, status.ErrNotFound): // it has spent nothing
	default:
		now := t.now().UTC()
		l = &ledger{spent: spending{ID: r.ID}, revision: d.Revision, changed: true}
		l.turn(r.ID, t.config.Prices.Currency(), now)
		l.spent.LostDay, l.spent.LostMonth = l.spent.Day, l.spent.Month
	}
	// A record of a later version is whole, and has an ID.
	var known struct {
		ID string `json:"id"`
	}
	if d, err := t.store.Get(ctx, TenantKind, old.Name); err == nil && json.Unmarshal(d.Value, &known) == nil && known.ID != "" {
		r.ID = known.ID
		if l.spent.ID != "" {
			l.spent.ID = known.ID
		}
	}
	return r, l, nil
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

// Flush stores what was spent since it was stored last.
func (t *Tenants) Flush(ctx context.Context) { t.writeSpent(ctx) }

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
	d, err := replace(ctx, t.store, Document{Kind: spentKind, Name: name, Revision: revision, Value: raw})
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
