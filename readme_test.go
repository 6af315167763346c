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
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/genkit-wasm/genkit-wasm/internal/peer"
)

// block is a fenced block of shell lines, with what its output has to contain and how it ends.
// The word after its language says how it is run: "server" runs until the end, and the blocks
// after it begin when it listens; "asks: …" reads the token that the server has printed.
type block struct {
	line     int
	how      string
	script   string
	contains []string
	exit     string
}

// tour returns the README's blocks of the language sh after a heading.
// A block that can't run here says so after its language: "sh skip: reason".
func tour(t *testing.T, heading string) []block {
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
		info, isShell := strings.CutPrefix(line, "```sh")
		switch {
		case strings.HasPrefix(line, "## "):
			inTour = line == "## "+heading
		case !inTour:
		case !inBlock && isShell && !strings.HasPrefix(info, " skip: "):
			inBlock = true
			blocks = append(blocks, block{line: n, how: strings.TrimSpace(info), exit: "0"})
		case strings.HasPrefix(line, "```"):
			inBlock = false
		case inBlock:
			b := &blocks[len(blocks)-1]
			if want, ok := strings.CutPrefix(line, "# contains: "); ok {
				b.contains = append(b.contains, want)
			} else if want, ok := strings.CutPrefix(line, "# exit code: "); ok {
				b.exit = want
			} else {
				b.script += line + "\n"
			}
		}
	}
	return blocks
}

// shell is where blocks are run.
type shell struct {
	dir, stdin string
	env        []string
	// port is that of the README, and at the one of the server here.
	port, at string
}

// command makes a block a command of bash.
func (s *shell) command(t *testing.T, b block, before string) *exec.Cmd {
	t.Helper()
	script := before + strings.ReplaceAll(b.script, s.port, s.at)
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.env...)
	return cmd
}

// run runs a block and holds it to what it says of itself.
func (s *shell) run(t *testing.T, b block) {
	t.Helper()
	cmd := s.command(t, b, "")
	if strings.HasPrefix(b.how, "asks:") {
		cmd.Stdin = strings.NewReader(s.stdin + "\n")
	}
	out, _ := cmd.CombinedOutput()
	if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != b.exit {
		t.Errorf("README.md:%d: exit code %s, want %s\n%s\n%s", b.line, got, b.exit, b.script, out)
	}
	for _, want := range b.contains {
		if want = strings.ReplaceAll(want, s.port, s.at); !strings.Contains(string(out), want) {
			t.Errorf("README.md:%d: the output lacks %q:\n%s", b.line, want, out)
		}
	}
}

// built runs make's run target's parts, once.
func built(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"make", "curl", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			peer.Missing(t, "%s is not installed", tool)
		}
	}
	if err := buildOnce(); err != nil {
		t.Fatal(err)
	}
}

var buildOnce = sync.OnceValue(func() error {
	if out, err := exec.Command("make", "build", "tools").CombinedOutput(); err != nil {
		return fmt.Errorf("make build tools: %w\n%s", err, out)
	}
	return nil
})

// end stops a server and sees that it ends in peace.
func end(t *testing.T, server *exec.Cmd, log fmt.Stringer) {
	t.Helper()
	_ = server.Process.Signal(syscall.SIGTERM)
	if err := server.Wait(); err != nil {
		t.Errorf("the server did not end in peace: %v\n%s", err, log)
	}
}

// TestTheTourWorksAsPasted follows the README: make's run target's parts, then
// every line of the tour against that server.
func TestTheTourWorksAsPasted(t *testing.T) {
	built(t)
	addr := freeAddr(t)
	server := exec.CommandContext(t.Context(), "bin/genkit-wasm", "serve", "--addr", addr, "--data", t.TempDir(), "--load", "build/tools")
	server.Env = append(os.Environ(), "OPENAI_API_KEY=", "OPENAI_BASE_URL=")
	var log strings.Builder
	server.Stderr, server.Stdout = &log, &log
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer end(t, server, &log)
	ready(t, "http://"+addr+"/readyz", &log)

	blocks := tour(t, "A tour of five minutes")
	if len(blocks) < 8 {
		t.Fatalf("found only %d blocks in the README's tour", len(blocks))
	}
	s := &shell{env: []string{"GENKIT_WASM_SERVER=http://" + addr}, port: "localhost:3400", at: addr}
	for _, b := range blocks {
		s.run(t, b)
	}
}

// TestAServerOnANetworkAsPasted follows the second part, in a directory that has what its lines
// name: the server is the README's own line as well.
func TestAServerOnANetworkAsPasted(t *testing.T) {
	built(t)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	s := &shell{dir: t.TempDir(), port: ":3443"}
	for _, name := range []string{"bin", "examples"} {
		if err := os.Symlink(filepath.Join(here, name), filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	_, port, _ := strings.Cut(freeAddr(t), ":")
	s.at = ":" + port
	home := t.TempDir() // of profiles, on every system
	s.env = []string{
		"XDG_CONFIG_HOME=" + home, "HOME=" + home, "GENKIT_WASM_SERVER=", "GENKIT_WASM_KEY=", "GENKIT_WASM_PROFILE=", "GENKIT_WASM_CA=",
		"GOCACHE=" + goEnv(t, "GOCACHE"), "GOPATH=" + goEnv(t, "GOPATH"), // which have their place below HOME
	}
	blocks := tour(t, "Put it on a network")
	if len(blocks) < 8 {
		t.Fatalf("found only %d blocks after the README's tour", len(blocks))
	}
	for _, b := range blocks {
		if b.how != "server" {
			s.run(t, b)
			continue
		}
		server := s.command(t, b, "exec ")
		var log strings.Builder
		server.Stderr = &log
		out, err := server.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		defer end(t, server, &log)
		printed := ""
		for lines := bufio.NewScanner(out); !strings.HasPrefix(printed, "listening on ") && lines.Scan(); {
			printed = lines.Text()
			if _, token, ok := strings.Cut(printed, b.contains[0][:len(b.contains[0])-len("gwk_")]); ok {
				s.stdin = token
			}
		}
		if !strings.HasPrefix(s.stdin, "gwk_") {
			t.Fatalf("README.md:%d: the server prints no key, but %q", b.line, printed)
		}
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
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
