package generate_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

const malformedCall = `{"toolRequest":{"name":"a","ref":"1"},"metadata":{"malformedInput":"not JSON"}}`

func TestARequestWithMalformedInputIsAnsweredAndNotExecuted(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, `{"message":{"role":"model","content":[`+malformedCall+`,{"toolRequest":{"name":"b","ref":"2","input":{}}}]}}`, says("sorry"))
	newTool(t, reg, "a", func(context.Context) (any, error) {
		t.Error("the tool ran")
		return nil, nil
	})
	newTool(t, reg, "b", gives(2))
	resp := run(t, reg, ask("a", "b"))
	assert.Equal(t, "sorry", resp.Text())
	answers := m.request(t, 1).Messages[2].Content
	require.Len(t, answers, 2)
	assert.Equal(t, "1", answers[0].ToolResponse.Ref)
	assert.JSONEq(t, `{"error":"not JSON"}`, string(answers[0].ToolResponse.Output))
	assert.JSONEq(t, `2`, string(answers[1].ToolResponse.Output))
}

func TestAModelThatNeverWritesValidInputIsStopped(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, `{"message":{"role":"model","content":[`+malformedCall+`]}}`, `{"message":{"role":"model","content":[`+malformedCall+`]}}`, says("never"))
	newTool(t, reg, "a", gives(1))
	opts := ask("a")
	opts.MaxTurns = new(1)
	require.ErrorIs(t, runErr(t, reg, opts), status.ErrAborted)
	assert.Equal(t, 2, m.calls())
}

func TestMalformedInputBesideAnInterruptKeepsItsAnswer(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, `{"message":{"role":"model","content":[`+malformedCall+`,{"toolRequest":{"name":"b","ref":"2","input":{}}}]}}`, says("done"))
	newTool(t, reg, "a", gives(1))
	newTool(t, reg, "b", func(context.Context) (any, error) { return nil, tool.Interrupt(nil) })
	stopped := run(t, reg, ask("a", "b"))
	require.Equal(t, model.FinishInterrupted, stopped.FinishReason)
	opts := ask("a", "b")
	opts.Messages = append(opts.Messages, *stopped.Message)
	opts.Resume = decode[model.Resume](t, []byte(`{"respond":[{"toolResponse":{"name":"b","ref":"2","output":"yes"}}]}`))
	run(t, reg, opts)
	answers := m.request(t, 1).Messages[2].Content
	require.Len(t, answers, 2)
	assert.JSONEq(t, `{"error":"not JSON"}`, string(answers[0].ToolResponse.Output))
}
