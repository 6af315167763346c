package wasmhost_test

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// saying is a module whose exports each output a constant. Its export "quote" fails with its
// input as the message, "stream" emits the constant of "chunk" and outputs that of "stream".
func saying(descriptor string, says map[string]string) []byte {
	const (
		output, input, length, fail, emit = 0, 1, 2, 3, 4
		imported                          = 5
	)
	var data []byte
	constant := func(text string) []byte {
		at := len(data)
		data = append(data, text...)
		return w.Cat([]byte{0x41}, w.S64(int64(at)), []byte{0x41}, w.S64(int64(len(text))))
	}
	names := slices.Sorted(maps.Keys(says))
	var funcs []uint32
	var exports, bodies [][]byte
	add := func(name string, code ...[]byte) {
		exports = append(exports, w.Export(name, 0, uint32(imported+len(funcs))))
		funcs = append(funcs, 0)
		bodies = append(bodies, w.Body("", w.Cat(code...)...))
	}
	for _, name := range names {
		streamed := []byte{}
		if name == "stream" {
			streamed = w.Cat(constant(says["chunk"]), []byte{0x10, emit, 0x1a})
		}
		add(name, streamed, constant(says[name]), []byte{0x10, output, 0x41, 0})
	}
	place := w.Cat([]byte{0x41}, w.S64(32<<10))
	add("quote", place, []byte{0x10, input}, place, []byte{0x10, length, 0x10, fail, 0x41, 1})
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("ii", ""), w.FuncType("i", ""), w.FuncType("ii", "i")),
		w.Imports(w.ImportFunc("genkit_v1", "output", 1), w.ImportFunc("genkit_v1", "input", 2), w.ImportFunc("genkit_v1", "input_len", 0),
			w.ImportFunc("genkit_v1", "error", 1), w.ImportFunc("genkit_v1", "emit", 3)),
		w.Funcs(funcs...), w.Memories(w.Limits(1, 1)), w.Exports(exports...), w.Code(bodies...),
		w.Data(w.Cat([]byte{0, 0x41, 0, 0x0b}, w.Vec(bytesOf(data)...))), w.Custom("genkit.module", []byte(descriptor)),
	)
}

func bytesOf(data []byte) [][]byte {
	all := make([][]byte, len(data))
	for i, b := range data {
		all[i] = []byte{b}
	}
	return all
}

// sink keeps the kinds of calls.
type sink struct {
	mu    sync.Mutex // guards kinds
	kinds map[string]int
}

func (s *sink) Record(e tenants.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kinds == nil {
		s.kinds = map[string]int{}
	}
	s.kinds[e.Kind]++
}

// plugged is a tenant's registry with one module.
type plugged struct {
	t    *testing.T
	host *wasmhost.Host
	reg  *registry.Registry
}

func plug(t *testing.T, config wasmhost.Config) *plugged {
	t.Helper()
	p := &plugged{t: t, reg: registry.New(nil)}
	config.Registry = func(string) (*registry.Registry, error) { return p.reg, nil }
	p.host = newHost(t, config)
	require.NoError(t, p.reg.AddProvider(p.host.Provider(tenant)))
	return p
}

// offer uploads a module that offers lists.
func (p *plugged) offer(lists, policy string) error {
	_, err := p.host.Load(p.t.Context(), tenant, wasmhost.Upload{Wasm: saying(`{"abi":"genkit/1","name":"kit",`+lists+`}`, nil), Policy: []byte(policy)})
	return err
}

func (p *plugged) action(kind action.Kind, name string) action.Action {
	p.t.Helper()
	a, err := p.reg.Lookup(p.t.Context(), action.Key{Kind: kind, Name: name})
	require.NoError(p.t, err)
	return a
}

const wholeDescriptor = `{"abi":"genkit/1","name":"kit",
	"tools":[{"name":"t"}],
	"embedders":[
		{"name":"e","description":"Two numbers","info":{"dimensions":2,"supports":{"input":["text"]},"batchSize":8},"configSchema":{"type":"object","properties":{"n":{"type":"integer"}},"additionalProperties":false}},
		{"name":"short","export":"e","info":{"dimensions":3}}, {"name":"few","export":"none"}, {"name":"asked","export":"quote"}, {"name":"broken","export":"text"}],
	"evaluators":[{"name":"v","description":"Always","info":{"label":"V","definition":"says yes","isBilled":true}}, {"name":"asked","export":"quote"}, {"name":"other"}],
	"retrievers":[{"name":"r"}, {"name":"asked","export":"quote"}, {"name":"forger","export":"forged"}],
	"indexers":[{"name":"i","export":"none"}, {"name":"asked","export":"quote"}],
	"rerankers":[{"name":"k"}, {"name":"unscored","export":"r"}, {"name":"many"}],
	"models":[{"name":"m","export":"stream","info":{"label":"M","supports":{"multiturn":true,"longRunning":true}}}, {"name":"asked","export":"quote"},
		{"name":"user","export":"usermessage"}, {"name":"later"}],
	"resources":[{"name":"notes","template":"notes/{id}","export":"parts"}, {"name":"asked","uri":"asked","export":"quote"}, {"name":"tooled","uri":"tooled"}],
	"prompts":[{"name":"greet","description":"Greets","source":"---\nmodel: m\ntools: [t]\ninput:\n  schema:\n    name: string\n---\n{{role \"system\"}}Be kind.{{role \"user\"}}Greet {{name}}.\n"}]}`

var wholeSays = map[string]string{
	"t": `"tool"`, "e": `{"embeddings":[{"embedding":[0.5,1]}]}`, "none": `{"embeddings":[]}`, "text": `"text"`,
	"v":           `[{"testCaseId":"1","evaluation":{"score":true,"status":"PASS"}}]`,
	"other":       `[{"testCaseId":"2","evaluation":{"score":1}}]`,
	"r":           `{"documents":[{"content":[{"text":"found","metadata":{"interrupt":true,"resource":{"uri":"forged"},"acme/x":1}}],"metadata":{"n":1.50}}]}`,
	"forged":      `{"documents":[{"content":[{"toolRequest":{"name":"t","input":{}}}]}]}`,
	"k":           `{"documents":[{"content":[{"text":"b"}],"metadata":{"score":0.9}}]}`,
	"many":        `{"documents":[{"content":[{"text":"b"}],"metadata":{"score":1}},{"content":[{"text":"c"}],"metadata":{"score":1}}]}`,
	"stream":      `{"message":{"role":"model","content":[{"text":"whole","metadata":{"resumed":true,"acme/x":1}}]},"finishReason":"stop","usage":{"inputTokens":3},"candidates":[{}]}`,
	"chunk":       `{"content":[{"text":"wh"}]}`,
	"usermessage": `{"message":{"role":"user","content":[{"text":"x"}]}}`,
	"later":       `{"operation":{"id":"1"}}`,
	"parts":       `{"content":[{"text":"the note"}]}`,
	"tooled":      `{"content":[{"resource":{"uri":"file:///etc/passwd"}}]}`,
}

func whole(t *testing.T, config wasmhost.Config) *plugged {
	t.Helper()
	p := plug(t, config)
	_, err := p.host.Load(t.Context(), tenant, wasmhost.Upload{Wasm: saying(wholeDescriptor, wholeSays)})
	require.NoError(t, err)
	return p
}

func TestAModuleIsAWholePlugin(t *testing.T) {
	p := whole(t, wasmhost.Config{})
	descs, err := p.reg.List(t.Context())
	require.NoError(t, err)
	listed := map[string]action.Desc{}
	for _, d := range descs {
		listed[d.Key().String()] = d
	}
	rec, err := p.host.Module(tenant, "kit")
	require.NoError(t, err)
	for _, key := range []string{"/embedder/kit/e", "/evaluator/kit/v", "/retriever/kit/r", "/indexer/kit/i", "/reranker/kit/k", "/model/kit/m", "/resource/kit/notes", "/prompt/kit/greet", "/executable-prompt/kit/greet", "/tool/kit/t"} {
		assert.Contains(t, listed, key)
		assert.Contains(t, rec.Actions, key)
	}
	assert.JSONEq(t, `{"label":"Two numbers","dimensions":2,"supports":{"input":["text"]}}`, string(listed["/embedder/kit/e"].Metadata["info"]))
	assert.JSONEq(t, `{"evaluatorIsBilled":true,"evaluatorDisplayName":"V","evaluatorDefinition":"says yes"}`, string(listed["/evaluator/kit/v"].Metadata["evaluator"]))
	assert.JSONEq(t, `{"template":"wasm://kit/notes/{id}"}`, string(listed["/resource/kit/notes"].Metadata["resource"]))
	assert.NotContains(t, string(listed["/model/kit/m"].Metadata["model"]), "longRunning", "a module does no work in the background")
}

func TestGuestsAnswerAsEachKind(t *testing.T) {
	usage := &sink{}
	p := whole(t, wasmhost.Config{Usage: usage})
	doc := content.DocumentFromText("a", nil)

	vectors, err := embed.One(t.Context(), p.action(action.Embedder, "kit/e"), doc)
	require.NoError(t, err)
	assert.Equal(t, []float64{0.5, 1}, vectors[0].Vector)
	_, err = embed.One(t.Context(), p.action(action.Embedder, "kit/e"), doc, embed.WithConfig(map[string]any{"wrong": 1}))
	require.ErrorIs(t, err, action.ErrInvalidInput)

	results, err := evaluate.Do(t.Context(), p.action(action.Evaluator, "kit/v"), &evaluate.Request{Dataset: []evaluate.Case{{TestCaseID: "1"}, {TestCaseID: "x"}}, EvalRunID: "run"}, nil)
	require.NoError(t, err)
	assert.Equal(t, evaluate.Pass, results[0].Evaluation[0].Status)
	assert.Contains(t, results[1].Evaluation[0].Error, "not the result of the one case", "a failure stays with its case")

	found, err := retrieve.Retrieve(t.Context(), p.action(action.Retriever, "kit/r"), doc)
	require.NoError(t, err)
	raw, err := json.Marshal(found)
	require.NoError(t, err)
	assert.JSONEq(t, `[{"content":[{"text":"found","metadata":{"acme/x":1}}],"metadata":{"n":1.50}}]`, string(raw), "notes of the engine can't be forged")
	require.NoError(t, retrieve.Index(t.Context(), p.action(action.Indexer, "kit/i"), []content.Document{doc}))
	ranked, err := retrieve.Rerank(t.Context(), p.action(action.Reranker, "kit/k"), doc, []content.Document{doc})
	require.NoError(t, err)
	assert.InDelta(t, 0.9, ranked[0].Score, 0)

	parts, err := resource.Read(t.Context(), p.action(action.Resource, "kit/notes"), "wasm://kit/notes/7")
	require.NoError(t, err)
	assert.Equal(t, "the note", *parts[0].Text)

	var chunks []string
	resp, err := model.From(p.action(action.Model, "kit/m")).Generate(t.Context(), &model.Request{Messages: []content.Message{content.NewUserTextMessage("hi")}}, func(c *model.Chunk) error {
		chunks = append(chunks, content.TextOf(c.Content))
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"wh"}, chunks)
	assert.Equal(t, content.Metadata{"acme/x": json.RawMessage("1")}, resp.Message.Content[0].Metadata)
	assert.Nil(t, resp.Candidates)

	assert.Equal(t, map[string]int{"embedder": 1, "evaluator": 2, "retriever": 1, "indexer": 1, "reranker": 1, "resource": 1, "module-model": 1}, usage.kinds)
}

// The guest's input is Genkit's request of the kind.
func TestGuestsAreAskedAsGenkitAsks(t *testing.T) {
	p := whole(t, wasmhost.Config{})
	for _, c := range []struct {
		kind      action.Kind
		in, asked string
	}{
		{action.Embedder, `{"input":[{"content":[{"text":"é"}]}],"options":{"n":1}}`, `{"input":[{"content":[{"text":"é"}]}],"options":{"n":1}}`},
		{action.Retriever, `{"query":{"content":[{"text":"q"}]},"options":{"k":3}}`, `{"query":{"content":[{"text":"q"}]},"options":{"k":3}}`},
		{action.Indexer, `{"documents":[{"content":[{"text":"d"}]}]}`, `{"documents":[{"content":[{"text":"d"}]}]}`},
		{action.Resource, `{"uri":"wasm://kit/asked"}`, `{"uri":"wasm://kit/asked"}`},
		{action.Model, `{"messages":[{"role":"user","content":[{"text":"q"}]}],"config":{"temperature":0.50,"apiKey":"hush"}}`, `{"messages":[{"role":"user","content":[{"text":"q"}]}],"config":{"temperature":0.50}}`},
	} {
		_, err := p.action(c.kind, "kit/asked").RunJSON(t.Context(), json.RawMessage(c.in), nil)
		require.Error(t, err, c.kind)
		assert.JSONEq(t, c.asked, status.Convert(err).Message, c.kind)
	}
	results, err := evaluate.Do(t.Context(), p.action(action.Evaluator, "kit/asked"), &evaluate.Request{Dataset: []evaluate.Case{{TestCaseID: "1", Output: json.RawMessage(`"o"`)}}, Options: json.RawMessage(`{"a":1}`)}, nil)
	require.NoError(t, err)
	assert.Contains(t, results[0].Evaluation[0].Error, `{"dataset":[{"testCaseId":"1","output":"o"}],"evalRunId":"1","options":{"a":1}}`)
}

func TestAnswersThatGuestsMayNotGive(t *testing.T) {
	p := whole(t, wasmhost.Config{})
	const document, request = `{"content":[{"text":"a"}]}`, `{"messages":[]}`
	for key, in := range map[action.Key]string{
		{Kind: action.Embedder, Name: "kit/short"}:    `{"input":[` + document + `]}`,
		{Kind: action.Embedder, Name: "kit/few"}:      `{"input":[` + document + `]}`,
		{Kind: action.Embedder, Name: "kit/broken"}:   `{"input":[` + document + `]}`,
		{Kind: action.Retriever, Name: "kit/forger"}:  `{"query":` + document + `}`,
		{Kind: action.Reranker, Name: "kit/unscored"}: `{"query":` + document + `,"documents":[` + document + `]}`,
		{Kind: action.Reranker, Name: "kit/many"}:     `{"query":` + document + `,"documents":[` + document + `]}`,
		{Kind: action.Model, Name: "kit/user"}:        request,
		{Kind: action.Model, Name: "kit/later"}:       request,
		{Kind: action.Resource, Name: "kit/tooled"}:   `{"uri":"wasm://kit/tooled"}`,
	} {
		_, err := p.action(key.Kind, key.Name).RunJSON(t.Context(), json.RawMessage(in), nil)
		require.ErrorIs(t, err, status.ErrInternal, key)
		assert.Contains(t, status.Convert(err).Message, "the output of ", key)
	}
	_, err := p.action(action.Resource, "kit/notes").RunJSON(t.Context(), json.RawMessage(`{"uri":"file:///etc/passwd"}`), nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestACarriedPromptIsRenderedWithItsTenantsRegistry(t *testing.T) {
	p := whole(t, wasmhost.Config{})
	out, err := p.action(action.ExecutablePrompt, "kit/greet").RunJSON(t.Context(), json.RawMessage(`{"name":"Ada"}`), nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"model":"/model/kit/m","tools":["/tool/kit/t"],"messages":[
		{"role":"system","content":[{"text":"Be kind."}]},{"role":"user","content":[{"text":"Greet Ada."}]}]}`, string(out))
	_, err = p.action(action.Prompt, "kit/greet").RunJSON(t.Context(), json.RawMessage(`{"name":1}`), nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	found, err := prompt.Lookup(t.Context(), p.reg, "kit/greet")
	require.NoError(t, err)
	resp, err := found.Execute(t.Context(), p.reg, json.RawMessage(`{"name":"Ada"}`), nil, nil)
	require.NoError(t, err, "it is executed like any other prompt")
	assert.Equal(t, "whole", resp.Text())
}

// A prompt that names its module's parts by their whole names finds them under the name of the upload, too.
func TestAPromptFollowsTheNameOfItsUpload(t *testing.T) {
	p := plug(t, wasmhost.Config{})
	_, err := p.host.Load(t.Context(), tenant, wasmhost.Upload{Name: "other", Wasm: saying(`{"abi":"genkit/1","name":"kit","tools":[{"name":"t"}],
		"prompts":[{"name":"p","source":"---\ntools: [kit/t]\n---\nHello."}]}`, map[string]string{"t": "1"})})
	require.NoError(t, err)
	out, err := p.action(action.ExecutablePrompt, "other/p").RunJSON(t.Context(), nil, nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"tools":["/tool/other/t"],"messages":[{"role":"user","content":[{"text":"Hello."}]}]}`, string(out))
}

// What a prompt names runs with its caller's rights: it reaches no further than its module.
func TestAPromptNamesOnlyWhatItsModuleMayReach(t *testing.T) {
	p := plug(t, wasmhost.Config{})
	for name, c := range map[string]struct {
		head, policy string
		want         error
	}{
		"a tool of another":        {"tools: [/tool/admin/wipe]", "", status.ErrPermissionDenied},
		"a granted tool":           {"tools: [admin/wipe]", `{"grants":{"actions":["tool/admin/*"]}}`, nil},
		"a bare name":              {"tools: [wipe]", "", status.ErrPermissionDenied},
		"a model":                  {"model: openai/gpt", "", status.ErrPermissionDenied},
		"a granted model":          {"model: openai/gpt", `{"grants":{"generate":["openai/*"]}}`, nil},
		"another version":          {"config: {version: gpt-huge}", `{"grants":{"generate":["openai/*"]}}`, status.ErrPermissionDenied},
		"middleware":               {"use: [retry]", "", status.ErrPermissionDenied},
		"a credential":             {"config: {apiKey: x}", "", status.ErrInvalidArgument},
		"a schema of the registry": {"output: {schema: Secret}", "", status.ErrInvalidArgument},
		"no YAML":                  {"a: [", "", status.ErrInvalidArgument},
		"a template that is open":  {"---\n{{#if a}}\n---", "", status.ErrInvalidArgument},
	} {
		source, err := json.Marshal("---\n" + c.head + "\n---\nHello.")
		require.NoError(t, err)
		err = p.offer(`"prompts":[{"name":"p","source":`+string(source)+`}]`, cmp.Or(c.policy, `{}`))
		if c.want == nil {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, c.want, name)
	}
}

func TestDescriptorsOfActionsThatAreRefused(t *testing.T) {
	p := plug(t, wasmhost.Config{})
	for name, c := range map[string]struct{ lists, want string }{
		"twice":                {`"embedders":[{"name":"a","export":"quote"},{"name":"a","export":"quote"}]`, `embedder "a" is named twice`},
		"a bad name":           {`"models":[{"name":"a/b","export":"quote"}]`, `model name "a/b"`},
		"no such export":       {`"retrievers":[{"name":"a"}]`, `retriever "a" names the export "a"`},
		"a broken schema":      {`"indexers":[{"name":"a","export":"quote","configSchema":{"type":1}}]`, `config schema of indexer "a"`},
		"info that is none":    {`"embedders":[{"name":"a","export":"quote","info":[]}]`, `"info" of embedder "a" wants an object`},
		"info of another form": {`"embedders":[{"name":"a","export":"quote","info":{"dimensions":"many"}}]`, `"info" of embedder "a" is not of the form`},
		"no address":           {`"resources":[{"name":"a","export":"quote"}]`, `wants one of "uri" and "template"`},
		"two addresses":        {`"resources":[{"name":"a","export":"quote","uri":"x"},{"name":"b","export":"quote","template":"x"}]`, `two resources have the address "x"`},
		"another's address":    {`"resources":[{"name":"a","export":"quote","uri":"file:///x"}]`, `write its address without scheme`},
		"a broken template":    {`"resources":[{"name":"a","export":"quote","template":"{"}]`, `resource "a"`},
		"a prompt that runs":   {`"prompts":[{"name":"a","export":"quote","source":"x"}]`, `a prompt is text`},
		"a prompt of nothing":  {`"prompts":[{"name":"a"}]`, `has no "source"`},
	} {
		err := p.offer(c.lists, "")
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
		assert.Contains(t, err.Error(), c.want, name)
	}
}

// An action that was looked up before its module was replaced runs the module that is there now.
func TestAnActionSurvivesTheReplacementOfItsModule(t *testing.T) {
	p := whole(t, wasmhost.Config{})
	a := p.action(action.Embedder, "kit/e")
	says := maps.Clone(wholeSays)
	says["e"] = `{"embeddings":[{"embedding":[2,2]}]}`
	_, err := p.host.Load(t.Context(), tenant, wasmhost.Upload{Wasm: saying(wholeDescriptor, says)})
	require.NoError(t, err)
	vectors, err := embed.One(t.Context(), a, content.DocumentFromText("a", nil))
	require.NoError(t, err)
	assert.Equal(t, []float64{2, 2}, vectors[0].Vector)
}

// A generate call takes a module's model, and a resource by its address.
func TestAGenerateCallUsesAModulesModelAndResource(t *testing.T) {
	p := whole(t, wasmhost.Config{})
	resp, err := generate.Run(t.Context(), p.reg, &model.GenerateOptions{Model: "kit/m", Messages: []content.Message{
		{Role: content.RoleUser, Content: []content.Part{{Resource: &content.Resource{URI: "wasm://kit/notes/1"}}}},
	}}, nil)
	require.NoError(t, err)
	assert.Equal(t, "whole", resp.Text())
	_, err = generate.Run(t.Context(), p.reg, &model.GenerateOptions{Model: "kit/m", Messages: []content.Message{
		{Role: content.RoleUser, Content: []content.Part{{Resource: &content.Resource{URI: "wasm://other/notes/1"}}}},
	}}, nil)
	require.ErrorIs(t, err, status.ErrNotFound)
}
