//go:build peers

package prompts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/firebase/genkit/go/core"
	"github.com/firebase/genkit/go/genkit"
)

// GenkitGo loads a case's files into Genkit's Go SDK and renders the prompt. Only the
// messages are observed, in Options: the SDK's actions have another form.
func GenkitGo(ctx context.Context, c *Case) (_ *Observation, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() {
		if r := recover(); r != nil { // so it tells that a file can't be loaded
			err = fmt.Errorf("the SDK panicked: %v", r)
		}
	}()
	g := genkit.Init(ctx)
	genkit.DefineSchema(g, "City", map[string]any{
		"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}, "required": []any{"name"}, "additionalProperties": false,
	})
	genkit.DefinePartial(g, "shared", "shared by {{name}}")
	genkit.DefineHelper(g, "shout", func(s string) string { return strings.ToUpper(s) + "!" })
	for _, name := range slices.Sorted(maps.Keys(c.Files)) { // one by one: partials are told by their names
		base := strings.TrimSuffix(name[strings.LastIndexByte(name, '/')+1:], ".prompt")
		if partial, ok := strings.CutPrefix(base, "_"); ok {
			genkit.DefinePartial(g, partial, c.Files[name])
			continue
		}
		if _, err := genkit.LoadPromptFromSource(g, c.Files[name], strings.TrimSuffix(name, ".prompt"), ""); err != nil {
			return failed(err), nil
		}
	}
	key := c.Prompt
	if c.Variant != "" {
		key += "." + c.Variant
	}
	p := genkit.LookupPrompt(g, key)
	if p == nil {
		return failed(core.NewError(core.NOT_FOUND, "no prompt %q", key)), nil
	}
	var input map[string]any
	if err := json.Unmarshal(c.Input, &input); err != nil {
		return nil, err
	}
	if len(c.Context) > 0 {
		var given map[string]any
		if err := json.Unmarshal(c.Context, &given); err != nil {
			return nil, err
		}
		ctx = core.WithActionContext(ctx, given)
	}
	opts, err := p.Render(ctx, input)
	if err != nil {
		return failed(err), nil
	}
	return &Observation{Options: map[string]any{"messages": plain(opts.Messages)}}, nil
}

func failed(err error) *Observation {
	code := "INTERNAL"
	if e, ok := errors.AsType[*core.GenkitError](err); ok && e.Status != core.INTERNAL {
		code = string(e.Status)
	}
	return &Observation{Options: map[string]any{"error": map[string]any{"status": code, "message": err.Error()}}}
}
