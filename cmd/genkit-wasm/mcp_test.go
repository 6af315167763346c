package main

import (
	"context"
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mcpClient is a client of the command, which it starts.
func mcpClient(t *testing.T, cmd *exec.Cmd, revision string, o *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	var log locked
	cmd.Stderr = &log
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test"}, o).Connect(t.Context(), &mcp.CommandTransport{Command: cmd}, &mcp.ClientSessionOptions{ProtocolVersion: revision})
	require.NoError(t, err, "%v", &log)
	t.Cleanup(func() {
		assert.NoError(t, session.Close())
		assert.Empty(t, log.String(), "it ends well, and says nothing")
	})
	return session
}

func mcpText(t *testing.T, s *mcp.ClientSession, name, arguments string) string {
	t.Helper()
	result, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: json.RawMessage(arguments)})
	require.NoError(t, err)
	require.NotEmpty(t, result.Content)
	return result.Content[0].(*mcp.TextContent).Text
}

func TestMCPServesModulesWithoutAServer(t *testing.T) {
	s := mcpClient(t, command(t, "mcp", calcFile, conformanceFile), "", nil)
	assert.JSONEq(t, `{"sum":3}`, mcpText(t, s, "calc__add", `{"a":1,"b":2}`))
	assert.Equal(t, "ABC", mcpText(t, s, "conformance__upper", `{"input":"abc"}`))
	assert.Contains(t, mcpText(t, s, "calc__add", `{"a":"x","b":2}`), "/a: got string, want number")
	assert.Equal(t, exitUsage, cli(t, "mcp", t.TempDir()).exit)
	assert.Equal(t, exitRefused, cli(t, "mcp", write(t, "x.wasm", "x")).exit)
}

// Over a server, in both eras of the protocol: calls, progress, questions to the user, and news of uploads.
func TestMCPServesWhatAServerHas(t *testing.T) {
	url := startServer(t)
	for _, revision := range []string{"2026-07-28", "2025-11-25"} {
		told, progress := make(chan struct{}, 8), make(chan string, 8)
		s := mcpClient(t, command(t, "mcp", "--server", url), revision, &mcp.ClientOptions{
			ToolListChangedHandler:      func(context.Context, *mcp.ToolListChangedRequest) { told <- struct{}{} },
			ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress <- r.Params.Message },
			ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
				return &mcp.ElicitResult{Action: "decline"}, nil
			},
		})
		assert.Equal(t, revision, s.InitializeResult().ProtocolVersion)
		require.Equal(t, exitOK, cli(t, "upload", calcFile, "--server", url, "--name", "calc"+revision[:4]).exit)
		<-told
		assert.JSONEq(t, `{"sum":3}`, mcpText(t, s, "calc"+revision[:4]+"__add", `{"a":1,"b":2}`))
		require.Equal(t, exitOK, cli(t, "upload", conformanceFile, "--server", url).exit)
		params := &mcp.CallToolParams{Name: "conformance__emit3", Arguments: map[string]any{}}
		params.SetProgressToken("p")
		_, err := s.CallTool(t.Context(), params)
		require.NoError(t, err)
		assert.JSONEq(t, `{"n":1}`, <-progress)
		assert.Contains(t, mcpText(t, s, "conformance__interrupt", `{"message":"Sure?"}`), "ABORTED")
		_, err = s.CallTool(t.Context(), &mcp.CallToolParams{Name: "none"})
		require.ErrorContains(t, err, "unknown tool")
	}
	assert.Equal(t, exitUnreachable, cli(t, "mcp", "--server", "http://127.0.0.1:1").exit)
}
