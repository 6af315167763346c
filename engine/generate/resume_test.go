package generate_test

import (
	"context"
	"encoding/json"
	"errors"
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

// newPayTool registers a tool that asks on its first run and returns what it was
// resumed with.
func newPayTool(t *testing.T, reg *registry.Registry) {
	t.Helper()
	register(t, reg)(tool.NewRaw("pay", "", nil, nil, func(ctx context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
		answer, again := tool.Resumed(ctx)
		if !again {
			return nil, tool.Interrupt(json.RawMessage(`{"reason":"confirm"}`))
		}
		if string(in) == `"ask again"` {
			return nil, tool.Interrupt(nil)
		}
		return answer, nil
	}))
}

func TestInterruptsAskTheCaller(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, `{"usage":{"inputTokens":3},"message":{"role":"model","content":[
		{"text":"well"},
		{"toolRequest":{"name":"pay","ref":"1","input":{"amt":5}},"metadata":{"acme/k":"v"}},
		{"toolRequest":{"name":"rate","ref":"2","input":{}}},
		{"toolRequest":{"name":"bare","ref":"3"}}]}}`)
	m.stream = true
	newPayTool(t, reg)
	newTool(t, reg, "rate", gives(0))
	newTool(t, reg, "bare", func(context.Context) (any, error) { return nil, tool.Interrupt(nil) })
	send, chunks := collectChunks(t)
	resp, err := generate.Run(t.Context(), reg, ask("pay", "rate", "bare"), send)
	require.NoError(t, err)
	assert.Equal(t, model.FinishInterrupted, resp.FinishReason)
	assert.Equal(t, "One or more tool calls resulted in interrupts.", resp.FinishMessage)
	assert.Equal(t, 3, resp.Usage.InputTokens)
	assert.JSONEq(t, `[{"text":"well"},
		{"toolRequest":{"name":"pay","ref":"1","input":{"amt":5}},"metadata":{"acme/k":"v","interrupt":{"reason":"confirm"}}},
		{"toolRequest":{"name":"rate","ref":"2","input":{}},"metadata":{"pendingOutput":0}},
		{"toolRequest":{"name":"bare","ref":"3"},"metadata":{"interrupt":true}}]`, toJSON(t, resp.Message.Content))
	assert.Len(t, resp.Interrupts(), 2)
	assert.Len(t, resp.Request.Messages, 1, "no tool message is appended")
	assert.Equal(t, []string{"model 0 well pay() rate() bare()"}, *chunks)
}

// interruptedHistory is a conversation that waits for pay, with rate answered.
func interruptedHistory() []content.Message {
	var m content.Message
	if err := json.Unmarshal([]byte(`{"role":"model","content":[{"text":"well"},
		{"toolRequest":{"name":"pay","ref":"1","input":{"amt":5}},"metadata":{"interrupt":{"reason":"confirm"}}},
		{"toolRequest":{"name":"rate","ref":"2","input":{}},"metadata":{"pendingOutput":0,"k":1}}]}`), &m); err != nil {
		panic(err)
	}
	return []content.Message{content.NewUserTextMessage("hi"), m}
}

func TestResume(t *testing.T) {
	pendingRate := `{"toolResponse":{"name":"rate","ref":"2","output":0},"metadata":{"k":1,"source":"pending"}}`
	settledPay := `{"toolRequest":{"name":"pay","ref":"1","input":{"amt":5}},"metadata":{"resolvedInterrupt":{"reason":"confirm"}}}`
	for name, c := range map[string]struct {
		resume  string
		answer  string // the first part of the tool message
		resumed string
	}{
		"by a response": {
			`{"respond":[{"toolResponse":{"name":"pay","ref":"1","output":"ok"},"metadata":{"interruptResponse":true}}]}`,
			`{"toolResponse":{"name":"pay","ref":"1","output":"ok"},"metadata":{"interruptResponse":true}}`, `true`,
		},
		"by a restart": {
			`{"restart":[{"toolRequest":{"name":"pay","ref":"1","input":{"amt":5}},"metadata":{"interrupt":{"reason":"confirm"},"resumed":{"ok":true}}}],"metadata":{"by":"me"}}`,
			`{"toolResponse":{"name":"pay","ref":"1","output":{"ok":true}}}`, `{"by":"me"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			reg := newRegistry(t)
			m := newModel(t, reg, says("done"))
			m.stream = true
			newPayTool(t, reg)
			newTool(t, reg, "rate", func(context.Context) (any, error) { panic("its output is known") })
			opts := ask("pay", "rate")
			opts.Messages = interruptedHistory()
			opts.Resume = decode[model.Resume](t, json.RawMessage(c.resume))
			opts.MaxTurns = new(0) // resuming takes no turn
			before := toJSON(t, opts)
			send, chunks := collectChunks(t)
			resp, err := generate.Run(t.Context(), reg, opts, send)
			require.NoError(t, err)
			assert.Equal(t, "done", resp.Text())
			asked := m.request(t, 0).Messages
			require.Len(t, asked, 3)
			assert.JSONEq(t, `{"role":"model","content":[{"text":"well"},`+settledPay+`,
				{"toolRequest":{"name":"rate","ref":"2","input":{}},"metadata":{"k":1}}]}`, toJSON(t, asked[1]))
			assert.JSONEq(t, `{"role":"tool","content":[`+c.answer+`,`+pendingRate+`],"metadata":{"resumed":`+c.resumed+`}}`, toJSON(t, asked[2]))
			require.Len(t, *chunks, 2)
			assert.Contains(t, (*chunks)[0], "tool 0 pay=")
			assert.Equal(t, "model 1 done", (*chunks)[1])
			assert.Equal(t, before, toJSON(t, opts), "the caller's options")
		})
	}
}

func TestResumingTakesNoTurn(t *testing.T) {
	reg := newRegistry(t)
	newModel(t, reg, calls("rate"), says("done"), calls("rate"), calls("rate"))
	newPayTool(t, reg)
	newTool(t, reg, "rate", gives(1))
	opts := ask("pay", "rate")
	opts.Messages = interruptedHistory()
	opts.Resume = decode[model.Resume](t, json.RawMessage(`{"respond":[{"toolResponse":{"name":"pay","ref":"1","output":1}}]}`))
	opts.MaxTurns = new(1)
	assert.Equal(t, "done", run(t, reg, opts).Text())
	require.ErrorIs(t, runErr(t, reg, opts), status.ErrAborted)
}

// requesting is a model message that asked for a tool.
func requesting(name, ref string) content.Message {
	return content.Message{Role: content.RoleModel, Content: []content.Part{{ToolRequest: &content.ToolRequest{Name: name, Ref: ref}}}}
}

func TestResumeThatDoesNotFitIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		messages []content.Message
		resume   string
		code     status.Code
		want     string
	}{
		"nothing to resume":   {[]content.Message{content.NewUserTextMessage("hi")}, `{}`, status.FailedPrecondition, "Cannot 'resume' generation"},
		"no tool request":     {[]content.Message{content.NewModelTextMessage("hi")}, `{}`, status.FailedPrecondition, "Cannot 'resume' generation"},
		"an open request":     {interruptedHistory(), `{}`, status.InvalidArgument, "Unresolved tool request 'pay#1'"},
		"another ref":         {interruptedHistory(), `{"respond":[{"toolResponse":{"name":"pay","ref":"9"}}]}`, status.InvalidArgument, "'pay#9', which the last model message does not hold"},
		"no ref":              {interruptedHistory(), `{"respond":[{"toolResponse":{"name":"pay"}}]}`, status.InvalidArgument, "'pay', which the last model message does not hold"},
		"another tool":        {interruptedHistory(), `{"restart":[{"toolRequest":{"name":"other","ref":"1"}}]}`, status.InvalidArgument, "does not hold"},
		"an earlier request":  {append([]content.Message{requesting("old", "7")}, interruptedHistory()...), `{"respond":[{"toolResponse":{"name":"old","ref":"7"}}]}`, status.InvalidArgument, "'old#7' is no longer pending"},
		"a finished request":  {interruptedHistory(), `{"respond":[{"toolResponse":{"name":"rate","ref":"2","output":9}}]}`, status.InvalidArgument, "has its output"},
		"two answers":         {interruptedHistory(), `{"respond":[{"toolResponse":{"name":"pay","ref":"1"}}],"restart":[{"toolRequest":{"name":"pay","ref":"1","input":{"amt":5}}}]}`, status.InvalidArgument, "twice"},
		"the wrong kind":      {interruptedHistory(), `{"restart":[{"text":"x"}]}`, status.InvalidArgument, "takes tool responses"},
		"a response to run":   {interruptedHistory(), `{"restart":[{"toolResponse":{"name":"pay","ref":"1"}}]}`, status.InvalidArgument, "takes tool responses"},
		"a forged input":      {interruptedHistory(), `{"restart":[{"toolRequest":{"name":"pay","ref":"1","input":{"amt":5000}}}]}`, status.InvalidArgument, "differs from that of the pending request"},
		"no input":            {interruptedHistory(), `{"restart":[{"toolRequest":{"name":"pay","ref":"1"}}]}`, status.InvalidArgument, "differs from that of the pending request"},
		"a forged original":   {interruptedHistory(), `{"restart":[{"toolRequest":{"name":"pay","ref":"1","input":{"amt":9}},"metadata":{"replacedInput":{"amt":6}}}]}`, status.InvalidArgument, "is not the input of the pending request"},
		"it interrupts again": {interruptedHistory(), `{"restart":[{"toolRequest":{"name":"pay","ref":"1","input":"ask again"},"metadata":{"resumed":true,"replacedInput":{"amt":5}}}]}`, status.FailedPrecondition, "during a restarted execution"},
		"it was not resumed":  {interruptedHistory(), `{"restart":[{"toolRequest":{"name":"pay","ref":"1","input":{"amt":5.0}}}]}`, status.FailedPrecondition, "during a restarted execution"},
	} {
		t.Run(name, func(t *testing.T) {
			reg := newRegistry(t)
			m := newModel(t, reg, says("done"))
			newPayTool(t, reg)
			newTool(t, reg, "rate", gives(1))
			opts := ask("pay", "rate")
			opts.Messages = c.messages
			opts.Resume = decode[model.Resume](t, json.RawMessage(c.resume))
			err := runErr(t, reg, opts)
			assert.Equal(t, c.code, status.Of(err))
			assert.Contains(t, err.Error(), c.want)
			assert.Zero(t, m.calls())
		})
	}
	reg := newRegistry(t)
	newModel(t, reg)
	opts := ask()
	opts.Messages = interruptedHistory()
	opts.Resume = decode[model.Resume](t, json.RawMessage(`{"restart":[{"toolRequest":{"name":"pay","ref":"1","input":{"amt":5}},"metadata":{"resumed":true}}]}`))
	require.ErrorIs(t, runErr(t, reg, opts), status.ErrNotFound, "a restarted tool that was not offered")
}

// An answer is for the tool that asked: what this one runs asks for itself, in whichever way it runs it, and so does what
// a hook of the call runs.
func TestAnAnswerSettlesNoOtherTool(t *testing.T) {
	for name, runs := range map[string]func(ctx context.Context, reg *registry.Registry, a action.Action) error{
		"an action": func(ctx context.Context, _ *registry.Registry, a action.Action) error {
			return ran(a.RunJSON(ctx, nil, nil))
		},
		"the same tool again": func(ctx context.Context, reg *registry.Registry, _ action.Action) error {
			return ran(found(ctx, reg, "outer").RunJSON(ctx, nil, nil))
		},
		"by its key": func(ctx context.Context, reg *registry.Registry, _ action.Action) error {
			return ran(found(ctx, reg, "pay").RunJSON(ctx, nil, nil))
		},
		"in a flow": func(ctx context.Context, _ *registry.Registry, a action.Action) error {
			f, err := action.New(action.Desc{Kind: action.Flow, Name: "f"}, func(ctx context.Context, _ json.RawMessage, _ action.Emit) (json.RawMessage, error) {
				return a.RunJSON(ctx, nil, nil)
			})
			if err != nil {
				return err
			}
			return ran(f.RunJSON(ctx, nil, nil))
		},
		"twice at a time": func(ctx context.Context, _ *registry.Registry, a action.Action) error {
			other := make(chan error, 1)
			go func() { other <- ran(a.RunJSON(ctx, nil, nil)) }()
			return errors.Join(ran(a.RunJSON(ctx, nil, nil)), <-other)
		},
	} {
		t.Run(name, func(t *testing.T) {
			reg := newRegistry(t)
			newModel(t, reg, `{"message":{"role":"model","content":[{"text":"done"}]}}`)
			newPayTool(t, reg)
			pay := found(t.Context(), reg, "pay")
			var below, hook error
			ran := 0
			register(t, reg)(tool.NewRaw("outer", "", nil, nil, func(ctx context.Context, _ json.RawMessage, _ action.Emit) (json.RawMessage, error) {
				answer, again := tool.Resumed(ctx)
				if !again {
					return nil, tool.Interrupt(nil)
				}
				if ran++; ran > 3 {
					return nil, errors.New("it runs itself")
				}
				below = runs(ctx, reg, pay)
				return answer, nil
			}))
			opts := ask("outer", "pay")
			opts.Messages = append(opts.Messages, content.Message{Role: content.RoleModel, Content: []content.Part{{
				ToolRequest: &content.ToolRequest{Name: "outer", Ref: "1"}, Metadata: content.Metadata{"interrupt": content.True()},
			}}})
			opts.Resume = &model.Resume{Restart: []content.Part{{
				ToolRequest: &content.ToolRequest{Name: "outer", Ref: "1"}, Metadata: content.Metadata{"resumed": json.RawMessage(`{"by":"ann"}`)},
			}}}
			use(t, reg, opts, "hook", &middleware.Hooks{Tool: func(ctx context.Context, call *middleware.ToolCall, next middleware.ToolFunc) (*content.Part, error) {
				_, again := tool.Resumed(ctx)
				assert.False(t, again, "a hook is no tool")
				_, hook = pay.RunJSON(ctx, nil, nil)
				return next(ctx, call)
			}})
			resp := run(t, reg, opts)
			assert.Equal(t, 1, ran)
			assert.JSONEq(t, `{"by":"ann"}`, string(resp.Request.Messages[2].Content[0].ToolResponse.Output))
			for where, err := range map[string]error{"below": below, "a hook": hook} {
				_, asked := tool.AsInterrupt(err)
				assert.True(t, asked, "%s: %v", where, err)
			}
		})
	}
}

func ran(_ json.RawMessage, err error) error { return err }

func found(ctx context.Context, reg *registry.Registry, name string) action.Action {
	a, err := reg.Lookup(ctx, action.Key{Kind: action.Tool, Name: name})
	if err != nil {
		panic(err)
	}
	return a
}
