package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	accounts "github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

func (a *app) usageCommand() *cobra.Command {
	var tenant, by, since, until string
	cmd := &cobra.Command{
		Use: "usage", Short: "Show what calls have used, and what models have cost", Args: cobra.NoArgs,
		Long: "Usage sums up the calls of some days, which are those of UTC. With --tenant they are a tenant's, for a key with the scope read; " +
			"without it those of all tenants, for one with the scope admin.\n\n" +
			"The groups of --by are day, tenant, kind, module, tool, model and flow, with commas between. Those of tool, model and flow choose the calls of " +
			"that kind, and module those of modules.",
		Example: "  genkit-wasm usage --tenant acme --by tool --since 7d\n  genkit-wasm usage --by tenant,model --since 2026-11-01 --until 2026-11-30\n  genkit-wasm usage --by day --since 30d -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			for name, value := range map[string]string{"by": by, "since": since, "until": until} {
				if value != "" {
					query.Set(name, value)
				}
			}
			r := request{method: http.MethodGet, path: "/usage", server: true, query: query}
			if tenant != "" {
				r.path = tenantPath(tenant) + "/usage/report"
			}
			raw, err := a.call(cmd.Context(), r)
			if err != nil {
				return a.tenantHint(err)
			}
			if a.json() {
				return a.printJSON(raw)
			}
			var report accounts.Report
			if err := json.Unmarshal(raw, &report); err != nil {
				return fmt.Errorf("the server's answer is not a report: %w", err)
			}
			return a.showReport(&report)
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "the `NAME` of a tenant (default: all of them)")
	cmd.Flags().StringVar(&by, "by", "kind", "the groups; empty is the total alone")
	cmd.Flags().StringVar(&since, "since", "", "the first day: a `DATE` such as 2026-11-30, or 7d, the days up to today (default: today)")
	cmd.Flags().StringVar(&until, "until", "", "the last day, a `DATE` (default: today)")
	completeFlag(cmd, "tenant", a.tenants())
	completeFlag(cmd, "by", groups)
	a.operatorFlags(cmd)
	return cmd
}

// showReport prints a row for each group, and the total.
func (a *app) showReport(r *accounts.Report) error {
	var heading []string
	for _, by := range r.By {
		heading = append(heading, strings.ToUpper(by))
	}
	if len(heading) == 0 {
		heading = []string{""}
	}
	heading = append(heading, "CALLS", "FAILED", "FUEL", "TIME", "PEAK MEMORY", "EGRESS", "TOKENS IN", "TOKENS OUT", "COST")
	rows := make([][]string, 0, len(r.Rows)+1)
	for i := range r.Rows {
		rows = append(rows, append(groupOf(r.By, &r.Rows[i]), numbersOf(&r.Rows[i].Sums)...))
	}
	total := make([]string, max(1, len(r.By)))
	total[0] = "total"
	rows = append(rows, append(total, numbersOf(&r.Total)...))
	if r.Damaged > 0 {
		a.note("%s %d lines of the accounts are damaged and are missing here", colour(a.err, yellow, "problem:"), r.Damaged)
	}
	for _, s := range r.Sinks {
		if s.Failing || s.Dropped > 0 || s.Refused > 0 {
			a.note("%s the sink %s: %d events wait, %d were dropped, %d refused", colour(a.err, yellow, "problem:"), s.Name, s.Queued, s.Dropped, s.Refused)
		}
	}
	return a.table(strings.Join(heading, "\t"), rows)
}

func groupOf(by []string, r *accounts.Row) []string {
	names := map[string]string{"day": r.Day, "tenant": r.Tenant, "kind": string(r.Kind), "module": r.Module, "tool": r.Tool, "model": r.Model, "flow": r.Flow}
	cells := make([]string, max(1, len(by)))
	for i, name := range by {
		cells[i] = orDash(names[name])
	}
	if r.Other {
		cells[0] = accounts.Other
	}
	return cells
}

func numbersOf(s *accounts.Sums) []string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	return []string{
		number(s.Calls), number(s.Failures), number(s.Fuel), s.WallNS.Round(time.Microsecond).String(), size(int(s.PeakMemoryBytes)), size(int(s.EgressBytes)),
		number(s.InputTokens), number(s.OutputTokens), costOf(s),
	}
}

// costOf writes amounts, and how many calls are missing in them.
func costOf(s *accounts.Sums) string {
	var parts []string
	for _, currency := range slices.Sorted(maps.Keys(s.Money)) {
		parts = append(parts, s.Money[currency].String()+" "+currency)
	}
	if s.Unpriced > 0 {
		parts = append(parts, fmt.Sprintf("%d calls without a price", s.Unpriced))
	}
	return orDash(strings.Join(parts, ", "))
}
