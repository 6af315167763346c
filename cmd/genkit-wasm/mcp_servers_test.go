package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Servers of MCP: this program as one, with a process and over HTTP, and one that is not there.
func TestServeUsesTheToolsOfMCPServers(t *testing.T) {
	other := startServer(t)
	require.Equal(t, exitOK, cli(t, "upload", calcFile, "--server", other).exit)
	t.Setenv("CALC", calcFile)
	self, err := json.Marshal(binary(t))
	require.NoError(t, err)
	file := write(t, "mcp.json", `{"mcpServers": { // as editors write it
		"calc": {"command": `+string(self)+`, "args": ["mcp", "${CALC}"], "env": {"`+asProgram+`": "1"}},
		"remote": {"type": "http", "url": "`+other+`/v1/tenants/default/mcp"},
		"broken": {"command": "no-such-program-at-all"},
	}}`)
	url := startServer(t, "--config", write(t, "server.yaml", "mcp-config: "+file+"\ntenant: [acme]\n"))
	on := func(args ...string) outcome { return cli(t, append(args, "--server", url)...) }

	assert.JSONEq(t, `{"output":{"sum":3}}`, on("call", "mcp:tool/calc/calc__add", "--input", `{"a":1,"b":2}`).out)
	got := on("call", "mcp:tool/remote/calc__add", "--input", `{"a":9007199254740992,"b":1}`)
	assert.Equal(t, exitOK, got.exit, got.err)
	broken := on("call", "mcp:tool/broken/x", "--input", `{}`)
	assert.Equal(t, exitFailed, broken.exit)
	assert.Contains(t, broken.err, `MCP server "broken": the program "no-such-program-at-all" is not installed`)
	assert.Equal(t, exitNotFound, on("call", "mcp:tool/none/x").exit)

	list := on("ls", "--actions")
	assert.Regexp(t, `(?m)^tool.v2 +mcp:tool/calc/calc__add +Adds`, list.out)
	assert.Regexp(t, `(?m)^tool.v2 +mcp:tool/remote/calc__add +Adds`, list.out)
	assert.Contains(t, list.err, `MCP server "broken"`)
	var all struct{ Actions []struct{ Key string } }
	require.NoError(t, json.Unmarshal([]byte(on("ls", "--actions", "-o", "json").out), &all))
	keys := make([]string, len(all.Actions))
	for i, a := range all.Actions {
		keys[i] = a.Key
	}
	assert.Contains(t, keys, "/dynamic-action-provider/mcp:tool.v2/calc/calc__add")
	assert.NotContains(t, strings.Join(keys, "\n")+"\n", "/dynamic-action-provider/mcp\n", "what lists is nothing to call")

	acme := on("ls", "--actions", "--tenant", "acme")
	assert.NotContains(t, acme.out, "mcp:", "they are those of one tenant")
	assert.Equal(t, exitNotFound, on("call", "mcp:tool/calc/calc__add", "--tenant", "acme").exit)

	said := on("generate", "--model", "test/scripted", "--tool", "mcp:tool/calc/*", "--prompt", "add", "--config",
		`{"script":[{"message":{"role":"model","content":[{"toolRequest":{"name":"calc__add","ref":"1","input":{"a":40,"b":2}}}]}},{"message":{"role":"model","content":[{"text":"42"}]}}]}`)
	assert.Equal(t, exitOK, said.exit, said.err)
	assert.Contains(t, said.out, "42")
}

func TestFilesOfMCPServersAreChecked(t *testing.T) {
	good := write(t, "good.json", `{"mcpServers":{"a":{"command":"x"}}}`)
	for want, args := range map[string][]string{
		"--mcp-config":                       {write(t, "none.json", "") + "x"},
		"want {\"mcpServers\"":               {write(t, "empty.json", "{}")},
		"\"a\": the variable NONE_AT_ALL is": {write(t, "unset.json", `{"mcpServers":{"a":{"command":"${NONE_AT_ALL}"}}}`)},
		"want FILE or TENANT=FILE":           {"=" + good},
		"has a file already":                 {good, "default=" + good},
	} {
		flags := []string{"config", "check"}
		for _, arg := range args {
			flags = append(flags, "--mcp-config", arg)
		}
		got := cli(t, flags...)
		assert.Equal(t, exitUsage, got.exit, want)
		assert.Contains(t, got.err, want)
	}
	assert.Equal(t, exitOK, cli(t, "config", "check", "--mcp-config", good, "--mcp-config", "acme="+good).exit)
}
