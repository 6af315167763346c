//go:build unix

package faces_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// chat answers Genkit's model specification as a good model would, in the form of
// OpenAI's chat completions.
func chat(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	asked := string(raw)
	var q struct {
		Stream bool `json:"stream"`
	}
	if json.Unmarshal(raw, &q) != nil || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	message := map[string]any{"role": "assistant"}
	switch {
	case strings.Contains(asked, `"tools"`):
		call := map[string]any{"index": 0, "id": "c1", "type": "function", "function": map[string]string{"name": "weather", "arguments": `{"city":"New York"}`}}
		message["tool_calls"] = []any{call}
	case strings.Contains(asked, "John Doe"):
		message["content"] = `{"name":"John Doe","age":30}`
	case strings.Contains(asked, "John Wick"):
		message["content"] = `{"name":"John Wick","rating":5}`
	case strings.Contains(asked, "googlelogo"):
		message["content"] = "the logo of Google"
	case strings.Contains(asked, "RESPONSE:"):
		message["content"] = "RESPONSE: hello"
	default:
		message["content"] = "Genkit"
	}
	choice := map[string]any{"index": 0, "finish_reason": "stop", "message": message}
	answer := map[string]any{"id": "1", "object": "chat.completion", "model": "m", "choices": []any{choice}}
	if !q.Stream {
		_ = json.NewEncoder(w).Encode(answer)
		return
	}
	choice["delta"], answer["object"] = message, "chat.completion.chunk"
	delete(choice, "message")
	line, _ := json.Marshal(answer)
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = fmt.Fprintf(w, "data: %s\n\ndata: [DONE]\n\n", line)
}

// Genkit's own model tests, against the OpenAI provider and a server on this machine. The
// command line waits half a minute for the model to be listed, which those of a server
// that is not OpenAI's are not, and then runs it all the same.
func TestModelSpecificationAgainstTheProvider(t *testing.T) {
	p := newProject(t)
	srv := httptest.NewServer(http.HandlerFunc(chat))
	defer srv.Close()
	p.env = append(p.env, "OPENAI_BASE_URL="+srv.URL+"/v1", "OPENAI_API_KEY=none")
	said := p.genkit("dev:test-model", "openai/gpt-5-mini", binary(t, "../../cmd/genkit-wasm"), "dev", "--", "--addr", "127.0.0.1:0")
	assert.Contains(t, said, "9 Passed, 0 Failed")
}
