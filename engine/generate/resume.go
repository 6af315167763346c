package generate

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Metadata under which an interrupted response keeps the results of the tools that had finished. Genkit has
// the output only; the parts and the metadata of a multipart answer would be lost.
const (
	pendingOutput   = "pendingOutput"
	pendingContent  = "pendingContent"
	pendingMetadata = "pendingMetadata"
)

// replacedInput is where a restart says which input the model had asked for.
const replacedInput = "replacedInput"

// pending notes the answer of a finished tool on its request.
func pending(request content.Part, response *content.Part) content.Part {
	if response.ToolResponse == nil {
		return request
	}
	output := response.ToolResponse.Output
	if output == nil {
		output = json.RawMessage("null")
	}
	request.Metadata = request.Metadata.With(pendingOutput, output)
	if parts := response.ToolResponse.Content; len(parts) > 0 {
		if raw, err := rawjson.Encode(parts); err == nil {
			request.Metadata = request.Metadata.With(pendingContent, raw)
		}
	}
	if len(response.Metadata) > 0 {
		if raw, err := rawjson.Encode(response.Metadata); err == nil {
			request.Metadata = request.Metadata.With(pendingMetadata, raw)
		}
	}
	return request
}

// resume answers the tool requests of the last message as the caller says and goes
// on from there. It uses up no turn.
func (l *loop) resume(ctx context.Context, call *middleware.GenerateCall, p *plan) (*model.Response, error) {
	messages := p.opts.Messages
	last := &messages[len(messages)-1]
	if last.Role != content.RoleModel || len(last.ToolRequests()) == 0 {
		return nil, status.Publicf(status.FailedPrecondition,
			"Cannot 'resume' generation unless the previous message is a model message with at least one tool request.")
	}
	resolved, err := l.resolveRequests(ctx, p, last)
	if err != nil {
		return nil, err
	}
	opts := *p.opts
	opts.Resume = nil
	opts.Messages = append(append(make([]content.Message, 0, len(messages)+1), messages[:len(messages)-1]...), resolved.message, resolved.answers)
	out := newStream(call.Send, call.MessageIndex)
	out.role = content.RoleTool
	if err := out.send(ctx, content.RoleTool, &model.Chunk{Content: resolved.answers.Content}); err != nil {
		return nil, err
	}
	return l.step(ctx, &middleware.GenerateCall{Options: &opts, Turn: call.Turn, MessageIndex: out.close() + 1, Send: call.Send})
}

// resolvedTurn is a turn whose interrupts have been resolved: the last message without them, and
// the tool message that answers it.
type resolvedTurn struct {
	message content.Message
	answers content.Message
}

// resolution is one tool request without its interrupt, and the answer to it.
type resolution struct {
	request  content.Part
	response *content.Part
	again    bool // a restarted tool interrupted once more
}

// resolveRequests answers all tool requests of the last message: with outputs that are known, with the
// caller's, and by running again those tools that the caller restarts, at the same time. It fails when
// a request stays open.
func (l *loop) resolveRequests(ctx context.Context, p *plan, last *content.Message) (*resolvedTurn, error) {
	requests := last.ToolRequests()
	if err := checkAnswers(ctx, p, requests); err != nil {
		return nil, err
	}
	resolutions := make([]resolution, len(requests))
	restarts := make([]*restart, len(requests))
	for i, request := range requests {
		var err error
		if resolutions[i], restarts[i], err = l.resolveRequest(p, request); err != nil {
			return nil, err
		}
	}
	err := l.each(ctx, len(requests), func(ctx context.Context, i int) (err error) {
		if restarts[i] != nil {
			resolutions[i], err = l.restart(ctx, requests[i], restarts[i])
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return assemble(last, resolutions, p.opts.Resume)
}

// restart is a tool to be run again, with the part that the caller gives.
type restart struct {
	part content.Part
	tool action.Action
}

// resolveRequest answers a request with the output that is known already or that the
// caller gives; a request to be restarted is returned for later.
func (l *loop) resolveRequest(p *plan, request content.Part) (resolution, *restart, error) {
	if isDone(request) {
		return fromPending(request), nil, nil
	}
	if part := find(p.opts.Resume.Respond, request); part != nil {
		return resolution{request: withoutInterrupt(request), response: part}, nil, nil
	}
	part := find(p.opts.Resume.Restart, request)
	if part == nil {
		return resolution{}, nil, unresolved(request.ToolRequest)
	}
	t, err := p.tools.find(part.ToolRequest.Name)
	return resolution{}, &restart{part: *part, tool: t}, err
}

func unresolved(r *content.ToolRequest) error {
	return status.Publicf(status.InvalidArgument,
		"Unresolved tool request '%s' was not handled by the 'resume' argument. You must supply replies or restarts for all interrupted tool requests.", label(r.Name, r.Ref))
}

// fromPending uses the output that was kept when a sibling interrupted, falsy ones
// included.
func fromPending(request content.Part) resolution {
	metadata := request.Metadata.Without(pendingOutput).Without(pendingContent).Without(pendingMetadata)
	response := &content.ToolResponse{Name: request.ToolRequest.Name, Ref: request.ToolRequest.Ref, Output: request.Metadata[pendingOutput]}
	if raw, kept := request.Metadata[pendingContent]; kept {
		_ = json.Unmarshal(raw, &response.Content) // somebody else's note is no content
	}
	own := content.Metadata{}
	if raw, kept := request.Metadata[pendingMetadata]; kept {
		_ = json.Unmarshal(raw, &own)
	}
	noted := metadata.With("source", json.RawMessage(`"pending"`))
	maps.Copy(noted, own)
	request.Metadata = metadata
	return resolution{request: request, response: &content.Part{ToolResponse: response, Metadata: noted}}
}

func withoutInterrupt(request content.Part) content.Part {
	interrupt, was := request.Metadata["interrupt"]
	request.Metadata = request.Metadata.Without("interrupt")
	if was {
		request.Metadata = request.Metadata.With("resolvedInterrupt", interrupt)
	}
	return request
}

// restart runs a tool again with the caller's answer.
func (l *loop) restart(ctx context.Context, request content.Part, r *restart) (resolution, error) {
	a, err := l.runTool(ctx, r.part, r.tool, nil)
	if err != nil {
		return resolution{}, err
	}
	if a.interrupt != nil {
		return resolution{request: *a.interrupt, again: true}, nil
	}
	if a.response == nil {
		return resolution{}, unresolved(request.ToolRequest)
	}
	return resolution{request: withoutInterrupt(request), response: a.response}, nil
}

// assemble replaces the requests of the last message by the resolved ones and makes the tool message of
// their responses, in the same order.
func assemble(last *content.Message, resolutions []resolution, resume *model.Resume) (*resolvedTurn, error) {
	message := *last
	message.Content = append([]content.Part{}, last.Content...)
	answers := content.Message{Role: content.RoleTool, Metadata: content.Metadata{"resumed": orTrue(resume.Metadata)}}
	next, again := 0, false
	for i := range message.Content {
		if !message.Content[i].IsToolRequest() {
			continue
		}
		s := resolutions[next]
		next++
		message.Content[i] = s.request
		again = again || s.again
		if s.response != nil {
			answers.Content = append(answers.Content, *s.response)
		}
	}
	if again {
		return nil, status.Publicf(status.FailedPrecondition, "One or more tools triggered an interrupt during a restarted execution.").
			WithDetails(map[string]any{"message": message})
	}
	return &resolvedTurn{message: message, answers: answers}, nil
}
