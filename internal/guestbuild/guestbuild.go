// Package guestbuild makes a module of a directory of sources: it finds out which language they are in, finds
// the toolchain, and runs it.
//
// It owns the flags of compilers; it reads nothing of what they make. Use:
//
//	project, err := guestbuild.Find(dir)
//	err = project.Build(ctx, out, os.Stderr) // *MissingError where a toolchain is not there
//
// The same sources and the same toolchain give the same bytes. Everything here is safe for concurrent use.
package guestbuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Language is one that a directory can be in.
type Language string

// The languages that are built, and those that need no build.
const (
	Go         Language = "go"
	Rust       Language = "rust"
	C          Language = "c"
	CPP        Language = "c++"
	TypeScript Language = "typescript"
	JavaScript Language = "javascript"
)

// Script reports that a language's files are uploaded as they are.
func (l Language) Script() bool { return l == TypeScript || l == JavaScript }

// Project is a directory of sources.
type Project struct {
	Dir      string
	Language Language
	// Sources are the files that the compiler is given, below Dir: of Rust the root of the crate, of C and C++
	// all files, of a script that one. Of Go none.
	Sources []string
}

// MissingError says that a toolchain is not there, or is not fit.
type MissingError struct {
	What string // what is missing
	Fix  string // the command or the place that mends it
}

func (e *MissingError) Error() string { return e.What }

var (
	// ErrNoSources says that a directory has no sources of a language that is known.
	ErrNoSources = errors.New("no sources: want go.mod, src/lib.rs or another *.rs, *.c, *.cpp, or one *.ts or *.js")
	// ErrAmbiguous says that a directory's files don't say what is to be built.
	ErrAmbiguous = errors.New("what is to be built is not clear")
)

// maxEntries bounds the files of a directory that are looked at.
const maxEntries = 10_000

// Find reads what kind of project a directory is. It fails with [ErrNoSources] or [ErrAmbiguous], or because
// the directory can't be read.
func Find(dir string) (*Project, error) {
	names, err := files(dir)
	if err != nil {
		return nil, err
	}
	if slices.Contains(names, "go.mod") {
		return &Project{Dir: dir, Language: Go}, nil
	}
	if p, err := findRust(dir, names); p != nil || err != nil {
		return p, err
	}
	c, cpp := withSuffix(names, ".c"), withSuffix(names, ".cpp", ".cc", ".cxx")
	scripts := slices.DeleteFunc(withSuffix(names, ".ts", ".mts", ".js", ".mjs"), notATool)
	switch {
	case len(cpp) > 0:
		return &Project{dir, CPP, append(cpp, c...)}, nil
	case len(c) > 0:
		return &Project{dir, C, c}, nil
	case len(scripts) > 1:
		return nil, fmt.Errorf("%w: a script is one file, and here are %s; name one", ErrAmbiguous, strings.Join(scripts, ", "))
	case len(scripts) == 1:
		return &Project{dir, languageOfScript(scripts[0]), scripts}, nil
	}
	return nil, ErrNoSources
}

func languageOfScript(name string) Language {
	if ext := filepath.Ext(name); ext == ".ts" || ext == ".mts" {
		return TypeScript
	}
	return JavaScript
}

// notATool reports that a file of a script's directory declares types, configures a program or holds tests.
func notATool(name string) bool {
	base := strings.TrimSuffix(name, filepath.Ext(name))
	return slices.Contains([]string{".d", ".config", ".test", ".spec"}, filepath.Ext(base))
}

// files lists the regular files of a directory, sorted; a compiler would read a name that begins with a dash as
// a flag, so those are left out.
func files(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	entries, err := f.ReadDir(maxEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), "-") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func withSuffix(names []string, suffixes ...string) (found []string) {
	for _, name := range names {
		if slices.Contains(suffixes, filepath.Ext(name)) {
			found = append(found, name)
		}
	}
	return found
}

// dependencies finds the tables and keys of a Cargo.toml by which other code comes in.
var dependencies = regexp.MustCompile(`(?m)^\s*\[?\s*(target\s*\.\s*.*\.\s*)?(build-)?dependencies\b|^\s*\[?\s*workspace\b`)

// findRust finds the root of a crate; nil when there is none. Code that only Cargo can put together is refused.
func findRust(dir string, names []string) (*Project, error) {
	manifest, err := os.ReadFile(filepath.Join(dir, "Cargo.toml"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if dependencies.Match(manifest) || manifest != nil && slices.Contains(names, "build.rs") {
		return nil, &MissingError{
			What: "the crate has dependencies or a build script, which only Cargo can build",
			Fix:  `run "cargo build --release --target wasm32-unknown-unknown", then "genkit-wasm test target/wasm32-unknown-unknown/release/NAME.wasm"`,
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "src", "lib.rs")); err == nil {
		return &Project{dir, Rust, []string{"src/lib.rs"}}, nil
	}
	roots := slices.DeleteFunc(withSuffix(names, ".rs"), func(name string) bool {
		return slices.Contains([]string{"genkit.rs", "json.rs", "actions.rs"}, name)
	})
	switch {
	case slices.Contains(roots, "lib.rs"):
		return &Project{dir, Rust, []string{"lib.rs"}}, nil
	case len(roots) == 1:
		return &Project{dir, Rust, roots}, nil
	case len(roots) > 1:
		return nil, fmt.Errorf("%w: the root of the crate is src/lib.rs or lib.rs, and here are %s", ErrAmbiguous, strings.Join(roots, ", "))
	case manifest != nil:
		return nil, fmt.Errorf("%w: Cargo.toml is here and src/lib.rs is not; a tool is a library", ErrAmbiguous)
	}
	return nil, nil
}

// Build makes the module out of the sources, under the absolute path out. What compilers say goes to log. It
// fails with a [*MissingError] where the toolchain is not there, and with [ErrFailed] when it refuses the sources.
// A script is never built.
func (p *Project) Build(ctx context.Context, out string, log io.Writer) error {
	switch p.Language {
	case Go:
		return p.buildGo(ctx, out, log)
	case Rust:
		return p.buildRust(ctx, out, log)
	case C, CPP:
		return p.buildC(ctx, out, log)
	}
	return fmt.Errorf("%s is not built", p.Language)
}

// ErrFailed says that a compiler ended with an error, which it has written to the log.
var ErrFailed = errors.New("the build failed")

// run runs a compiler in the project's directory.
func (p *Project) run(ctx context.Context, log io.Writer, env []string, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.Dir, log, log
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = time.Second // for what it has started, which may keep the log open
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", filepath.Base(program), context.Cause(ctx))
	}
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return fmt.Errorf("%w: %s: %w", ErrFailed, filepath.Base(program), err)
	}
	return err
}

func (p *Project) buildGo(ctx context.Context, out string, log io.Writer) error {
	program, err := findGo(ctx)
	if err != nil {
		return err
	}
	return p.run(ctx, log, []string{"CGO_ENABLED=0", "GOOS=wasip1", "GOARCH=wasm"}, program,
		"build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, ".")
}

var edition = regexp.MustCompile(`(?m)^\s*edition\s*=\s*"(20\d\d)"`)

func (p *Project) buildRust(ctx context.Context, out string, log io.Writer) error {
	program, err := findRustc(ctx)
	if err != nil {
		return err
	}
	year := "2021"
	if manifest, err := os.ReadFile(filepath.Join(p.Dir, "Cargo.toml")); err == nil {
		if m := edition.FindSubmatch(manifest); m != nil {
			year = string(m[1])
		}
	}
	dir, err := filepath.Abs(p.Dir)
	if err != nil {
		return err
	}
	// The crate's name is part of its symbols: a fixed one keeps the bytes when the directory is renamed.
	return p.run(ctx, log, nil, program, "--edition", year, "--target", rustTarget, "--crate-type", "cdylib", "--crate-name", "tool",
		"-C", "opt-level=s", "-C", "lto", "-C", "codegen-units=1", "-C", "panic=abort", "-C", "strip=symbols",
		"-C", "link-arg=-zstack-size=65536", "-C", "link-arg=--stack-first",
		"--remap-path-prefix", dir+"=.", "-o", out, p.Sources[0])
}

// buildC compiles and links in two steps: clang, when it links with -O, runs any wasm-opt that it finds.
func (p *Project) buildC(ctx context.Context, out string, log io.Writer) error {
	clang, ld, err := findClang(ctx)
	if err != nil {
		return err
	}
	objects, err := os.MkdirTemp("", "genkit-wasm-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(objects) //nolint:errcheck // of the system's temporary files
	var linked []string
	for i, source := range p.Sources {
		object := filepath.Join(objects, fmt.Sprintf("%d.o", i))
		args := []string{"--target=wasm32", "-nostdlib", "-ffreestanding", "-O2", "-Wall", "-Wextra", "-I", "."}
		if filepath.Ext(source) != ".c" {
			args = append(args, "-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics")
		}
		if err := p.run(ctx, log, nil, clang, append(args, "-c", "-o", object, source)...); err != nil {
			return err
		}
		linked = append(linked, object)
	}
	return p.run(ctx, log, nil, ld, append([]string{"--no-entry", "--stack-first", "-z", "stack-size=65536", "-s", "-o", out}, linked...)...)
}
