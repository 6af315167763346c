package enginetest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// patience is how long a model may take to notice that its caller has left.
const patience = 10 * time.Second

// ModelConfig configures [TestModel].
type ModelConfig struct {
	// Config is sent with each request; empty for none.
	Config json.RawMessage
	// Prompt is the user's message; empty means "Say hello.".
	Prompt string
	// Silent is set for a model that does not stream.
	Silent bool
}

var finishReasons = []model.FinishReason{
	model.FinishStop, model.FinishLength, model.FinishBlocked, model.FinishInterrupted, model.FinishAborted, model.FinishOther, "unknown",
}

// TestModel holds the model m to the contract of [model.Model]: what it answers, what
// it streams, that it leaves the request alone, serves many callers at once and stops
// when its caller does.
func TestModel(t *testing.T, m model.Model, config ModelConfig) {
	t.Helper()
	if config.Prompt == "" {
		config.Prompt = "Say hello."
	}
	request := func() *model.Request {
		return &model.Request{Config: config.Config, Messages: []content.Message{{Role: content.RoleUser, Content: []content.Part{content.NewTextPart(config.Prompt)}}}}
	}
	t.Run("it says what it is", func(t *testing.T) {
		if d := m.Desc(); d.Kind != action.Model || d.Name == "" || len(d.Metadata["model"]) == 0 {
			t.Errorf("descriptor %+v: want kind model, a name and metadata.model", d)
		}
	})
	t.Run("it answers", func(t *testing.T) { testAnswer(t, m, request(), nil) })
	t.Run("it streams", func(t *testing.T) { testStream(t, m, request(), config.Silent) })
	t.Run("it answers JSON as it answers Go", func(t *testing.T) {
		in, err := json.Marshal(request())
		if err != nil {
			t.Fatal(err)
		}
		out, err := m.RunJSON(t.Context(), in, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp := &model.Response{}
		if err := json.Unmarshal(out, resp); err != nil || resp.Message == nil {
			t.Errorf("%s: %v, want a response with a message", out, err)
		}
	})
	t.Run("many may ask at once", func(t *testing.T) {
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(func() { testAnswer(t, m, request(), func(*model.Chunk) error { return nil }) })
		}
		calls.Wait()
	})
	if !config.Silent {
		t.Run("it stops when nobody listens", func(t *testing.T) {
			gone := errors.New("the caller has gone")
			_, err := m.Generate(t.Context(), request(), func(*model.Chunk) error { return gone })
			if !errors.Is(err, gone) {
				t.Errorf("got %v, want the error of send", err)
			}
		})
	}
	t.Run("it ends with its caller", func(t *testing.T) { testLeaving(t, m, request()) })
}

func testAnswer(t *testing.T, m model.Model, req *model.Request, send model.Send) *model.Response {
	t.Helper()
	before, _ := json.Marshal(req)
	resp, err := m.Generate(t.Context(), req, send)
	if err != nil {
		t.Errorf("generate: %v", err)
		return nil
	}
	if after, _ := json.Marshal(req); string(before) != string(after) {
		t.Errorf("the request was changed to %s", after)
	}
	switch {
	case resp == nil || resp.Message == nil:
		t.Error("there is no message")
		return nil
	case resp.Message.Role != content.RoleModel:
		t.Errorf("the role is %q, want model", resp.Message.Role)
	}
	if resp.FinishReason != "" && !slices.Contains(finishReasons, resp.FinishReason) {
		t.Errorf("finish reason %q is none of Genkit's", resp.FinishReason)
	}
	return resp
}

// testStream wants the chunks to say what the answer says, all before it.
func testStream(t *testing.T, m model.Model, req *model.Request, silent bool) {
	t.Helper()
	var said strings.Builder
	chunks, over := 0, false
	resp := testAnswer(t, m, req, func(c *model.Chunk) error {
		if over {
			t.Error("a chunk came after the answer")
		}
		chunks++
		said.WriteString(content.TextOf(c.Content))
		return nil
	})
	over = true
	switch {
	case resp == nil:
	case silent:
		if chunks > 0 {
			t.Errorf("a model that does not stream sent %d chunks", chunks)
		}
	case chunks == 0:
		t.Error("nothing was streamed")
	case said.String() != content.TextOf(resp.Message.Content):
		t.Errorf("the chunks say %q, the answer %q", said.String(), content.TextOf(resp.Message.Content))
	}
}

// testLeaving wants a call whose context has ended to end too; that it still has an
// answer at hand is no fault.
func testLeaving(t *testing.T, m model.Model, req *model.Request) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = m.Generate(ctx, req, nil)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Errorf("the call went on for %v after its caller had left", patience)
	}
}
