package toolapproval_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/toolapproval"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/scripted"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

const script = `{"script":[{"message":{"content":[{"toolRequest":{"name":"pay","ref":"1","input":{"n":1}}}]}},{"message":{"content":[{"text":"paid"}]}}]}`

func newRegistry(t *testing.T, runs *int) *registry.Registry {
	t.Helper()
	reg := registry.New(nil)
	require.NoError(t, scripted.Plugin().Register(t.Context(), reg))
	require.NoError(t, toolapproval.Plugin().Register(t.Context(), reg))
	pay, err := tool.New("bank/pay", "", func(context.Context, any) (string, error) { *runs++; return "done", nil })
	require.NoError(t, err)
	require.NoError(t, reg.Register(pay))
	return reg
}

func options(config string) *model.GenerateOptions {
	return &model.GenerateOptions{
		Model: scripted.Name, Config: json.RawMessage(script), Tools: []string{"bank/pay"},
		Messages: []content.Message{content.NewUserTextMessage("pay")},
		Use:      []model.MiddlewareRef{{Name: "toolApproval", Config: json.RawMessage(config)}},
	}
}

func TestWhichToolsRun(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		runs   int
	}{
		"the name that the model is shown":   {`{"approved":["pay"]}`, 1},
		"the full name":                      {`{"approved":["bank/pay"]}`, 1},
		"Genkit Go's word for it":            {`{"allowedTools":["pay"]}`, 1},
		"another name does not do":           {`{"approved":["bank","PAY","other/pay"]}`, 0},
		"an empty list approves nothing":     {`{"approved":[]}`, 0},
		"nor does a config without a list":   {`{}`, 0},
		"nor does the middleware on its own": {``, 0},
	} {
		t.Run(name, func(t *testing.T) {
			runs := 0
			resp, err := generate.Run(t.Context(), newRegistry(t, &runs), options(c.config), nil)
			require.NoError(t, err)
			assert.Equal(t, c.runs, runs)
			if c.runs == 0 {
				require.Equal(t, model.FinishInterrupted, resp.FinishReason)
				assert.JSONEq(t, `{"message":"Tool not in approved list: pay"}`, string(resp.Message.Content[0].Metadata["interrupt"]))
			}
		})
	}
}

func TestARestartNeedsTheApprovalItself(t *testing.T) {
	for resumed, runs := range map[string]int{
		`{"toolApproved":true}`: 1, `{"toolApproved":true,"by":"Ann"}`: 1, `{"toolApproved":false}`: 0, `{"toolApproved":"true"}`: 0,
		`{"toolApproved":1}`: 0, `{"ToolApproved":true}`: 0, `true`: 0, `{}`: 0, `[true]`: 0,
	} {
		t.Run(resumed, func(t *testing.T) {
			got := 0
			reg := newRegistry(t, &got)
			asked, err := generate.Run(t.Context(), reg, options(`{}`), nil)
			require.NoError(t, err)
			opts := options(`{}`)
			opts.Messages = append(opts.Messages, *asked.Message)
			restart := asked.Message.Content[0]
			restart.Metadata = content.Metadata{"resumed": json.RawMessage(resumed)}
			opts.Resume = &model.Resume{Restart: []content.Part{restart}}
			resp, err := generate.Run(t.Context(), reg, opts, nil)
			assert.Equal(t, runs, got)
			if runs == 1 {
				require.NoError(t, err)
				assert.Equal(t, "paid", resp.Text())
				return
			}
			require.Error(t, err, "a restart that interrupts again")
		})
	}
}

func TestAMisspeltListIsRefused(t *testing.T) {
	f, err := toolapproval.New()
	require.NoError(t, err)
	_, err = f.New(t.Context(), json.RawMessage(`{"approve":["x"]}`))
	require.Error(t, err, "a misspelt list must not be an empty one")
}

// Of two requests that a model gave one ref, the one that is approved runs, once.
func TestOneApprovalIsForOneRequest(t *testing.T) {
	runs := 0
	reg := newRegistry(t, &runs)
	opts := options(`{"approved":[]}`)
	opts.Config = json.RawMessage(`{"script":[{"message":{"content":[
		{"toolRequest":{"name":"pay","ref":"1","input":{"n":1}}},
		{"toolRequest":{"name":"pay","ref":"1","input":{"n":4000}}}]}},{"message":{"content":[{"text":"paid"}]}}]}`)
	resp, err := generate.Run(t.Context(), reg, opts, nil)
	require.NoError(t, err)
	pending := resp.Interrupts()
	require.Len(t, pending, 2)
	restart, err := tool.Restart(pending[0], tool.WithResumedMetadata(json.RawMessage(`{"toolApproved":true}`)))
	require.NoError(t, err)
	refusal, err := tool.Respond(pending[1], json.RawMessage(`"refused"`))
	require.NoError(t, err)
	opts.Messages = resp.History()
	opts.Resume = &model.Resume{Restart: []content.Part{restart}, Respond: []content.Part{refusal}}
	resp, err = generate.Run(t.Context(), reg, opts, nil)
	require.NoError(t, err)
	assert.Equal(t, 1, runs)
	answers := resp.Request.Messages[2].Content
	require.Len(t, answers, 2)
	assert.Equal(t, `"done"`, string(answers[0].ToolResponse.Output))
	assert.Equal(t, `"refused"`, string(answers[1].ToolResponse.Output))
}
