package guestbuild

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Toolchain is what builds a language, as far as it is here.
type Toolchain struct {
	Language Language `json:"language"`
	Version  string   `json:"version,omitempty"` // what it says of itself, on one line
	Paths    []string `json:"paths,omitempty"`
	Missing  string   `json:"missing,omitempty"` // empty when it can build
	Fix      string   `json:"fix,omitempty"`
}

// Toolchains looks for all of them. It runs each one that it finds, to ask for its version.
func Toolchains(ctx context.Context) []Toolchain {
	goTool, goErr := findGo(ctx)
	rustc, rustErr := findRustc(ctx)
	clang, ld, cErr := findClang(ctx)
	c := found(ctx, C, cErr, []string{"--version"}, clang, ld)
	cpp := c
	cpp.Language = CPP
	return []Toolchain{
		found(ctx, Go, goErr, []string{"version"}, goTool),
		found(ctx, Rust, rustErr, []string{"--version"}, rustc),
		c, cpp,
	}
}

func found(ctx context.Context, language Language, err error, version []string, paths ...string) Toolchain {
	t := Toolchain{Language: language}
	if err != nil {
		t.Missing = err.Error()
		if missing, ok := err.(*MissingError); ok { //nolint:errorlint // the functions above return it as it is
			t.Fix = missing.Fix
		}
		return t
	}
	t.Paths = paths
	if out, err := ask(ctx, paths[0], version...); err == nil {
		t.Version, _, _ = strings.Cut(out, "\n")
	}
	return t
}

// askTime bounds a question to a compiler, and maxSaid its answer in bytes.
const (
	askTime = 20 * time.Second
	maxSaid = 64 << 10
)

// ask runs a program for a short answer.
func ask(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	return string(bytes.TrimSpace(out[:min(len(out), maxSaid)])), err
}

// candidates lists where programs may be: a variable of the environment that names one, then those of these
// names in each directory of PATH, in its order.
func candidates(variable string, fits func(name string) bool) (paths []string) {
	if named := os.Getenv(variable); variable != "" && named != "" {
		if path, err := exec.LookPath(named); err == nil {
			return []string{path}
		}
		return nil
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if !filepath.IsAbs(dir) {
			continue // as exec.LookPath: nothing of the directory that somebody happens to be in
		}
		names, err := files(dir)
		if err != nil {
			continue
		}
		var here []string
		for _, name := range names {
			if fits(strings.TrimSuffix(name, ".exe")) {
				here = append(here, name)
			}
		}
		// The plain name first, then the highest version.
		slices.SortFunc(here, func(a, b string) int {
			return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(b, a))
		})
		for _, name := range here {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

func named(names ...string) func(string) bool {
	return func(name string) bool { return slices.Contains(names, name) }
}

var goVersion = regexp.MustCompile(`^go1\.(\d+)`)

// findGo finds a Go that knows go:wasmexport and reactors.
func findGo(ctx context.Context) (string, error) {
	const fix = "install Go 1.24 or later: https://go.dev/dl"
	program, err := exec.LookPath("go")
	if err != nil {
		return "", &MissingError{"Go is not installed", fix}
	}
	said, err := ask(ctx, program, "env", "GOVERSION")
	if err != nil {
		return "", &MissingError{fmt.Sprintf("%s does not run: %v", program, err), fix}
	}
	if m := goVersion.FindStringSubmatch(said); m != nil {
		if minor, err := strconv.Atoi(m[1]); err == nil && minor < 24 {
			return "", &MissingError{said + " is too old", fix}
		}
	}
	return program, nil
}

const rustTarget = "wasm32-unknown-unknown"

// findRustc finds a rustc that has the standard library of the target. Several are common: one of rustup and
// one of the system.
func findRustc(ctx context.Context) (string, error) {
	fix := "rustup target add " + rustTarget
	if runtime.GOOS == "linux" {
		fix += "; on Debian and Ubuntu instead: sudo apt-get install rustc libstd-rust-dev-wasm32 lld"
	}
	all := candidates("RUSTC", named("rustc"))
	for _, program := range all {
		dir, err := ask(ctx, program, "--print", "target-libdir", "--target", rustTarget)
		if err != nil {
			continue
		}
		if std, _ := filepath.Glob(filepath.Join(dir, "libstd-*.rlib")); len(std) > 0 {
			return program, nil
		}
	}
	if len(all) == 0 {
		return "", &MissingError{"rustc is not installed", "https://rustup.rs, then " + fix}
	}
	return "", &MissingError{"rustc has no standard library for " + rustTarget + " (" + strings.Join(all, ", ") + ")", fix}
}

var versioned = regexp.MustCompile(`^(clang|wasm-ld)(-\d+)?$`)

// findClang finds a clang that can make code for wasm32, and the linker of the same version where there are several.
func findClang(ctx context.Context) (clang, ld string, err error) {
	fix := "install clang and lld (LLVM), version 14 or later"
	switch runtime.GOOS {
	case "linux":
		fix += "; on Debian and Ubuntu: sudo apt-get install clang lld"
	case "darwin":
		fix += ": brew install llvm lld, and put it on PATH before Apple's clang, which has no wasm32"
	}
	all := candidates("CLANG", func(name string) bool { return versioned.MatchString(name) && strings.HasPrefix(name, "clang") })
	for _, program := range all {
		targets, err := ask(ctx, program, "--print-targets")
		if err == nil && strings.Contains(targets, "wasm32") {
			clang = program
			break
		}
	}
	switch {
	case len(all) == 0:
		return "", "", &MissingError{"clang is not installed", fix}
	case clang == "":
		return "", "", &MissingError{"clang can't make wasm32 (" + strings.Join(all, ", ") + ")", fix}
	}
	linkers := candidates("WASM_LD", func(name string) bool { return versioned.MatchString(name) && strings.HasPrefix(name, "wasm-ld") })
	if len(linkers) == 0 {
		return "", "", &MissingError{"wasm-ld is not installed", fix}
	}
	suffix := strings.TrimPrefix(filepath.Base(clang), "clang")
	for _, linker := range linkers {
		if filepath.Dir(linker) == filepath.Dir(clang) && filepath.Base(linker) == "wasm-ld"+suffix {
			return clang, linker, nil
		}
	}
	return clang, linkers[0], nil
}
