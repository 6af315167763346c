package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/agent"
	"github.com/genkit-wasm/genkit-wasm/engine/client"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/peer"
)

// jsServer starts Genkit's express server and returns its address.
func jsServer(t *testing.T) string {
	t.Helper()
	dir := packages(t)
	if _, err := os.Stat(dir + "/node_modules/@genkit-ai/express"); err != nil {
		peer.Missing(t, "@genkit-ai/express is not installed")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, "node", "server.cjs")
	cmd.Env = append(os.Environ(), "GENKIT_FACES="+dir)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // it ends with its input
		cancel()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "http://") {
			go func() {
				for lines.Scan() { // its log
				}
			}()
			return lines.Text()
		}
	}
	t.Fatal("the server did not start")
	return ""
}

func TestOurClientOnTheJSServer(t *testing.T) {
	url := jsServer(t)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	key, own := client.WithHeader("Authorization", "s3cret"), client.WithHTTPClient(&http.Client{Transport: transport})

	out, err := client.RunFlow[string, string](t.Context(), url+"/echo", "é😀", key, own)
	require.NoError(t, err)
	assert.Equal(t, "é😀", out)
	raw, err := client.RunFlow[json.RawMessage, json.RawMessage](t.Context(), url+"/nothing", nil, key, own)
	require.NoError(t, err)
	assert.Equal(t, "null", string(raw), "undefined is left out")
	_, err = client.RunFlow[string, string](t.Context(), url+"/refuses", "", key, own)
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	assert.Equal(t, "not you", status.Convert(err).Message)
	assert.JSONEq(t, `{"n":1}`, string(status.Convert(err).Details))
	_, err = client.RunFlow[string, string](t.Context(), url+"/echo", "", own)
	require.ErrorIs(t, err, status.ErrUnauthenticated)
	_, err = client.RunFlow[string, string](t.Context(), url+"/streamy", "no number", key, own)
	require.ErrorIs(t, err, status.ErrInvalidArgument)

	type count struct{ Count int }
	collect := func(path string, n any, opts ...client.Option) (got []string, err error) {
		for e, err := range client.StreamFlow[any, string, json.RawMessage](t.Context(), url+path, n, append(opts, key, own)...) {
			switch {
			case err != nil:
				return got, err
			case e.Done:
				got = append(got, e.Output)
			default:
				var c count
				if json.Unmarshal(e.Chunk, &c) != nil {
					c.Count = -1
				}
				got = append(got, fmt.Sprint(c.Count))
			}
		}
		return got, nil
	}
	want := []string{"0", "1", "done 2, streamed: 2 times"}
	got, err := collect("/streamy", 2)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	got, err = collect("/breaks", nil)
	require.ErrorIs(t, err, status.ErrAborted, "the frame is spelled error:")
	assert.Equal(t, []string{"-1"}, got)

	id := ""
	got, err = collect("/kept/streamy", 2, client.OnStreamID(func(s string) { id = s }))
	require.NoError(t, err)
	assert.Equal(t, want, got)
	require.NotEmpty(t, id)
	got, err = collect("/kept/streamy", nil, client.WithStreamID(id))
	require.NoError(t, err)
	assert.Equal(t, want, got)
	_, err = collect("/kept/streamy", nil, client.WithStreamID("x"))
	require.ErrorIs(t, err, status.ErrNotFound)
}

// Genkit's agents speak the wire types of ours.
func TestOurClientOnAJSAgent(t *testing.T) {
	url := jsServer(t)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	key, own := client.WithHeader("Authorization", "s3cret"), client.WithHTTPClient(&http.Client{Transport: transport})
	turn := func(text string, init agent.Init) (out agent.Output, chunks []agent.Chunk) {
		t.Helper()
		in := agent.Input{Message: new(content.NewUserTextMessage(text))}
		for e, err := range client.StreamFlow[agent.Input, agent.Output, agent.Chunk](t.Context(), url+"/counter", in, client.WithInit(init), key, own) {
			require.NoError(t, err)
			if e.Done {
				return e.Output, chunks
			}
			chunks = append(chunks, e.Chunk)
		}
		t.Fatal("no output")
		return out, chunks
	}
	first, chunks := turn("one", agent.Init{SessionID: "ada"})
	assert.Equal(t, "turn 1", first.Message.Text())
	require.Len(t, chunks, 2)
	assert.Equal(t, []agent.PatchOp{{Op: "replace", Path: "", Value: json.RawMessage(`{"turns":1}`)}}, chunks[0].CustomPatch)
	assert.Equal(t, first.SnapshotID, chunks[1].TurnEnd.SnapshotID)
	second, _ := turn("two", agent.Init{SnapshotID: first.SnapshotID})
	assert.Equal(t, "turn 2", second.Message.Text())
	assert.Equal(t, "ada", second.SessionID)
	failed, _ := turn("fail", agent.Init{SnapshotID: second.SnapshotID})
	assert.Equal(t, agent.FinishFailed, failed.FinishReason)
	assert.Equal(t, "PERMISSION_DENIED", failed.Error.Status)

	got, err := client.RunFlow[agent.Query, agent.Snapshot](t.Context(), url+"/counter/getSnapshot", agent.Query{SnapshotID: second.SnapshotID}, key, own)
	require.NoError(t, err)
	assert.Equal(t, first.SnapshotID, got.ParentID)
	assert.Equal(t, agent.Completed, got.Status)
	assert.JSONEq(t, `{"turns":2}`, string(got.State.Custom))
	require.Len(t, got.State.Messages, 4)
}
