//go:build unix

package faces_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin"
	"github.com/genkit-wasm/genkit-wasm/builtin/mcp"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/scripted"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/peer"
)

// mcpServer returns the program of a published MCP server, or skips the test.
func mcpServer(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("GENKIT_FACES")
	if dir == "" {
		var err error
		dir, err = os.Getwd()
		require.NoError(t, err)
	}
	file := filepath.Join(dir, "node_modules", ".bin", "mcp-server-"+name)
	if _, err := os.Stat(file); err != nil {
		peer.Missing(t, "the MCP servers are not installed: run make faces, or name a folder with a node_modules in GENKIT_FACES")
	}
	if _, err := exec.LookPath("node"); err != nil {
		peer.Missing(t, "node is not installed")
	}
	return file
}

// The tools of three published servers in one generate call, whose model is scripted.
func TestToolsOfPublishedMCPServersRunInALoop(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	host, err := mcp.NewHost(mcp.HostConfig{ConnectTimeout: patience, CallTimeout: patience, Servers: map[string]mcp.ServerConfig{
		"everything": {Command: mcpServer(t, "everything")},
		"files":      {Command: mcpServer(t, "filesystem"), Args: []string{dir}},
		"memory":     {Command: mcpServer(t, "memory"), Env: map[string]string{"MEMORY_FILE_PATH": filepath.Join(dir, "memory.jsonl")}},
	}})
	require.NoError(t, err)
	defer func() { require.NoError(t, host.Close()) }()
	ctx := t.Context()
	eng, err := engine.New(ctx, engine.Config{Plugins: builtin.All()})
	require.NoError(t, err)
	require.NoError(t, eng.AddProvider(host))

	note := filepath.Join(dir, "note.txt")
	turns := [][2]string{
		{"get-sum", `{"a":40,"b":2}`},
		{"get-structured-content", `{"location":"Chicago"}`},
		{"get-tiny-image", `{}`},
		{"write_file", fmt.Sprintf(`{"path":%q,"content":"forty-two"}`, note)},
		{"read_text_file", fmt.Sprintf(`{"path":%q}`, note)},
		{"read_text_file", `{"path":"/etc/passwd"}`},
		{"create_entities", `{"entities":[{"name":"Ada","entityType":"person","observations":["writes programs"]}]}`},
		{"read_graph", `{}`},
	}
	var script []string
	for i, turn := range turns {
		script = append(script, fmt.Sprintf(`{"message":{"role":"model","content":[{"toolRequest":{"name":%q,"ref":"%d","input":%s}}]}}`, turn[0], i, turn[1]))
	}
	script = append(script, `{"message":{"role":"model","content":[{"text":"done"}]}}`)
	resp, err := engine.Generate(ctx, eng,
		engine.WithModelName(scripted.Name), engine.WithPrompt("go"), engine.WithMaxTurns(20),
		engine.WithTools(tool.Name("mcp:tool/everything/*"), tool.Name("mcp:tool/files/*"), tool.Name("mcp:tool/memory/*")),
		engine.WithConfig(json.RawMessage(`{"script":[`+strings.Join(script, ",")+`]}`)))
	require.NoError(t, err)
	assert.Equal(t, "done", resp.Text())

	outputs := map[string]string{}
	for _, m := range resp.Request.Messages {
		for _, p := range m.Content {
			if p.ToolResponse != nil {
				outputs[p.ToolResponse.Ref] = string(p.ToolResponse.Output)
				if p.ToolResponse.Ref == "2" {
					require.Len(t, p.ToolResponse.Content, 1)
					assert.Equal(t, "image/png", p.ToolResponse.Content[0].Media.ContentType)
				}
			}
		}
	}
	require.Len(t, outputs, len(turns))
	assert.Contains(t, outputs["0"], "42")
	assert.Contains(t, outputs["1"], `"temperature"`)
	assert.Equal(t, `{"content":"forty-two"}`, outputs["4"])
	assert.Contains(t, outputs["5"], `{"error":"Access denied`, "what a tool refuses is for the model to read")
	assert.Contains(t, outputs["7"], `"writes programs"`)

	prompt, err := eng.Registry().Resolve(ctx, registry.ProviderPrefix+"mcp:prompt/everything/args-prompt", action.Prompt)
	require.NoError(t, err)
	rendered, err := prompt.RunJSON(ctx, json.RawMessage(`{"city":"Paris"}`), nil)
	require.NoError(t, err)
	assert.Contains(t, string(rendered), "Paris")
	features, err := eng.Registry().Resolve(ctx, registry.ProviderPrefix+"mcp:resource/everything/features.md", action.Resource)
	require.NoError(t, err)
	parts, err := resource.Read(ctx, features, "demo://resource/static/document/features.md")
	require.NoError(t, err)
	assert.Contains(t, content.TextOf(parts), "tool")
}
