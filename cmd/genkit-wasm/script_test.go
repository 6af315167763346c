package main

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/jsengine/jsenginetest"
)

const greetFile = "../../examples/greet/greet.ts"

// TestAScriptFromUploadToAnAgent has no program to call: no node, npm, clang or Go.
func TestAScriptFromUploadToAnAgent(t *testing.T) {
	engine := "javascript=" + write(t, "qjs.wasm", string(jsenginetest.File(t)))
	binary(t)
	t.Setenv("PATH", "")
	data := filepath.Join(t.TempDir(), "data")
	p := serve(t, data, "--engine", engine)

	up := p.do("upload", greetFile)
	require.Equal(t, exitOK, up.exit, up.err)
	assert.Contains(t, up.out, "  greet/greet\n")
	turns := `{"script":[
		{"message":{"role":"model","content":[{"toolRequest":{"name":"greet","ref":"1","input":{"name":"Ada"}}}]}},
		{"message":{"role":"model","content":[{"text":"done"}]}}]}`
	generated := p.do("generate", "greet Ada", "--model", "test/scripted", "--tool", "greet", "--config", turns, "-o", "json")
	require.Equal(t, exitOK, generated.exit, generated.err)
	assert.Contains(t, generated.out, `"greeting": "Hello, Ada!"`)
	assert.Contains(t, generated.out, `"text": "done"`)

	wrong := p.do("call", "greet/greet", "--input", `{"name":"nobody"}`)
	assert.Equal(t, exitFailed, wrong.exit)
	assert.Contains(t, wrong.err, "RangeError: there is nobody to greet (greet.ts:11:17)")
	bad := p.do("upload", write(t, "bad.ts", "let a: = 1;"))
	assert.Equal(t, exitRefused, bad.exit)
	assert.Contains(t, bad.err, `bad.ts:1:8: Unexpected "="`)

	assert.Equal(t, "{\"greeting\":\"Hello, Bo!\"}\n", p.do("run", greetFile, "--engine", engine, "--input", `{"name":"Bo"}`).out)
	inspected := p.do("inspect", greetFile, "--engine", engine, "-o", "json")
	require.Equal(t, exitOK, inspected.exit, inspected.err)
	var found findings
	require.NoError(t, json.Unmarshal([]byte(inspected.out), &found))
	assert.Equal(t, "typescript", found.Language)
	require.Len(t, found.Descriptor.Tools, 1)
	assert.Equal(t, "greet", found.Descriptor.Tools[0].Name)
	assert.Equal(t, exitUsage, p.do("inspect", greetFile, "--engine", "javascript="+greetFile).exit, "that is no engine")
}

func TestAProgramWithoutAnEngineSaysHowToGetIt(t *testing.T) {
	if builtinEngine != nil {
		t.Skip("it has one")
	}
	p := serve(t, filepath.Join(t.TempDir(), "data"))
	up := p.do("upload", greetFile)
	assert.NotEqual(t, exitOK, up.exit)
	assert.Contains(t, up.err, "--engine javascript=FILE")
}
