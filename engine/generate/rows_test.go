package generate_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// talkKit is one conversation under test: a registry with the tools "a" (gives 1) and
// "b" (gives 2), a scripted model, and what came of it.
type talkKit struct {
	t      *testing.T
	reg    *registry.Registry
	m      *fakeModel
	opts   *model.GenerateOptions
	chunks []string
	resp   *model.Response
	err    error
}

// script sets what the model answers and runs the call.
func (k *talkKit) script(responses ...string) *talkKit {
	k.t.Helper()
	k.m.responses = append(k.m.responses, responses...)
	send, chunks := collectChunks(k.t)
	k.resp, k.err = generate.Run(k.t.Context(), k.reg, k.opts, send)
	k.chunks = *chunks
	return k
}

func (k *talkKit) fails(code status.Code, text string) {
	k.t.Helper()
	require.Error(k.t, k.err)
	assert.Equal(k.t, code, status.Of(k.err))
	assert.Contains(k.t, k.err.Error(), text)
}

func (k *talkKit) says(text string) {
	k.t.Helper()
	require.NoError(k.t, k.err)
	assert.Equal(k.t, text, k.resp.Text())
}

// lines returns the last request's messages as role and parts.
func (k *talkKit) lines() []string {
	k.t.Helper()
	require.NoError(k.t, k.err)
	var lines []string
	for _, m := range k.m.request(k.t, k.m.calls()-1).Messages {
		lines = append(lines, string(m.Role)+" "+toJSON(k.t, m.Content))
	}
	return lines
}

func (k *talkKit) middleware(hooks middleware.Hooks) {
	k.t.Helper()
	f, err := middleware.New(middleware.Desc{Name: "mw"}, func(context.Context, json.RawMessage) (*middleware.Hooks, error) { h := hooks; return &h, nil })
	require.NoError(k.t, err)
	require.NoError(k.t, middleware.Register(k.reg, f))
	k.opts.Use = []model.MiddlewareRef{{Name: "mw"}}
}

func object() *model.OutputOptions {
	return &model.OutputOptions{JSONSchema: json.RawMessage(`{"type":"object","required":["x"]}`)}
}

// rows holds the reference's statements about the loop, one by one. A statement that
// differs from Genkit JS says so and has an entry in docs/loop.md.
var rows = []struct {
	section, says string
	check         func(t *testing.T, k *talkKit)
}{
	{"3.1", "no message at all is INVALID_ARGUMENT", func(_ *testing.T, k *talkKit) {
		k.opts.Messages = nil
		k.script().fails(status.InvalidArgument, "at least one message is required in generate request")
	}},
	{"3.1", "a schema without a format means json", func(t *testing.T, k *talkKit) {
		k.opts.Output = object()
		k.script(says(`{"x":1}`)).says(`{"x":1}`)
		assert.Equal(t, "json", k.m.request(t, 0).Output.Format)
	}},
	{"3.1 SHARP", "an unknown format is an error; JS sends its name on", func(_ *testing.T, k *talkKit) {
		k.opts.Output = &model.OutputOptions{Format: "nope"}
		k.script().fails(status.InvalidArgument, `output format "nope" is not registered`)
	}},
	{"3.1", "an unknown middleware is NOT_FOUND", func(_ *testing.T, k *talkKit) {
		k.opts.Use = []model.MiddlewareRef{{Name: "nope"}}
		k.script().fails(status.NotFound, "Middleware nope not found in registry.")
	}},
	{"3.1", "a middleware is made once for all turns", func(t *testing.T, k *talkKit) {
		turns := 0
		k.middleware(middleware.Hooks{Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
			turns++
			return next(ctx, call)
		}})
		k.script(calls("a"), says("done")).says("done")
		assert.Equal(t, 2, turns)
	}},
	{"3.2", "tools keep the order of the request", func(t *testing.T, k *talkKit) {
		k.opts.Tools = []string{"b", "a"}
		k.script(says("x")).says("x")
		defs := k.m.request(t, 0).Tools
		assert.Equal(t, []string{"b", "a"}, []string{defs[0].Name, defs[1].Name})
	}},
	{"3.2", "an unknown tool fails before the model is asked", func(t *testing.T, k *talkKit) {
		k.opts.Tools = []string{"nope"}
		k.script().fails(status.NotFound, `"nope" not found`)
		assert.Zero(t, k.m.calls())
	}},
	{"3.2 SHARP", "equal short names are made unique; JS refuses them", func(t *testing.T, k *talkKit) {
		newTool(t, k.reg, "x/a", gives("x"))
		k.opts.Tools = []string{"a", "x/a"}
		k.script(calls("x_a"), says("done")).says("done")
		assert.Contains(t, k.lines()[2], `"output":"x"`)
	}},
	{"3.3.2", "no model is INVALID_ARGUMENT", func(_ *testing.T, k *talkKit) {
		k.opts.Model = ""
		k.script().fails(status.InvalidArgument, "Must supply a `model` to `generate()` calls.")
	}},
	{"3.3.2", "an unknown model is NOT_FOUND", func(_ *testing.T, k *talkKit) {
		k.opts.Model = "nope"
		k.script().fails(status.NotFound, "Model 'nope' not found")
	}},
	{"3.3.3", "a middleware contributes tools", func(_ *testing.T, k *talkKit) {
		mine, err := tool.New("mine", "", func(context.Context, any) (int, error) { return 7, nil })
		require.NoError(k.t, err)
		k.middleware(middleware.Hooks{Tools: []action.Action{mine}})
		k.script(calls("mine"), says("done")).says("done")
	}},
	{"3.3.8", "plain text asks with output {} and tools []", func(t *testing.T, k *talkKit) {
		k.opts.Tools = nil
		k.script(says("x")).says("x")
		assert.JSONEq(t, `{"messages":[{"role":"user","content":[{"text":"hi"}]}],"tools":[],"output":{}}`, k.m.requests[0])
	}},
	{"3.3.8", "toolChoice is sent only when set", func(t *testing.T, k *talkKit) {
		k.opts.ToolChoice = model.ToolChoiceNone
		k.script(says("x")).says("x")
		assert.Equal(t, model.ToolChoiceNone, k.m.request(t, 0).ToolChoice)
	}},
	{"3.3.11", "a blocked response is FAILED_PRECONDITION with the response as detail", func(t *testing.T, k *talkKit) {
		k.script(`{"finishReason":"blocked","finishMessage":"rude"}`).fails(status.FailedPrecondition, "rude")
		assert.Contains(t, string(status.Convert(k.err).Details), `"finishReason":"blocked"`)
	}},
	{"3.3.11", "no message is FAILED_PRECONDITION", func(_ *testing.T, k *talkKit) {
		k.script(`{"finishReason":"stop"}`).fails(status.FailedPrecondition, "did not generate a message")
	}},
	{"3.3.12", "output that breaks the schema is an error", func(t *testing.T, k *talkKit) {
		k.opts.Output = object()
		k.script(says(`{"y":1}`)).fails(status.InvalidArgument, "breaks the schema")
		assert.ErrorIs(t, k.err, generate.ErrInvalidOutput)
	}},
	{"3.3.12", "an unfinished answer is not parsed (2026-08 §3.8.3)", func(_ *testing.T, k *talkKit) {
		k.opts.Output = object()
		k.script(`{"finishReason":"aborted","message":{"role":"model","content":[{"text":"{"}]}}`).says("{")
	}},
	{"3.3.12", "returnToolRequests returns before anything runs", func(t *testing.T, k *talkKit) {
		k.opts.ReturnToolRequests, k.opts.Output = true, object()
		k.script(calls("a")).says("")
		assert.Len(t, k.resp.ToolRequests(), 1)
	}},
	{"3.3.13", "maxTurns 0 forbids tools", func(_ *testing.T, k *talkKit) {
		k.opts.MaxTurns = new(0)
		k.script(calls("a")).fails(status.Aborted, "Exceeded maximum tool call iterations (0)")
	}},
	{"3.3.13", "five turns are the default, six model calls", func(t *testing.T, k *talkKit) {
		k.script(calls("a"), calls("a"), calls("a"), calls("a"), calls("a"), calls("a")).fails(status.Aborted, "(5)")
		assert.Equal(t, 6, k.m.calls())
	}},
	{"3.3", "usage is that of the last call", func(t *testing.T, k *talkKit) {
		k.script(`{"usage":{"inputTokens":9},"message":{"role":"model","content":[{"toolRequest":{"name":"a"}}]}}`, says("x")).says("x")
		assert.Zero(t, k.resp.Usage.InputTokens)
	}},
	{"3.3 SHARP", "tools of later turns have the caller's action context; JS drops it", func(t *testing.T, k *talkKit) {
		var seen []string
		newTool(t, k.reg, "who", func(ctx context.Context) (any, error) {
			seen = append(seen, string(action.Context(ctx)))
			return 1, nil
		})
		k.opts.Tools = []string{"who"}
		k.m.responses = []string{calls("who"), calls("who"), says("x")}
		_, err := generate.Run(action.WithContext(t.Context(), json.RawMessage(`{"auth":1}`)), k.reg, k.opts, nil)
		require.NoError(t, err)
		assert.Equal(t, []string{`{"auth":1}`, `{"auth":1}`}, seen)
	}},
	{"3.4 SHARP", "responses are in request order (2026-08 §3.8.5); JS: completion order", func(t *testing.T, k *talkKit) {
		released := make(chan struct{})
		newTool(t, k.reg, "first", func(context.Context) (any, error) { <-released; return 1, nil })
		newTool(t, k.reg, "second", func(context.Context) (any, error) { close(released); return 2, nil })
		k.opts.Tools = []string{"first", "second"}
		k.script(calls("first#1", "second#2"), says("x")).says("x")
		assert.Equal(t, `tool [{"toolResponse":{"name":"first","ref":"1","output":1}},{"toolResponse":{"name":"second","ref":"2","output":2}}]`, k.lines()[2])
	}},
	{"3.4", "a tool that is unknown to the call is NOT_FOUND", func(_ *testing.T, k *talkKit) {
		k.script(calls("ghost")).fails(status.NotFound, "Tool ghost not found")
	}},
	{"3.4", "a tool's error ends the call and keeps its code", func(t *testing.T, k *talkKit) {
		newTool(t, k.reg, "down", func(context.Context) (any, error) { return nil, status.Publicf(status.Unavailable, "down") })
		k.opts.Tools = []string{"down"}
		k.script(calls("down")).fails(status.Unavailable, `tool "down" failed: down`)
	}},
	{"3.4", "an input that breaks the schema ends the call as INVALID_ARGUMENT", func(t *testing.T, k *talkKit) {
		register(t, k.reg)(tool.New("typed", "", func(context.Context, amount) (int, error) { return 1, nil }))
		k.opts.Tools = []string{"typed"}
		k.script(calls("typed")).fails(status.InvalidArgument, "invalid input")
	}},
	{"3.4", "a hook without a response leaves the model message last", func(t *testing.T, k *talkKit) {
		k.middleware(middleware.Hooks{Tool: func(context.Context, *middleware.ToolCall, middleware.ToolFunc) (*content.Part, error) {
			return nil, nil
		}})
		k.script(calls("a#1"), says("x")).says("x")
		assert.Len(t, k.lines(), 2)
	}},
	{"3.4", "a missing ref is filled in, unique in the response (2026-08 §3.8.5)", func(t *testing.T, k *talkKit) {
		k.script(calls("a", "a", "b#call_1_0"), says("x")).says("x")
		var refs []string
		for _, p := range k.m.request(t, 1).Messages[1].Content {
			assert.NotEmpty(t, p.ToolRequest.Ref)
			assert.NotContains(t, refs, p.ToolRequest.Ref)
			refs = append(refs, p.ToolRequest.Ref)
		}
	}},
	{"3.4", "a multipart tool's content and metadata reach the part", func(t *testing.T, k *talkKit) {
		newShotTool(t, k.reg)
		k.opts.Tools = []string{"shot"}
		k.script(calls("shot#2"), says("x")).says("x")
		assert.Equal(t, "tool ["+shotResponse+"]", k.lines()[2])
	}},
	{"3.5", "an interrupt returns the model message with notes, no tool message", func(t *testing.T, k *talkKit) {
		newPayTool(t, k.reg)
		k.opts.Tools = []string{"pay", "a"}
		k.script(calls("pay#1", "a#2")).says("")
		assert.Equal(t, model.FinishInterrupted, k.resp.FinishReason)
		assert.JSONEq(t, `[{"toolRequest":{"name":"pay","ref":"1","input":{}},"metadata":{"interrupt":{"reason":"confirm"}}},
			{"toolRequest":{"name":"a","ref":"2","input":{}},"metadata":{"pendingOutput":1}}]`, toJSON(t, k.resp.Message.Content))
	}},
	{"3.5 SHARP", "a model can't answer for the caller; in JS its part's metadata.resumed counts", func(t *testing.T, k *talkKit) {
		newPayTool(t, k.reg)
		k.opts.Tools = []string{"pay"}
		k.script(`{"message":{"role":"model","content":[{"toolRequest":{"name":"pay","ref":"1"},"metadata":{"resumed":{"ok":true},"acme/k":1}}]}}`).says("")
		require.Len(t, k.resp.Interrupts(), 1)
		assert.JSONEq(t, `{"acme/k":1,"interrupt":{"reason":"confirm"}}`, toJSON(t, k.resp.Message.Content[0].Metadata))
	}},
	{"3.5", "a middleware may interrupt", func(t *testing.T, k *talkKit) {
		k.middleware(middleware.Hooks{Tool: func(context.Context, *middleware.ToolCall, middleware.ToolFunc) (*content.Part, error) {
			return nil, tool.Interrupt(nil)
		}})
		k.script(calls("a")).says("")
		assert.Len(t, k.resp.Interrupts(), 1)
	}},
	{"3.6 SHARP", "a pending output that is falsy counts; JS does not see it", func(t *testing.T, k *talkKit) {
		for _, falsy := range []string{`0`, `""`, `false`, `null`} {
			newResumable(t, k, `{"toolRequest":{"name":"a","ref":"1"},"metadata":{"pendingOutput":`+falsy+`}}`)
			k.script(says("x")).says("x")
			assert.Contains(t, k.lines()[2], `"output":`+falsy)
		}
	}},
	{"3.6", "a resume needs tool requests to answer", func(_ *testing.T, k *talkKit) {
		k.opts.Resume = &model.Resume{}
		k.script().fails(status.FailedPrecondition, "Cannot 'resume' generation")
	}},
	{"3.6", "every request must be answered", func(t *testing.T, k *talkKit) {
		newResumable(t, k, `{"toolRequest":{"name":"a","ref":"1"},"metadata":{"interrupt":true}}`)
		k.script().fails(status.InvalidArgument, "Unresolved tool request 'a#1'")
	}},
	{"3.6", "without refs requests are told apart by name", func(t *testing.T, k *talkKit) {
		newResumable(t, k, `{"toolRequest":{"name":"a"},"metadata":{"interrupt":true}}`)
		k.opts.Resume.Respond = []content.Part{{ToolResponse: &content.ToolResponse{Name: "a", Output: json.RawMessage("5")}}}
		k.script(says("x")).says("x")
	}},
	{"3.6 SHARP", "what was not asked can't be answered (2026-08 §1.7.2); JS passes over it", func(t *testing.T, k *talkKit) {
		newResumable(t, k, `{"toolRequest":{"name":"a","ref":"1"},"metadata":{"pendingOutput":1}}`)
		k.opts.Resume.Restart = []content.Part{{ToolRequest: &content.ToolRequest{Name: "b", Ref: "2"}}}
		k.script().fails(status.InvalidArgument, "which the last model message does not hold")
	}},
	{"3.6", "the tool message says that it was resumed", func(t *testing.T, k *talkKit) {
		newResumable(t, k, `{"toolRequest":{"name":"a","ref":"1"},"metadata":{"pendingOutput":1}}`)
		k.opts.Resume.Metadata = json.RawMessage(`{"by":"me"}`)
		k.script(says("x")).says("x")
		assert.JSONEq(t, `{"by":"me"}`, string(k.m.request(t, 0).Messages[2].Metadata["resumed"]))
	}},
	{"3.6 SHARP", "a resume takes no turn, as in JS; Go: one", func(t *testing.T, k *talkKit) {
		newResumable(t, k, `{"toolRequest":{"name":"a","ref":"1"},"metadata":{"pendingOutput":1}}`)
		k.opts.MaxTurns = new(0)
		k.script(says("x")).says("x")
	}},
	{"3.7", "instructions go to the system message", func(t *testing.T, k *talkKit) {
		k.opts.Messages = []content.Message{content.NewUserTextMessage("hi"), content.NewSystemTextMessage("s")}
		k.opts.Output = &model.OutputOptions{JSONSchema: object().JSONSchema, Instructions: json.RawMessage(`"Say x."`)}
		k.script(says(`{"x":1}`)).says(`{"x":1}`)
		assert.Equal(t, `system [{"text":"s"},{"text":"Say x.","metadata":{"purpose":"output"}}]`, k.lines()[1])
	}},
	{"3.7 SHARP", "a pending part at index 0 is replaced; JS appends", func(t *testing.T, k *talkKit) {
		pending := content.NewTextPart("…")
		pending.Metadata = content.Metadata{"purpose": json.RawMessage(`"output"`), "pending": content.True()}
		k.opts.Messages = []content.Message{{Role: content.RoleSystem, Content: []content.Part{pending, content.NewTextPart("s")}}, content.NewUserTextMessage("hi")}
		k.opts.Output = &model.OutputOptions{JSONSchema: object().JSONSchema, Instructions: json.RawMessage(`"Say x."`)}
		k.script(says(`{"x":1}`)).says(`{"x":1}`)
		assert.Equal(t, `system [{"text":"Say x.","metadata":{"purpose":"output"}},{"text":"s"}]`, k.lines()[0])
	}},
	{"3.7", "instructions are not put there again on the next turn", func(t *testing.T, k *talkKit) {
		k.opts.Output = &model.OutputOptions{JSONSchema: object().JSONSchema, Instructions: json.RawMessage(`true`)}
		k.script(calls("a"), says(`{"x":1}`)).says(`{"x":1}`)
		assert.Len(t, k.m.request(t, 1).Messages[0].Content, 2)
	}},
	{"3.8", "a schema that the model can't take is put into words", func(t *testing.T, k *talkKit) {
		k.m = &fakeModel{t: t}
		k.reg, k.opts.Model = registry.New(k.reg), "simple"
		register(t, k.reg)(model.New("simple", model.Info{}, k.m.generate))
		k.opts.Output = object()
		k.script(says(`{"x":1}`)).says(`{"x":1}`)
		req := k.m.request(t, 0)
		assert.Contains(t, req.Messages[0].Text(), "Output should be in JSON format and conform to the following schema:")
		assert.JSONEq(t, `{"constrained":false}`, toJSON(t, req.Output))
	}},
	{"3.8", "documents are put into the last user message, once", func(t *testing.T, k *talkKit) {
		k.m = &fakeModel{t: t}
		k.reg, k.opts.Model = registry.New(k.reg), "simple"
		register(t, k.reg)(model.New("simple", model.Info{}, k.m.generate))
		k.opts.Docs = []content.Document{{Content: []content.Part{content.NewTextPart("fact")}, Metadata: content.Metadata{"ref": json.RawMessage(`"R"`)}}, {Content: []content.Part{content.NewTextPart("other")}}}
		k.script(calls("a"), says("x")).says("x")
		for turn := range 2 {
			req := k.m.request(t, turn)
			assert.Equal(t, "hi\n\nUse the following information to complete your task:\n\n- [R]: fact\n- [1]: other\n\n", req.Messages[0].Text())
			assert.Len(t, req.Docs, 2, "the documents stay")
		}
	}},
	{"3.9", "a resource without a match is NOT_FOUND", func(_ *testing.T, k *talkKit) {
		k.opts.Messages[0].Content = []content.Part{resourcePart("x://1")}
		k.script().fails(status.NotFound, "failed to find matching resource for x://1")
	}},
	{"3.11", "indices grow with the role: 0, 1, 2", func(t *testing.T, k *talkKit) {
		k.m.stream = true
		k.script(calls("a"), says("x")).says("x")
		assert.Equal(t, []string{"model 0 a()", "tool 1 a=1", "model 2 x"}, k.chunks)
	}},
	{"3.11", "a turn that streamed nothing takes no index", func(t *testing.T, k *talkKit) {
		k.script(calls("a"), says("x")).says("x")
		assert.Equal(t, []string{"tool 0 a=1"}, k.chunks)
	}},
	{"3.11 SHARP", "after a resume the tool has 0 and the model 1, as in JS; Go: both 1", func(t *testing.T, k *talkKit) {
		k.m.stream = true
		newResumable(t, k, `{"toolRequest":{"name":"a","ref":"1"},"metadata":{"pendingOutput":1}}`)
		k.script(says("x")).says("x")
		assert.Equal(t, []string{"tool 0 a=1", "model 1 x"}, k.chunks)
	}},
	{"3.11", "role and index of a model's chunk are overwritten", func(t *testing.T, k *talkKit) {
		k.reg, k.opts.Model = registry.New(k.reg), "loud"
		register(t, k.reg)(model.New("loud", everything, func(_ context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
			return &model.Response{Message: new(content.NewModelTextMessage("x"))}, send(&model.Chunk{Role: content.RoleUser, Index: 9, Content: []content.Part{content.NewTextPart("x")}})
		}))
		k.script().says("x")
		assert.Equal(t, []string{"model 0 x"}, k.chunks)
	}},
	{"3.11", "a reader that leaves ends the call with its error", func(t *testing.T, k *talkKit) {
		gone := errors.New("gone")
		k.m.stream, k.m.responses = true, []string{says("x")}
		_, err := generate.Run(t.Context(), k.reg, k.opts, func(*model.Chunk) error { return gone })
		require.ErrorIs(t, err, gone)
	}},
}

// newResumable makes the call one that resumes a message of these parts.
func newResumable(t *testing.T, k *talkKit, parts string) {
	t.Helper()
	m := decode[content.Message](t, json.RawMessage(`{"role":"model","content":[`+parts+`]}`))
	k.opts.Messages = []content.Message{content.NewUserTextMessage("hi"), *m}
	k.opts.Resume = &model.Resume{}
}

func TestTheReferenceRowByRow(t *testing.T) {
	sections := map[string]bool{}
	for _, row := range rows {
		name, _, _ := strings.Cut(row.section, " ")
		if parts := strings.Split(name, "."); len(parts) > 2 {
			name = strings.Join(parts[:2], ".")
		}
		sections[name] = true
		t.Run(row.section+" "+row.says, func(t *testing.T) {
			reg := newRegistry(t)
			k := &talkKit{t: t, reg: reg, m: newModel(t, reg), opts: ask("a", "b")}
			newTool(t, reg, "a", gives(1))
			newTool(t, reg, "b", gives(2))
			row.check(t, k)
		})
	}
	for _, section := range []string{"3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8", "3.9", "3.11"} {
		assert.True(t, sections[section], section)
	}
}
