package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
)

func (a *app) tenantCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tenant", Short: "Create, change, suspend and delete a server's tenants", Args: cobra.NoArgs,
		Long: "Tenant changes who a server has modules for. A tenant's settings tighten the server's: limits of its modules, the grants that " +
			"their policies may make, a quota for its calls. Where the server was started with --auth this takes a key with the scope admin.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.tenantCreateCommand(), a.tenantListCommand(), a.tenantShowCommand(), a.tenantSetCommand(),
		a.tenantSuspendCommand(), a.tenantResumeCommand(), a.tenantRepairCommand(), a.tenantRemoveCommand(), a.tenantOperationsCommand(),
	)
	for _, c := range cmd.Commands() {
		c.Args = a.usageArgs(c.Args)
		a.operatorFlags(c)
	}
	return cmd
}

// operatorFlags adds --server and --profile to a command that is about no tenant's own.
func (a *app) operatorFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.server, "server", cmp.Or(os.Getenv(serverEnv), defaultServer), "the server's URL")
	a.profileFlag(cmd)
}

func tenantPath(name string) string { return "/tenants/" + url.PathEscape(name) }

// tenantRequest makes a call whose answer is a tenant.
func (a *app) tenantRequest(ctx context.Context, r request) (t admin.Tenant, raw json.RawMessage, err error) {
	r.server = true
	if raw, err = a.call(ctx, r); err != nil {
		return t, nil, a.tenantHint(err)
	}
	if err := json.Unmarshal(raw, &t); err != nil {
		return t, nil, fmt.Errorf("the server's answer is not a tenant: %w", err)
	}
	return t, raw, nil
}

// tenantHint gives failures about tenants their advice.
func (a *app) tenantHint(err error) error {
	f, ok := errors.AsType[*failure](err)
	if ok && f.code == status.NotFound.String() && f.details != nil {
		f.hint = "\"genkit-wasm tenant ls\" lists the tenants"
	}
	return err
}

// showTenant prints a tenant: as JSON where that is asked for, else one line.
func (a *app) showTenant(raw json.RawMessage, t admin.Tenant, line string) error {
	if a.json() {
		return a.printJSON(raw)
	}
	if t.Problem != "" {
		a.note("%s %s", colour(a.err, yellow, "problem:"), t.Problem)
	}
	return a.line("%s", line)
}

// settingsFlags are the flags for a tenant's settings.
type settingsFlags struct {
	displayName, group, limits, grants, quota, budget string
	labels                                            []string
}

func (f *settingsFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.displayName, "display-name", "", "a name for people")
	flags.StringArrayVar(&f.labels, "label", nil, "a label of your own, `NAME=VALUE`; NAME= removes it; may be given again")
	flags.StringVar(&f.limits, "limits", "", "limits of each of its modules, `JSON` or @FILE, such as {\"timeoutMs\":1000}; they tighten the server's")
	flags.StringVar(&f.grants, "grants", "", "the most that its policies may grant, `JSON` or @FILE, such as {\"kv\":true}, within the server's")
	flags.StringVar(&f.quota, "quota", "", "what its calls may take together, `JSON` or @FILE, such as {\"concurrency\":16,\"callsPerMinute\":600}")
	flags.StringVar(&f.budget, "budget", "", "what its model calls may take, `JSON` or @FILE, such as {\"tokensPerDay\":1000000,\"moneyPerMonth\":\"50\",\"modelCallsPerMinute\":60,\"models\":[\"openai/*\"]}")
	flags.StringVar(&f.group, "group", "", "tenants of one group trust each other and may share a worker process")
}

// patch is what the flags that were given change, as a merge patch.
func (a *app) patch(cmd *cobra.Command, f *settingsFlags) (map[string]any, error) {
	patch := map[string]any{}
	for name, text := range map[string]string{"displayName": f.displayName, "group": f.group} {
		flag := map[string]string{"displayName": "display-name", "group": "group"}[name]
		if cmd.Flags().Changed(flag) {
			if patch[name] = text; text == "" {
				patch[name] = nil
			}
		}
	}
	for name, text := range map[string]string{"limits": f.limits, "grants": f.grants, "quota": f.quota, "budget": f.budget} {
		if !cmd.Flags().Changed(name) {
			continue
		}
		if text == "" {
			text = "null"
		}
		raw, err := a.jsonValue(name, text)
		if err != nil {
			return nil, err
		}
		patch[name] = raw
	}
	labels := map[string]any{}
	for _, label := range f.labels {
		name, value, found := strings.Cut(label, "=")
		if !found || name == "" {
			return nil, usagef("--label is %q, want NAME=VALUE", label)
		}
		if labels[name] = value; value == "" {
			labels[name] = nil
		}
	}
	if len(labels) > 0 {
		patch["labels"] = labels
	}
	return patch, nil
}

func (a *app) tenantCreateCommand() *cobra.Command {
	f := &settingsFlags{}
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create a tenant", Args: cobra.ExactArgs(1),
		Long: "Create makes a tenant, which runs at once. Settings that are not given are the server's.\n\n" +
			"  genkit-wasm tenant create acme --quota '{\"concurrency\":16,\"callsPerMinute\":600}' --grants '{\"kv\":true}'",
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := a.patch(cmd, f)
			if err != nil {
				return err
			}
			maps.DeleteFunc(body, func(_ string, v any) bool { return v == nil })
			body["name"] = args[0]
			t, raw, err := a.tenantRequest(cmd.Context(), jsonRequest(http.MethodPost, "/tenants", body))
			if err != nil {
				return err
			}
			return a.showTenant(raw, t, "tenant "+t.Name+" is created")
		},
	}
	f.add(cmd)
	return cmd
}

// jsonRequest is a request to the server itself with a JSON body. What it marshals can't fail.
func jsonRequest(method, path string, value any) request {
	body, _ := json.Marshal(value)
	return request{method: method, path: path, body: bytes.NewReader(body), length: int64(len(body)), kind: "application/json"}
}

// listAll reads all pages of a list of the server.
func listAll[T any](ctx context.Context, a *app, path, member string) ([]T, error) {
	all := []T{}
	for query := (url.Values{"limit": {"1000"}}); ; {
		raw, err := a.call(ctx, request{method: http.MethodGet, path: path, server: true, query: query})
		if err != nil {
			return nil, err
		}
		var page map[string]json.RawMessage
		var items []T
		cursor := ""
		err = json.Unmarshal(raw, &page)
		if err == nil {
			err = json.Unmarshal(page[member], &items)
		}
		if err == nil && page["cursor"] != nil {
			err = json.Unmarshal(page["cursor"], &cursor)
		}
		if err != nil {
			return nil, fmt.Errorf("the server's answer is not a list of %s: %w", member, err)
		}
		all = append(all, items...)
		if cursor == "" || len(items) == 0 {
			return all, nil
		}
		query.Set("cursor", cursor)
	}
}

func (a *app) tenantListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the tenants", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := listAll[json.RawMessage](cmd.Context(), a, "/tenants", "tenants")
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]any{"tenants": all})
			}
			rows := make([][]string, len(all))
			for i, raw := range all {
				var t admin.Tenant
				if err := json.Unmarshal(raw, &t); err != nil {
					return fmt.Errorf("the server's answer is not a list of tenants: %w", err)
				}
				state := string(t.State)
				if t.Problem != "" {
					state += ", problem: " + t.Problem
				}
				rows[i] = []string{t.Name, orDash(t.DisplayName), shortTime(t.CreatedAt), own(&t), state}
			}
			return a.table("NAME\tDISPLAY NAME\tCREATED\tOWN SETTINGS\tSTATE", rows)
		},
	}
}

// own names the settings that differ from the server's.
func own(t *admin.Tenant) string {
	var parts []string
	for _, p := range []struct {
		name  string
		value any
	}{{"limits", t.Limits}, {"grants", t.Grants}, {"quota", t.Quota}, {"budget", t.Budget}} {
		raw, _ := json.Marshal(p.value)
		if text := string(raw); text != "{}" && text != "null" {
			parts = append(parts, p.name)
		}
	}
	if t.Group != "" {
		parts = append(parts, "group "+t.Group)
	}
	return orDash(strings.Join(parts, ", "))
}

func (a *app) tenantShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a tenant and its settings", Args: cobra.ExactArgs(1), ValidArgsFunction: firstOnly(a.tenants()),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, raw, err := a.tenantRequest(cmd.Context(), request{method: http.MethodGet, path: tenantPath(args[0])})
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(raw)
			}
			rows := [][]string{{"state", string(t.State)}}
			add := func(name, value string) {
				if value != "" && value != "{}" && value != "null" {
					rows = append(rows, []string{name, value})
				}
			}
			add("display name", t.DisplayName)
			for _, name := range slices.Sorted(maps.Keys(t.Labels)) {
				add("label "+name, t.Labels[name])
			}
			for _, p := range []struct {
				name  string
				value any
			}{{"limits", t.Limits}, {"grants", t.Grants}, {"quota", t.Quota}, {"budget", t.Budget}} {
				text, _ := json.Marshal(p.value)
				add(p.name, string(text))
			}
			var spent admin.Spent
			if raw, err := a.call(cmd.Context(), request{method: http.MethodGet, path: tenantPath(args[0]) + "/budget", server: true}); err == nil && json.Unmarshal(raw, &spent) == nil {
				add("tokens today", tokens(spent.Day))
				add("tokens this month", tokens(spent.Month))
				if m := spent.Money; m != nil {
					add("money today", money(m.Day, m.Currency))
					add("money this month", money(m.Month, m.Currency))
				}
			}
			add("group", t.Group)
			add("created", shortTime(t.CreatedAt))
			add("changed", shortTime(t.UpdatedAt))
			add("operation", t.Operation)
			add("problem", t.Problem)
			return a.table("TENANT\t"+t.Name, rows)
		},
	}
}

// tokens writes what was used of a period, and of how much.
func tokens(p admin.Period) string {
	if p.Limit == 0 {
		return strconv.FormatInt(p.Tokens, 10)
	}
	return fmt.Sprintf("%d of %d", p.Tokens, p.Limit)
}

// money writes what was spent in a period, and of how much.
func money(p admin.MoneyPeriod, currency string) string {
	if p.Limit == 0 {
		return fmt.Sprintf("%s %s", p.Spent, currency)
	}
	return fmt.Sprintf("%s of %s %s", p.Spent, p.Limit, currency)
}

func (a *app) tenantSetCommand() *cobra.Command {
	f := &settingsFlags{}
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Change a tenant's settings", Args: cobra.ExactArgs(1), ValidArgsFunction: firstOnly(a.tenants()),
		Long: "Set changes the settings that are given and leaves the others. Objects are merged: a member that is null goes, and an empty text " +
			"takes a setting away.\n\n" +
			"  genkit-wasm tenant set acme --quota '{\"callsPerMinute\":60,\"concurrency\":null}' --label plan=gold --grants ''",
		RunE: func(cmd *cobra.Command, args []string) error {
			patch, err := a.patch(cmd, f)
			if err != nil {
				return err
			}
			if len(patch) == 0 {
				return usagef("say what to change, such as --quota or --limits")
			}
			r := jsonRequest(http.MethodPatch, tenantPath(args[0]), patch)
			r.ifMatch = "*" // members are merged: those of others stay
			t, raw, err := a.tenantRequest(cmd.Context(), r)
			if err != nil {
				return err
			}
			return a.showTenant(raw, t, "tenant "+t.Name+" is changed")
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) tenantSuspendCommand() *cobra.Command {
	return &cobra.Command{
		Use: "suspend NAME", Short: "Let nothing of a tenant run", Args: cobra.ExactArgs(1), ValidArgsFunction: firstOnly(a.tenants()),
		Long: "Suspend ends the calls of a tenant and refuses others, and uploads, until it is resumed. What it has stored stays.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.enterState(cmd, args[0], "suspend", "suspended")
		},
	}
}

func (a *app) tenantResumeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume NAME", Short: "Let a suspended tenant run again", Args: cobra.ExactArgs(1), ValidArgsFunction: firstOnly(a.tenants()),
		RunE: func(cmd *cobra.Command, args []string) error { return a.enterState(cmd, args[0], "resume", "active") },
	}
}

func (a *app) tenantRepairCommand() *cobra.Command {
	f := &settingsFlags{}
	cmd := &cobra.Command{
		Use: "repair NAME", Short: "Write a damaged tenant's record anew", Args: cobra.ExactArgs(1), ValidArgsFunction: firstOnly(a.tenants()),
		Long: "Repair is for a tenant whose record can't be read (\"tenant ls\" shows it as damaged). Its modules and what they have stored are kept. " +
			"Its settings are those that are given, and without any those of the server's start (--tenant-quota), since the old ones are lost: give its limits, " +
			"grants, quota and budget again. Where its ID is lost with the record its secrets have to be set again.\n\n" +
			"  genkit-wasm tenant repair acme --quota '{\"concurrency\":16}' --budget '{\"tokensPerDay\":1000000}'",
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, err := a.patch(cmd, f)
			if err != nil {
				return err
			}
			maps.DeleteFunc(settings, func(_ string, v any) bool { return v == nil })
			r := request{method: http.MethodPost, path: tenantPath(args[0]) + "/repair"}
			if len(settings) > 0 {
				r = jsonRequest(http.MethodPost, r.path, settings)
			}
			t, raw, err := a.tenantRequest(cmd.Context(), r)
			if err != nil {
				return err
			}
			return a.showTenant(raw, t, "tenant "+t.Name+" is repaired")
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) enterState(cmd *cobra.Command, name, verb, state string) error {
	t, raw, err := a.tenantRequest(cmd.Context(), request{method: http.MethodPost, path: tenantPath(name) + "/" + verb})
	if err != nil {
		return err
	}
	return a.showTenant(raw, t, "tenant "+t.Name+" is "+state)
}

func (a *app) tenantRemoveCommand() *cobra.Command {
	var yes, dry, detach bool
	cmd := &cobra.Command{
		Use: "rm NAME", Short: "Delete a tenant and everything that belongs to it", Args: cobra.ExactArgs(1), ValidArgsFunction: firstOnly(a.tenants()),
		Long: "Rm deletes a tenant, its modules with all revisions, the values that they have stored, its secrets, and the keys that let somebody in to it. " +
			"It waits until that is done. On a terminal it asks first; --dry-run shows what would go.",
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if dry {
				return a.showDoomed(cmd.Context(), name)
			}
			if !yes && !a.confirm(fmt.Sprintf("Delete tenant %s with all its modules and stored values?", name)) {
				return &failure{exit: exitFailed, text: "nothing was deleted"}
			}
			raw, err := a.call(cmd.Context(), request{method: http.MethodDelete, path: tenantPath(name), server: true})
			if err != nil {
				return a.tenantHint(err)
			}
			var o admin.Operation
			if err := json.Unmarshal(raw, &o); err != nil {
				return fmt.Errorf("the server's answer is not an operation: %w", err)
			}
			if !detach {
				if o, err = a.await(cmd.Context(), o); err != nil {
					return err
				}
			}
			if a.json() {
				return a.printJSON(o)
			}
			if o.State != admin.Succeeded {
				return a.line("tenant %s is being deleted; \"genkit-wasm tenant operations %s\" shows how far that is", name, o.ID)
			}
			return a.line("tenant %s is deleted", name)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what would be deleted, and delete nothing")
	cmd.Flags().BoolVar(&detach, "detach", false, "don't wait until it is done")
	return cmd
}

// showDoomed shows what belongs to a tenant.
func (a *app) showDoomed(ctx context.Context, name string) error {
	t, _, err := a.tenantRequest(ctx, request{method: http.MethodGet, path: tenantPath(name)})
	if err != nil {
		return err
	}
	doomed := struct {
		DryRun    bool     `json:"dryRun"`
		Tenant    string   `json:"tenant"`
		Modules   []string `json:"modules"`
		Revisions int      `json:"revisions"`
		Bytes     int64    `json:"storedBytes"`
		Values    int64    `json:"values"`
	}{DryRun: true, Tenant: t.Name, Modules: []string{}}
	raw, err := a.call(ctx, request{method: http.MethodGet, path: tenantPath(name) + "/modules", server: true})
	if err == nil {
		var modules struct {
			Modules []module.Record `json:"modules"`
		}
		err = json.Unmarshal(raw, &modules)
		for _, m := range modules.Modules {
			doomed.Modules = append(doomed.Modules, m.Name)
		}
	}
	if err == nil {
		raw, err = a.call(ctx, request{method: http.MethodGet, path: tenantPath(name) + "/usage", server: true})
	}
	if err == nil {
		var usage wasmhost.Usage
		err = json.Unmarshal(raw, &usage)
		doomed.Revisions, doomed.Bytes, doomed.Values = usage.Revisions, usage.StoredBytes, usage.Values.Keys
	}
	if err != nil && t.State != admin.Deleting && t.State != admin.Damaged {
		return err
	}
	if t.Name == wasmhost.DefaultTenant {
		return local(admin.Indelible(t.Name), false)
	}
	if a.json() {
		return a.printJSON(doomed)
	}
	if err := a.line("tenant %s would be deleted, with %d modules of %d revisions (%d bytes), %d stored values, and its keys", t.Name, len(doomed.Modules), doomed.Revisions, doomed.Bytes, doomed.Values); err != nil {
		return err
	}
	for _, m := range doomed.Modules {
		if err := a.line("  %s", m); err != nil {
			return err
		}
	}
	return nil
}

// await waits for the end of an operation and shows how far it is.
func (a *app) await(ctx context.Context, o admin.Operation) (admin.Operation, error) {
	defer a.status("")
	const most = time.Second
	told := ""
	for wait := 20 * time.Millisecond; o.State != admin.Succeeded; wait = min(2*wait, most) {
		if o.Progress != nil && o.Progress.Total > 0 {
			a.status(fmt.Sprintf("deleting tenant %s, %d of %d modules", o.Tenant, o.Progress.Done, o.Progress.Total))
		}
		if o.Error != nil && o.Error.Message != told {
			told = o.Error.Message
			a.status("")
			a.note("%s %s; the server tries it again", colour(a.err, yellow, "not yet:"), told)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return o, ctx.Err()
		}
		raw, err := a.call(ctx, request{method: http.MethodGet, path: "/operations/" + url.PathEscape(o.ID), server: true})
		if err != nil {
			return o, err
		}
		if err := json.Unmarshal(raw, &o); err != nil {
			return o, fmt.Errorf("the server's answer is not an operation: %w", err)
		}
	}
	return o, nil
}

func (a *app) tenantOperationsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "operations [ID]", Short: "Show deletions that go on, and those that have ended", Args: cobra.MaximumNArgs(1), ValidArgsFunction: firstOnly(a.operations()),
		RunE: func(cmd *cobra.Command, args []string) error {
			var all []admin.Operation
			if len(args) == 0 {
				var err error
				if all, err = listAll[admin.Operation](cmd.Context(), a, "/operations", "operations"); err != nil {
					return err
				}
				if a.json() {
					return a.printJSON(map[string]any{"operations": all})
				}
			} else {
				raw, err := a.call(cmd.Context(), request{method: http.MethodGet, path: "/operations/" + url.PathEscape(args[0]), server: true})
				if err != nil {
					return err
				}
				if a.json() {
					return a.printJSON(raw)
				}
				all = make([]admin.Operation, 1)
				if err := json.Unmarshal(raw, &all[0]); err != nil {
					return fmt.Errorf("the server's answer is not an operation: %w", err)
				}
			}
			rows := make([][]string, len(all))
			for i, o := range all {
				state := string(o.State)
				if o.Progress != nil && o.State != admin.Succeeded {
					state += fmt.Sprintf(", %d of %d modules", o.Progress.Done, o.Progress.Total)
				}
				if o.Error != nil {
					state += ": " + o.Error.Message
				}
				rows[i] = []string{o.ID, o.Kind, o.Tenant, shortTime(o.CreatedAt), state}
			}
			return a.table("ID\tKIND\tTENANT\tBEGUN\tSTATE", rows)
		},
	}
}
