package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
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
	cmd.Flags().BoolVar(&actions, "actions", false, "list actions: tools, models, flows, …")
	a.tenantFlag(cmd)
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
			rec.CreatedAt.Local().Format("2006-01-02 15:04"), strconv.Itoa(len(rec.Actions)), state,
		})
	}
	return a.table("NAME\tREVISION\tVERSION\tSIZE\tDIGEST\tUPLOADED\tTOOLS\tSTATE", rows)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
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
		Actions []action.Desc `json:"actions"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("the server's answer is not a list of actions: %w", err)
	}
	rows := make([][]string, 0, len(list.Actions))
	for _, d := range list.Actions {
		rows = append(rows, []string{string(d.Kind), d.Name, abi.Line(d.Description, 72)})
	}
	return a.table("TYPE\tNAME\tDESCRIPTION", rows)
}

func (a *app) versionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "versions NAME", Short: "List a module's revisions", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.listRecords(cmd, modulePath(args[0])+"/versions", "versions")
		},
	}
	a.tenantFlag(cmd)
	return cmd
}

func (a *app) rollbackCommand() *cobra.Command {
	var revision int
	cmd := &cobra.Command{
		Use: "rollback NAME", Short: "Serve an earlier revision of a module again", Args: cobra.ExactArgs(1),
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
	cmd.Flags().IntVar(&revision, "revision", 0, "the revision (default: the one before the current)")
	a.tenantFlag(cmd)
	return cmd
}

func (a *app) rmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm NAME", Short: "Remove a module and all its revisions", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := a.call(cmd.Context(), request{method: http.MethodDelete, path: modulePath(args[0])}); err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]string{"status": status.OK.String()})
			}
			return a.line("module %s is removed", args[0])
		},
	}
	a.tenantFlag(cmd)
	return cmd
}
