package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

func TestResourceFlagsAreChecked(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--quota", `{"concurency":4}`}, "concurency"},
		{[]string{"--quota", `{"queue":-4}`}, `"queue" is -4`},
		{[]string{"--tenant-quota", `{"queue":4}`}, "want NAME=JSON"},
		{[]string{"--tenant-quota", `acme={"queue":"4"}`}, "tenant-quota acme"},
		{[]string{"--memory", "-1"}, "--memory is -1, want 0 (half of the machine's) or 16MiB to 1024TiB"},
		{[]string{"--usage", filepath.Join(t.TempDir(), "none", "usage")}, "--usage"},
	} {
		got := cli(t, append([]string{"serve", "--addr", "127.0.0.1:0", "--data", t.TempDir()}, c.args...)...)
		assert.Equal(t, exitUsage, got.exit, "%v: %s", c.args, got.err)
		assert.Contains(t, got.err, c.says, "%v", c.args)
	}
}

// A compiling process is this binary; by itself it has nothing to do.
func TestACompilingProcessWantsARequest(t *testing.T) {
	cmd := command(t, "serve")
	cmd.Env = []string{"GENKIT_WASM_COMPILE_CHILD=1"}
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Equal(t, 3, cmd.ProcessState.ExitCode())
	assert.Empty(t, string(out))
}

func TestAServerCompilesApartKeepsVersionsAndWritesTheBill(t *testing.T) {
	t.Parallel()
	data, usage := t.TempDir(), filepath.Join(t.TempDir(), "usage.jsonl")
	p := serve(t, data, "--usage", usage, "--quota", `{"concurrency":2,"queue":1}`, "--limits", endless)
	up := p.do("upload", calcFile)
	require.Equal(t, exitOK, up.exit, up.err)
	code, err := filepath.Glob(filepath.Join(data, "cache", "*.code"))
	require.NoError(t, err)
	assert.Len(t, code, 1)
	key, err := os.Stat(filepath.Join(data, "cache", "key"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), key.Mode().Perm())

	// Other bytes under the same name and version.
	wasm, err := os.ReadFile(calcFile)
	require.NoError(t, err)
	changed := filepath.Join(t.TempDir(), "calc.wasm")
	require.NoError(t, os.WriteFile(changed, append(wasm, 0, 3, 1, 'x', 1), 0o600))
	conflict := p.do("upload", changed)
	assert.NotEqual(t, exitOK, conflict.exit)
	assert.Contains(t, conflict.err, "raise the version")

	// Two calls run, one waits, and a fourth is told to come back.
	first := p.spin(4 * time.Second)
	answers := make(chan *http.Response, 3)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			resp, err := http.Post(p.url+"/v1/tenants/default/tools/conformance/spin", "application/json", strings.NewReader(`{"input":{}}`))
			if assert.NoError(t, err) {
				_ = resp.Body.Close()
				answers <- resp
			}
		})
	}
	refused := <-answers // the others are still running or waiting
	assert.Equal(t, http.StatusTooManyRequests, refused.StatusCode)
	assert.NotEmpty(t, refused.Header.Get("Retry-After"))
	<-first
	wg.Wait()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Equal(t, exitOK, p.wait(30*time.Second), "%v", &p.log)

	f, err := os.Open(usage)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	lines := 0
	for scan := bufio.NewScanner(f); scan.Scan(); lines++ {
		var e tenant.Event
		require.NoError(t, json.Unmarshal(scan.Bytes(), &e))
		assert.Equal(t, "default conformance/spin", fmt.Sprint(e.Tenant, " ", e.Tool))
		assert.Equal(t, "DEADLINE_EXCEEDED", e.Code.String())
		assert.Positive(t, e.Fuel)
	}
	assert.Equal(t, 3, lines, "a call that was refused is not on the bill")
}
