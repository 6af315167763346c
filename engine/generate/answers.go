package generate

import (
	"context"
	"errors"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// isDone reports whether a request has its output already: a sibling of it was
// interrupted.
func isDone(request content.Part) bool {
	_, known := request.Metadata[pendingOutput]
	return known
}

// identity returns the name and ref of a tool request or response.
func identity(part *content.Part) (name, ref string, ok bool) {
	switch {
	case part.ToolRequest != nil:
		return part.ToolRequest.Name, part.ToolRequest.Ref, true
	case part.ToolResponse != nil:
		return part.ToolResponse.Name, part.ToolResponse.Ref, true
	}
	return "", "", false
}

// find returns the part among parts that has the name and ref of request.
func find(parts []content.Part, request content.Part) *content.Part {
	for i := range parts {
		name, ref, ok := identity(&parts[i])
		if ok && name == request.ToolRequest.Name && ref == request.ToolRequest.Ref {
			return &parts[i]
		}
	}
	return nil
}

// checkAnswers refuses answers that the last model message did not ask for. The history
// comes from the caller, so this keeps an answer from being given to another request
// than the one that was shown to the user (Genkit: validateResume; only the last
// message counts since refs recur, #5911).
func checkAnswers(ctx context.Context, p *plan, requests []content.Part) error {
	type nameRef struct{ name, ref string }
	answered := map[nameRef]bool{}
	check := func(part *content.Part, fitting bool) (*content.Part, error) {
		if !fitting {
			return nil, status.Publicf(status.InvalidArgument, "`resume` takes tool responses to respond with and tool requests to restart")
		}
		name, ref, _ := identity(part)
		id := label(name, ref)
		request, pending := candidates(requests, name, ref)
		switch {
		case request == nil && askedBefore(p.opts.Messages, name, ref):
			return nil, status.Publicf(status.InvalidArgument, "Tool request '%s' is no longer pending: only requests of the last model message can be resumed.", id)
		case request == nil:
			return nil, status.Publicf(status.InvalidArgument, "`resume` answers the tool request '%s', which the last model message does not hold.", id)
		case pending > 1:
			return nil, status.Publicf(status.InvalidArgument, "`resume` answers the tool request '%s', which the last model message holds %d times: nothing tells which one is meant.", id, pending)
		case pending == 0:
			return nil, status.Publicf(status.InvalidArgument, "`resume` answers the tool request '%s', which is not pending: it has its output.", id)
		case answered[nameRef{name, ref}]:
			return nil, status.Publicf(status.InvalidArgument, "`resume` answers the tool request '%s' twice.", id)
		}
		answered[nameRef{name, ref}] = true
		return request, nil
	}
	for i := range p.opts.Resume.Respond {
		part := &p.opts.Resume.Respond[i]
		if _, err := check(part, part.ToolResponse != nil); err != nil {
			return err
		}
		if err := checkResponse(ctx, p, part.ToolResponse); err != nil {
			return err
		}
	}
	for i := range p.opts.Resume.Restart {
		part := &p.opts.Resume.Restart[i]
		request, err := check(part, part.ToolRequest != nil)
		if err != nil {
			return err
		}
		if err := checkRestart(p, part, request); err != nil {
			return err
		}
	}
	return nil
}

// candidates returns the request of that name and ref, one that waits for its answer if
// there is any, and how many of them do.
func candidates(requests []content.Part, name, ref string) (request *content.Part, pending int) {
	for i := range requests {
		r := requests[i].ToolRequest
		if r.Name != name || r.Ref != ref {
			continue
		}
		if !isDone(requests[i]) {
			pending++
		}
		if request == nil || isDone(*request) {
			request = &requests[i]
		}
	}
	return request, pending
}

func label(name, ref string) string {
	if ref == "" {
		return name
	}
	return name + "#" + ref
}

func askedBefore(messages []content.Message, name, ref string) bool {
	for i := range messages[:len(messages)-1] {
		if find(messages[i].ToolRequests(), content.Part{ToolRequest: &content.ToolRequest{Name: name, Ref: ref}}) != nil {
			return true
		}
	}
	return false
}

// checkResponse validates the caller's answer against the schema of the tool's output. A
// tool that is not offered in this call can't be checked; Genkit JS takes the answer
// all the same.
func checkResponse(ctx context.Context, p *plan, response *content.ToolResponse) error {
	t, err := p.tools.find(response.Name)
	if errors.Is(err, status.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return tool.CheckOutput(ctx, t.Desc(), response.Output)
}

// checkRestart wants the input that the model asked for, or a note of it where the
// caller replaced it.
func checkRestart(p *plan, part, request *content.Part) error {
	id := label(request.ToolRequest.Name, request.ToolRequest.Ref)
	was := request.ToolRequest.Input
	replaced, declared := part.Metadata[replacedInput]
	switch {
	case declared && !rawjson.Equal(replaced, was):
		return status.Publicf(status.InvalidArgument, "The `replacedInput` of the restart of '%s' is not the input of the pending request.", id)
	case !declared && !rawjson.Equal(part.ToolRequest.Input, was):
		return status.Publicf(status.InvalidArgument, "The input of the restart of '%s' differs from that of the pending request; declare it as `replacedInput`.", id)
	}
	if t, err := p.tools.find(request.ToolRequest.Name); err == nil && !tool.Restartable(t.Desc()) {
		return status.Publicf(status.InvalidArgument, "Tool '%s' can't be restarted: respond to its interrupt.", t.Desc().Name)
	}
	return nil
}
