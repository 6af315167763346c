package mcp

import (
	"context"
	"encoding/json"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

const maxArguments = 100

// prompt makes the action of a prompt: its arguments, which are texts, in, and a request for a model out.
func (c *client) prompt(p *sdk.Prompt) (action.Action, error) {
	if len(p.Arguments) > maxArguments {
		return nil, status.Publicf(status.ResourceExhausted, "it has more than %d arguments", maxArguments)
	}
	properties, required := map[string]any{}, []string{}
	for _, a := range p.Arguments {
		if a == nil || a.Name == "" || abi.Hides(a.Name) {
			return nil, status.Publicf(status.InvalidArgument, "an argument has no usable name")
		}
		properties[a.Name] = map[string]string{"type": "string", "description": abi.Clean(a.Description, abi.MaxDescriptionBytes)}
		if a.Required {
			required = append(required, a.Name)
		}
	}
	in, err := rawjson.Encode(map[string]any{"type": "object", "properties": properties, "required": required})
	if err != nil {
		return nil, err
	}
	name := p.Name
	desc := action.Desc{
		Kind: action.Prompt, Name: c.name + "/" + name, Description: abi.Clean(p.Description, maxDescriptionBytes), InputSchema: in,
		Metadata: map[string]json.RawMessage{"type": json.RawMessage(`"prompt"`)},
	}
	return action.New(desc, func(ctx context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
		var arguments map[string]string
		if len(in) > 0 {
			if err := json.Unmarshal(in, &arguments); err != nil {
				return nil, action.InvalidInput(desc, err)
			}
		}
		var got *sdk.GetPromptResult
		err := c.ask(ctx, func(ctx context.Context, s *sdk.ClientSession) (err error) {
			got, err = s.GetPrompt(ctx, &sdk.GetPromptParams{Name: name, Arguments: arguments})
			return err
		})
		if err != nil {
			return nil, err
		}
		request := model.Request{Messages: []content.Message{}}
		for _, m := range got.Messages {
			if m == nil || m.Content == nil {
				continue
			}
			role := content.RoleUser
			if m.Role == "assistant" {
				role = content.RoleModel
			}
			request.Messages = append(request.Messages, content.NewMessage(role, nil, partsOf(m.Content)...))
		}
		return rawjson.Encode(request)
	})
}

// resource makes the action of a resource or of a template of them.
func (c *client) resource(name string, config resource.Config) (action.Action, error) {
	if name = abi.Line(name, 256); name == "" {
		name = abi.Line(config.URI+config.Template, 256)
	}
	if abi.Hides(config.URI) || abi.Hides(config.Template) {
		return nil, status.Publicf(status.InvalidArgument, "its URI has characters that nobody sees")
	}
	config.Description = abi.Clean(config.Description, maxDescriptionBytes)
	return resource.New(c.name+"/"+name, config, func(ctx context.Context, in resource.Input) ([]content.Part, error) {
		var got *sdk.ReadResourceResult
		err := c.ask(ctx, func(ctx context.Context, s *sdk.ClientSession) (err error) {
			got, err = s.ReadResource(ctx, &sdk.ReadResourceParams{URI: in.URI})
			return err
		})
		if err != nil {
			return nil, err
		}
		var parts []content.Part
		for _, r := range got.Contents {
			if r != nil {
				parts = append(parts, partsOf(&sdk.EmbeddedResource{Resource: r})...)
			}
		}
		return parts, nil
	})
}

// ask asks the server for something else than a tool's call, within the time of a call.
func (c *client) ask(ctx context.Context, what func(context.Context, *sdk.ClientSession) error) error {
	o, err := c.get(ctx)
	if err != nil {
		return err
	}
	// What the server asks meanwhile belongs to no call of a tool.
	waiting, cancel := context.WithTimeout(context.WithValue(withNote(ctx), callKey{}, (*call)(nil)), c.timeout())
	defer cancel()
	if err = what(waiting, o.conn.session); err == nil {
		return nil
	}
	if ctx.Err() == nil && waiting.Err() != nil {
		return c.failure(status.DeadlineExceeded, "it did not answer within %s", c.timeout()).WithCause(err)
	}
	return c.convert(waiting, err)
}
