package generate

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

func isTool(k action.Kind) bool { return k == action.Tool || k == action.ToolV2 }

// toolSet is the tools of one turn in the order of the request, each under the
// name that the model is shown.
type toolSet struct {
	list  []action.Action
	keys  []string // how a provider's tool was named, "" for others
	names []string
	shown map[string]action.Action
}

// resolveTools finds the tools that the caller named and appends those of the
// middleware. A tool that is named twice counts once, also when it was named in
// both its forms.
func resolveTools(ctx context.Context, reg *registry.Registry, refs []string, contributed []action.Action) (*toolSet, error) {
	set := &toolSet{}
	seen, named := map[action.Key]bool{}, map[string]bool{}
	for _, ref := range refs {
		if err := ctx.Err(); err != nil {
			return nil, cancelled(err, err)
		}
		if named[ref] { // a folder is listed once
			continue
		}
		named[ref] = true
		found, err := resolveTool(ctx, reg, ref)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			set.add(seen, action.Plain(f.Action), f.Key)
		}
	}
	for _, a := range contributed {
		key := a.Desc().Key()
		if !isTool(key.Kind) {
			return nil, status.Publicf(status.InvalidArgument, "action %q, contributed by middleware, is not a tool", key)
		}
		if !set.add(seen, a, "") {
			return nil, status.Publicf(status.InvalidArgument, "tool %q is contributed by middleware but already declared elsewhere", key.Name)
		}
	}
	set.name()
	return set, nil
}

func (s *toolSet) add(seen map[action.Key]bool, a action.Action, key string) bool {
	id := a.Desc().Key()
	if seen[id] {
		return false
	}
	seen[id] = true
	s.list, s.keys = append(s.list, a), append(s.keys, key)
	return true
}

// resolveTool finds the tool that a reference names: a tool by its key or name, colons
// included, the tools of a provider by an expression such as "host:tool/*", those whose
// names begin with a folder by "textkit/*", else a prompt, which as a tool returns the request that it renders to.
func resolveTool(ctx context.Context, reg *registry.Registry, ref string) ([]registry.Expanded, error) {
	if strings.HasPrefix(ref, "/"+string(action.Prompt)+"/") {
		a, err := reg.Resolve(ctx, ref, action.Prompt)
		return []registry.Expanded{{Action: a}}, err
	}
	list, err := resolveAll(ctx, reg, ref, action.Tool, action.ToolV2)
	if errors.Is(err, status.ErrNotFound) && !strings.Contains(ref, ":") && !strings.HasPrefix(ref, "/") {
		if prompt, noPrompt := reg.Resolve(ctx, ref, action.Prompt); noPrompt == nil {
			return []registry.Expanded{{Action: prompt}}, nil
		}
	}
	return list, err
}

// resolveAll reads a reference as the name of one action, else as an expression.
func resolveAll(ctx context.Context, reg *registry.Registry, ref string, kinds ...action.Kind) ([]registry.Expanded, error) {
	if strings.HasPrefix(ref, registry.ProviderPrefix) {
		if list, found, err := reg.Expand(ctx, ref, kinds...); found {
			return list, err
		}
	}
	a, err := reg.Resolve(ctx, ref, kinds...)
	if err == nil {
		return []registry.Expanded{{Action: a}}, nil
	}
	if !strings.Contains(ref, ":") {
		if folder, ok := strings.CutSuffix(ref, "*"); ok && strings.HasSuffix(folder, "/") && errors.Is(err, status.ErrNotFound) {
			return resolveFolder(ctx, reg, strings.TrimPrefix(folder, "/"+string(action.Tool)+"/"), kinds)
		}
		return nil, err
	}
	list, found, problem := reg.Expand(ctx, ref, kinds...)
	if !found {
		return nil, err
	}
	return list, problem
}

// resolveFolder finds all actions whose names begin with a folder, such as "textkit/",
// in the order of their names. An action that is there in two forms counts once. A plugin
// or provider that can't list takes nothing away; where nothing fits, its error is
// returned.
func resolveFolder(ctx context.Context, reg *registry.Registry, folder string, kinds []action.Kind) ([]registry.Expanded, error) {
	descs, failed := reg.List(ctx)
	var all []registry.Expanded
	seen := map[string]bool{}
	for _, kind := range kinds {
		for i := range descs {
			name := descs[i].Name
			if descs[i].Kind != kind || !strings.HasPrefix(name, folder) || seen[name] {
				continue
			}
			seen[name] = true
			a, err := reg.Lookup(ctx, descs[i].Key())
			if errors.Is(err, status.ErrNotFound) {
				continue // it has gone meanwhile
			}
			if err != nil {
				return nil, err
			}
			all = append(all, registry.Expanded{Action: a})
		}
	}
	switch {
	case len(all) == 0 && failed != nil:
		return nil, failed
	case len(all) == 0:
		return nil, status.Publicf(status.NotFound, "no %s has a name that begins with %q", kinds[0], folder)
	}
	slices.SortFunc(all, func(a, b registry.Expanded) int { return strings.Compare(a.Action.Desc().Name, b.Action.Desc().Name) })
	return all, nil
}

// name shows each tool under its short name; where two are equal, all of them are
// shown under their full names with "_" for "/". Names that are still equal are numbered.
func (s *toolSet) name() {
	if len(s.list) <= 1 { // nothing to tell apart
		s.names = make([]string, len(s.list))
		for i, a := range s.list {
			s.names[i] = action.ShortName(a.Desc().Name)
			s.shown = map[string]action.Action{s.names[i]: a}
		}
		return
	}
	count := map[string]int{}
	for _, a := range s.list {
		count[action.ShortName(a.Desc().Name)]++
	}
	s.shown = make(map[string]action.Action, len(s.list))
	s.names = make([]string, len(s.list))
	for i, a := range s.list { // unique short names first: nothing may take them
		if short := action.ShortName(a.Desc().Name); count[short] == 1 {
			s.names[i], s.shown[short] = short, a
		}
	}
	for i, a := range s.list {
		if s.names[i] != "" {
			continue
		}
		base := strings.ReplaceAll(a.Desc().Name, "/", "_")
		name := base
		for n := 2; s.shown[name] != nil; n++ {
			name = base + "_" + strconv.Itoa(n)
		}
		s.names[i], s.shown[name] = name, a
	}
}

// definitions returns the tools as the model sees them; never nil, since Genkit
// sends an empty list.
func (s *toolSet) definitions() []model.ToolDefinition {
	defs := make([]model.ToolDefinition, len(s.list))
	for i, a := range s.list {
		defs[i] = tool.Definition(a)
		if s.keys[i] != "" {
			defs[i].Key = s.keys[i]
		}
		if defs[i].Name == s.names[i] {
			continue
		}
		defs[i].Name = s.names[i]
		if defs[i].Key == "" {
			defs[i].Key = a.Desc().Key().String()
		}
		if original, err := rawjson.Encode(a.Desc().Name); err == nil && a.Desc().Name != s.names[i] {
			defs[i].Metadata = defs[i].Metadata.With("originalName", original)
		}
	}
	return defs
}

// find returns the tool that a model asks for by the name it was shown.
func (s *toolSet) find(name string) (action.Action, error) {
	if a, ok := s.shown[name]; ok {
		return a, nil
	}
	return nil, status.Publicf(status.NotFound, "Tool %s not found", name).
		WithDetails(map[string]any{"tool": name, "available": s.names})
}

// findAll resolves all requests before any is executed.
func (s *toolSet) findAll(requests []content.Part) ([]action.Action, error) {
	found := make([]action.Action, len(requests))
	for i := range requests {
		a, err := s.find(requests[i].ToolRequest.Name)
		if err != nil {
			return nil, err
		}
		found[i] = a
	}
	return found, nil
}
