package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/codemode"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/toolapproval"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/scripted"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/jsengine/jsenginetest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

func TestMain(m *testing.M) {
	if raced {
		os.Exit(0) // compiling the engine of scripts takes a minute under the race detector; its own tests run there
	}
	code := m.Run()
	if dir, err := sharedDir(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// cacheDir is a folder for compiled code that all tests share: compiling the engine takes seconds.
func cacheDir(t *testing.T) string {
	t.Helper()
	dir, err := sharedDir()
	require.NoError(t, err)
	return dir
}

var sharedDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "shared-code-") })

func TestTheExample(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), wasmhost.Config{JavaScript: jsenginetest.File(t), CacheDir: cacheDir(t)}, &out))
	assert.Equal(t, "may it refund 3?\n"+
		`{"result":{"sum":5500,"refund":"order 3 is refunded"},"console":["refunding 3"]}`+"\nAll is settled.\n", out.String())
}

// server is an engine with thirty tools, of which a task needs three, and what its model was asked.
type server struct {
	host   *wasmhost.Host
	engine *engine.Engine
	tools  []engine.ToolRef
	asked  int // bytes of all requests

	mu   sync.Mutex // guards runs
	runs []string
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{}
	// One slot: the code gives its own up while it waits for tools that are guests, too.
	host, err := wasmhost.New(t.Context(), wasmhost.Config{JavaScript: jsenginetest.File(t), CacheDir: cacheDir(t), Quota: tenant.Quota{Concurrency: 1}})
	require.NoError(t, err)
	s.host = host
	t.Cleanup(func() { assert.NoError(t, host.Close(context.WithoutCancel(t.Context()))) })
	s.engine, err = engine.New(t.Context(), engine.Config{Plugins: []registry.Plugin{
		scripted.Plugin(), toolapproval.Plugin(), codemode.Plugin(codemode.Options{Key: []byte("kept")}),
		middleware.Plugin("watch", func() (middleware.Factory, error) {
			return middleware.New(middleware.Desc{Name: "watch"}, func(context.Context, json.RawMessage) (*middleware.Hooks, error) {
				return &middleware.Hooks{Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
					tools := slices.Clone(call.Request.Tools)
					for i := range tools { // what providers send
						tools[i] = model.ToolDefinition{Name: tools[i].Name, Description: tools[i].Description, InputSchema: tools[i].InputSchema}
					}
					raw, err := json.Marshal(struct {
						Messages []content.Message
						Tools    []model.ToolDefinition
					}{call.Request.Messages, tools})
					s.asked += len(raw)
					if err != nil {
						return nil, err
					}
					return next(ctx, call)
				}}, nil
			})
		}),
	}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.engine.Close(context.WithoutCancel(t.Context()))) })
	require.NoError(t, s.engine.AddProvider(host.Provider(wasmhost.DefaultTenant)))
	for i := range 30 {
		// Each has inputs of its own beside the project.
		schema := fmt.Sprintf(`{"type":"object","properties":{
			"project":{"type":"integer","description":"The number of the project."},
			"query%d":{"type":"string","minLength":1,"description":"What is looked for, in the words of the person who asks."},
			"labels%d":{"type":"array","items":{"type":"string"},"description":"Only what has all of these labels."},
			"state":{"type":"string","enum":["open","closed","all"]},"limit":{"type":"integer","minimum":1,"maximum":100}},
			"required":["project"],"additionalProperties":false}`, i, i)
		name := fmt.Sprintf("tracker/tool%02d", i)
		a, err := tool.NewRaw(name, "Looks up issues of the tracker in the way number "+fmt.Sprint(i)+", and returns them with their text.", json.RawMessage(schema),
			json.RawMessage(`{"type":"array","items":{"type":"object","properties":{"id":{"type":"integer"},"title":{"type":"string"},"body":{"type":"string"}},"required":["id","title","body"]}}`),
			func(_ context.Context, raw json.RawMessage, _ action.Emit) (json.RawMessage, error) {
				var in struct {
					Project int `json:"project"`
				}
				if err := json.Unmarshal(raw, &in); err != nil {
					return nil, err
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				s.runs = append(s.runs, fmt.Sprintf("%s %d", name, in.Project))
				return json.Marshal([]map[string]any{{"id": in.Project, "title": "An issue", "body": strings.Repeat("It does not work. ", 10)}})
			})
		require.NoError(t, err)
		require.NoError(t, s.engine.Registry().Register(a))
		s.tools = append(s.tools, engine.ToolName(name))
	}
	return s
}

func (s *server) generate(t *testing.T, answers string, use ...engine.Middleware) *model.Response {
	t.Helper()
	use = append(use, engine.UseName("watch", nil))
	resp, err := engine.Generate(t.Context(), s.engine, engine.WithModelName(scripted.Name), engine.WithConfig(json.RawMessage(answers)),
		engine.WithPrompt("Which issues are open?"), engine.WithTools(s.tools...), engine.WithUse(use...), engine.WithMaxTurns(20))
	require.NoError(t, err)
	return resp
}

// calls is the answer of a model that asks for tools.
func calls(requests ...string) string {
	parts := make([]string, len(requests))
	for i, r := range requests {
		parts[i] = `{"toolRequest":` + r + `}`
	}
	return `{"message":{"content":[` + strings.Join(parts, ",") + `]}}`
}

func code(text string) string {
	raw, err := json.Marshal(map[string]any{"name": "run_code", "ref": "1", "input": map[string]string{"code": text}})
	if err != nil {
		panic(err)
	}
	return calls(string(raw))
}

const ended = `{"message":{"content":[{"text":"done"}]}}`

// The same task by plain calls and by code: three calls one after the other, then ten together.
func TestCodeTakesAThirdOfThePrompt(t *testing.T) {
	var plain []string
	for i := range 3 {
		plain = append(plain, calls(fmt.Sprintf(`{"name":"tool0%d","ref":"a%d","input":{"project":%d}}`, i, i, i)))
	}
	var ten []string
	for i := range 10 {
		ten = append(ten, fmt.Sprintf(`{"name":"tool03","ref":"b%d","input":{"project":%d}}`, i, i+10))
	}
	plain = append(plain, calls(ten...), ended)
	one := start(t)
	one.generate(t, `{"script":[`+strings.Join(plain, ",")+`]}`)
	require.Len(t, one.runs, 13)

	other := start(t)
	resp := other.generate(t, `{"script":[`+code(`const ids = [];
for (const [i, tool] of ["tool00", "tool01", "tool02"].entries()) ids.push((await tools[tool]({ project: i }))[0].id);
const found = await Promise.all(Array.from({ length: 10 }, (_, i) => tools.tool03({ project: i + 10 })));
return [...ids, ...found.map(([issue]) => issue.id)];`)+`,`+ended+`]}`, engine.UseName(codemode.Name, nil))
	require.Equal(t, "done", resp.Text())
	assert.ElementsMatch(t, one.runs, other.runs)
	saved := 100 - 100*other.asked/one.asked
	t.Logf("plain calls: %d bytes of requests; code: %d bytes, %d %% less", one.asked, other.asked, saved)
	assert.Greater(t, saved, 70)
}

// A provider's tools, as MCP's are, and tools that are guests themselves, at the same time.
func TestCodeCallsToolsOfProvidersAndModules(t *testing.T) {
	s := start(t)
	engine.DefineDynamicActionProvider(s.engine, "shop", registry.DynamicConfig{}, func(context.Context) ([]action.Action, error) {
		price, err := tool.New("price", "Tells the price of a thing.", func(_ context.Context, thing string) (int, error) { return len(thing), nil })
		return []action.Action{price}, err
	})
	_, err := s.host.Load(t.Context(), wasmhost.DefaultTenant, wasmhost.Upload{
		Name: "fruit", Language: script.JavaScript, Wasm: []byte(`tool({ name: "of", description: "The fruit of a number.", run: (n) => ["pear", "plum", "fig"][n] })`),
	})
	require.NoError(t, err)
	s.tools = []engine.ToolRef{engine.ToolName("shop:tool/*"), engine.ToolName("fruit/of")}
	resp := s.generate(t, `{"script":[`+code(`const fruit = await Promise.all([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2].map((n) => tools.of(n)));
return (await Promise.all(fruit.map((one) => tools.price(one)))).join("");`)+`,`+ended+`]}`, engine.UseName(codemode.Name, nil))
	history := resp.History()
	assert.JSONEq(t, `{"result":"443443443443"}`, string(history[len(history)-2].Content[0].ToolResponse.Output))
}

func TestAnApprovalOutlivesTheServer(t *testing.T) {
	use := []engine.Middleware{engine.UseName(codemode.Name, nil), engine.UseName(toolapproval.Name, toolapproval.Config{Approved: []string{"tool00"}})}
	answers := `{"script":[` + code(`const r = Math.random();
const [a, b] = await Promise.all([tools.tool00({ project: 1 }), tools.tool01({ project: 2, query1: String(r) })]);
return [a[0].id, b[0].id, r === Math.random()];`) + `,` + ended + `]}`
	before := start(t)
	resp := before.generate(t, answers, use...)
	require.Equal(t, model.FinishInterrupted, resp.FinishReason)
	assert.Equal(t, []string{"tracker/tool00 1"}, before.runs)
	yes, err := tool.Restart(resp.Interrupts()[0], tool.WithResumedMetadata(map[string]bool{"toolApproved": true}))
	require.NoError(t, err)
	raw, err := json.Marshal(resp.History()) // as a client keeps it
	require.NoError(t, err)

	after := start(t)
	var history []content.Message
	require.NoError(t, json.Unmarshal(raw, &history))
	resp, err = engine.Generate(t.Context(), after.engine, engine.WithModelName(scripted.Name), engine.WithConfig(json.RawMessage(answers)),
		engine.WithMessages(history...), engine.WithTools(after.tools...), engine.WithUse(use...), engine.WithToolRestarts(yes))
	require.NoError(t, err)
	assert.Equal(t, "done", resp.Text())
	assert.Equal(t, []string{"tracker/tool01 2"}, after.runs)
	history = resp.History()
	assert.JSONEq(t, `{"result":[1,2,false]}`, string(history[len(history)-2].Content[0].ToolResponse.Output))
}
