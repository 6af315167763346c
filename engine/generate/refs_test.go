package generate_test

import (
	"context"
	"encoding/json"
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

// twoOfOneRef is an answer that asks for pay twice under one ref.
const twoOfOneRef = `{"message":{"role":"model","content":[
	{"toolRequest":{"name":"pay","ref":"call_1","input":{"amt":1}}},
	{"toolRequest":{"name":"pay","ref":"call_1","input":{"amt":4000}}}]}}`

// newEchoPayTool registers a tool that interrupts until it is resumed, then returns its
// input.
func newEchoPayTool(t *testing.T, reg *registry.Registry) {
	t.Helper()
	register(t, reg)(tool.NewRaw("pay", "", nil, nil, func(ctx context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
		if _, again := tool.Resumed(ctx); !again {
			return nil, tool.Interrupt(json.RawMessage(`{"ask":true}`))
		}
		return in, nil
	}))
}

func refsOf(parts []content.Part) (refs []string) {
	for _, p := range parts {
		switch {
		case p.ToolRequest != nil:
			refs = append(refs, p.ToolRequest.Ref)
		case p.ToolResponse != nil:
			refs = append(refs, p.ToolResponse.Ref)
		}
	}
	return refs
}

// One approval must answer one request: the two get different refs before anybody sees
// them.
func TestRequestsOfOneRefAreTwoRequests(t *testing.T) {
	setup := func(t *testing.T) (*registry.Registry, *fakeModel, *model.GenerateOptions) {
		reg := newRegistry(t)
		m := newModel(t, reg, twoOfOneRef, says("done"))
		newEchoPayTool(t, reg)
		resp := run(t, reg, ask("pay"))
		require.Equal(t, []string{"call_1", "call_1_2"}, refsOf(resp.Message.Content), "the first keeps its own")
		opts := ask("pay")
		opts.Messages = resp.History()
		return reg, m, opts
	}
	restart := func(ref, input string) string {
		return `{"toolRequest":{"name":"pay","ref":"` + ref + `","input":` + input + `},"metadata":{"resumed":true}}`
	}
	t.Run("restarting one of them does not settle the other", func(t *testing.T) {
		for _, one := range []string{restart("call_1", `{"amt":1}`), restart("call_1_2", `{"amt":4000}`)} {
			reg, m, opts := setup(t)
			opts.Resume = decode[model.Resume](t, json.RawMessage(`{"restart":[`+one+`]}`))
			err := runErr(t, reg, opts)
			require.ErrorIs(t, err, status.ErrInvalidArgument)
			assert.Contains(t, err.Error(), "Unresolved tool request 'pay#call_1")
			assert.Equal(t, 1, m.calls())
		}
	})
	t.Run("a restart of one with the other's input is refused", func(t *testing.T) {
		reg, _, opts := setup(t)
		opts.Resume = decode[model.Resume](t, json.RawMessage(`{"restart":[`+restart("call_1", `{"amt":4000}`)+`,`+restart("call_1_2", `{"amt":4000}`)+`]}`))
		require.ErrorIs(t, runErr(t, reg, opts), status.ErrInvalidArgument)
	})
	t.Run("each gets its own answer", func(t *testing.T) {
		reg, m, opts := setup(t)
		opts.Resume = decode[model.Resume](t, json.RawMessage(`{
			"respond":[{"toolResponse":{"name":"pay","ref":"call_1_2","output":"no"}}],
			"restart":[`+restart("call_1", `{"amt":1}`)+`]}`))
		assert.Equal(t, "done", run(t, reg, opts).Text())
		sent := m.request(t, 1).Messages
		assert.Equal(t, []string{"call_1", "call_1_2"}, refsOf(sent[1].Content))
		assert.JSONEq(t, `[{"toolResponse":{"name":"pay","ref":"call_1","output":{"amt":1}}},
			{"toolResponse":{"name":"pay","ref":"call_1_2","output":"no"}}]`, toJSON(t, sent[2].Content))
	})
}

func TestUniqueRefsReachEverybody(t *testing.T) {
	const answer = `{"message":{"role":"model","content":[
		{"toolRequest":{"name":"a","ref":"1","input":{}}},
		{"toolRequest":{"name":"b","ref":"1","input":{}}},
		{"toolRequest":{"name":"a","ref":"1","input":{}}},
		{"toolRequest":{"name":"a","ref":"1_2","input":{}}}]}}`
	want := []string{"1", "1_3", "1_4", "1_2"}
	prepare := func(t *testing.T) (*registry.Registry, *fakeModel, *model.GenerateOptions) {
		reg := newRegistry(t)
		m := newModel(t, reg, answer, says("done"))
		newTool(t, reg, "a", gives("A"))
		newTool(t, reg, "b", gives("B"))
		return reg, m, ask("a", "b")
	}
	t.Run("the provider, with the answers", func(t *testing.T) {
		reg, m, opts := prepare(t)
		run(t, reg, opts)
		sent := m.request(t, 1).Messages
		assert.Equal(t, want, refsOf(sent[1].Content))
		assert.Equal(t, want, refsOf(sent[2].Content))
	})
	t.Run("a caller who runs the tools", func(t *testing.T) {
		reg, _, opts := prepare(t)
		opts.ReturnToolRequests = true
		assert.Equal(t, want, refsOf(run(t, reg, opts).Message.Content))
	})
	t.Run("middleware", func(t *testing.T) {
		reg, _, opts := prepare(t)
		var seen []string
		f := hooksFactory("see", middleware.Hooks{Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
			resp, err := next(ctx, call)
			if err == nil && seen == nil {
				seen = refsOf(resp.Message.Content)
			}
			return resp, err
		}})
		opts.Use = []model.MiddlewareRef{{Name: "see"}}
		run(t, reg, opts, generate.WithMiddleware(f))
		assert.Equal(t, want, seen)
	})
	t.Run("what a middleware makes up", func(t *testing.T) {
		reg, _, opts := prepare(t)
		f := hooksFactory("makeup", middleware.Hooks{Model: func(context.Context, *middleware.ModelCall, middleware.ModelFunc) (*model.Response, error) {
			return decode[model.Response](t, json.RawMessage(answer)), nil
		}})
		opts.Use, opts.ReturnToolRequests = []model.MiddlewareRef{{Name: "makeup"}}, true
		assert.Equal(t, want, refsOf(run(t, reg, opts, generate.WithMiddleware(f)).Message.Content))
	})
	t.Run("a model that is called directly", func(t *testing.T) {
		reg, _, _ := prepare(t)
		a, err := reg.Resolve(t.Context(), "m", action.Model)
		require.NoError(t, err)
		resp, err := middleware.Serve(t.Context(), a, &model.Request{Messages: []content.Message{content.NewUserTextMessage("hi")}}, nil)
		require.NoError(t, err)
		assert.Equal(t, want, refsOf(resp.Message.Content))
	})
}

// The chunks name the requests as the message does, also for parts that come in
// pieces, and for the second try of a middleware that tries again.
func TestChunksAndMessageAgreeOnRefs(t *testing.T) {
	request := func(ref string, partial bool) *model.Chunk {
		r := &content.ToolRequest{Name: "a", Ref: ref, Input: json.RawMessage(`{}`)}
		if partial {
			r.Partial = new(true)
		}
		return &model.Chunk{Content: []content.Part{{ToolRequest: r}}}
	}
	reg := newRegistry(t)
	register(t, reg)(model.New("m", everything, func(_ context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
		for _, c := range []*model.Chunk{request("1", true), request("1", true), request("1", false), request("1", true), request("1", false), request("2", false)} {
			if err := send(c); err != nil {
				return nil, err
			}
		}
		return decode[model.Response](t, json.RawMessage(calls("a#1", "a#1", "a#2"))), nil
	}))
	newTool(t, reg, "a", gives(1))
	twice := hooksFactory("twice", middleware.Hooks{Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
		if _, err := next(ctx, call); err != nil {
			return nil, err
		}
		return next(ctx, call)
	}})
	opts := ask("a")
	opts.ReturnToolRequests, opts.Use = true, []model.MiddlewareRef{{Name: "twice"}}
	var streamed []string
	resp, err := generate.Run(t.Context(), reg, opts, func(c *model.Chunk) error {
		streamed = append(streamed, refsOf(c.Content)...)
		return nil
	}, generate.WithMiddleware(twice))
	require.NoError(t, err)
	once := []string{"1", "1", "1", "1_2", "1_2", "2"}
	assert.Equal(t, append(append([]string{}, once...), once...), streamed)
	assert.Equal(t, []string{"1", "1_2", "2"}, refsOf(resp.Message.Content))
}

// Histories come from callers, and some were written before refs were unique.
func TestAHistoryWithEqualRefs(t *testing.T) {
	history := func(second string) []content.Message {
		var m content.Message
		require.NoError(t, json.Unmarshal([]byte(`{"role":"model","content":[
			{"toolRequest":{"name":"pay","ref":"1","input":{"amt":1}},"metadata":{"interrupt":true}},
			{"toolRequest":{"name":"pay","ref":"1","input":{"amt":2}},"metadata":`+second+`}]}`), &m))
		return []content.Message{content.NewUserTextMessage("hi"), m}
	}
	respond := `{"respond":[{"toolResponse":{"name":"pay","ref":"1","output":"ok"}}]}`
	t.Run("two that wait can't be told apart", func(t *testing.T) {
		reg := newRegistry(t)
		newModel(t, reg, says("done"))
		newEchoPayTool(t, reg)
		opts := ask("pay")
		opts.Messages, opts.Resume = history(`{"interrupt":true}`), decode[model.Resume](t, json.RawMessage(respond))
		err := runErr(t, reg, opts)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
		assert.Contains(t, err.Error(), "nothing tells which one is meant")
	})
	t.Run("one that waits can", func(t *testing.T) {
		reg := newRegistry(t)
		m := newModel(t, reg, says("done"))
		newEchoPayTool(t, reg)
		opts := ask("pay")
		opts.Messages, opts.Resume = history(`{"pendingOutput":"old"}`), decode[model.Resume](t, json.RawMessage(respond))
		run(t, reg, opts)
		sent := m.request(t, 0).Messages
		assert.Equal(t, []string{"1", "1_2"}, refsOf(sent[1].Content))
		assert.JSONEq(t, `[{"toolResponse":{"name":"pay","ref":"1","output":"ok"}},
			{"toolResponse":{"name":"pay","ref":"1_2","output":"old"},"metadata":{"source":"pending"}}]`, toJSON(t, sent[2].Content))
	})
	t.Run("a name with a # is no ref", func(t *testing.T) {
		reg := newRegistry(t)
		m := newModel(t, reg, says("done"))
		opts := ask()
		opts.Messages = []content.Message{content.NewUserTextMessage("hi"), {Role: content.RoleModel, Content: []content.Part{
			{ToolRequest: &content.ToolRequest{Name: "a#b"}}, {ToolRequest: &content.ToolRequest{Name: "a", Ref: "b"}},
		}}}
		opts.Resume = decode[model.Resume](t, json.RawMessage(`{"respond":[
			{"toolResponse":{"name":"a#b","output":1}},{"toolResponse":{"name":"a","ref":"b","output":2}}]}`))
		run(t, reg, opts)
		assert.Equal(t, 1, m.calls())
	})
}

func hooksFactory(name string, hooks middleware.Hooks) middleware.Factory {
	f, err := middleware.New(middleware.Desc{Name: name}, func(context.Context, json.RawMessage) (*middleware.Hooks, error) { return &hooks, nil })
	if err != nil {
		panic(err)
	}
	return f
}
