package flowserver_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/agent"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// The requests and answers are those of Genkit's remote agents.
func TestAgentsAreServed(t *testing.T) {
	reg := registry.New(nil)
	define := func(name string, c agent.Config) {
		a, err := agent.Define(reg, name, func(_ context.Context, run *agent.Run) (*agent.Result, error) {
			return nil, run.Turns(func(ctx context.Context, in *agent.Input) (agent.FinishReason, error) {
				if in.Message.Text() == "wait" {
					<-ctx.Done()
					return "", ctx.Err()
				}
				run.Session().AddMessages(content.NewModelTextMessage("hello " + in.Message.Text()))
				return "stop", run.Session().SetState(map[string]int{"turns": len(run.Session().Messages()) / 2})
			})
		}, c)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, a.Close(context.Background())) })
	}
	define("team/helper", agent.Config{Store: agent.NewMemory(agent.MemoryConfig{})})
	define("plain", agent.Config{})
	srv, err := flowserver.New(flowserver.Config{})
	require.NoError(t, err)
	handler := srv.Agents("/agents/", reg)
	post := func(path, body, accept string) (int, string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", accept)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		return rec.Code, rec.Body.String()
	}
	result := func(code int, body string) agent.Output {
		t.Helper()
		require.Equal(t, http.StatusOK, code, body)
		var answer struct{ Result agent.Output }
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		return answer.Result
	}
	const url = "/agents/team/helper"
	out := result(post(url, `{"data":{"message":{"role":"user","content":[{"text":"Ada"}]}}}`, "*/*"))
	assert.Equal(t, "hello Ada", out.Message.Text())

	code, body := post(url, `{"data":{"message":{"content":[{"text":"Bob"}]}},"init":{"snapshotId":"`+out.SnapshotID+`"}}`, "text/event-stream")
	require.Equal(t, http.StatusOK, code)
	events := strings.Split(strings.TrimSpace(body), "\n\n")
	require.Len(t, events, 3, body)
	assert.Equal(t, `data: {"message":{"customPatch":[{"op":"replace","path":"","value":{"turns":2}}]}}`, events[0])
	assert.Contains(t, events[1], `data: {"message":{"turnEnd":{"snapshotId":"`)
	last := result(code, strings.TrimPrefix(events[2], "data: "))
	assert.Contains(t, events[1], last.SnapshotID)

	code, body = post(url+"/getSnapshot", `{"data":{"snapshotId":"`+last.SnapshotID+`"}}`, "*/*")
	require.Equal(t, http.StatusOK, code)
	assert.Contains(t, body, `"parentId":"`+out.SnapshotID+`"`)
	assert.Contains(t, body, `"custom":{"turns":2}`)

	pending := result(post(url, `{"data":{"message":{"content":[{"text":"wait"}]},"detach":true}}`, "*/*"))
	assert.Equal(t, agent.FinishDetached, pending.FinishReason)
	code, body = post(url+"/abort", `{"data":{"snapshotId":"`+pending.SnapshotID+`"}}`, "*/*")
	assert.Equal(t, http.StatusOK, code)
	assert.JSONEq(t, `{"result":{"snapshotId":"`+pending.SnapshotID+`","status":"pending"}}`, body)
	code, body = post(url+"/abort", `{"data":{"snapshotId":"none"}}`, "*/*")
	assert.Equal(t, http.StatusOK, code)
	assert.JSONEq(t, `{"result":{"snapshotId":"none"}}`, body)

	for _, c := range []struct {
		path, body, status string
		code               int
	}{
		{url, `{"data":{},"init":{"state":{}}}`, "FAILED_PRECONDITION", 400},
		{url, `{"data":{"extra":1}}`, "INVALID_ARGUMENT", 400},
		{url + "/getSnapshot", `{"data":{"snapshotId":"none"}}`, "NOT_FOUND", 404},
		{url + "/getSnapshot", `{"data":{}}`, "INVALID_ARGUMENT", 400},
		{url + "/other", `{"data":{}}`, "NOT_FOUND", 404},
		{"/agents/none", `{"data":{}}`, "NOT_FOUND", 404},
		{"/agents/none/abort", `{"data":{}}`, "NOT_FOUND", 404},
		{"/agents/", `{"data":{}}`, "NOT_FOUND", 404},
		{"/agents/plain/abort", `{"data":{"snapshotId":"x"}}`, "FAILED_PRECONDITION", 400},
	} {
		code, body := post(c.path, c.body, "*/*")
		assert.Equal(t, c.code, code, "%s %s: %s", c.path, c.body, body)
		assert.Contains(t, body, c.status, "%s %s", c.path, c.body)
	}
}
