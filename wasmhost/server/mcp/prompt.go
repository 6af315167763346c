package mcp

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

func (f *Face) listPrompts(ctx context.Context, p *sdk.ListPromptsParams) (sdk.Result, error) {
	descs, err := f.listed(ctx)
	if err != nil {
		return nil, f.failure(err)
	}
	cursor := ""
	if p != nil {
		cursor = p.Cursor
	}
	descs, next, err := page(only(descs, action.Prompt), cursor)
	if err != nil {
		return nil, f.failure(err)
	}
	result := &sdk.ListPromptsResult{Prompts: make([]*sdk.Prompt, len(descs)), NextCursor: next, Cacheable: sdk.Cacheable{CacheScope: "private"}}
	for i, d := range descs {
		result.Prompts[i] = &sdk.Prompt{
			Name: wireName(d.Name), Title: abi.Line(d.Name, 256), Description: abi.Clean(d.Description, maxDescription), Arguments: argumentsOf(d),
		}
	}
	return result, nil
}

// inputs are the properties of a prompt's input.
type inputs struct {
	Properties map[string]struct {
		Type        json.RawMessage `json:"type"`
		Description string          `json:"description"`
	} `json:"properties"`
	Required []string `json:"required"`
}

func argumentsOf(d action.Desc) []*sdk.PromptArgument {
	var in inputs
	if json.Unmarshal(d.InputSchema, &in) != nil {
		return nil
	}
	var all []*sdk.PromptArgument
	for _, name := range slices.Sorted(maps.Keys(in.Properties)) {
		all = append(all, &sdk.PromptArgument{
			Name: name, Description: abi.Clean(in.Properties[name].Description, maxDescription), Required: slices.Contains(in.Required, name),
		})
	}
	return all
}

// promptInput is a prompt's input out of arguments, which are strings: one for a property that takes no string is read
// as JSON.
func promptInput(d action.Desc, arguments map[string]string) (json.RawMessage, error) {
	var in inputs
	_ = json.Unmarshal(d.InputSchema, &in) // without it, all are strings
	members := map[string]any{}
	for name, text := range arguments {
		members[name] = text
		if types := string(in.Properties[name].Type); types != "" && !strings.Contains(types, `"string"`) {
			if !json.Valid([]byte(text)) {
				return nil, status.Publicf(status.InvalidArgument, "the argument %q wants JSON of type %s", abi.Line(name, 80), abi.Line(types, 80))
			}
			members[name] = json.RawMessage(text)
		}
	}
	return rawjson.Encode(members)
}

func (f *Face) getPrompt(ctx context.Context, p *sdk.GetPromptParams) (sdk.Result, error) {
	inner, stop := f.running(ctx)
	defer stop()
	a, err := f.find(inner, p.Name, action.Prompt)
	if err != nil {
		return nil, f.failureOf(err, "prompt")
	}
	d := a.Desc()
	in, err := promptInput(d, p.Arguments)
	if err != nil {
		return nil, f.failure(err)
	}
	out, err := f.c.Run(inner, a, in, nil)
	if err != nil {
		return nil, f.failure(err)
	}
	var rendered struct {
		Messages []content.Message `json:"messages"`
	}
	if err := json.Unmarshal(out, &rendered); err != nil {
		return nil, f.failure(status.Errorf(status.Internal, "read the rendered prompt %q: %w", d.Name, err))
	}
	result := &sdk.GetPromptResult{Description: abi.Clean(d.Description, maxDescription), Messages: []*sdk.PromptMessage{}}
	for _, m := range rendered.Messages {
		role := sdk.Role("user") // MCP has no messages of a system
		if m.Role == content.RoleModel {
			role = "assistant"
		}
		for _, c := range contents(m.Content) {
			result.Messages = append(result.Messages, &sdk.PromptMessage{Role: role, Content: c})
		}
	}
	return result, nil
}
