package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

// record makes a call whose answer is a module's record, and prints it as JSON when
// that is asked for.
func (a *app) record(cmd *cobra.Command, r request, rec *module.Record) error {
	raw, err := a.call(cmd.Context(), r)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, rec); err != nil {
		return fmt.Errorf("the server's answer is not a module's record: %w", err)
	}
	if a.json() {
		return a.printJSON(raw)
	}
	return nil
}

func modulePath(name string) string { return "/modules/" + url.PathEscape(name) }

func (a *app) lsCommand() *cobra.Command {
	var actions bool
	cmd := &cobra.Command{
		Use: "ls", Short: "List modules, or everything that can be run", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if actions {
				return a.listActions(cmd)
			}
			return a.listRecords(cmd, "/modules", "modules")
		},
	}
	cmd.Flags().BoolVar(&actions, "actions", false, "list actions (tools, models, flows, …), middleware and formats")
	a.serverFlags(cmd)
	return cmd
}

func (a *app) listRecords(cmd *cobra.Command, path, member string) error {
	raw, err := a.call(cmd.Context(), request{method: http.MethodGet, path: path})
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(raw)
	}
	var lists map[string][]module.Record
	if err := json.Unmarshal(raw, &lists); err != nil {
		return fmt.Errorf("the server's answer is not a list of modules: %w", err)
	}
	if len(lists[member]) == 0 {
		return a.line("no modules yet; \"genkit-wasm upload FILE\" adds one")
	}
	rows := make([][]string, 0, len(lists[member]))
	for _, rec := range lists[member] {
		state := ""
		if rec.Current {
			state = "current"
		}
		if rec.Problem != "" {
			state = "problem: " + rec.Problem
		}
		rows = append(rows, []string{
			rec.Name, strconv.Itoa(rec.Revision), orDash(rec.Version), size(rec.Size), shortDigest(rec.Digest),
			rec.CreatedAt.Local().Format("2006-01-02 15:04"), offers(&rec), policySummary(rec.Policy), state,
		})
	}
	return a.table("NAME\tREVISION\tVERSION\tSIZE\tDIGEST\tUPLOADED\tOFFERS\tPOLICY\tSTATE", rows)
}

// offers counts the parts of a module: "2 tools, 1 middleware, 1 format".
func offers(rec *module.Record) string {
	kinds := []string{"tool", "middleware", "format", "embedder", "evaluator", "retriever", "indexer", "reranker", "model", "resource", "prompt"}
	var parts []string
	for _, kind := range kinds {
		n := 0
		for _, key := range slices.Concat(rec.Actions, rec.Values) {
			if of, _, _ := strings.Cut(strings.TrimPrefix(key, "/"), "/"); of == kind || of == kind+".v2" {
				n++
			}
		}
		if n > 1 && kind != "middleware" {
			kind += "s"
		}
		if n > 0 {
			parts = append(parts, strconv.Itoa(n)+" "+kind)
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "-")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// listedAction is an action as the server lists it.
type listedAction struct {
	Key         string      `json:"key"`
	Kind        action.Kind `json:"type"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
}

// reference is what one writes to name the action: its name, or that behind its provider.
func (l *listedAction) reference() string {
	provided, ok := strings.CutPrefix(l.Key, registry.ProviderPrefix)
	if !ok {
		return l.Name
	}
	return strings.Replace(provided, ":"+string(action.ToolV2)+"/", ":"+string(action.Tool)+"/", 1)
}

func (a *app) listActions(cmd *cobra.Command) error {
	raw, err := a.call(cmd.Context(), request{method: http.MethodGet, path: "/actions"})
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(raw)
	}
	var list struct {
		Actions    []listedAction    `json:"actions"`
		Middleware []middleware.Desc `json:"middleware"`
		Failures   []status.Wire     `json:"failures"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("the server's answer is not a list of actions: %w", err)
	}
	plain := map[string]bool{} // tools that are there in both forms
	for i := range list.Actions {
		d := &list.Actions[i]
		plain[d.Name] = plain[d.Name] || d.Kind == action.Tool
	}
	rows := make([][]string, 0, len(list.Actions))
	for i := range list.Actions {
		d := &list.Actions[i]
		if d.Kind != action.ToolV2 || !plain[d.Name] {
			rows = append(rows, []string{string(d.Kind), d.reference(), abi.Line(d.Description, 72)})
		}
	}
	for _, d := range list.Middleware {
		rows = append(rows, []string{"middleware", d.Name, abi.Line(d.Description, 72)})
	}
	formats, err := a.listFormats(cmd)
	if err != nil {
		return err
	}
	if err := a.table("TYPE\tNAME\tDESCRIPTION", append(rows, formats...)); err != nil {
		return err
	}
	for _, f := range list.Failures {
		a.note("%s %s", colour(a.err, yellow, "not listed:"), f.Message)
	}
	return nil
}

// listFormats lists the formats of modules.
func (a *app) listFormats(cmd *cobra.Command) ([][]string, error) {
	raw, err := a.call(cmd.Context(), request{method: http.MethodGet, path: "/modules"})
	if err != nil {
		return nil, err
	}
	var list struct {
		Modules []module.Record `json:"modules"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("the server's answer is not a list of modules: %w", err)
	}
	var rows [][]string
	for _, rec := range list.Modules {
		var d abi.Descriptor
		_ = json.Unmarshal(rec.Descriptor, &d) // it only adds descriptions
		for _, f := range d.Formats {
			rows = append(rows, []string{"format", rec.Name + "/" + f.Name, abi.Line(f.Description, 72)})
		}
	}
	return rows, nil
}

func (a *app) versionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "versions NAME", Short: "List a module's revisions", Args: cobra.ExactArgs(1), ValidArgsFunction: firstOnly(a.modules()),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.listRecords(cmd, modulePath(args[0])+"/versions", "versions")
		},
	}
	a.serverFlags(cmd)
	return cmd
}

func (a *app) rollbackCommand() *cobra.Command {
	var revision int
	cmd := &cobra.Command{
		Use: "rollback NAME", Short: "Serve an earlier revision of a module again", Args: cobra.ExactArgs(1), ValidArgsFunction: firstOnly(a.modules()),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := request{method: http.MethodPost, path: modulePath(args[0]) + "/rollback"}
			if cmd.Flags().Changed("revision") {
				r.body, r.kind = strings.NewReader(fmt.Sprintf(`{"revision":%d}`, revision)), "application/json"
			}
			var rec module.Record
			if err := a.record(cmd, r, &rec); err != nil || a.json() {
				return err
			}
			return a.line("module %s serves revision %d", rec.Name, rec.Revision)
		},
	}
	wholeFlag(cmd.Flags(), &revision, "revision", 1, math.MaxInt32, "the revision (default: the one before the current)")
	completeFlag(cmd, "revision", a.revisions())
	a.serverFlags(cmd)
	return cmd
}

func (a *app) rmCommand() *cobra.Command {
	var yes, dry bool
	cmd := &cobra.Command{
		Use: "rm NAME", Short: "Remove a module and all its revisions", Args: cobra.ExactArgs(1), ValidArgsFunction: firstOnly(a.modules()),
		Long: "Rm removes a module, all its revisions and all values that it has stored. On a terminal it asks first; --dry-run shows what would go.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if dry {
				return a.showDoomedModule(cmd.Context(), args[0])
			}
			if !yes && !a.confirm(fmt.Sprintf("Remove module %s with all its revisions and stored values?", args[0])) {
				return &failure{exit: exitFailed, text: "nothing was removed"}
			}
			if _, err := a.call(cmd.Context(), request{method: http.MethodDelete, path: modulePath(args[0])}); err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]string{"status": status.OK.String()})
			}
			return a.line("module %s is removed", args[0])
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what would be removed, and remove nothing")
	a.serverFlags(cmd)
	return cmd
}

// mayManage fails as a request does that takes the scope "manage" of the tenant, where the key has
// not got it: what a dry run asks for takes less than what it stands for. A tenant that the key may
// not even read is left to the requests that follow.
func (a *app) mayManage(ctx context.Context) error {
	raw, err := a.call(ctx, request{method: http.MethodGet, path: "/identity", server: true})
	if f, ok := errors.AsType[*failure](err); ok && f.exit == exitNotFound {
		return nil // the server asks nobody who he is
	}
	if err != nil {
		return err
	}
	var identity who
	if err := json.Unmarshal(raw, &identity); err != nil {
		return fmt.Errorf("the server's answer tells of no identity: %w", err)
	}
	if !identity.Scopes.Sees(a.tenant) || identity.Scopes.Allows(a.tenant, access.Manage) {
		return nil
	}
	return &failure{
		exit: exitOf(status.PermissionDenied, false), code: status.PermissionDenied.String(),
		text: fmt.Sprintf("%s %q", scopeWanted, abi.Line(a.tenant, 80)+":"+string(access.Manage)), hint: scopeHint,
	}
}

// showDoomedModule shows what "rm" would remove.
func (a *app) showDoomedModule(ctx context.Context, name string) error {
	if err := a.mayManage(ctx); err != nil {
		return err
	}
	raw, err := a.call(ctx, request{method: http.MethodGet, path: modulePath(name) + "/versions"})
	if err != nil {
		return err
	}
	var list struct {
		Versions []module.Record `json:"versions"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("the server's answer is not a list of revisions: %w", err)
	}
	doomed := struct {
		DryRun    bool   `json:"dryRun"`
		Tenant    string `json:"tenant"`
		Module    string `json:"module"`
		Revisions []int  `json:"revisions"`
		Bytes     int64  `json:"storedBytes"`
	}{DryRun: true, Tenant: a.tenant, Module: name, Revisions: []int{}}
	for _, rec := range list.Versions {
		doomed.Revisions = append(doomed.Revisions, rec.Revision)
		doomed.Bytes += int64(rec.Size)
	}
	slices.Sort(doomed.Revisions)
	if a.json() {
		return a.printJSON(doomed)
	}
	return a.line("module %s would be removed, with its revisions %s (%d bytes) and all values that it has stored",
		name, strings.Trim(fmt.Sprint(doomed.Revisions), "[]"), doomed.Bytes)
}

// confirm asks a person who sits at the terminal; it takes a script's word.
func (a *app) confirm(question string) bool {
	if _, ok := terminal(a.in); !ok {
		return true
	}
	if _, ok := terminal(a.err); !ok {
		return true
	}
	_, _ = fmt.Fprintf(a.err, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(a.in).ReadString('\n')
	return slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(answer)))
}
