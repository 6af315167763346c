package repo_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/genkit-wasm/genkit-wasm/internal/peer"
)

// block is a fenced block of shell lines, with what its output has to contain.
type block struct {
	line     int
	script   string
	contains []string
}

// tour returns the README's blocks of the language sh after the heading of the tour.
// A block that can't run here says so after its language: "sh skip: reason".
func tour(t *testing.T) []block {
	t.Helper()
	f, err := os.Open("README.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var blocks []block
	inTour, inBlock := false, false
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		n++
		line := s.Text()
		switch {
		case strings.HasPrefix(line, "## "):
			inTour = strings.HasPrefix(line, "## A tour")
		case !inTour:
		case line == "```sh":
			inBlock = true
			blocks = append(blocks, block{line: n})
		case strings.HasPrefix(line, "```"):
			inBlock = false
		case inBlock:
			b := &blocks[len(blocks)-1]
			if want, ok := strings.CutPrefix(line, "# contains: "); ok {
				b.contains = append(b.contains, want)
			} else {
				b.script += line + "\n"
			}
		}
	}
	return blocks
}

// TestTheTourWorksAsPasted follows the README: make's run target's parts, then
// every line of the tour against that server.
func TestTheTourWorksAsPasted(t *testing.T) {
	for _, tool := range []string{"make", "curl", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			peer.Missing(t, "%s is not installed", tool)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "make", "build", "tools").CombinedOutput(); err != nil {
		t.Fatalf("make build tools: %v\n%s", err, out)
	}
	addr := freeAddr(t)
	server := exec.CommandContext(t.Context(), "bin/genkit-wasm", "serve", "--addr", addr, "--data", t.TempDir(), "--load", "build/tools")
	server.Env = append(os.Environ(), "OPENAI_API_KEY=", "OPENAI_BASE_URL=")
	var log strings.Builder
	server.Stderr, server.Stdout = &log, &log
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		if err := server.Wait(); err != nil {
			t.Errorf("the server did not end in peace: %v\n%s", err, log.String())
		}
	}()
	ready(t, "http://"+addr+"/readyz", &log)

	blocks := tour(t)
	if len(blocks) < 8 {
		t.Fatalf("found only %d blocks in the README's tour", len(blocks))
	}
	for _, b := range blocks {
		script := strings.ReplaceAll(b.script, "localhost:3400", addr)
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
		cmd.Env = append(os.Environ(), "GENKIT_WASM_SERVER=http://"+addr)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("README.md:%d: %v\n%s\n%s", b.line, err, b.script, out)
		}
		for _, want := range b.contains {
			if !strings.Contains(string(out), want) {
				t.Errorf("README.md:%d: the output lacks %q:\n%s", b.line, want, out)
			}
		}
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// ready waits until the server answers that it is.
func ready(t *testing.T, url string, log fmt.Stringer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				http.DefaultClient.CloseIdleConnections()
				return
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the server is not ready: %v\n%s", ctx.Err(), log)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// TestTheLinesForEmbeddersWork runs the README's Go lines as the body of a test of
// examples/embed, with a scripted model in the place of the one that needs a key.
func TestTheLinesForEmbeddersWork(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "## Embed it\n\n```go\n")
	lines, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("README.md has no lines for embedders")
	}
	lines = strings.ReplaceAll(lines, "openai/gpt-5-mini", "test/scripted")
	var body strings.Builder
	for line := range strings.Lines(lines) {
		body.WriteString("\t" + line)
		if strings.Contains(line, "err ") {
			body.WriteString("\tif err != nil {\n\t\tt.Fatal(err)\n\t}\n")
		}
	}
	source := `package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/builtin"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

func TestLinesOfTheReadme(t *testing.T) {
	wasm, err := os.ReadFile(filepath.FromSlash("../calc/calc.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	ctx := t.Context()
` + body.String() + `
	t.Log(rec.Name, text)
	_, _, _ = host.Close(ctx), store.Close(), eng.Close(ctx)
}
`
	dir := t.TempDir()
	file := filepath.Join(dir, "readme_lines_test.go")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "examples/embed/readme_lines_test.go"): file}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-overlay", filepath.Join(dir, "overlay.json"),
		"-run", "TestLinesOfTheReadme", "-v", "./examples/embed").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestLinesOfTheReadme") {
		t.Fatalf("%v\n%s\n%s", err, out, source)
	}
}

// TestTheReadmeNamesOnlyTargetsThatExist keeps README and Makefile together.
func TestTheReadmeNamesOnlyTargetsThatExist(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)").FindAllStringSubmatch(string(readme), -1) {
		if !strings.Contains("\n"+string(makefile), "\n"+m[1]+":") {
			t.Errorf("README.md names make %s, which the Makefile lacks", m[1])
		}
	}
}
