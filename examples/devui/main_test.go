package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/reflection"
)

func TestTheAppRunsAsTheDevUIDoesIt(t *testing.T) {
	root := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, "../calc/calc.wasm", reflection.Config{Port: -1, Root: root, Always: true, OnQuit: cancel})
	}()
	var app struct {
		URL string `json:"reflectionServerUrl"`
	}
	require.Eventually(t, func() bool {
		files, _ := filepath.Glob(filepath.Join(root, ".genkit", "runtimes", "*.json"))
		if len(files) != 1 {
			return false
		}
		raw, err := os.ReadFile(files[0])
		return err == nil && json.Unmarshal(raw, &app) == nil
	}, time.Minute, 10*time.Millisecond)
	post := func(path, body string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, app.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(bytes.TrimSpace(raw))
	}
	assert.Contains(t, post("/api/runAction", `{"key":"/flow/sum","input":{"a":40,"b":2}}`), `"result":"The sum is 42."`)
	assert.Contains(t, post("/api/runAction", `{"key":"/tool/calc/add","input":{"a":40,"b":2}}`), `"sum":42`)
	assert.True(t, strings.HasPrefix(post("/api/runAction?stream=true", `{"key":"/flow/count","input":2}`), "1\n2\n{"))
	assert.Contains(t, post("/api/runAction", `{"key":"/evaluator/devui/exact","input":{"dataset":[{"testCaseId":"a","output":1,"reference":1}]}}`), `"PASS"`)
	resp, err := http.Get(app.URL + "/api/__quitquitquit")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.NoError(t, <-done)
}
