package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// PromptConfig says which prompt leads an agent.
type PromptConfig struct {
	// Prompt is the name of a registered prompt, which is looked up for each turn; empty
	// means the agent's own name.
	Prompt string
	// Input is the prompt's input, the same in each turn; nil for none.
	Input json.RawMessage
	// Options are those of each turn's generate call.
	Options []generate.Option
}

// DefinePrompt makes an agent whose turns are generate calls of a prompt, and registers its
// actions: what the prompt renders stands around the conversation, and is no part of it.
// Templates find the custom state as {{@state}}. It fails like [Define].
func DefinePrompt(reg *registry.Registry, name string, p PromptConfig, c Config) (*Agent, error) {
	p.Prompt = cmp.Or(p.Prompt, name)
	return Define(reg, name, func(_ context.Context, run *Run) (*Result, error) {
		return nil, run.Turns(func(ctx context.Context, in *Input) (FinishReason, error) { return p.turn(ctx, reg, run, in) })
	}, c)
}

// Metadata of messages. The first says, while a prompt is rendered, that a message is of the
// conversation; the second marks the others for the model's call, as in Genkit JS.
const (
	historyKey  = "_genkit_history"
	preambleKey = "agentPreamble"
	purposeKey  = "purpose"
)

func (p *PromptConfig) turn(ctx context.Context, reg *registry.Registry, run *Run, in *Input) (FinishReason, error) {
	s := run.Session()
	history := s.Messages()
	if len(history) == 0 {
		return "", status.Publicf(status.InvalidArgument, "there is nothing to go on from: the input has no message, and the conversation none either")
	}
	over := &model.GenerateOptions{Messages: tagged(history)}
	if !in.Resume.empty() {
		if err := checkResume(history, in.Resume); err != nil {
			return "", err
		}
		over.Resume = &model.Resume{Respond: in.Resume.Respond, Restart: in.Resume.Restart}
	}
	found, err := prompt.Lookup(ctx, reg, p.Prompt)
	if err != nil {
		return "", err
	}
	ctx = found.Context(ctx)
	opts, err := found.Render(ctx, p.Input, over)
	if err != nil {
		return "", err
	}
	opts.Messages = untagged(opts.Messages, over.Resume != nil)
	resp, err := generate.Run(ctx, reg, opts, run.Send, p.Options...)
	if resp != nil && resp.Request != nil { // of a call that failed, too: up to its last round of tools
		s.SetMessages(conversation(resp, err))
	}
	if err != nil {
		return "", err
	}
	if resp.FinishReason == model.FinishInterrupted {
		if err := run.Send(&model.Chunk{Role: content.RoleTool, Content: resp.Message.ToolRequests()}); err != nil {
			return "", err
		}
	}
	return FinishReason(resp.FinishReason), nil
}

// tagged marks the messages of the conversation. Marks that a caller has sent mean nothing.
func tagged(history []content.Message) []content.Message {
	for i := range history {
		history[i].Metadata = history[i].Metadata.Without(preambleKey).With(historyKey, content.True())
	}
	return history
}

// untagged marks what the prompt has put around the conversation. Where a turn is resumed,
// nothing may follow the message whose requests are answered.
func untagged(rendered []content.Message, resuming bool) []content.Message {
	messages, last := slices.Clone(rendered), -1
	for i := range messages {
		m := &messages[i]
		if !m.Metadata.Truthy(historyKey) {
			m.Metadata = m.Metadata.With(preambleKey, content.True())
			continue
		}
		last = i
		m.Metadata = m.Metadata.Without(historyKey)
		if string(m.Metadata[purposeKey]) == `"history"` { // {{history}} notes it
			m.Metadata = m.Metadata.Without(purposeKey)
		}
	}
	if resuming && last >= 0 {
		messages = messages[:last+1]
	}
	return messages
}

// conversation is the conversation after a response, or after a failure.
func conversation(resp *model.Response, err error) []content.Message {
	var messages []content.Message
	for _, m := range resp.Request.Messages {
		if !m.Metadata.Truthy(preambleKey) {
			messages = append(messages, m)
		}
	}
	if err == nil && resp.Message != nil {
		messages = append(messages, *resp.Message)
	}
	return messages
}

// checkResume refuses answers to what the last model message did not ask, and restarts with
// another input than it asked for. The texts hold those of Genkit JS.
func checkResume(history []content.Message, r *Resume) error {
	last := -1
	for i := range history {
		if history[i].Role == content.RoleModel {
			last = i
		}
	}
	find := func(name, ref string) (*content.ToolRequest, error) {
		id := name
		if ref != "" {
			id += "#" + ref
		}
		for i := len(history) - 1; i >= 0; i-- {
			for _, part := range history[i].ToolRequests() {
				if part.ToolRequest.Name != name || part.ToolRequest.Ref != ref {
					continue
				}
				if i != last {
					return nil, status.Publicf(status.InvalidArgument, "tool request %q is no longer pending", id)
				}
				return part.ToolRequest, nil
			}
		}
		return nil, status.Publicf(status.InvalidArgument, "tool request %q not found in session history", id)
	}
	for i := range r.Respond {
		response := r.Respond[i].ToolResponse
		if response == nil {
			return status.Publicf(status.InvalidArgument, "resume.respond takes tool responses")
		}
		if _, err := find(response.Name, response.Ref); err != nil {
			return err
		}
	}
	for i := range r.Restart {
		request := r.Restart[i].ToolRequest
		if request == nil {
			return status.Publicf(status.InvalidArgument, "resume.restart takes tool requests")
		}
		asked, err := find(request.Name, request.Ref)
		if err != nil {
			return err
		}
		if !rawjson.Equal(request.Input, asked.Input) {
			return status.Publicf(status.InvalidArgument, "the restart of tool %q has modified inputs: they must be those of the request", request.Name)
		}
	}
	return nil
}
