package openai_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

var update = flag.Bool("update", false, "rewrite the bodies in testdata/requests")

// golden is one file of testdata/requests: what the model is asked, and the body
// that the server gets, or the error that comes before it.
type golden struct {
	Pins     string          `json:"pins"`
	Stream   bool            `json:"stream,omitempty"`
	Supports *model.Supports `json:"supports,omitempty"`
	Provider struct {
		MaxTokensKey  string `json:"maxTokensKey,omitempty"`
		DropReasoning bool   `json:"dropReasoning,omitempty"`
		Profile       string `json:"profile,omitempty"`
	} `json:"provider,omitzero"`
	Request json.RawMessage `json:"request"`
	Body    json.RawMessage `json:"body,omitempty"`
	Error   string          `json:"error,omitempty"`
}

func TestRequestBodies(t *testing.T) {
	files, err := filepath.Glob("testdata/requests/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			var g golden
			require.NoError(t, json.Unmarshal(raw, &g))
			s := serve(t, document(200, plain))
			m := newModel(t, s, func(c *openai.Config) {
				c.UnlistedSupports, c.MaxTokensKey, c.DropReasoning = g.Supports, g.Provider.MaxTokensKey, g.Provider.DropReasoning
				if g.Provider.Profile != "" {
					c.Profile = profile(t, g.Provider.Profile)
				}
			})
			_, _, err = generate(t.Context(), m, request(t, string(g.Request)), g.Stream)
			body, text := "", ""
			if err != nil {
				require.ErrorIs(t, err, status.ErrInvalidArgument)
				text = status.ToWire(err, false).Message
				assert.Zero(t, s.calls())
			} else {
				body = s.body(0)
			}
			if *update {
				g.Body, g.Error = json.RawMessage(body), text
				require.NoError(t, os.WriteFile(file, indent(t, g), 0o644))
				return
			}
			assert.Equal(t, g.Error, text)
			assert.Equal(t, squeeze(t, string(g.Body)), squeeze(t, body))
		})
	}
}

// squeeze takes the white space away and keeps order and digits.
func squeeze(t *testing.T, text string) string {
	t.Helper()
	if text == "" {
		return ""
	}
	var buf bytes.Buffer
	require.NoError(t, json.Compact(&buf, []byte(text)))
	return buf.String()
}

func indent(t *testing.T, v any) []byte {
	t.Helper()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	require.NoError(t, enc.Encode(v))
	return buf.Bytes()
}

func TestToolNamesDoNotDependOnTheirOrder(t *testing.T) {
	names := []string{"a/b", "a.b", "a_b", strings.Repeat("x", 65), "ok", "ä"}
	sent := func(names []string) map[string]string {
		s := serve(t, document(200, plain))
		req := hello()
		for _, n := range names {
			req.Tools = append(req.Tools, model.ToolDefinition{Name: n, Description: n})
		}
		_, _, err := generate(t.Context(), newModel(t, s), req, false)
		require.NoError(t, err)
		var body struct {
			Tools []struct {
				Function struct{ Name, Description string }
			}
		}
		require.NoError(t, json.Unmarshal([]byte(s.body(0)), &body))
		got := map[string]string{}
		for _, tool := range body.Tools {
			assert.Regexp(t, `^[a-zA-Z0-9_-]{1,64}$`, tool.Function.Name)
			got[tool.Function.Description] = tool.Function.Name
		}
		return got
	}
	forward := sent(names)
	assert.Len(t, forward, len(names))
	assert.Equal(t, "a_b", forward["a_b"])
	assert.Equal(t, "ok", forward["ok"])
	assert.Equal(t, "_", forward["ä"])
	assert.NotEqual(t, forward["a/b"], forward["a.b"])
	reversed := append([]string(nil), names...)
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	assert.Equal(t, forward, sent(reversed))
}

func TestRequestIsNotChanged(t *testing.T) {
	req := request(t, `{"messages":[{"role":"user","content":[{"text":"q"}]}],"config":{"apiKey":"sk-other-key","temperature":0},
		"tools":[{"name":"a/b","description":"","inputSchema":{"type":"object"}}]}`)
	before := toJSON(t, req)
	_, _, err := generate(t.Context(), newModel(t, serve(t, document(200, plain))), req, false)
	require.NoError(t, err)
	assert.JSONEq(t, before, toJSON(t, req))
}

func TestMessagesOfEveryRoleAndPartAreMappedOrRefused(t *testing.T) {
	parts := map[string]string{
		"text": `{"text":"t"}`, "media": `{"media":{"url":"data:image/png;base64,AA=="}}`, "toolRequest": `{"toolRequest":{"name":"f","ref":"1"}}`,
		"toolResponse": `{"toolResponse":{"name":"f","ref":"1","output":1}}`, "data": `{"data":{"a":1}}`, "custom": `{"custom":{"a":1}}`,
		"reasoning": `{"reasoning":"r"}`, "resource": `{"resource":{"uri":"x:y"}}`, "nothing": `{}`, "future": `{"hologram":1}`, "metadata": `{"metadata":{"a":1}}`,
	}
	fine := map[content.Role][]string{
		"system": {"text", "data", "metadata"}, "user": {"text", "media", "data", "metadata"},
		"model": {"text", "data", "toolRequest", "reasoning", "metadata"}, "tool": {"toolResponse"}, "judge": {},
	}
	for role, accepted := range fine {
		for name, part := range parts {
			s := serve(t, document(200, plain))
			req := request(t, `{"messages":[{"role":"`+string(role)+`","content":[`+part+`]}]}`)
			_, _, err := generate(t.Context(), newModel(t, s), req, false)
			if contains(accepted, name) {
				assert.NoError(t, err, "%s in %s", name, role)
				continue
			}
			require.ErrorIs(t, err, status.ErrInvalidArgument, "%s in %s", name, role)
			assert.True(t, status.Convert(err).Public())
			assert.Contains(t, err.Error(), "messages[0]")
		}
	}
}

func contains(list []string, s string) bool {
	return slices.Contains(list, s)
}
