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
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

func TestTheTurnLimit(t *testing.T) {
	endless := func() []string {
		return []string{calls("a"), calls("a"), calls("a"), calls("a"), calls("a"), calls("a"), calls("a")}
	}
	for name, c := range map[string]struct {
		maxTurns string // as the wire has it, "" for nothing
		calls    int
		code     status.Code
		text     string
	}{
		"the default is five":          {"", 6, status.Aborted, "Exceeded maximum tool call iterations (5)"},
		"two turns are three calls":    {"2", 3, status.Aborted, "Exceeded maximum tool call iterations (2)"},
		"zero runs no tool":            {"0", 1, status.Aborted, "Exceeded maximum tool call iterations (0)"},
		"a whole number with decimals": {"1.0", 2, status.Aborted, "Exceeded maximum tool call iterations (1)"},
		"a negative number":            {"-1", 0, status.InvalidArgument, "maxTurns -1: want a whole number"},
		"a fraction":                   {"1.5", 0, status.InvalidArgument, "maxTurns 1.5"},
		"a huge number":                {"1e99", 0, status.InvalidArgument, "maxTurns 1e99"},
		"no number":                    {`"NaN"`, 0, status.InvalidArgument, `maxTurns "NaN"`},
		"null is the default":          {"null", 6, status.Aborted, "Exceeded maximum tool call iterations (5)"},
	} {
		t.Run(name, func(t *testing.T) {
			reg := newRegistry(t)
			m := newModel(t, reg, endless()...)
			newTool(t, reg, "a", gives(1))
			opts := ask("a")
			if c.maxTurns != "" {
				asked := `{"messages":[],"maxTurns":` + c.maxTurns + `}`
				sent := decode[model.GenerateOptions](t, json.RawMessage(asked))
				assert.Contains(t, string(encode(t, sent)), `"maxTurns":`+c.maxTurns, "digits stay")
				opts.MaxTurns, opts.Extra = sent.MaxTurns, sent.Extra
			}
			err := runErr(t, reg, opts)
			assert.Equal(t, c.code, status.Of(err))
			assert.Contains(t, err.Error(), c.text)
			assert.Equal(t, c.calls, m.calls())
			if c.code == status.Aborted {
				details := string(status.Convert(err).Details)
				assert.Contains(t, details, `"response":{"message"`)
				assert.Contains(t, details, `"request":{"messages"`)
			}
		})
	}
}

func TestResponsesThatEndTheCall(t *testing.T) {
	for name, c := range map[string]struct {
		response string
		code     status.Code
		want     string // in the error, or the finish reason
	}{
		"blocked":            {`{"finishReason":"blocked","finishMessage":"rude","message":{"role":"model","content":[]}}`, status.FailedPrecondition, "Generation blocked: rude"},
		"blocked in silence": {`{"finishReason":"blocked"}`, status.FailedPrecondition, "Generation blocked."},
		"no message":         {`{"finishReason":"stop"}`, status.FailedPrecondition, "Model did not generate a message. Finish reason: 'stop'"},
		"aborted":            {`{"finishReason":"aborted","message":{"role":"model","content":[{"text":"{"}]}}`, status.OK, "aborted"},
		"interrupted":        {`{"finishReason":"interrupted","message":{"role":"model","content":[{"text":"x"}]}}`, status.OK, "interrupted"},
		"other":              {`{"finishReason":"other","message":{"role":"model","content":[{"text":"x"}]}}`, status.OK, "other"},
		"length is parsed":   {`{"finishReason":"length","message":{"role":"model","content":[{"text":"x"}]}}`, status.InvalidArgument, "holds no value of the asked format"},
		"unknown is parsed":  {`{"finishReason":"unknown","message":{"role":"model","content":[{"text":"x"}]}}`, status.InvalidArgument, "holds no value of the asked format"},
		"the old candidates": {`{"candidates":[{"finishReason":"stop","message":{"role":"model","content":[{"text":"{}"}]}}]}`, status.OK, "stop"},
	} {
		t.Run(name, func(t *testing.T) {
			reg := newRegistry(t)
			newModel(t, reg, c.response)
			opts := ask()
			opts.Output = &model.OutputOptions{JSONSchema: json.RawMessage(`{"type":"object"}`)}
			resp, err := generate.Run(t.Context(), reg, opts, nil)
			if c.code == status.OK {
				require.NoError(t, err)
				assert.Equal(t, c.want, string(resp.FinishReason))
				return
			}
			require.Error(t, err)
			assert.Equal(t, c.code, status.Of(err))
			assert.Contains(t, err.Error(), c.want)
			assert.Contains(t, string(status.Convert(err).Details), `"response":`)
		})
	}
}

func TestModelsAreFoundOrNamedInTheError(t *testing.T) {
	reg := newRegistry(t)
	newModel(t, reg, says("one"), says("two"), says("three"))
	opts := ask()
	opts.Model = ""
	err := runErr(t, reg, opts)
	assert.Equal(t, status.InvalidArgument, status.Of(err))
	assert.True(t, strings.HasPrefix(status.Convert(err).Message, "Must supply a `model` to `generate()` calls."))

	reg.SetValue(generate.DefaultModelKind, generate.DefaultModelName, "m")
	assert.Equal(t, "one", run(t, reg, opts).Text())
	opts.Model = "/model/m"
	assert.Equal(t, "two", run(t, reg, opts).Text())

	opts.Model = "nope"
	err = runErr(t, reg, opts)
	require.ErrorIs(t, err, status.ErrNotFound)
	assert.Equal(t, "Model 'nope' not found", status.Convert(err).Message)
}

func TestToolsAreFoundByEveryName(t *testing.T) {
	for _, ref := range []string{"kit/a", "/tool/kit/a", "a", "/tool.v2/kit/a"} {
		reg := newRegistry(t)
		m := newModel(t, reg, calls("a#1"), says("done"))
		newTool(t, reg, "kit/a", gives(1))
		newTool(t, reg, "kit/b", gives(2))
		assert.Equal(t, "done", run(t, reg, ask(ref, "/tool/kit/a")).Text(), ref)
		defs := m.request(t, 0).Tools
		require.Len(t, defs, 1, "a tool that is named twice counts once")
		assert.JSONEq(t, `{"name":"a","key":"/tool/kit/a","description":"does kit/a","inputSchema":{"$schema":"http://json-schema.org/draft-07/schema#"},
			"outputSchema":{"$schema":"http://json-schema.org/draft-07/schema#"},"metadata":{"originalName":"kit/a"}}`, toJSON(t, defs[0]))
	}
}

func TestUnknownToolsFailBeforeAnythingRuns(t *testing.T) {
	reg := newRegistry(t)
	ran := false
	m := newModel(t, reg, calls("a", "ghost"))
	newTool(t, reg, "a", func(context.Context) (any, error) { ran = true; return 1, nil })
	newTool(t, reg, "x/b", gives(1))
	newTool(t, reg, "y/b", gives(1))
	require.ErrorIs(t, runErr(t, reg, ask("a", "nope")), status.ErrNotFound)
	require.ErrorIs(t, runErr(t, reg, ask("/model/m")), status.ErrInvalidArgument)
	require.ErrorIs(t, runErr(t, reg, ask("b")), status.ErrInvalidArgument, "an ambiguous name")
	assert.Zero(t, m.calls())

	err := runErr(t, reg, ask("a"))
	require.ErrorIs(t, err, status.ErrNotFound)
	assert.Equal(t, "Tool ghost not found", status.Convert(err).Message)
	assert.False(t, ran, "a request beside an unknown one")
}

func TestEqualShortNamesAreMadeUnique(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, calls("x_b#1", "y_b#2", "a#3"), says("done"))
	newTool(t, reg, "x/b", gives("x"))
	newTool(t, reg, "y/b", gives("y"))
	newTool(t, reg, "z/a", gives("a"))
	newTool(t, reg, "b", gives("plain"))
	run(t, reg, ask("x/b", "z/a", "y/b", "b"))
	var names []string
	for _, d := range m.request(t, 0).Tools {
		names = append(names, d.Name+"<-"+string(d.Metadata["originalName"]))
	}
	assert.Equal(t, []string{`x_b<-"x/b"`, `a<-"z/a"`, `y_b<-"y/b"`, `b<-`}, names)
	last := m.request(t, 1).Messages[2]
	assert.JSONEq(t, `{"role":"tool","content":[
		{"toolResponse":{"name":"x_b","ref":"1","output":"x"}},
		{"toolResponse":{"name":"y_b","ref":"2","output":"y"}},
		{"toolResponse":{"name":"a","ref":"3","output":"a"}}]}`, toJSON(t, last))
}

func TestPerCallToolsNeedNoRegistration(t *testing.T) {
	reg := newRegistry(t)
	newModel(t, reg, calls("mine"), says("done"))
	ran := false
	mine, err := tool.New("mine", "", func(context.Context, any) (int, error) { ran = true; return 1, nil })
	require.NoError(t, err)
	run(t, reg, ask(), generate.WithTools(mine))
	assert.True(t, ran)
	_, err = reg.Resolve(t.Context(), "mine", action.Tool)
	require.ErrorIs(t, err, status.ErrNotFound)
	require.ErrorIs(t, runErr(t, reg, ask(), generate.WithTools(generate.Action(reg))), status.ErrInvalidArgument)
}

type strictInput struct {
	N int `json:"n"`
}

func TestToolFailuresKeepTheirCodeAndNameTheTool(t *testing.T) {
	boom := errors.New("boom")
	reg := newRegistry(t)
	m := newModel(t, reg, calls("a"), calls("b"), calls("c"), calls("d"))
	newTool(t, reg, "kit/a", func(context.Context) (any, error) {
		return nil, status.Publicf(status.ResourceExhausted, "no more %d", 1).WithDetails(1)
	})
	newTool(t, reg, "kit/b", func(context.Context) (any, error) { return nil, boom })
	newTool(t, reg, "kit/c", func(context.Context) (any, error) { panic("ouch") })
	register(t, reg)(tool.New("kit/d", "", func(_ context.Context, in strictInput) (int, error) { return in.N, nil }))

	err := runErr(t, reg, ask("kit/a"))
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Equal(t, status.Wire{Status: "RESOURCE_EXHAUSTED", Message: `tool "kit/a" failed: no more 1`, Details: json.RawMessage("1")}, status.ToWire(err, false))

	err = runErr(t, reg, ask("kit/b"))
	require.ErrorIs(t, err, boom)
	assert.Contains(t, err.Error(), `tool "kit/b" failed: boom`)
	assert.NotContains(t, status.ToWire(err, false).Message, "boom", "what is not public stays in the process")

	err = runErr(t, reg, ask("kit/c"))
	require.ErrorIs(t, err, status.ErrInternal)
	assert.Contains(t, err.Error(), "ouch")

	err = runErr(t, reg, ask("kit/d"))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	require.ErrorIs(t, err, action.ErrInvalidInput)
	assert.Contains(t, status.ToWire(err, false).Message, `tool "kit/d" failed: invalid input`)
	assert.Equal(t, 4, m.calls())
}

func TestMissingRefsAreFilled(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, calls("a", "a#call_1_0", "a"), calls("a"), says("done"))
	newTool(t, reg, "a", gives(0))
	run(t, reg, ask("a"))
	messages := m.request(t, 2).Messages
	seen := map[string]int{}
	for _, msg := range messages {
		for _, p := range msg.Content {
			if p.ToolRequest != nil {
				assert.NotEmpty(t, p.ToolRequest.Ref)
				seen[p.ToolRequest.Ref]++
			}
			if p.ToolResponse != nil {
				seen[p.ToolResponse.Ref]++
			}
		}
	}
	assert.Len(t, seen, 4)
	for ref, n := range seen {
		assert.Equal(t, 2, n, ref)
	}
}

func TestReturnToolRequestsRunsNothing(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, calls("a#1"), says("done"))
	newTool(t, reg, "a", func(context.Context) (any, error) { panic("must not run") })
	opts := ask("a")
	opts.ReturnToolRequests = true
	resp := run(t, reg, opts)
	require.Len(t, resp.ToolRequests(), 1)
	assert.Equal(t, 1, m.calls())
	assert.Equal(t, "done", run(t, reg, opts).Text())
}

func TestMultipartToolsSpread(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, calls("shot#1"), says("done"))
	a, err := action.New(action.Desc{Kind: action.ToolV2, Name: "shot"}, func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		return json.RawMessage(`{"output":false,"content":[{"media":{"url":"data:,x"}}],"metadata":{"k":1}}`), nil
	})
	require.NoError(t, err)
	require.NoError(t, reg.Register(a))
	run(t, reg, ask("shot"))
	assert.JSONEq(t, `{"role":"tool","content":[{"toolResponse":{"name":"shot","ref":"1","output":false,
		"content":[{"media":{"url":"data:,x"}}]},"metadata":{"k":1}}]}`, toJSON(t, m.request(t, 1).Messages[2]))
}

func TestBackgroundModelsReturnTheirOperation(t *testing.T) {
	reg := newRegistry(t)
	register(t, reg)(action.New(action.Desc{Kind: action.BackgroundModel, Name: "film"}, func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		return json.RawMessage(`{"id":"op1"}`), nil
	}))
	opts := ask()
	opts.Model = "film"
	assert.JSONEq(t, `{"id":"op1"}`, string(run(t, reg, opts).Operation))
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg)
	require.ErrorIs(t, runErr(t, reg, &model.GenerateOptions{Model: "m"}), status.ErrInvalidArgument)
	require.ErrorIs(t, runErr(t, reg, nil), status.ErrInvalidArgument)
	opts := ask()
	opts.Output = &model.OutputOptions{Format: "nope"}
	err := runErr(t, reg, opts)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Contains(t, err.Error(), `output format "nope" is not registered`)
	opts.Output = &model.OutputOptions{JSONSchema: json.RawMessage(`{"type":"nope"}`)}
	require.ErrorIs(t, runErr(t, reg, opts), status.ErrInvalidArgument)
	assert.Zero(t, m.calls())
}

func TestTheCallersOptionsStayAsTheyWere(t *testing.T) {
	for name, output := range map[string]*model.OutputOptions{
		"with instructions": {JSONSchema: json.RawMessage(`{"type":"object"}`), Instructions: json.RawMessage(`true`)},
		"without":           nil,
	} {
		reg := newRegistry(t)
		newModel(t, reg, calls("a"), says(`{"x":1}`), calls("a"), says(`{"x":1}`))
		newTool(t, reg, "a", gives(1))
		mine, err := tool.New("mine", "", func(context.Context, any) (int, error) { return 1, nil })
		require.NoError(t, err)
		opts := ask(append(make([]string, 0, 5), "a")...)
		opts.Messages = append(make([]content.Message, 0, 9), content.NewSystemTextMessage("s"), content.NewUserTextMessage("hi"))
		opts.Output = output
		before := toJSON(t, opts)
		for range 2 {
			run(t, reg, opts, generate.WithTools(mine))
			assert.Equal(t, before, toJSON(t, opts), name)
			assert.Empty(t, opts.Messages[:9][2].Role, "%s: spare room of the caller's messages was written to", name)
			assert.Empty(t, opts.Tools[:5][1], "%s: spare room of the caller's tools was written to", name)
		}
	}
}

func TestAnActionOfThisKindNeedsGoodOptions(t *testing.T) {
	a := generate.Action(newRegistry(t))
	for _, in := range []string{`{}`, `{"messages":[{"role":"user"}]}`, `{"messages":[],"maxTurns":"x"}`, `{"messages":[{"role":"clown","content":[]}]}`} {
		_, err := a.RunJSON(t.Context(), json.RawMessage(in), nil)
		require.ErrorIs(t, err, status.ErrInvalidArgument, in)
	}
}
