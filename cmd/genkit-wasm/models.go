package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

func (a *app) modelsCommand() *cobra.Command {
	var provider string
	cmd := &cobra.Command{
		Use: "models", Short: "List the models and embedders that the server offers", Args: cobra.NoArgs,
		Long: "Models lists what the tenant can name in generate --model, and the embedders: their name, what each takes beside text (media, tools, a system " +
			"message, an output's schema), the length of an embedder's vectors, and its stage, such as deprecated. A provider that the server is not set up " +
			"for lists nothing; any id of one that is can be asked for, whether it is listed or not. With -o json their descriptions.",
		Example: "  genkit-wasm models --provider googleai",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.listModels(cmd, provider) },
	}
	cmd.Flags().StringVar(&provider, "provider", "", "only those of one provider, `NAME`, such as openai")
	completeFlag(cmd, "provider", a.words(func(ctx context.Context, _ []string, _ string) ([]string, error) {
		names, err := a.actionWords(ctx, func(d *action.Desc) string {
			if !isAsked(d) {
				return ""
			}
			name, _, _ := strings.Cut(d.Name, "/")
			return name
		})
		slices.Sort(names)
		return slices.Compact(names), err
	}))
	a.serverFlags(cmd)
	return cmd
}

// isAsked reports whether an action is a model or an embedder.
func isAsked(d *action.Desc) bool { return d.Kind == action.Model || d.Kind == action.Embedder }

func (a *app) listModels(cmd *cobra.Command, provider string) error {
	all, err := listAll[json.RawMessage](cmd.Context(), a, tenantPath(a.tenant)+"/actions", "actions")
	if err != nil {
		return err
	}
	kept := []json.RawMessage{}
	var rows [][]string
	for _, raw := range all {
		var d action.Desc
		if err := json.Unmarshal(raw, &d); err != nil {
			return fmt.Errorf("the server's answer is not a list of actions: %w", err)
		}
		if of, _, _ := strings.Cut(d.Name, "/"); !isAsked(&d) || (provider != "" && of != provider) {
			continue
		}
		kept = append(kept, raw)
		takes, stage := takesOf(&d)
		rows = append(rows, []string{string(d.Kind), d.Name, orDash(takes), orDash(abi.Line(stage, 24))})
	}
	if a.json() {
		return a.printJSON(map[string]any{"models": kept})
	}
	if len(rows) == 0 && provider != "" {
		return a.line("no models of %q: is the server set up for it? docs/providers.md has the variables of each provider", provider)
	}
	return a.table("TYPE\tNAME\tTAKES\tSTAGE", rows)
}

// takesOf is what a model takes beside text, or the length of an embedder's vectors, and its
// stage.
func takesOf(d *action.Desc) (takes, stage string) {
	if d.Kind == action.Embedder {
		var info struct {
			Dimensions int `json:"dimensions"`
		}
		_ = json.Unmarshal(d.Metadata["info"], &info) // what can't be read says nothing
		if info.Dimensions == 0 {
			return "", ""
		}
		return strconv.Itoa(info.Dimensions) + " dimensions", ""
	}
	var info model.Info
	_ = json.Unmarshal(d.Metadata["model"], &info) // what can't be read says nothing
	var all []string
	for _, s := range []struct {
		name string
		yes  bool
	}{
		{"media", info.Supports.Media},
		{"tools", info.Supports.Tools},
		{"system", info.Supports.SystemRole},
		{"schemas", info.Supports.Constrained == "all" || info.Supports.Constrained == "no-tools"},
	} {
		if s.yes {
			all = append(all, s.name)
		}
	}
	return strings.Join(all, ", "), info.Stage
}
