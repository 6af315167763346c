package mcp_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/mcp"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func lookup(name string) (string, bool) {
	values := map[string]string{"TOKEN": "t-1", "EMPTY": "", "HOME": "/me"}
	value, ok := values[name]
	return value, ok
}

func TestServersAreReadAsEditorsWriteThem(t *testing.T) {
	for editor, text := range map[string]string{
		"Claude Desktop": `{"globalShortcut":"Ctrl+Space","mcpServers":{"fs":{"command":"npx","args":["-y","@modelcontextprotocol/server-filesystem","${HOME}/data"],"env":{"TOKEN":"${TOKEN}"}}}}`,
		"Claude Code":    `{"mcpServers":{"fs":{"type":"stdio","command":"npx","args":["-y","@modelcontextprotocol/server-filesystem","${HOME:-/nobody}/${NONE:-data}"],"env":{"TOKEN":"${EMPTY:-t-1}"}}}}`,
		"VS Code": `{
			// The servers of this workspace.
			"inputs": [],
			"servers": {"fs": {"type": "stdio", "command": "npx", /* with a comma, "}" and */
				"args": ["-y", "@modelcontextprotocol/server-filesystem", "${env:HOME}/data",],
				"env": {"TOKEN": "${env:TOKEN}"},
			}},
		}`,
	} {
		servers, err := mcp.ParseServers([]byte(text), lookup)
		require.NoError(t, err, editor)
		assert.Equal(t, map[string]mcp.ServerConfig{"fs": {
			Command: "npx", Args: []string{"-y", "@modelcontextprotocol/server-filesystem", "/me/data"}, Env: map[string]string{"TOKEN": "t-1"},
		}}, servers, editor)
	}
	servers, err := mcp.ParseServers([]byte(`{"mcpServers":{
		"a":{"url":"https://a.example/mcp","headers":{"Authorization":"Bearer ${TOKEN}"}},
		"b":{"type":"streamable-http","url":"https://b.example/mcp"},
		"c":{"serverUrl":"https://c.example/mcp","disabledTools":["x"]},
		"d":{"httpUrl":"https://d.example/mcp","timeout":1500,"trust":true},
		"e":{"command":"e","disabled":true,"env":{"X":"${NONE}"}},
		"f":{"command":"f","env":{"PORT":8080,"DEBUG":true}, "cwd":"/tmp"},
		"g":{"url":"https://g.example/$HOME//mcp"}
	}}`), lookup)
	require.NoError(t, err)
	assert.Equal(t, map[string]mcp.ServerConfig{
		"a": {URL: "https://a.example/mcp", Headers: map[string]string{"Authorization": "Bearer t-1"}},
		"b": {URL: "https://b.example/mcp"}, "c": {URL: "https://c.example/mcp"}, "d": {URL: "https://d.example/mcp", Timeout: 1500 * time.Millisecond},
		"e": {Command: "e", Disabled: true, Env: map[string]string{"X": "${NONE}"}}, "f": {Command: "f", Dir: "/tmp", Env: map[string]string{"PORT": "8080", "DEBUG": "true"}},
		"g": {URL: "https://g.example/$HOME//mcp"},
	}, servers)
}

func TestFilesOfServersThatCanNotWorkAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		``:                                       "MCP servers",
		`{}`:                                     `want {"mcpServers"`,
		`{"mcpServers":[]}`:                      "MCP servers",
		`{"mcpServers":{"a":{}}}`:                `"a": want a command or a url`,
		`{"mcpServers":{"a b":{"command":"x"}}}`: `"a b"`,
		`{"mcpServers":{"a":{"command":"${NONE}"}}}`:                             `"a": the variable NONE is not set`,
		`{"mcpServers":{"a":{"command":"x","args":["${env:NONE}"]}}}`:            `"a": the variable NONE is not set`,
		`{"mcpServers":{"a":{"url":"http://a","headers":{"k":"${input:key}"}}}}`: `${input:key} is asked of the user`,
		`{"mcpServers":{"a":{"type":"sse","url":"http://a"}}}`:                   "sse",
		`{"mcpServers":{"a":{"type":"carrier pigeon","url":"http://a"}}}`:        "carrier pigeon",
		`{"mcpServers":{"a":{"command":"x"}},"servers":{"a":{"command":"x"}}}`:   "there twice",
		`{"mcpServers":{"a":{"command":"x","env":{"A":null}}}}`:                  "variable A is no text",
		`{"mcpServers":{"a":{"command":"x","env":{"A":{}}}}}`:                    "variable A is no text",
	} {
		_, err := mcp.ParseServers([]byte(text), lookup)
		require.ErrorIs(t, err, status.ErrInvalidArgument, text)
		assert.ErrorContains(t, err, want)
	}
}

func FuzzParseServers(f *testing.F) {
	f.Add([]byte(`{"mcpServers":{"a":{"command":"x","args":["${TOKEN}"]}}} // end`))
	f.Add([]byte(`{"servers":{"a":{"url":"http://a/*","headers":{"k":"\"//"},},},} /* "`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		servers, err := mcp.ParseServers(raw, lookup)
		if err != nil {
			return
		}
		for name, s := range servers {
			if !s.Disabled {
				require.NoError(t, s.Check(name))
			}
		}
		if json.Valid(raw) { // strict JSON means the same in both
			var f struct {
				MCPServers, Servers map[string]json.RawMessage
			}
			require.NoError(t, json.Unmarshal(raw, &f))
		}
	})
}
