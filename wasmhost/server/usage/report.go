package usage

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Query asks for sums.
type Query struct {
	// By are the groups: "day", "tenant", "kind", "module", "tool", "model", "flow". Those of
	// "tool", "model" and "flow" choose the calls of that kind, "module" those of modules. Empty
	// asks for the total alone.
	By []string
	// Since and Until are the first and the last day, in UTC; zero is today.
	Since, Until time.Time
	// Tenant, and TenantID, choose the calls of one tenant; empty is all. With the name alone it is
	// every tenant that ever had it.
	Tenant, TenantID string
}

// Report is the answer to a [Query].
type Report struct {
	By    []string `json:"by"`
	Since string   `json:"since"` // "2026-11-30"
	Until string   `json:"until"`
	// Rows are the groups, by their names; at most 1,000. Those of the least calls are summed up in
	// one that is marked "other".
	Rows  []Row `json:"rows"`
	Total Sums  `json:"total"`
	// Damaged are lines of the accounts that can't be read and are missing here.
	Damaged int `json:"damaged,omitempty"`
	// Sinks tells how the events are delivered; absent in what a tenant reads.
	Sinks []SinkReport `json:"sinks,omitempty"`
}

// Row are the sums of one group. The members that name it are those that the query has asked for.
type Row struct {
	group
	Sums
}

// group names a row.
type group struct {
	Day    string `json:"day,omitempty"`
	Tenant string `json:"tenant,omitempty"`
	Kind   Kind   `json:"kind,omitempty"`
	Module string `json:"module,omitempty"`
	Tool   string `json:"tool,omitempty"`
	Model  string `json:"model,omitempty"`
	Flow   string `json:"flow,omitempty"`
	// Other is set in the row of all groups that have none of their own.
	Other bool `json:"other,omitempty"`
}

const (
	maxReportRows = 1000
	maxReportDays = 400
	// maxGroups bounds the groups while they are summed up.
	maxGroups = 100_000
)

// ParseBy reads groups, separated by commas; INVALID_ARGUMENT for one that is not known or given
// twice.
func ParseBy(text string) ([]string, error) {
	by := []string{}
	if text == "" {
		return by, nil
	}
	for name := range strings.SplitSeq(text, ",") {
		if !slices.Contains([]string{"day", "tenant", "kind", "module", "tool", "model", "flow"}, name) || slices.Contains(by, name) {
			return nil, status.Publicf(status.InvalidArgument, "\"by\": %q: want day, tenant, kind, module, tool, model or flow, each once, with commas between", abi.Line(name, 40))
		}
		by = append(by, name)
	}
	return by, nil
}

// ParseDay reads a day: a date, "2026-11-30", or the first of so many days that end today, "7d"; empty
// is today. INVALID_ARGUMENT for what is neither, or more than 400 days.
func ParseDay(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return now.UTC(), nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok && digits(days) && len(days) <= 3 {
		n := 0
		for _, c := range days {
			n = n*10 + int(c-'0')
		}
		if n >= 1 && n <= maxReportDays {
			return now.UTC().AddDate(0, 0, 1-n), nil
		}
	} else if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	return time.Time{}, status.Publicf(status.InvalidArgument, "%q: want a date such as 2026-11-30, or 1d to %dd, the days up to today", abi.Line(text, 40), maxReportDays)
}

// Report sums up. It fails with INVALID_ARGUMENT for days that are more than 400 or end before they
// begin. It reads the files of the days, one after the other, and ends with ctx.
func (b *Book) Report(ctx context.Context, q Query) (Report, error) {
	now := b.now().UTC()
	if q.Since.IsZero() {
		q.Since = now
	}
	if q.Until.IsZero() {
		q.Until = now
	}
	r := Report{By: slices.Clone(q.By), Since: q.Since.UTC().Format(time.DateOnly), Until: q.Until.UTC().Format(time.DateOnly), Rows: []Row{}}
	if r.By == nil {
		r.By = []string{}
	}
	groups := map[group]*Sums{}
	damaged, err := b.each(ctx, q.Since, q.Until, func(date string, k *rowKey, s *Sums) {
		if !q.wants(k) {
			return
		}
		r.Total.Add(s)
		if len(q.By) == 0 {
			return
		}
		g := q.groupOf(date, k)
		sums := groups[g]
		if sums == nil {
			if len(groups) >= maxGroups {
				g = group{Other: true}
			}
			if sums = groups[g]; sums == nil {
				sums = &Sums{}
				groups[g] = sums
			}
		}
		sums.Add(s)
	})
	if err != nil {
		return Report{}, err
	}
	r.Damaged = damaged
	r.Rows = rowsOf(groups)
	return r, nil
}

func (q *Query) wants(k *rowKey) bool {
	if q.Tenant != "" && k.Tenant != q.Tenant || q.TenantID != "" && k.TenantID != q.TenantID {
		return false
	}
	chosen, any := false, false
	for _, by := range q.By {
		switch by {
		case "tool", "model", "flow":
			any, chosen = true, chosen || string(k.Kind) == by
		case "module":
			any, chosen = true, chosen || k.Kind.ofModule()
		}
	}
	return chosen || !any
}

func (q *Query) groupOf(date string, k *rowKey) (g group) {
	for _, by := range q.By {
		switch by {
		case "day":
			g.Day = date
		case "tenant":
			g.Tenant = k.Tenant
		case "kind":
			g.Kind = k.Kind
		case "module":
			if k.Kind.ofModule() {
				g.Module, _, _ = strings.Cut(k.Name, "/")
			}
		case "tool":
			if k.Kind == Tool {
				g.Tool = k.Name
			}
		case "model":
			if k.Kind == Model {
				g.Model = k.Name
			}
		case "flow":
			if k.Kind == Flow {
				g.Flow = k.Name
			}
		}
	}
	return g
}

// rowsOf sorts the groups by their names. Those of the least calls beyond the bound are one row.
func rowsOf(groups map[group]*Sums) []Row {
	rows := make([]Row, 0, len(groups))
	for g, s := range groups {
		rows = append(rows, Row{g, *s})
	}
	if len(rows) > maxReportRows {
		slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(b.Calls, a.Calls) })
		other := Row{group: group{Other: true}}
		for i := maxReportRows - 1; i < len(rows); i++ {
			other.Add(&rows[i].Sums)
		}
		rows = append(rows[:maxReportRows-1], other)
	}
	slices.SortFunc(rows, func(a, b Row) int {
		if a.Other != b.Other {
			if a.Other {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Module, b.Module),
			cmp.Compare(a.Tool, b.Tool), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Flow, b.Flow))
	})
	return rows
}

// each calls fn with the sums of each row of the days, in their order.
func (b *Book) each(ctx context.Context, since, until time.Time, fn func(date string, k *rowKey, s *Sums)) (damaged int, err error) {
	first, last := numberOf(since.UTC()), numberOf(until.UTC())
	if last < first || last-first >= maxReportDays {
		return 0, status.Publicf(status.InvalidArgument, "usage: want the last day not before the first, and at most %d of them", maxReportDays)
	}
	for number := first; number <= last; number++ {
		if err := ctx.Err(); err != nil {
			return 0, status.Convert(err)
		}
		rows, lines, err := b.rowsOn(number)
		if err != nil {
			return 0, err
		}
		damaged += lines
		for i := range rows {
			fn(dateOf(number), &rows[i].rowKey, &rows[i].Sums)
		}
	}
	return damaged, nil
}

// rowsOn returns the rows of a day.
func (b *Book) rowsOn(number int64) ([]row, int, error) {
	b.io.Lock()
	defer b.io.Unlock()
	b.mu.Lock()
	d := b.days[number]
	b.mu.Unlock()
	if d == nil {
		if b.store == nil {
			return nil, 0, nil
		}
		rows, _, damaged, _, err := readDay(b.store, number)
		if errors.Is(err, status.ErrDataLoss) {
			err = nil
		}
		if err != nil {
			return nil, 0, storedir.Problem("read the usage of "+dateOf(number), err)
		}
		return rows, damaged, nil
	}
	if err := b.load(d); err != nil {
		return nil, 0, storedir.Problem("read the usage of "+dateOf(number), err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	rows := make([]row, 0, len(d.rows))
	for _, r := range d.rows {
		rows = append(rows, row{rowKey: r.rowKey, Sums: r.clone()})
	}
	return rows, d.damaged, nil
}

// ModelCalls returns the sums of the model calls of some days by the ID of their tenant, and whether
// nothing of these days is damaged.
func (b *Book) ModelCalls(ctx context.Context, since, until time.Time) (byTenant map[string]Sums, whole bool, err error) {
	byTenant = map[string]Sums{}
	damaged, err := b.each(ctx, since, until, func(_ string, k *rowKey, s *Sums) {
		if k.Kind == Model {
			sums := byTenant[k.TenantID]
			sums.Add(s)
			byTenant[k.TenantID] = sums
		}
	})
	return byTenant, damaged == 0, err
}

// Sinks tells how the events are delivered; nil where there are no sinks.
func (b *Book) Sinks() []SinkReport {
	if b.hub == nil {
		return nil
	}
	return b.hub.reports()
}

// Totals returns what was counted since the book was opened, a row for each tenant and kind, in no order. No
// number of a row is smaller than it was in an earlier answer, unless its tenant was forgotten. What
// [Book.Forget] has taken away, and what is beyond 65,536 rows, is in rows without a tenant.
func (b *Book) Totals() []Row {
	b.mu.Lock()
	defer b.mu.Unlock()
	rows := make([]Row, 0, len(b.totals))
	for key, s := range b.totals {
		rows = append(rows, Row{group: group{Tenant: key.tenant, Kind: key.kind}, Sums: s.clone()})
	}
	return rows
}
