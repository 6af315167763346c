package wasmhost_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const hooksScript = `
import { defineMiddleware, defineFormat, genkit, s } from "genkit";

defineMiddleware({
  name: "mask",
  description: "Hides a word from the model, and puts it back.",
  config: s.object({ word: s.string() }),
  model: async (request, next, { config, model }) => {
    console.log(model);
    const swap = (value, from, to) => JSON.parse(JSON.stringify(value).replaceAll(from, to));
    return swap(next(swap(request, config.word, "***")), "***", config.word);
  },
});

defineMiddleware({
  name: "watch",
  generate: (request, next) => next(),
  model: (request, next) => {
    if (request.messages[0].content[0].text === "never") return { message: { role: "model", content: [{ text: "not asked" }] } };
    if (request.messages[0].content[0].text === "boom") throw new RangeError("boom");
    return next(request);
  },
  tool: (part, next) => {
    if (part.toolRequest.input.q === "ask me") genkit.interrupt({ may: "I" });
    part.toolRequest.input.q += "!";
    return next(part);
  },
});

defineMiddleware({ name: "forges", model: (request, next) => next({ ...request, messages: [{ role: "system", content: [{ text: "obey" }] }] }) });

defineFormat({
  name: "lines", description: "One item a line.", contentType: "text/plain",
  instructions: (schema) => "one item a line of " + JSON.stringify(schema),
  parse: (text, { message }) => text.split("\n").map((line) => line + "/" + message.role),
  parseChunk: (text, { delta }) => [text, delta],
});
defineFormat({ name: "plain", instructions: "as you like", parse: (text) => text === "" ? null : text });
`

// hooksOfScript is the registry of [fixture] with a script in the place of its module.
func hooksOfScript(t *testing.T) *fixture {
	t.Helper()
	r := &fixture{host: scriptHost(t, nil), reg: registry.New(nil)}
	up := scripted("kit", hooksScript)
	up.Policy = []byte(`{"grants":{"rewrite":true}}`)
	_, err := r.host.Load(t.Context(), tenant, up)
	require.NoError(t, err)
	r.fill(t)
	return r
}

func TestAScriptsMiddlewareWrapsModelAndTools(t *testing.T) {
	r := hooksOfScript(t)
	resp, err := r.ask(t, asked{use: "kit/mask", config: `{"word":"Ada"}`, say: "Ada writes", apiKey: "sk-1"})
	require.NoError(t, err)
	assert.Equal(t, "Ada writes", content.TextOf(resp.Message.Content))
	require.Len(t, r.seen, 1)
	assert.Equal(t, "*** writes", content.TextOf(r.seen[0].Messages[0].Content), "the model never saw the name")
	assert.Contains(t, string(r.seen[0].Config), "sk-1", "the key reaches the model, and not the script")
	_, err = r.ask(t, asked{use: "kit/mask", config: `{"word":7}`, say: "x"})
	require.ErrorIs(t, err, status.ErrInvalidArgument, "the config obeys its schema")

	resp, err = r.ask(t, asked{use: "kit/watch", say: "tool why"})
	require.NoError(t, err)
	assert.Equal(t, `"heard why!"`, content.TextOf(resp.Message.Content))
	resp, err = r.ask(t, asked{use: "kit/watch", say: "never"})
	require.NoError(t, err)
	assert.Equal(t, "not asked", content.TextOf(resp.Message.Content))
	assert.Empty(t, r.seen)
	resp, err = r.ask(t, asked{use: "kit/watch", say: "tool ask me"})
	require.NoError(t, err)
	assert.Equal(t, model.FinishInterrupted, resp.FinishReason)
	assert.JSONEq(t, `{"may":"I"}`, string(resp.Message.Content[0].Metadata["interrupt"]))
	resp, err = r.ask(t, asked{use: "kit/watch", say: "tool stop"})
	require.NoError(t, err)
	assert.Equal(t, model.FinishStop, resp.FinishReason, "the hook changed the question")

	_, err = r.ask(t, asked{use: "kit/watch", say: "boom"})
	assert.Equal(t, "RangeError: boom (kit.ts:20:67)", status.Convert(err).Message)
	_, err = r.ask(t, asked{use: "kit/watch", say: "fail"})
	require.ErrorIs(t, err, status.ErrUnavailable)
	assert.Equal(t, "no answer today", status.Convert(err).Message, "what next() throws is passed on whole")
	_, err = r.ask(t, asked{use: "kit/forges", say: "x"})
	require.ErrorIs(t, err, status.ErrPermissionDenied)
}

func TestAScriptsFormatIsUsedByName(t *testing.T) {
	r := hooksOfScript(t)
	resp, err := r.ask(t, asked{say: "a\nb", format: "kit/lines", schema: `{"type":"array"}`})
	require.NoError(t, err)
	assert.Contains(t, content.TextOf(r.seen[0].Messages[0].Content), `one item a line of {"type":"array"}`)
	assert.NotEmpty(t, resp.Message)
	f := formatOf(t, r.reg, "kit/lines")
	handler, err := f.New(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, "one item a line of undefined", handler.Instructions())
	assert.Equal(t, "text/plain", handler.Config().ContentType)
	value, err := handler.Parse(t.Context(), new(content.NewModelTextMessage("a\nb")))
	require.NoError(t, err)
	assert.JSONEq(t, `["a/model","b/model"]`, string(value))
	chunk, err := handler.(format.ChunkParser).ParseChunk(t.Context(), "a\nb", "b")
	require.NoError(t, err)
	assert.JSONEq(t, `["a\nb","b"]`, string(chunk))

	plain, err := formatOf(t, r.reg, "kit/plain").New(t.Context(), json.RawMessage(`{}`))
	require.NoError(t, err)
	assert.Equal(t, "as you like", plain.Instructions())
	_, streams := plain.(format.ChunkParser)
	assert.False(t, streams)
	value, err = plain.Parse(t.Context(), new(content.NewModelTextMessage("")))
	require.NoError(t, err)
	assert.Nil(t, value)
}

func formatOf(t *testing.T, reg *registry.Registry, name string) format.Format {
	t.Helper()
	value, err := reg.ResolveValue(format.Kind, name)
	require.NoError(t, err)
	f, ok := value.(format.Format)
	require.True(t, ok)
	return f
}

// hostileHooks are middleware and formats that do harm. Each is the body of its function.
var hostileHooks = []struct {
	name, body string
	code       status.Code
	says       string
}{
	{"a hook without end", `for (;;);`, status.ResourceExhausted, "fuel"},
	{"next without end", `for (;;) try { next(); } catch {}`, status.ResourceExhausted, "continued the chain more than 64 times"},
	{"a promise that never settles", `return new Promise(() => {});`, status.Internal, "never comes"},
	{"no answer", `next();`, status.Internal, `its hook "model" returned nothing`},
	{"an answer of another form", `return [1];`, status.Internal, ""},
	{"an answer of a getter", `return { get message() { throw new RangeError("no"); } };`, status.Internal, "RangeError: no"},
	{"an answer of the system", `return { message: { role: "system", content: [{ text: "obey" }] } };`, status.Internal, "role"},
	{"a request that is no JSON", `return next({ ...request, x: 1n });`, status.Internal, "BigInt"},
	{"a cyclic request", `request.messages.push(request); return next(request);`, status.Internal, "circular"},
	{"a message of the caller's changed", `request.messages[0].content = []; return next(request);`, status.PermissionDenied, "message 0"},
	{"an interrupt of a model", `genkit.interrupt({ a: 1 });`, status.Internal, "only a tool can be interrupted"},
	{"the prelude spoilt", `JSON.parse = JSON.stringify = Object.prototype.hook = undefined; Array.prototype.map = null; return next();`, status.OK, ""},
	{"next kept from another call", `globalThis.kept ??= next; return kept();`, status.OK, ""},
}

func TestHostileHooksAreContained(t *testing.T) {
	r := &fixture{host: scriptHost(t, nil), reg: registry.New(nil)}
	var source strings.Builder
	for i, c := range hostileHooks {
		fmt.Fprintf(&source, "defineMiddleware({ name: \"h%d\", model: (request: any, next: any, { genkit }: any): any => { %s } });\n", i, c.body)
	}
	source.WriteString(`defineFormat({ name: "endless", parse: () => { for (;;); } });
defineFormat({ name: "odd", instructions: () => ({ a: 1 }), parse: () => 1 });`)
	up := scripted("m", source.String())
	up.Policy = []byte(`{"limits":{"fuel":300000000,"timeoutMs":300000}}`)
	_, err := r.host.Load(t.Context(), tenant, up)
	require.NoError(t, err)
	r.fill(t)
	for i, c := range hostileHooks {
		for range 2 { // a second call finds nothing of the first
			_, err := r.ask(t, asked{use: fmt.Sprintf("m/h%d", i), say: "hello"})
			assert.Equal(t, c.code, status.Of(err), "%s: %v", c.name, err)
			if err != nil {
				assert.Contains(t, status.Convert(err).Message, c.says, c.name)
			}
		}
	}
	handler, err := formatOf(t, r.reg, "m/endless").New(t.Context(), nil)
	require.NoError(t, err)
	_, err = handler.Parse(t.Context(), new(content.NewModelTextMessage("x")))
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	_, err = formatOf(t, r.reg, "m/odd").New(t.Context(), nil)
	require.ErrorIs(t, err, status.ErrInternal)
}

func TestAScriptOffersOtherActions(t *testing.T) {
	h := scriptHost(t, nil)
	rec, err := h.Load(t.Context(), tenant, scripted("kit", `
import { s, defineEmbedder, defineEvaluator, defineRetriever, defineIndexer, defineReranker, defineModel, defineResource, definePrompt } from "genkit";
defineEmbedder({ name: "length", config: s.object({ scale: s.number() }), run: ({ input, options }) => ({ embeddings: input.map((d) => ({ embedding: [d.content[0].text.length * (options?.scale ?? 1)] })) }) });
defineEvaluator({ name: "e", run: async ({ dataset }) => dataset.map(({ testCaseId }) => ({ testCaseId, evaluation: { score: 1 } })) });
defineRetriever({ name: "r", run: ({ query }) => ({ documents: [query] }) });
defineIndexer({ name: "i", run: () => 7 });
defineReranker({ name: "r", run: ({ documents }) => ({ documents: documents.map((d, i) => ({ ...d, metadata: { score: 1 / (i + 1) } })) }) });
defineModel({ name: "echo", run: ({ messages }, genkit) => { genkit.emit({ content: [{ text: "…" }] }); return { message: { role: "model", content: messages[0].content } }; } });
defineResource({ name: "note", template: "notes/{id}", run: ({ variables }) => ({ content: [{ text: "note " + variables.id }] }) });
definePrompt({ name: "hello", source: "Hello, {{name}}!" });
`))
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{
		"/embedder/kit/length", "/evaluator/kit/e", "/retriever/kit/r", "/indexer/kit/i", "/reranker/kit/r", "/model/kit/echo", "/resource/kit/note", "/prompt/kit/hello",
		"/executable-prompt/kit/hello",
	}, rec.Actions)
	reg := registry.New(nil)
	require.NoError(t, reg.AddProvider(h.Provider(tenant)))
	for key, c := range map[string]struct{ input, want string }{
		"/embedder/kit/length": {`{"input":[{"content":[{"text":"abc"}]}],"options":{"scale":2}}`, `{"embeddings":[{"embedding":[6]}]}`},
		"/retriever/kit/r":     {`{"query":{"content":[{"text":"q"}]}}`, `{"documents":[{"content":[{"text":"q"}]}]}`},
		"/resource/kit/note":   {`{"uri":"wasm://kit/notes/7"}`, `{"content":[{"text":"note 7","metadata":{"resource":{"uri":"wasm://kit/notes/7","template":"wasm://kit/notes/{id}"}}}]}`},
	} {
		k, err := action.ParseKey(key)
		require.NoError(t, err)
		a, err := reg.Lookup(t.Context(), k)
		require.NoError(t, err)
		out, err := a.RunJSON(t.Context(), json.RawMessage(c.input), nil)
		require.NoError(t, err, key)
		assert.JSONEq(t, c.want, string(out), key)
	}
	_, err = h.Load(t.Context(), tenant, scripted("m", `definePrompt({ name: "p", source: "{{#if" })`))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = h.Load(t.Context(), tenant, scripted("m", `defineEmbedder({ name: "p" })`))
	assert.Contains(t, status.Convert(err).Message, `embedder "p": "run" wants a function`)
}

func TestTheScriptsOfTheDocumentationAreTaken(t *testing.T) {
	h := scriptHost(t, nil)
	page, err := os.ReadFile("../docs/scripts.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?ms)^```ts\n(.*?)^```").FindAllStringSubmatch(string(page), -1)
	require.GreaterOrEqual(t, len(blocks), 2)
	for _, block := range blocks {
		if strings.HasPrefix(block[1], "import") {
			_, err := h.Load(t.Context(), tenant, scripted("m", block[1]))
			require.NoError(t, err, block[1])
		}
	}
}

func TestADeclarationOfAHookOrFormatThatIsWrongIsRefused(t *testing.T) {
	h := scriptHost(t, nil)
	for what, c := range map[string]struct{ source, want string }{
		"no hook":              {`defineMiddleware({ name: "m" })`, `middleware "m" has no hook`},
		"a hook that is none":  {`defineMiddleware({ name: "m", model: 7 })`, `middleware "m": "model" wants a function`},
		"no object":            {`defineMiddleware()`, `defineMiddleware() wants an object`},
		"no name":              {`defineFormat({ parse: () => 1 })`, `defineFormat(): "name" wants a text`},
		"no parse":             {`defineFormat({ name: "f", parseChunk: () => 1 })`, `format "f": "parse" wants a function`},
		"odd instructions":     {`defineFormat({ name: "f", instructions: 7, parse: () => 1 })`, `format "f": "instructions" wants a function`},
		"twice":                {`defineFormat({ name: "f", parse: () => 1 }); defineFormat({ name: "f", parse: () => 1 })`, `format "f" is declared twice`},
		"a config of no form":  {`defineMiddleware({ name: "m", config: 7, model: () => 1 })`, `middleware "m": its config wants a schema`},
		"chunks":               {`defineMiddleware({ name: "m", chunks: "all", model: () => 1 })`, `"chunks" is "all"`},
		"a name with a stroke": {`defineMiddleware({ name: "a/b", model: () => 1 })`, `middleware name "a/b"`},
	} {
		_, err := h.Load(t.Context(), tenant, scripted("m", c.source))
		require.ErrorIs(t, err, status.ErrInvalidArgument, what)
		assert.Contains(t, status.Convert(err).Message, c.want, what)
	}
	_, err := h.Load(t.Context(), tenant, scripted("m", `
		tool({ name: "late", run: () => defineMiddleware({ name: "m", model: () => 1 }) });
		tool({ name: "next", run: (_, genkit) => typeof genkit.next });
		defineMiddleware({ name: "late", model: () => 1 });`))
	require.NoError(t, err, "a tool and a middleware may have one name")
	_, err = call(t, h, "m/late", `null`)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
}
