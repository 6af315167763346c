package hosttest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// pluginVector is a conversation with the module "plugin"; pdk/vectors/README.md explains the fields.
type pluginVector struct {
	Name    string      `json:"name"`
	Says    string      `json:"says"`
	Clauses []string    `json:"clauses"`
	Runs    []pluginRun `json:"runs"`
}

type pluginRun struct {
	Key    string          `json:"key"`
	Input  json.RawMessage `json:"input"`
	Expect struct {
		moduleExpect
		Parsed       json.RawMessage `json:"parsed"`       // of the answer, by its format
		ParsedChunks json.RawMessage `json:"parsedChunks"` // of each chunk, null for none
	} `json:"expect"`
}

// runPluginVectors holds a build of the module "plugin" to the vectors of its folder, each on a module of its own.
func runPluginVectors(t *testing.T, upload wasmhost.Upload, configure ...func(*wasmhost.Config)) {
	t.Helper()
	files, err := filepath.Glob(pdk + "/vectors/plugin/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	reg := registry.New(nil)
	config := wasmhost.Config{Registry: func(string) (*registry.Registry, error) { return reg, nil }}
	for _, f := range configure {
		f(&config)
	}
	host, err := wasmhost.New(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close(context.Background())) })
	require.NoError(t, reg.Register(generate.Action(reg)))
	require.NoError(t, reg.AddProvider(host.Provider(wasmhost.DefaultTenant)))
	upload.Policy = []byte(`{"grants":{"kv":true}}`)
	_, err = host.Load(t.Context(), wasmhost.DefaultTenant, upload)
	require.NoError(t, err)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		var v pluginVector
		require.NoError(t, dec.Decode(&v), file)
		require.Equal(t, strings.TrimSuffix(filepath.Base(file), ".json"), v.Name)
		t.Run(v.Name, func(t *testing.T) {
			for _, r := range v.Runs {
				r.run(t, reg)
			}
		})
	}
}

func (r *pluginRun) run(t *testing.T, reg *registry.Registry) {
	t.Helper()
	if r.Expect.Parsed == nil && r.Expect.ParsedChunks == nil {
		plain := moduleRun{Key: r.Key, Input: r.Input, Expect: r.Expect.moduleExpect}
		plain.run(t, reg)
		return
	}
	var opts model.GenerateOptions
	require.NoError(t, json.Unmarshal(r.Input, &opts))
	f, err := format.Lookup(reg, opts.Output.Format)
	require.NoError(t, err)
	handler, err := f.New(t.Context(), nil)
	require.NoError(t, err)
	stream := format.NewStream(handler)
	var chunks []json.RawMessage
	resp, err := generate.Run(t.Context(), reg, &opts, func(c *model.Chunk) error {
		parsed, err := stream.Next(t.Context(), c)
		chunks = append(chunks, parsed)
		return err
	})
	require.NoError(t, err)
	if r.Expect.Parsed != nil {
		assert.JSONEq(t, string(r.Expect.Parsed), string(resp.Parsed))
	}
	if r.Expect.ParsedChunks != nil {
		got, err := json.Marshal(chunks)
		require.NoError(t, err)
		assert.JSONEq(t, string(r.Expect.ParsedChunks), string(got))
	}
}
