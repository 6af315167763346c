package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// writes is a script that streams pieces and answers with all of them.
func writes(t *testing.T, pieces ...string) engine.GenerateOption {
	t.Helper()
	all := ""
	chunks := []model.Chunk{}
	for _, p := range pieces {
		all += p
		chunks = append(chunks, model.Chunk{Content: []content.Part{content.NewTextPart(p)}})
	}
	return engine.WithConfig(map[string]any{
		"script": []any{model.Response{Message: new(content.NewModelTextMessage(all))}}, "chunks": []any{chunks},
	})
}

// outputOrChunk is one step of a data stream.
func outputOrChunk[T any](v engine.StreamValue[T, T]) T {
	if v.Done {
		return v.Output
	}
	return v.Chunk
}

// told collects the steps of a data stream, as JSON.
func told[T any](t *testing.T, e *engine.Engine, options ...engine.GenerateOption) (steps []string, err error) {
	t.Helper()
	for event, err := range engine.GenerateDataStream[T](t.Context(), e, append(options, engine.WithPrompt("x"))...) {
		if err != nil {
			return steps, err
		}
		raw, err := json.Marshal(outputOrChunk(event))
		require.NoError(t, err)
		assert.Equal(t, event.Done, event.Response != nil)
		steps = append(steps, fmt.Sprint(string(raw), event.Done))
	}
	return steps, nil
}

type dish struct {
	Name string   `json:"name"`
	Of   []string `json:"of,omitempty"`
}

// mute is a format that reads no chunks.
type mute struct{ format.Format }

func (mute) Name() string { return "mute" }
func (m mute) New(ctx context.Context, schema json.RawMessage) (format.Handler, error) {
	h, err := m.Format.New(ctx, schema)
	return struct{ format.Handler }{h}, err
}

func TestAValueIsSeenWhileItIsWritten(t *testing.T) {
	e := start(t, engine.Config{})
	engine.DefineFormat(e, mute{format.JSON()})
	steps, err := told[dish](t, e, writes(t, "Sure: ", `{"name":"pan`, `cake","of":["egg`, `"]}`))
	require.NoError(t, err)
	assert.Equal(t, []string{
		`{"name":"pan"}false`, `{"name":"pancake","of":["egg"]}false`, `{"name":"pancake","of":["egg"]}false`, `{"name":"pancake","of":["egg"]}true`,
	}, steps)
	steps, err = told[[]dish](t, e, engine.WithOutputFormat("array"), writes(t, `[{"name":"a"}`, `,{"name"`, `:"b"}`, `]`))
	require.NoError(t, err)
	assert.Equal(t, []string{`[{"name":"a"}]false`, `[{"name":"b"}]false`, `[{"name":"a"},{"name":"b"}]true`}, steps)
	steps, err = told[[]dish](t, e, engine.WithOutputFormat("jsonl"), writes(t, `{"name":"a"}`, "\n", `{"name":"b"}`))
	require.NoError(t, err)
	assert.Equal(t, []string{`[{"name":"a"}]false`, `[{"name":"a"},{"name":"b"}]true`}, steps)
	steps, err = told[string](t, e, engine.WithOutputFormat("text"), writes(t, `a`, "b"))
	require.NoError(t, err)
	assert.Equal(t, []string{`"a"false`, `"b"false`, `"ab"true`}, steps)
	steps, err = told[string](t, e, engine.WithOutputFormat("enum"), engine.WithOutputSchema(json.RawMessage(`{"type":"string","enum":["yes","no"]}`)), writes(t, `y`, "es"))
	require.NoError(t, err)
	assert.Equal(t, []string{`"yes"false`, `"yes"true`}, steps)
	steps, err = told[dish](t, e, engine.WithOutputFormat("mute"), writes(t, `{"name":"a"}`))
	require.NoError(t, err)
	assert.Equal(t, []string{`{"name":"a"}true`}, steps)
	steps, err = told[any](t, e, writes(t, `12345678901234567890`))
	require.NoError(t, err)
	assert.Equal(t, []string{`12345678901234567890true`}, steps)
	steps, err = told[bool](t, e, writes(t, `fal`, `se`))
	require.NoError(t, err)
	assert.Equal(t, []string{`falsefalse`, `falsetrue`}, steps, "a falsy value is a value")
}

func TestWhatDoesNotFitYetIsPassedOver(t *testing.T) {
	e := start(t, engine.Config{})
	steps, err := told[struct {
		At json.Number `json:"at"`
		T  stamp       `json:"t"`
	}](t, e, engine.WithOutputSchema(json.RawMessage(`{"type":"object"}`)), writes(t, `{"at":1.10,"t":"12:`, `30"}`))
	require.NoError(t, err)
	assert.Equal(t, []string{`{"at":1.10,"t":"12:30"}false`, `{"at":1.10,"t":"12:30"}true`}, steps)
}

// stamp is hh:mm.
type stamp string

func (s *stamp) UnmarshalText(b []byte) error {
	if len(b) != 5 {
		return fmt.Errorf("%q is no time", b)
	}
	*s = stamp(b)
	return nil
}

func TestADataStreamFails(t *testing.T) {
	e := start(t, engine.Config{})
	engine.DefineFormat(e, failing{format.JSON()})
	steps, err := told[dish](t, e, writes(t, `{"name":`, `1 }`))
	require.ErrorIs(t, err, generate.ErrInvalidOutput)
	assert.Equal(t, []string{`{"name":""}false`}, steps, "the second does not fit")
	_, err = told[dish](t, e, engine.WithOutputFormat("nope"))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = told[dish](t, e, engine.WithOutputFormat("array"))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = told[dish](t, e, engine.WithTools(nil))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = told[any](t, e, writes(t, `no JSON`))
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	_, err = told[dish](t, e, engine.WithOutputFormat("failing"), writes(t, `{"name":"bad"}`))
	require.ErrorIs(t, err, status.ErrDataLoss, "what a chunk parser returns reaches the reader")
	_, err = told[dish](t, e, engine.WithOutputFormat("failing"), writes(t, `panic`))
	require.ErrorIs(t, err, status.ErrInternal)
}

// failing is a format whose chunks can't be read.
type failing struct{ format.Format }

func (failing) Name() string { return "failing" }
func (f failing) New(ctx context.Context, schema json.RawMessage) (format.Handler, error) {
	h, err := f.Format.New(ctx, schema)
	return failingHandler{h}, err
}

type failingHandler struct{ format.Handler }

func (failingHandler) ParseChunk(_ context.Context, text, _ string) (json.RawMessage, error) {
	if text == "panic" {
		panic(text)
	}
	return nil, status.Publicf(status.DataLoss, "bad chunk")
}

func TestADataStreamEndsWhenTheReaderLeaves(t *testing.T) {
	e := start(t, engine.Config{})
	for event, err := range engine.GenerateDataStream[dish](t.Context(), e, engine.WithPrompt("x"), writes(t, `{"name":"a`, `b`, `"}`)) {
		require.NoError(t, err)
		assert.Equal(t, "a", event.Chunk.Name)
		break
	}
	ended := make(chan struct{})
	engine.DefineModel(e, "endless", model.Info{}, func(ctx context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
		defer close(ended)
		for {
			if err := send(&model.Chunk{Content: []content.Part{content.NewTextPart(`{"name":"a"`)}}); err != nil {
				return nil, err
			}
		}
	})
	for range engine.GenerateDataStream[dish](t.Context(), e, engine.WithPrompt("x"), engine.WithModelName("endless")) {
		break
	}
	<-ended // before the loop had ended
	require.NoError(t, e.Close(t.Context()))
}

func TestADataStreamStartsAnewAfterTools(t *testing.T) {
	e := start(t, engine.Config{})
	engine.DefineTool(e, "kit/a", "", func(context.Context, any) (dish, error) { return dish{Name: "of the tool"}, nil })
	steps, err := told[[]int](t, e, engine.WithOutputFormat("array"), engine.WithTools(engine.ToolName("a")), engine.WithConfig(json.RawMessage(`{"script":[
		{"message":{"content":[{"text":"[7, "},{"toolRequest":{"name":"a","ref":"1","input":{}}}]}},
		{"message":{"content":[{"text":"[1, 2]"}]}}]}`)))
	require.NoError(t, err)
	assert.Equal(t, []string{`[7]false`, `[1]false`, `[2]false`, `[1,2]true`}, steps)
}
