package generate

import (
	"context"
	"encoding/json"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

const interruptedText = "One or more tool calls resulted in interrupts."

// executed is the outcome of the tool requests of one message.
type executed struct {
	interrupted bool
	// message is the model's, with interrupts and pending outputs noted; only of
	// use when interrupted.
	message *content.Message
	// responses are in the order of the requests.
	responses []content.Part
}

// answer is the outcome of one request: a response, an interrupt, or neither
// when a hook wanted none.
type answer struct {
	response  *content.Part
	interrupt *content.Part
}

// execute runs the tools that a message asks for, side by side.
func (l *loop) execute(ctx context.Context, p *plan, asked *content.Message, out *stream) (*executed, error) {
	requests := asked.ToolRequests()
	tools, err := p.tools.findAll(requests)
	if err != nil {
		return nil, err
	}
	answers := make([]answer, len(requests))
	err = l.each(ctx, len(requests), func(ctx context.Context, i int) (err error) {
		answers[i], err = l.runTool(ctx, requests[i], tools[i], out)
		return err
	})
	if err != nil {
		return nil, err
	}
	return collect(asked, answers), nil
}

func collect(asked *content.Message, answers []answer) *executed {
	done := &executed{}
	if !slices.ContainsFunc(answers, func(a answer) bool { return a.interrupt != nil }) {
		done.responses = make([]content.Part, 0, len(answers))
		for i := range answers {
			if answers[i].response != nil {
				done.responses = append(done.responses, *answers[i].response)
			}
		}
		return done
	}
	revised := *asked
	revised.Content = append([]content.Part{}, asked.Content...)
	next := 0
	for i := range revised.Content {
		if !revised.Content[i].IsToolRequest() {
			continue
		}
		a := answers[next]
		next++
		switch {
		case a.interrupt != nil:
			done.interrupted = true
			revised.Content[i] = *a.interrupt
		case a.response != nil:
			done.responses = append(done.responses, *a.response)
			revised.Content[i] = pending(revised.Content[i], a.response)
		}
	}
	done.message = &revised
	return done
}

// interrupted is the response that asks the caller.
func interrupted(resp *model.Response, message *content.Message) *model.Response {
	c := *resp
	c.Message, c.FinishReason, c.FinishMessage = message, model.FinishInterrupted, interruptedText
	return &c
}

// runTool executes one request through its hooks.
func (l *loop) runTool(ctx context.Context, request content.Part, a action.Action, out *stream) (answer, error) {
	if reason := request.Metadata[content.MalformedInput]; request.Metadata.Truthy(content.MalformedInput) {
		return malformed(request.ToolRequest, reason)
	}
	resumed := request.Metadata["resumed"]
	if !request.Metadata.Truthy("resumed") {
		resumed = nil
	}
	// The answer is for this tool alone: its hooks, and what they run, see none of it, nor of one that a tool around
	// this call was given.
	ctx = tool.WithResumed(ctx, nil)
	emit, end := toolEmit(ctx, request.ToolRequest, out)
	defer end()
	response, err := l.chain.Tool(ctx, &middleware.ToolCall{Part: request, Tool: a, Emit: emit}, func(ctx context.Context, call *middleware.ToolCall) (*content.Part, error) {
		return callTool(tool.WithReplacedInput(ctx, resumed, request.Metadata[replacedInput]), call)
	})
	if interrupt, ok := tool.AsInterrupt(err); ok {
		part := request
		part.Metadata = request.Metadata.With("interrupt", orTrue(interrupt.Metadata))
		return answer{interrupt: &part}, nil
	}
	if err != nil {
		return answer{}, toolError(a, err)
	}
	return answer{response: response}, nil
}

// malformed tells the model that its call was not executed, so that it can call again:
// the turns of the call bound how often. Neither a tool nor its hooks see the request.
func malformed(request *content.ToolRequest, reason json.RawMessage) (answer, error) {
	output, err := rawjson.Encode(map[string]json.RawMessage{"error": reason})
	if err != nil {
		return answer{}, status.Errorf(status.Internal, "encode the answer to a malformed tool request: %w", err)
	}
	return answer{response: &content.Part{ToolResponse: &content.ToolResponse{Name: request.Name, Ref: request.Ref, Output: output}}}, nil
}

// orTrue is JavaScript's `metadata || true`.
func orTrue(raw json.RawMessage) json.RawMessage {
	if (content.Metadata{"v": raw}).Truthy("v") {
		return raw
	}
	return content.True()
}

// toolError names the tool and keeps the code, the details and the cause.
func toolError(a action.Action, err error) error {
	inner := status.Convert(err)
	made := status.Errorf
	if inner.Public() {
		made = status.Publicf
	}
	e := made(inner.Code, "tool %q failed: %s", a.Desc().Name, inner.Message).WithRetryAfter(inner.RetryAfter).WithCause(err)
	e.Details = inner.Details
	return e
}

// toolEmit passes on a tool's chunks, marked as partial, until the tool has ended.
func toolEmit(ctx context.Context, request *content.ToolRequest, out *stream) (emit action.Emit, end func()) {
	if out == nil || out.to == nil {
		return nil, func() {}
	}
	send, end := out.during(ctx, content.RoleTool)
	emit = func(chunk json.RawMessage) error {
		part := content.Part{
			ToolResponse: &content.ToolResponse{Name: request.Name, Ref: request.Ref, Output: chunk},
			Metadata:     content.Metadata{"partial": content.True()},
		}
		return send(&model.Chunk{Content: []content.Part{part}})
	}
	return emit, end
}

// callTool is the end of the chain of tool hooks.
func callTool(ctx context.Context, call *middleware.ToolCall) (*content.Part, error) {
	request := call.Part.ToolRequest
	if request == nil || call.Tool == nil {
		return nil, status.Errorf(status.Internal, "a middleware passed on a tool call without a request or a tool")
	}
	if err := allowance.ToolRun(ctx); err != nil {
		return nil, err
	}
	output, err := call.Tool.RunJSON(ctx, request.Input, call.Emit)
	if err != nil {
		return nil, err
	}
	part := &content.Part{ToolResponse: &content.ToolResponse{Name: request.Name, Ref: request.Ref, Output: output}}
	if call.Tool.Desc().Kind != action.ToolV2 {
		return part, nil
	}
	multi, err := tool.ParseMultipart(call.Tool.Desc().Name, output)
	if err != nil {
		return nil, err
	}
	part.ToolResponse.Output, part.ToolResponse.Content, part.Metadata = multi.Output, multi.Content, multi.Metadata
	return part, nil
}

// each runs work for 0…n-1, at most l.parallel at once, and waits for all of it.
// The first failure cancels the rest and is returned.
func (l *loop) each(ctx context.Context, n int, work func(ctx context.Context, i int) error) error {
	if n == 1 { // the usual case needs no goroutine, and no stack grown anew
		err := guarded("tool", func() error { return work(ctx, 0) })
		if err == nil && ctx.Err() != nil {
			err = status.Convert(ctx.Err())
		}
		return err
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		next  atomic.Int64
		first error
		once  sync.Once
		wg    sync.WaitGroup
	)
	for range min(n, l.parallel) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && running.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := guarded("tool", func() error { return work(running, i) }); err != nil {
					once.Do(func() { first = err })
					cancel()
				}
			}
		})
	}
	wg.Wait()
	if first == nil && ctx.Err() != nil {
		return status.Convert(ctx.Err())
	}
	return first
}

// guarded turns a panic of foreign code into an error.
func guarded(what string, work func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = status.Errorf(status.Internal, "%s panicked: %v\n%s", what, r, debug.Stack())
		}
	}()
	return work()
}
