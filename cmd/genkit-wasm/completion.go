package main

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
)

// completionPatience is how long a shell waits for a server's names.
const completionPatience = 2 * time.Second

// completion returns the words that a shell is offered.
type completion = func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective)

// words offers what list returns of the server: all that begins with what was typed, once, and nothing where the server does
// not answer in time. The server, the tenant and the key are those that the command would have.
func (a *app) words(list func(ctx context.Context, args []string, prefix string) ([]string, error)) completion {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if a.connect(cmd) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
		defer cancel()
		all, err := list(ctx, args, prefix)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var fit []string
		for _, word := range all {
			if strings.HasPrefix(word, prefix) && harmless(word) && !slices.Contains(fit, word) {
				fit = append(fit, word)
			}
		}
		return fit, cobra.ShellCompDirectiveNoFileComp
	}
}

// harmless reports whether a word may go to a shell: some expand what they complete, and a terminal obeys control characters.
func harmless(word string) bool {
	return !strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune("$`\\\"'", r) })
}

// firstOnly has words for the first argument, and none for others.
func firstOnly(words completion) completion {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words(cmd, args, prefix)
	}
}

// valueArgs has words for the name of a value, and files for where it is read from, which @ begins.
func valueArgs(words completion) completion {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return words(cmd, args, prefix)
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
}

// completeFlag has a shell offer words for a flag's value.
func completeFlag(cmd *cobra.Command, flag string, words completion) {
	_ = cmd.RegisterFlagCompletionFunc(flag, words) // it fails for a flag that is not there
}

// tenants are the names of the server's tenants.
func (a *app) tenants() completion {
	return a.words(func(ctx context.Context, _ []string, _ string) ([]string, error) { return a.tenantNames(ctx) })
}

func (a *app) tenantNames(ctx context.Context) ([]string, error) {
	return namesIn(ctx, a, "/tenants", "tenants", func(t struct{ Name string }) string { return t.Name })
}

// modules are the names of the tenant's modules.
func (a *app) modules() completion {
	return a.words(func(ctx context.Context, _ []string, _ string) ([]string, error) {
		return namesIn(ctx, a, tenantPath(a.tenant)+"/modules", "modules", func(m struct{ Name string }) string { return m.Name })
	})
}

// operations are the ids of operations.
func (a *app) operations() completion {
	return a.words(func(ctx context.Context, _ []string, _ string) ([]string, error) {
		return namesIn(ctx, a, "/operations", "operations", func(o struct{ ID string }) string { return o.ID })
	})
}

// values are the names of secrets, or the providers of credentials.
func (a *app) values(w valueWords) completion {
	return a.words(func(ctx context.Context, _ []string, _ string) ([]string, error) {
		return namesIn(ctx, a, tenantPath(a.tenant)+w.path, w.many, func(v struct{ Name string }) string { return v.Name })
	})
}

// keyWords are the names of keys, and the ids of those that share their name with others.
func (a *app) keyWords() completion {
	return a.words(func(ctx context.Context, _ []string, _ string) ([]string, error) {
		all, err := listAll[access.Key](ctx, a, "/keys", "keys")
		count := map[string]int{}
		for _, k := range all {
			count[k.Name]++
		}
		words := make([]string, len(all))
		for i, k := range all {
			if words[i] = k.Name; count[k.Name] > 1 {
				words[i] = k.ID
			}
		}
		return words, err
	})
}

// audited are the words that the newest entries of the audit log have in a field: who has done something, what was done.
func (a *app) audited(field func(*audit.Entry) string) completion {
	return a.words(func(ctx context.Context, _ []string, _ string) ([]string, error) {
		entries, err := onePage[audit.Entry](ctx, a, "/audit", "entries")
		words := make([]string, len(entries))
		for i := range entries {
			words[i] = field(&entries[i])
		}
		slices.Sort(words)
		return slices.DeleteFunc(words, func(w string) bool { return w == "" }), err
	})
}

// revisions are those of the module that the first argument names.
func (a *app) revisions() completion {
	return a.words(func(ctx context.Context, args []string, _ string) ([]string, error) {
		if len(args) == 0 {
			return nil, nil
		}
		return namesIn(ctx, a, tenantPath(a.tenant)+"/modules/"+url.PathEscape(args[0])+"/versions", "versions",
			func(r module.Record) string { return strconv.Itoa(r.Revision) })
	})
}

// scopeWords are what a key may have: "admin", and those of each tenant.
func (a *app) scopeWords() completion {
	return a.words(func(ctx context.Context, _ []string, _ string) ([]string, error) {
		names, err := a.tenantNames(ctx)
		words := []string{string(access.Admin)}
		for _, name := range names {
			for _, scope := range []access.Scope{access.Manage, access.Invoke, access.Read} {
				words = append(words, name+":"+string(scope))
			}
		}
		return words, err
	})
}

// toolsAndMore are the names of tools, and the keys of what else can be called once a slash was typed.
func (a *app) toolsAndMore() completion {
	return a.words(func(ctx context.Context, _ []string, prefix string) ([]string, error) {
		if strings.HasPrefix(prefix, "/") {
			return a.actionWords(ctx, func(d *action.Desc) string { return d.Key().String() })
		}
		return a.actionWords(ctx, nameOf(action.Tool))
	})
}

// actionsOf are the names of actions of a kind, with what more makes of each, where it is not nil.
func (a *app) actionsOf(kind action.Kind, more func(name string) string) completion {
	return a.words(func(ctx context.Context, _ []string, _ string) ([]string, error) {
		names, err := a.actionWords(ctx, nameOf(kind))
		if more != nil {
			for _, name := range slices.Clone(names) {
				names = append(names, more(name))
			}
		}
		return names, err
	})
}

// ofModule is a module's tools together, as --tool takes them: "textkit/*".
func ofModule(tool string) string {
	name, _, ok := strings.Cut(tool, "/")
	if !ok {
		return tool
	}
	return name + "/*"
}

func nameOf(kind action.Kind) func(d *action.Desc) string {
	return func(d *action.Desc) string {
		if d.Kind != kind {
			return ""
		}
		return d.Name
	}
}

func (a *app) actionWords(ctx context.Context, word func(*action.Desc) string) ([]string, error) {
	return namesIn(ctx, a, tenantPath(a.tenant)+"/actions", "actions", func(d action.Desc) string { return word(&d) })
}

// middlewareWords are the names that --use takes.
func (a *app) middlewareWords() completion {
	return a.words(func(ctx context.Context, _ []string, _ string) ([]string, error) {
		all, err := onePage[struct{ Name string }](ctx, a, tenantPath(a.tenant)+"/actions", "middleware") // the first has all
		words := make([]string, len(all))
		for i, m := range all {
			words[i] = m.Name
		}
		return words, err
	})
}

// formatWords are the formats of the engine, and those that modules bring.
func (a *app) formatWords() completion {
	return a.words(func(ctx context.Context, _ []string, _ string) ([]string, error) {
		words := []string{"text", "json", "array", "enum", "jsonl"}
		records, err := listAll[module.Record](ctx, a, tenantPath(a.tenant)+"/modules", "modules")
		if err != nil {
			return words, nil //nolint:nilerr // these are there without a server
		}
		for i := range records {
			for _, key := range records[i].Values {
				if name, ok := strings.CutPrefix(key, "/format/"); ok {
					words = append(words, name)
				}
			}
		}
		return words, nil
	})
}

// groups completes the last of the groups of --by, which have commas between.
func groups(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	before := prefix[:strings.LastIndexByte(prefix, ',')+1]
	var words []string
	for _, group := range []string{"day", "tenant", "kind", "module", "tool", "model", "flow"} {
		if word := before + group; strings.HasPrefix(word, prefix) && !slices.Contains(strings.Split(before, ","), group) {
			words = append(words, word)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// profiles are those of "genkit-wasm login".
func profiles(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	var words []string
	if all, err := readLogins(); err == nil {
		for _, name := range slices.Sorted(maps.Keys(all.Profiles)) {
			if strings.HasPrefix(name, prefix) {
				words = append(words, name)
			}
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// onePage reads the first page of a list of the server's.
func onePage[T any](ctx context.Context, a *app, path, member string) (items []T, err error) {
	raw, err := a.call(ctx, request{method: http.MethodGet, path: path, server: true, query: url.Values{"limit": {"1000"}}})
	if err != nil {
		return nil, err
	}
	var page map[string]json.RawMessage
	if err := json.Unmarshal(raw, &page); err != nil || page[member] == nil {
		return nil, err
	}
	return items, json.Unmarshal(page[member], &items)
}

// namesIn reads a list of the server's and makes a word of each item; an empty one is left out.
func namesIn[T any](ctx context.Context, a *app, path, member string, word func(T) string) ([]string, error) {
	all, err := listAll[T](ctx, a, path, member)
	var words []string
	for _, one := range all {
		if w := word(one); w != "" {
			words = append(words, w)
		}
	}
	return words, err
}
