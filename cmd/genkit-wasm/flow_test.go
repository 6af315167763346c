package main

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/contextprovider"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// flowServer serves the flow "menu/count" at the place where a tenant's flows are.
func flowServer(t *testing.T) string {
	t.Helper()
	count, err := flow.NewStreaming("menu/count", func(_ context.Context, n int, send func(string) error) (int, error) {
		if n == 13 {
			return 0, status.Publicf(status.OutOfRange, "unlucky")
		}
		for range n {
			if err := send("<é>"); err != nil {
				return 0, err
			}
		}
		return n, nil
	})
	require.NoError(t, err)
	reg, m := registry.New(nil), durable.NewMemory(durable.MemoryConfig{})
	require.NoError(t, reg.Register(count))
	srv, err := flowserver.New(flowserver.Config{Streams: m, Context: []contextprovider.Provider{contextprovider.APIKey("k")}})
	require.NoError(t, err)
	ts := httptest.NewServer(srv.Registry("/v1/tenants/default/flows/", reg))
	t.Cleanup(func() {
		ts.Close()
		assert.NoError(t, srv.Close(context.Background()))
		m.Close()
	})
	return ts.URL
}

func TestFlow(t *testing.T) {
	url := flowServer(t)
	on := func(args ...string) outcome {
		return cli(t, append(append([]string{"flow"}, args...), "--server", url, "--header", "Authorization: k")...)
	}
	r := on("menu/count", "--input", "2")
	assert.Equal(t, outcome{exitOK, "2\n", ""}, r)
	r = on("menu/count", "--input", "2", "--stream")
	assert.Equal(t, "{\"message\":\"<é>\"}\n{\"message\":\"<é>\"}\n{\"result\":2}\n", decoded(t, r.out))
	id := regexp.MustCompile(`stream id: (\S+)`).FindStringSubmatch(r.err)
	require.Len(t, id, 2)
	again := on("menu/count", "--stream-id", id[1])
	assert.Equal(t, r.out, again.out)
	assert.Empty(t, again.err)
	full := url + "/v1/tenants/default/flows/menu/count"
	assert.Equal(t, outcome{exitOK, "0\n", ""}, cli(t, "flow", "--url", full, "--header", "Authorization:k", "--input", "0"))

	assert.Equal(t, exitNotFound, on("menu/count", "--stream-id", "x").exit)
	assert.Equal(t, exitNotFound, on("none").exit)
	r = on("menu/count", "--input", "13", "-o", "json")
	assert.Equal(t, exitFailed, r.exit)
	assert.JSONEq(t, `{"error":{"status":"OUT_OF_RANGE","message":"unlucky","exit_code":1}}`, r.err)
	assert.Equal(t, exitFailed, on("menu/count", "--input", "13", "--stream").exit)
	assert.Contains(t, cli(t, "flow", "menu/count", "--server", url).err, "Unauthenticated")
	assert.Equal(t, exitUnreachable, cli(t, "flow", "x", "--server", "http://127.0.0.1:1").exit)
	for _, args := range [][]string{{}, {"x", "--url", full}, {"x", "--header", "oops"}, {"x", "--input", "{"}} {
		assert.Equal(t, exitUsage, on(args...).exit, args)
	}
}

// decoded puts the characters back that a frame escapes.
func decoded(t *testing.T, lines string) string {
	t.Helper()
	return regexp.MustCompile(`"(<[^"]*>)"`).ReplaceAllStringFunc(lines, func(quoted string) string {
		var s string
		require.NoError(t, json.Unmarshal([]byte(quoted), &s))
		return `"` + s + `"`
	})
}

func TestServeKeepsStreamsWhenAsked(t *testing.T) {
	url := startServer(t, "--keep-streams")
	r := cli(t, "flow", "none", "--stream-id", "x", "--server", url)
	assert.Equal(t, exitNotFound, r.exit, r.err)
}
