package wasmtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/internal/peer"
)

// Corpus returns the modules that come with the Extism Go SDK, by file name. It skips the test when the SDK is not in
// the module cache.
func Corpus(tb testing.TB) map[string][]byte {
	tb.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/extism/go-sdk").Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		peer.Missing(tb, "the Extism Go SDK is not in the module cache")
	}
	files, err := filepath.Glob(filepath.Join(dir, "wasm", "*.wasm"))
	if err != nil || len(files) == 0 {
		peer.Missing(tb, "the Extism Go SDK holds no modules")
	}
	modules := make(map[string][]byte, len(files))
	for _, file := range files {
		wasm, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		modules[filepath.Base(file)] = wasm
	}
	return modules
}

// BuildGo builds a reactor for wasip1 from one Go source file. It skips the test when there is no go command.
func BuildGo(tb testing.TB, source string) []byte {
	tb.Helper()
	dir := write(tb, "main.go", source)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module guest\n\ngo 1.24\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", "guest.wasm", ".")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=", "GOWORK=off")
	return build(tb, dir, cmd)
}

// BuildC builds a module that exports every function of one C source file, without a libc. It skips the test when
// clang or its linker is absent.
func BuildC(tb testing.TB, source string, flags ...string) []byte {
	tb.Helper()
	if _, err := exec.LookPath("wasm-ld"); err != nil {
		peer.Missing(tb, "wasm-ld is not installed")
	}
	dir := write(tb, "guest.c", source)
	// Two steps: clang, when it links with -O, runs whatever wasm-opt it finds.
	compile := exec.Command("clang", append([]string{"--target=wasm32", "-O2", "-c", "-o", "guest.o", "guest.c"}, flags...)...)
	link := exec.Command("clang", "--target=wasm32", "-nostdlib", "-Wl,--no-entry", "-Wl,--export-all", "-o", "guest.wasm", "guest.o")
	return build(tb, dir, compile, link)
}

// BuildAssemblyScript builds a module from one AssemblyScript file. It skips the test when there is no compiler in root,
// the folder of this repository: examples/units installs one.
func BuildAssemblyScript(tb testing.TB, root, source string) []byte {
	tb.Helper()
	asc, err := filepath.Abs(filepath.Join(root, "examples/units/node_modules/assemblyscript/bin/asc.js"))
	if err == nil {
		_, err = os.Stat(asc)
	}
	if err != nil {
		peer.Missing(tb, "there is no AssemblyScript compiler; make -C examples/units build installs it")
	}
	dir := write(tb, "guest.ts", source)
	return build(tb, dir, exec.Command("node", asc, "guest.ts", "-O3", "--runtime", "incremental", "--exportStart", "_initialize", "--outFile", "guest.wasm"))
}

// BuildRust builds a library for wasm32-unknown-unknown from one Rust source file. It skips the test when rustc or
// the target is absent.
func BuildRust(tb testing.TB, source string) []byte {
	tb.Helper()
	dir := write(tb, "guest.rs", source)
	rustc := "rustc"
	for candidate := range strings.SplitSeq(os.Getenv("PATH"), string(os.PathListSeparator)) {
		probe := exec.Command(filepath.Join(candidate, "rustc"), "--print", "target-libdir", "--target", "wasm32-unknown-unknown")
		if out, err := probe.Output(); err == nil {
			if _, err := os.Stat(strings.TrimSpace(string(out))); err == nil {
				rustc = probe.Path
				break
			}
		}
	}
	return build(tb, dir, exec.Command(rustc, "--target", "wasm32-unknown-unknown", "--crate-type", "cdylib",
		"-C", "panic=abort", "-C", "opt-level=2", "-o", "guest.wasm", "guest.rs"))
}

func write(tb testing.TB, name, source string) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(source), 0o600); err != nil {
		tb.Fatal(err)
	}
	return dir
}

func build(tb testing.TB, dir string, steps ...*exec.Cmd) []byte {
	tb.Helper()
	for _, cmd := range steps {
		if cmd.Err != nil {
			peer.Missing(tb, "%s is not installed", cmd.Args[0])
		}
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			peer.Missing(tb, "%s cannot build for WebAssembly here: %v\n%s", filepath.Base(cmd.Path), err, out)
		}
	}
	wasm, err := os.ReadFile(filepath.Join(dir, "guest.wasm"))
	if err != nil {
		tb.Fatal(err)
	}
	return wasm
}
