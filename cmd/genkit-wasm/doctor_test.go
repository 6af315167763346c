package main

import (
	"encoding/json"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/jsengine/jsenginetest"
)

// doctor returns the findings by name.
func doctor(t *testing.T, args ...string) map[string]finding {
	t.Helper()
	got := cli(t, append([]string{"doctor", "-o", "json"}, args...)...)
	require.Equal(t, exitOK, got.exit, got.err)
	var told struct{ Findings []finding }
	require.NoError(t, json.Unmarshal([]byte(got.out), &told))
	all := map[string]finding{}
	for _, f := range told.Findings {
		assert.NotContains(t, all, f.Name)
		assert.NotEmpty(t, f.Found, f.Name)
		assert.Equal(t, f.OK, f.Fix == "", "%s: a miss, and only a miss, comes with its fix", f.Name)
		all[f.Name] = f
	}
	return all
}

func TestDoctorSaysHowToGetWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, name := range []string{"RUSTC", "CLANG", "WASM_LD"} {
		t.Setenv(name, "")
	}
	const nobody = "http://user:word@127.0.0.1:1"
	all := doctor(t, "--server", nobody)
	for _, name := range []string{"build of go", "build of rust", "build of c", "build of c++", "worker processes", "server"} {
		assert.False(t, all[name].OK, name)
		require.Contains(t, all, name)
	}
	assert.Contains(t, all["build of rust"].Fix, "rustup target add wasm32-unknown-unknown")
	assert.Contains(t, all["server"].Fix, "genkit-wasm serve")
	assert.NotContains(t, all["server"].Found, "word", "no password is shown")
	assert.Equal(t, builtinEngine != nil, all["engine of scripts"].OK)

	shown := cli(t, "doctor", "--server", nobody)
	assert.Regexp(t, `(?m)^lacks build of go +Go is not installed\n +install Go 1\.24 or later`, shown.out)
}

func TestDoctorFindsWhatIsHere(t *testing.T) {
	url := startServer(t)
	all := doctor(t, "--server", url, "--engine", "javascript="+write(t, "qjs.wasm", string(jsenginetest.File(t))))
	assert.True(t, all["server"].OK, all["server"].Found)
	assert.True(t, all["engine of scripts"].OK)
	assert.True(t, all["build of go"].OK, "the tests were built by one")
	assert.Contains(t, all["build of go"].Found, "go version go1.")
	assert.Contains(t, doctor(t, "--server", url, "--tenant", "nobody")["server"].Found, "nobody", "a server that has no such tenant")
	bad := doctor(t, "--server", url, "--engine", "javascript="+calcFile)
	assert.False(t, bad["engine of scripts"].OK)
	if runtime.GOOS == "linux" {
		assert.Contains(t, all, "Landlock")
		assert.Contains(t, all, "seccomp")
	}
}

func TestTheProgramKnowsWhetherItsWorkersWork(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	got := p.do("doctor")
	assert.Equal(t, exitOK, got.exit, got.err)
	assert.Regexp(t, `(?m)^(ok   |lacks) worker processes +`, got.out)
	assert.Regexp(t, `(?m)^ok    server +http://127\.0\.0\.1:\d+ answers for the tenant default$`, got.out)
}
