package generate_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestOutputKeepsFalsyValues(t *testing.T) {
	for text, want := range map[string]string{
		`0`: `0`, `false`: `false`, `""`: `""`, `null`: `null`, `-0.0`: `-0.0`, `12345678901234567890`: `12345678901234567890`,
		"```json\nfalse\n```": `false`, "Here: {\"a\": 1.10,}": `{"a":1.10}`, "[]": `[]`,
	} {
		reg := newRegistry(t)
		newModel(t, reg, says(text))
		opts := ask()
		opts.Output = &model.OutputOptions{Format: "json", JSONSchema: json.RawMessage(`{"description":"anything"}`)}
		assert.Equal(t, want, string(run(t, reg, opts).Parsed), text)
	}
}

func TestOutputIsCheckedAgainstTheSchema(t *testing.T) {
	reg := newRegistry(t)
	newModel(t, reg, says(`{"a":"x"}`), says(`I'd rather not`), says(`{"a":1}`))
	opts := ask()
	opts.Output = &model.OutputOptions{JSONSchema: json.RawMessage(`{"type":"object","properties":{"a":{"type":"integer"}}}`)}
	err := runErr(t, reg, opts)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	require.ErrorIs(t, err, generate.ErrInvalidOutput)
	var v *schema.ValidationError
	require.ErrorAs(t, err, &v)
	assert.Contains(t, string(status.Convert(err).Details), `"path":"/a"`)
	err = runErr(t, reg, opts)
	require.ErrorIs(t, err, generate.ErrInvalidOutput)
	resp := run(t, reg, opts)
	assert.JSONEq(t, `{"a":1}`, string(resp.Parsed))
	assert.JSONEq(t, `{"generate":{"output":{"format":"json","contentType":"application/json"}}}`, toJSON(t, resp.Message.Metadata))
	assert.Equal(t, `{"a":1}`, resp.Text(), "the message keeps its text")
}

func TestWithoutASchemaAnythingGoes(t *testing.T) {
	reg := newRegistry(t)
	newModel(t, reg, says("no JSON"), says("plain"), says("plain"))
	opts := ask()
	opts.Output = &model.OutputOptions{Format: "json"}
	assert.Nil(t, run(t, reg, opts).Parsed)
	opts.Output = &model.OutputOptions{Format: "text"}
	assert.Equal(t, `"plain"`, string(run(t, reg, opts).Parsed))
	resp := run(t, reg, ask())
	assert.Nil(t, resp.Parsed)
	assert.Nil(t, resp.Message.Metadata)
}

const schemaA = `{"type":"object","properties":{"a":{"type":"integer"}}}`

const schemaText = "Output should be in JSON format and conform to the following schema:\n\n```\n" + schemaA + "\n```\n"

func TestTheModelIsToldWhatToOutput(t *testing.T) {
	instructed := `{"text":` + quote(schemaText) + `,"metadata":{"purpose":"output"}}`
	native := `{"format":"json","contentType":"application/json","constrained":true,"schema":` + schemaA + `}`
	plainUser := `[{"role":"user","content":[{"text":"hi"}]}]`
	toldUser := `[{"role":"user","content":[{"text":"hi"},` + instructed + `]}]`
	for name, c := range map[string]struct {
		constrained string
		tools       bool
		output      string
		messages    string
		wantOutput  string
	}{
		"a model that enforces schemas":     {"all", true, `{"jsonSchema":` + schemaA + `}`, plainUser, native},
		"one that does so without tools":    {"no-tools", false, `{"jsonSchema":` + schemaA + `}`, plainUser, native},
		"one that does not so beside tools": {"no-tools", true, `{"jsonSchema":` + schemaA + `}`, toldUser, `{"constrained":false}`},
		"one that does not":                 {"none", false, `{"jsonSchema":` + schemaA + `}`, toldUser, `{"constrained":false}`},
		"one that says nothing":             {"", false, `{"jsonSchema":` + schemaA + `}`, toldUser, `{"constrained":false}`},
		"instructions forced":               {"all", false, `{"instructions":true,"jsonSchema":` + schemaA + `}`, toldUser, native},
		"instructions forced and simulated": {"none", false, `{"instructions":true,"jsonSchema":` + schemaA + `}`, toldUser, `{"constrained":false}`},
		"instructions replaced":             {"all", false, `{"instructions":"JSON!","jsonSchema":` + schemaA + `}`, `[{"role":"user","content":[{"text":"hi"},{"text":"JSON!","metadata":{"purpose":"output"}}]}]`, native},
		"instructions forbidden":            {"all", false, `{"instructions":false,"jsonSchema":` + schemaA + `}`, plainUser, native},
		"constraint declined by the caller": {"none", false, `{"constrained":false,"jsonSchema":` + schemaA + `}`, plainUser, `{"format":"json","contentType":"application/json","constrained":false,"schema":` + schemaA + `}`},
		"JSON without a schema":             {"none", false, `{"format":"json"}`, plainUser, `{"format":"json","contentType":"application/json","constrained":true}`},
		"text":                              {"all", false, `{"format":"text"}`, plainUser, `{"format":"text","contentType":"text/plain"}`},
		"only a content type":               {"all", false, `{"contentType":"image/png"}`, plainUser, `{"contentType":"image/png"}`},
		"nothing":                           {"all", false, `{}`, plainUser, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			reg := newRegistry(t)
			m := &fakeModel{t: t, responses: []string{says(`{"a":1}`)}}
			info := everything
			info.Supports.Constrained = c.constrained
			register(t, reg)(model.New("m", info, m.generate))
			newTool(t, reg, "a", gives(1))
			opts := ask()
			if c.tools {
				opts.Tools = []string{"a"}
			}
			opts.Output = decode[model.OutputOptions](t, json.RawMessage(c.output))
			run(t, reg, opts)
			assert.JSONEq(t, c.messages, toJSON(t, m.request(t, 0).Messages))
			assert.JSONEq(t, c.wantOutput, toJSON(t, m.request(t, 0).Output))
		})
	}
}

func TestTheReportedRequestIsTheOneBeforeSimulation(t *testing.T) {
	reg := newRegistry(t)
	m := &fakeModel{t: t, responses: []string{calls("a"), says(`{"a":1}`)}}
	register(t, reg)(model.New("m", model.Info{}, m.generate))
	newTool(t, reg, "a", gives(1))
	opts := ask("a")
	opts.Docs = []content.Document{
		{Content: []content.Part{content.NewTextPart("one")}},
		{Content: []content.Part{content.NewTextPart("two")}, Metadata: content.Metadata{"ref": json.RawMessage(`"r"`)}},
	}
	opts.Output = &model.OutputOptions{JSONSchema: json.RawMessage(schemaA)}
	resp := run(t, reg, opts)
	assert.JSONEq(t, `[{"text":"hi"}]`, toJSON(t, resp.Request.Messages[0].Content))
	for n := range 2 {
		parts := m.request(t, n).Messages[0].Content
		require.Len(t, parts, 3, "call %d", n)
		assert.Equal(t, "\n\nUse the following information to complete your task:\n\n- [0]: one\n- [r]: two\n\n", *parts[1].Text)
		assert.JSONEq(t, `{"purpose":"context"}`, toJSON(t, parts[1].Metadata))
		assert.Equal(t, schemaText, *parts[2].Text)
		assert.Len(t, m.request(t, n).Docs, 2)
	}
}

func TestDocumentsGoWhereTheyAreWaitedFor(t *testing.T) {
	text := "\n\nUse the following information to complete your task:\n\n- [7]: doc\n\n"
	docs := `{"text":` + quote(text) + `,"metadata":{"purpose":"context"}}`
	for name, c := range map[string]struct{ in, want string }{
		"in the last user message": {
			`[{"role":"user","content":[]},{"role":"user","content":[{"text":"hi"}]},{"role":"model","content":[]}]`,
			`[{"role":"user","content":[]},{"role":"user","content":[{"text":"hi"},` + docs + `]},{"role":"model","content":[]}]`,
		},
		"in the place of a pending part": {
			`[{"role":"user","content":[{"text":"?","metadata":{"purpose":"context","pending":true}},{"text":"hi"}]}]`,
			`[{"role":"user","content":[` + docs + `,{"text":"hi"}]}]`,
		},
		"not a second time": {
			`[{"role":"user","content":[{"text":"x","metadata":{"purpose":"context"}}]}]`,
			`[{"role":"user","content":[{"text":"x","metadata":{"purpose":"context"}}]}]`,
		},
		"nowhere without a user": {`[{"role":"system","content":[]}]`, `[{"role":"system","content":[]}]`},
	} {
		reg := newRegistry(t)
		m := &fakeModel{t: t, responses: []string{says("x")}}
		register(t, reg)(model.New("m", model.Info{}, m.generate))
		opts := ask()
		opts.Messages = *decode[[]content.Message](t, json.RawMessage(c.in))
		opts.Docs = []content.Document{{Content: []content.Part{content.NewTextPart("doc")}, Metadata: content.Metadata{"id": json.RawMessage("7")}}}
		run(t, reg, opts)
		assert.JSONEq(t, c.want, toJSON(t, m.request(t, 0).Messages), name)
	}
}

// csv is a format that somebody brings along.
type csv struct {
	parse func() (json.RawMessage, error)
}

func (csv) Name() string { return "acme/csv" }
func (c csv) New(_ context.Context, schema json.RawMessage) (format.Handler, error) {
	if string(schema) == `{"type":"null"}` {
		return nil, status.Publicf(status.InvalidArgument, "no rows in null")
	}
	return c, nil
}

func (csv) Config() format.Config { return format.Config{Format: "csv", ContentType: "text/csv"} }

func (csv) Instructions() string                                               { return "Write CSV." }
func (c csv) Parse(context.Context, *content.Message) (json.RawMessage, error) { return c.parse() }

func TestARegisteredFormatIsUsed(t *testing.T) {
	for name, parse := range map[string]func() (json.RawMessage, error){
		"fine":      func() (json.RawMessage, error) { return json.RawMessage(`[["a"]]`), nil },
		"failing":   func() (json.RawMessage, error) { return nil, status.Publicf(status.InvalidArgument, "row 1") },
		"panicking": func() (json.RawMessage, error) { panic("csv") },
	} {
		t.Run(name, func(t *testing.T) {
			reg := newRegistry(t)
			m := newModel(t, reg, calls("a"), says("a"))
			newTool(t, reg, "a", gives(1))
			require.NoError(t, format.Register(reg, csv{parse}))
			opts := ask("a")
			opts.Output = &model.OutputOptions{Format: "csv"}
			resp, err := generate.Run(t.Context(), reg, opts, nil)
			asked := m.request(t, 1)
			assert.JSONEq(t, `[{"text":"hi"},{"text":"Write CSV.","metadata":{"purpose":"output"}}]`, toJSON(t, asked.Messages[0].Content))
			assert.JSONEq(t, `{"format":"csv","contentType":"text/csv"}`, toJSON(t, asked.Output))
			switch name {
			case "fine":
				require.NoError(t, err)
				assert.JSONEq(t, `[["a"]]`, string(resp.Parsed))
			case "failing":
				require.ErrorIs(t, err, status.ErrInvalidArgument)
			case "panicking":
				require.ErrorIs(t, err, status.ErrInternal)
			}
			opts.Output = &model.OutputOptions{Format: "csv", JSONSchema: json.RawMessage(`{"type":"null"}`)}
			require.ErrorIs(t, runErr(t, reg, opts), status.ErrInvalidArgument)
		})
	}
}

type callerKey struct{}

// knowing is a format that says on whose behalf it is used.
type knowing struct{ seen *[]any }

func (knowing) Name() string { return "knowing" }

func (k knowing) New(ctx context.Context, _ json.RawMessage) (format.Handler, error) {
	*k.seen = append(*k.seen, ctx.Value(callerKey{}))
	return k, nil
}
func (knowing) Config() format.Config { return format.Config{} }
func (knowing) Instructions() string  { return "" }
func (k knowing) Parse(ctx context.Context, _ *content.Message) (json.RawMessage, error) {
	*k.seen = append(*k.seen, ctx.Value(callerKey{}))
	return nil, nil
}

func TestAFormatIsUsedUnderTheCallersContext(t *testing.T) {
	reg := newRegistry(t)
	newModel(t, reg, says("a"))
	var seen []any
	require.NoError(t, format.Register(reg, knowing{&seen}))
	opts := ask()
	opts.Output = &model.OutputOptions{Format: "knowing"}
	_, err := generate.Run(context.WithValue(t.Context(), callerKey{}, "ann"), reg, opts, nil)
	require.NoError(t, err)
	assert.Equal(t, []any{"ann", "ann"}, seen, "made and read")
}
