package codemode_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/codemode"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/toolapproval"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/scripted"
	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// machine stands for the sandbox. Its code is lines of calls, such as "pay 1 & pay 2": those of a line are made together. The
// result is the list of all outcomes. A line "if PREFIX: …" is for an input that differs between two runs. What wasmhost does with
// JavaScript is tested there, and both together in examples/codemode.
type machine struct {
	scope   string
	request json.RawMessage // the latest
	runs    int
	flips   bool // every second run begins with another call
	fail    error
	short   bool // a second run makes no calls
}

func (m *machine) Scope() (string, error) { return m.scope, nil }

func (m *machine) Run(ctx context.Context, request json.RawMessage, next func(context.Context, json.RawMessage) (json.RawMessage, error)) (json.RawMessage, error) {
	m.request = request
	m.runs++
	if m.fail != nil {
		return nil, m.fail
	}
	var in struct{ Code string }
	if err := json.Unmarshal(request, &in); err != nil {
		return nil, err
	}
	all := []json.RawMessage{}
	for n, line := range strings.Split(in.Code, "\n") {
		if m.short && m.runs > 1 {
			break
		}
		calls := []map[string]string{}
		for one := range strings.SplitSeq(line, " & ") {
			name, input, _ := strings.Cut(one, " ")
			if m.flips && m.runs > 1 && n == 0 {
				input = "99"
			}
			calls = append(calls, map[string]string{"tool": name, "input": input})
		}
		asked, err := json.Marshal(map[string]any{"calls": calls})
		if err != nil {
			return nil, err
		}
		raw, err := next(ctx, asked)
		if err != nil { // code may catch it and go on
			continue
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var out struct{ Outcomes []json.RawMessage }
		if err := json.Unmarshal(raw, &out); err != nil {
			return nil, err
		}
		all = append(all, out.Outcomes...)
	}
	result, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"result": string(result), "console": []string{"hello"}})
}

// world is a registry with tools: get returns its input, pay is to be approved, ask interrupts by itself.
type world struct {
	reg     *registry.Registry
	machine *machine

	mu   sync.Mutex
	runs []string
	seen []string               // what tools were told of an answer
	last []model.ToolDefinition // what the model was shown
}

func (w *world) note(ctx context.Context, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs = append(w.runs, text)
	if resumed, again := tool.Resumed(ctx); again {
		w.seen = append(w.seen, text+" "+string(resumed))
	}
}

func newWorld(t *testing.T, o codemode.Options) *world {
	t.Helper()
	w := &world{reg: registry.New(nil), machine: &machine{scope: "acme"}}
	require.NoError(t, w.reg.RegisterValue("interpreter", "javascript", w.machine))
	for _, p := range []registry.Plugin{scripted.Plugin(), toolapproval.Plugin(), codemode.Plugin(o)} {
		require.NoError(t, p.Register(t.Context(), w.reg))
	}
	watch, err := middleware.New(middleware.Desc{Name: "watch"}, func(context.Context, json.RawMessage) (*middleware.Hooks, error) {
		return &middleware.Hooks{Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
			w.last = call.Request.Tools
			return next(ctx, call)
		}}, nil
	})
	require.NoError(t, err)
	require.NoError(t, middleware.Register(w.reg, watch))
	for _, name := range []string{"math/get", "bank/pay"} {
		a, err := tool.New(name, "Does "+name+".", func(ctx context.Context, n int) (int, error) {
			w.note(ctx, fmt.Sprintf("%s %d", name, n))
			if n < 0 {
				return 0, status.Publicf(status.OutOfRange, "%d is too small", n)
			}
			if n == 1000 {
				panic("a thousand")
			}
			return n, nil
		})
		require.NoError(t, err)
		require.NoError(t, w.reg.Register(a))
	}
	ask, err := tool.New("ask", "", func(ctx context.Context, n int) (string, error) {
		w.note(ctx, fmt.Sprintf("ask %d", n))
		if said, again, err := tool.ResumedAs[struct {
			Say string `json:"say"`
		}](ctx); again {
			return said.Say, err
		}
		return "", tool.InterruptWith(map[string]int{"about": n})
	})
	require.NoError(t, err)
	require.NoError(t, w.reg.Register(ask))
	return w
}

// ask has the model run code, and say "done" after it.
func (w *world) options(code, config string, approval bool) *model.GenerateOptions {
	request, _ := json.Marshal(map[string]any{"toolRequest": map[string]any{"name": "run_code", "ref": "r1", "input": map[string]string{"code": code}}})
	opts := &model.GenerateOptions{
		Model: scripted.Name, Config: json.RawMessage(`{"script":[{"message":{"content":[` + string(request) + `]}},{"message":{"content":[{"text":"done"}]}}]}`),
		Tools: []string{"math/get", "bank/pay", "ask"}, Messages: []content.Message{content.NewUserTextMessage("go")},
		Use: []model.MiddlewareRef{{Name: codemode.Name, Config: json.RawMessage(config)}},
	}
	opts.Use = append(opts.Use, model.MiddlewareRef{Name: "watch"})
	if approval {
		opts.Use = append(opts.Use, model.MiddlewareRef{Name: "toolApproval", Config: json.RawMessage(`{"approved":["get","ask"]}`)})
	}
	return opts
}

func outputOf(t *testing.T, resp *model.Response) string {
	t.Helper()
	last := resp.Request.Messages[len(resp.Request.Messages)-1]
	require.Equal(t, content.RoleTool, last.Role)
	return string(last.Content[0].ToolResponse.Output)
}

// resume continues an interrupted response with an answer to run_code.
func (w *world) resume(t *testing.T, opts *model.GenerateOptions, resp *model.Response, answer string) (*model.Response, error) {
	t.Helper()
	require.Equal(t, model.FinishInterrupted, resp.FinishReason)
	restart, err := tool.Restart(resp.Interrupts()[0], tool.WithResumedMetadata(json.RawMessage(answer)))
	require.NoError(t, err)
	again := *opts
	again.Messages, again.Resume = resp.History(), &model.Resume{Restart: []content.Part{restart}}
	return generate.Run(t.Context(), w.reg, &again, nil)
}

// question is the interrupt of run_code.
type question struct {
	CodeMode struct {
		Pending []struct {
			Call      int             `json:"call"`
			Tool      string          `json:"tool"`
			Input     json.RawMessage `json:"input"`
			Interrupt json.RawMessage `json:"interrupt"`
		} `json:"pending"`
		Log string `json:"log"`
	} `json:"codeMode"`
}

func questionOf(t *testing.T, resp *model.Response) question {
	t.Helper()
	q, ok := tool.InterruptAs[question](resp.Message.Content[0])
	require.True(t, ok)
	return q
}

func TestTheModelIsShownOneToolThatCallsTheOthers(t *testing.T) {
	w := newWorld(t, codemode.Options{})
	resp, err := generate.Run(t.Context(), w.reg, w.options("get 1 & get 2 & pay 3\nget 4\nnone 5 & get -1", ``, false), nil)
	require.NoError(t, err)
	assert.Equal(t, "done", resp.Text())
	require.Len(t, w.last, 1)
	shown := w.last[0]
	assert.Equal(t, "run_code", shown.Name)
	assert.Contains(t, shown.Description, "```ts\ndeclare const tools: {\n  /** Does math/get. */\n  get(input: number): Promise<number>;\n  /** Does bank/pay. */\n  pay(input: number): Promise<number>;\n  ask(input: number): Promise<string>;\n};\n```")
	assert.JSONEq(t, `{"result":[{"output":1},{"output":2},{"output":3},{"output":4},{"error":{"code":"NOT_FOUND","message":"there is no tool \"none\""}},{"error":{"code":"OUT_OF_RANGE","message":"-1 is too small"}}],
		"console":["hello"]}`, outputOf(t, resp))
	assert.ElementsMatch(t, []string{"math/get 1", "math/get 2", "bank/pay 3", "math/get 4", "math/get -1"}, w.runs)

	resp, err = generate.Run(t.Context(), w.reg, w.options("get 1\npay 1", `{"only":["math/get"]}`, false), nil)
	require.NoError(t, err)
	names := []string{}
	for _, d := range w.last {
		names = append(names, d.Name)
	}
	assert.Equal(t, []string{"pay", "ask", "run_code"}, names)
	assert.Contains(t, outputOf(t, resp), `there is no tool \"pay\"`)
	resp, err = generate.Run(t.Context(), w.reg, w.options("get 1000", `{"beside":true}`, false), nil)
	require.NoError(t, err)
	assert.Len(t, w.last, 4)
	assert.NotContains(t, outputOf(t, resp), "thousand", "what is not public stays here")
}

func TestCallsOfCodeAreBounded(t *testing.T) {
	w := newWorld(t, codemode.Options{})
	ctx, done, err := allowance.Enter(t.Context(), allowance.Limits{ToolRuns: 3})
	require.NoError(t, err)
	defer done()
	resp, err := generate.Run(ctx, w.reg, w.options("get 1\nget 2\nget 3\nget 4", ``, false), nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"math/get 1", "math/get 2"}, w.runs, "run_code is one of the three")
	assert.Contains(t, outputOf(t, resp), "RESOURCE_EXHAUSTED")

	w = newWorld(t, codemode.Options{})
	_, err = generate.Run(t.Context(), w.reg, w.options(strings.TrimSuffix(strings.Repeat("get 1\n", codemode.MaxCalls+9), "\n"), ``, false), nil)
	require.NoError(t, err)
	assert.Len(t, w.runs, codemode.MaxCalls)
	resp, err = generate.Run(t.Context(), w.reg, w.options(strings.Repeat(" ", codemode.MaxCodeBytes+1), ``, false), nil)
	require.NoError(t, err)
	assert.Contains(t, outputOf(t, resp), "the code has 65537 bytes, and may have 65536")

	for _, c := range []struct {
		fail error
		told bool
	}{
		{status.Publicf(status.ResourceExhausted, "no fuel is left"), true},
		{status.Publicf(status.Internal, "it trapped"), true},
		{status.Publicf(status.ResourceExhausted, "later").WithRetryAfter(1), false},
		{status.Publicf(status.Unavailable, "shutting down"), false},
		{status.Publicf(status.Cancelled, "gone"), false},
	} {
		w.machine.fail = c.fail
		resp, err := generate.Run(t.Context(), w.reg, w.options("get 1", ``, false), nil)
		if !c.told {
			require.ErrorIs(t, err, c.fail)
			continue
		}
		require.NoError(t, err)
		assert.JSONEq(t, fmt.Sprintf(`{"error":%q}`, status.Convert(c.fail).Message), outputOf(t, resp))
	}
}

func TestAnApprovalContinuesTheCodeWhereItStopped(t *testing.T) {
	key := []byte("a key that outlives the process")
	w := newWorld(t, codemode.Options{Key: key})
	opts := w.options("get 1\nget 2 & pay 3 & get 4\nget 5\npay 6", ``, true)
	resp, err := generate.Run(t.Context(), w.reg, opts, nil)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"math/get 1", "math/get 2", "math/get 4"}, w.runs, "those beside it ran to their end")
	q := questionOf(t, resp)
	require.Len(t, q.CodeMode.Pending, 1)
	assert.Equal(t, 3, q.CodeMode.Pending[0].Call)
	assert.JSONEq(t, `{"message":"Tool not in approved list: pay"}`, string(q.CodeMode.Pending[0].Interrupt))
	assert.NotContains(t, q.CodeMode.Log, "math")

	// Another process with the key goes on.
	next := newWorld(t, codemode.Options{Key: key})
	resp, err = next.resume(t, opts, resp, `{"toolApproved":true}`)
	require.NoError(t, err)
	assert.Equal(t, []string{"bank/pay 3", "math/get 5"}, next.runs, "what ran before is not run again")
	assert.Equal(t, []string{`bank/pay 3 {"toolApproved":true}`}, next.seen, "an approval is for one call")
	q = questionOf(t, resp)
	require.Len(t, q.CodeMode.Pending, 1)
	assert.Equal(t, 6, q.CodeMode.Pending[0].Call)

	resp, err = w.resume(t, opts, resp, `{"calls":{"6":{"error":"the boss says no"}}}`)
	require.NoError(t, err)
	assert.Equal(t, "done", resp.Text())
	assert.JSONEq(t, `{"result":[{"output":1},{"output":2},{"output":3},{"output":4},{"output":5},{"error":{"code":"PERMISSION_DENIED","message":"the boss says no"}}],"console":["hello"]}`, outputOf(t, resp))
}

func TestEachPendingCallGetsItsAnswer(t *testing.T) {
	w := newWorld(t, codemode.Options{})
	opts := w.options("ask 1 & ask 2 & get 3", ``, false)
	asked, err := generate.Run(t.Context(), w.reg, opts, nil)
	require.NoError(t, err)
	q := questionOf(t, asked)
	require.Len(t, q.CodeMode.Pending, 2)
	assert.JSONEq(t, `{"about":2}`, string(q.CodeMode.Pending[1].Interrupt))
	for _, answer := range []string{`{"say":"x"}`, `{"calls":{"3":{"output":1}}}`, `{"calls":{"0":{"output":1}}}`, `{"calls":{"x":{}}}`, `{"calls":7}`, `{"calls":{"4":{"output":1}}}`} {
		_, err := w.resume(t, opts, asked, answer)
		require.ErrorIs(t, err, status.ErrInvalidArgument, answer)
	}
	w.runs = nil
	half, err := w.resume(t, opts, asked, `{"calls":{"1":{"resumed":{"say":"one"}}}}`)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"ask 1", "ask 2"}, w.runs)
	require.Len(t, questionOf(t, half).CodeMode.Pending, 1)
	resp, err := w.resume(t, opts, half, `{"calls":{"2":{"output":"two"}}}`)
	require.NoError(t, err)
	assert.Contains(t, outputOf(t, resp), `[{"output":"one"},{"output":"two"},{"output":3}]`)
	assert.Equal(t, []string{`ask 1 {"say":"one"}`}, w.seen)
}

// A caller has the log in hand, and may send what it likes.
func TestAForgedLogIsRefused(t *testing.T) {
	key := []byte("k")
	w := newWorld(t, codemode.Options{Key: key})
	opts := w.options("get 1\npay 2", ``, true)
	resp, err := generate.Run(t.Context(), w.reg, opts, nil)
	require.NoError(t, err)
	log := questionOf(t, resp).CodeMode.Log
	other := w.options("get 1\npay 2\npay 3", ``, true)
	otherResp, err := generate.Run(t.Context(), w.reg, other, nil)
	require.NoError(t, err)
	w.runs = nil
	edit := func(change func(p *content.Part)) *model.Response {
		r := *resp
		message := *resp.Message
		message.Content = append([]content.Part{}, message.Content...)
		request := *message.Content[0].ToolRequest
		message.Content[0].ToolRequest = &request
		change(&message.Content[0])
		r.Message = &message
		return &r
	}
	interrupt := func(log string) func(p *content.Part) {
		raw, err := json.Marshal(map[string]any{"codeMode": map[string]any{"log": log}})
		require.NoError(t, err)
		return func(p *content.Part) { p.Metadata = p.Metadata.With("interrupt", raw) }
	}
	flipped := []byte(log)
	flipped[len(flipped)/2] ^= 1
	for what, forged := range map[string]*model.Response{
		"another code":                edit(func(p *content.Part) { p.ToolRequest.Input = json.RawMessage(`{"code":"pay 2"}`) }),
		"another request":             edit(func(p *content.Part) { p.ToolRequest.Ref = "r2" }),
		"no log":                      edit(interrupt("")),
		"a log in the clear":          edit(interrupt(`{"calls":[]}`)),
		"a log of another code":       edit(interrupt(questionOf(t, otherResp).CodeMode.Log)),
		"a bit of the log":            edit(interrupt(string(flipped))),
		"half of the log":             edit(interrupt(log[:len(log)/2])),
		"a long log":                  edit(interrupt("v1." + strings.Repeat("A", 3<<20))),
		"an interrupt that is a text": edit(func(p *content.Part) { p.Metadata = p.Metadata.With("interrupt", json.RawMessage(`"x"`)) }),
	} {
		_, err := w.resume(t, opts, forged, `{"toolApproved":true}`)
		require.ErrorIs(t, err, status.ErrInvalidArgument, what)
	}
	stranger := newWorld(t, codemode.Options{Key: []byte("another")})
	_, err = stranger.resume(t, opts, resp, `{"toolApproved":true}`)
	require.ErrorIs(t, err, status.ErrInvalidArgument, "another server's key")
	elsewhere := newWorld(t, codemode.Options{Key: key})
	elsewhere.machine.scope = "evil"
	_, err = elsewhere.resume(t, opts, resp, `{"toolApproved":true}`)
	require.ErrorIs(t, err, status.ErrInvalidArgument, "another tenant")
	assert.Empty(t, append(append(w.runs, stranger.runs...), elsewhere.runs...))

	// What is pending is what the log says, not what the caller has written beside it.
	doctored := edit(func(p *content.Part) {
		raw, err := json.Marshal(map[string]any{"codeMode": map[string]any{"log": log, "pending": []any{map[string]any{"call": 1}, map[string]any{"call": 2}}}})
		require.NoError(t, err)
		p.Metadata = p.Metadata.With("interrupt", raw)
	})
	_, err = w.resume(t, opts, doctored, `{"calls":{"1":{"output":99}}}`)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	done, err := w.resume(t, opts, doctored, `{"toolApproved":true}`)
	require.NoError(t, err)
	assert.Contains(t, outputOf(t, done), `[{"output":1},{"output":2}]`)
}

func TestCodeThatDoesOtherThingsThanBeforeIsStopped(t *testing.T) {
	for what, set := range map[string]func(*machine){"another call": func(m *machine) { m.flips = true }, "fewer calls": func(m *machine) { m.short = true }} {
		w := newWorld(t, codemode.Options{})
		opts := w.options("get 1\npay 2", ``, true)
		resp, err := generate.Run(t.Context(), w.reg, opts, nil)
		require.NoError(t, err)
		set(w.machine)
		w.runs = nil
		_, err = w.resume(t, opts, resp, `{"toolApproved":true}`)
		require.ErrorIs(t, err, status.ErrAborted, what)
		assert.Contains(t, status.Convert(err).Message, "did not do again", what)
		assert.Empty(t, w.runs, what)
	}
}

func TestCodeModeNeedsAnInterpreter(t *testing.T) {
	reg := registry.New(nil)
	f, err := codemode.New(codemode.Options{})
	require.NoError(t, err)
	_, err = f.New(middleware.WithRegistry(t.Context(), reg), nil)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	_, err = f.New(t.Context(), json.RawMessage(`{"none":[]}`))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	require.NoError(t, reg.RegisterValue("interpreter", "javascript", &machine{}))
	hooks, err := f.New(middleware.WithRegistry(t.Context(), reg), nil)
	require.NoError(t, err)
	_, err = hooks.Tools[0].RunJSON(t.Context(), json.RawMessage(`{"code":"get 1"}`), nil)
	require.ErrorIs(t, err, status.ErrFailedPrecondition, "the tool by itself has nothing to call")
}
