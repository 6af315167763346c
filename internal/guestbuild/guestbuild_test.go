package guestbuild_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/guestbuild"
)

// tree writes files and returns their directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

func TestFind(t *testing.T) {
	for name, test := range map[string]struct {
		files    map[string]string
		language guestbuild.Language
		sources  []string
	}{
		"Go":                               {map[string]string{"go.mod": "", "a.go": "", "x.ts": ""}, guestbuild.Go, nil},
		"a crate":                          {map[string]string{"Cargo.toml": "[package]\n", "src/lib.rs": "", "x.ts": ""}, guestbuild.Rust, []string{"src/lib.rs"}},
		"Rust in one file, beside the kit": {map[string]string{"tool.rs": "", "genkit.rs": "", "json.rs": "", "actions.rs": ""}, guestbuild.Rust, []string{"tool.rs"}},
		"Rust with lib.rs":                 {map[string]string{"lib.rs": "", "other.rs": ""}, guestbuild.Rust, []string{"lib.rs"}},
		"C":                                {map[string]string{"b.c": "", "a.c": "", "-x.c": "", "genkit.h": ""}, guestbuild.C, []string{"a.c", "b.c"}},
		"C++ with C":                       {map[string]string{"b.c": "", "a.cpp": "", "c.cc": ""}, guestbuild.CPP, []string{"a.cpp", "c.cc", "b.c"}},
		"TypeScript beside what is none":   {map[string]string{"a.ts": "", "a.d.ts": "", "vite.config.js": "", "a.test.ts": ""}, guestbuild.TypeScript, []string{"a.ts"}},
		"JavaScript":                       {map[string]string{"a.mjs": ""}, guestbuild.JavaScript, []string{"a.mjs"}},
	} {
		got, err := guestbuild.Find(tree(t, test.files))
		require.NoError(t, err, name)
		assert.Equal(t, test.language, got.Language, name)
		assert.Equal(t, test.sources, got.Sources, name)
		assert.Equal(t, test.language == guestbuild.TypeScript || test.language == guestbuild.JavaScript, got.Language.Script(), name)
	}
}

func TestFindSaysWhyThereIsNothingToBuild(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  error
	}{
		"nothing":                   {nil, guestbuild.ErrNoSources},
		"headers and texts":         {map[string]string{"genkit.h": "", "README.md": "", ".hidden.c": ""}, guestbuild.ErrNoSources},
		"two scripts":               {map[string]string{"a.ts": "", "b.ts": ""}, guestbuild.ErrAmbiguous},
		"two crates":                {map[string]string{"a.rs": "", "b.rs": ""}, guestbuild.ErrAmbiguous},
		"a crate without a library": {map[string]string{"Cargo.toml": "[package]\n", "src/main.rs": ""}, guestbuild.ErrAmbiguous},
	} {
		_, err := guestbuild.Find(tree(t, test.files))
		require.ErrorIs(t, err, test.want, name)
	}
	_, err := guestbuild.Find(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestCratesThatOnlyCargoBuildsAreToldSo(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"dependencies":                   {"Cargo.toml": "[package]\nname = \"x\"\n\n[dependencies]\nserde = \"1\"\n", "src/lib.rs": ""},
		"a table for one dependency":     {"Cargo.toml": "[dependencies.serde]\nversion = \"1\"\n", "src/lib.rs": ""},
		"a dotted key":                   {"Cargo.toml": "dependencies.serde = \"1\"\n", "src/lib.rs": ""},
		"dependencies of one platform":   {"Cargo.toml": "[target.'cfg(unix)'.dependencies]\nx = \"1\"\n", "src/lib.rs": ""},
		"dependencies of a build script": {"Cargo.toml": "[build-dependencies]\ncc = \"1\"\n", "src/lib.rs": ""},
		"a build script":                 {"Cargo.toml": "[package]\n", "build.rs": "", "src/lib.rs": ""},
		"a workspace":                    {"Cargo.toml": "[workspace]\nmembers = []\n", "src/lib.rs": ""},
	} {
		_, err := guestbuild.Find(tree(t, files))
		missing, ok := errors.AsType[*guestbuild.MissingError](err)
		require.True(t, ok, "%s: %v", name, err)
		assert.Contains(t, missing.Fix, "cargo build --release --target wasm32-unknown-unknown", name)
	}
	_, err := guestbuild.Find(tree(t, map[string]string{"Cargo.toml": "[package]\nname = \"no-dependencies\"\n[dev-dependencies]\nx = \"1\"\n", "src/lib.rs": ""}))
	assert.NoError(t, err)
}

func TestMissingToolchainsSayHowToGetThem(t *testing.T) {
	empty := t.TempDir()
	t.Setenv("PATH", empty)
	for _, name := range []string{"RUSTC", "CLANG", "WASM_LD"} {
		t.Setenv(name, "")
	}
	for _, tool := range guestbuild.Toolchains(t.Context()) {
		assert.Contains(t, tool.Missing, "not installed", tool.Language)
		assert.NotEmpty(t, tool.Fix, tool.Language)
		assert.Empty(t, tool.Paths, tool.Language)
		p := guestbuild.Project{Dir: empty, Language: tool.Language, Sources: []string{"a"}}
		err := p.Build(t.Context(), filepath.Join(empty, "out.wasm"), &bytes.Buffer{})
		missing, ok := errors.AsType[*guestbuild.MissingError](err)
		require.True(t, ok, "%s: %v", tool.Language, err)
		assert.Equal(t, tool.Missing, missing.Error())
	}
}

// programs puts shell scripts on PATH in the place of compilers.
func programs(t *testing.T, scripts map[string]string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("what stands for compilers here is shell scripts, which Windows does not run")
	}
	dir := t.TempDir()
	for name, script := range scripts {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o700))
	}
	t.Setenv("PATH", dir)
	for _, name := range []string{"RUSTC", "CLANG", "WASM_LD"} {
		t.Setenv(name, "")
	}
	return dir
}

func of(t *testing.T, language guestbuild.Language) guestbuild.Toolchain {
	t.Helper()
	for _, tool := range guestbuild.Toolchains(t.Context()) {
		if tool.Language == language {
			return tool
		}
	}
	t.Fatal(language)
	return guestbuild.Toolchain{}
}

func TestUnfitToolchainsAreToldApartFromMissingOnes(t *testing.T) {
	programs(t, map[string]string{
		"go":    "echo go1.23.4\n",
		"rustc": "echo /nowhere\n",
		"clang": "echo '  x86-64 - nothing else'\n",
	})
	assert.Equal(t, "go1.23.4 is too old", of(t, guestbuild.Go).Missing)
	assert.Contains(t, of(t, guestbuild.Rust).Missing, "no standard library for wasm32-unknown-unknown")
	assert.Contains(t, of(t, guestbuild.C).Missing, "can't make wasm32")

	programs(t, map[string]string{"go": "exit 3\n", "clang-15": "echo wasm32\n"})
	assert.Contains(t, of(t, guestbuild.Go).Missing, "does not run")
	assert.Equal(t, "wasm-ld is not installed", of(t, guestbuild.CPP).Missing)
}

// One rustc of several may have the target, and it is that one which counts; so does the linker of clang's own version.
func TestTheFitToolchainOfSeveralIsTaken(t *testing.T) {
	lib := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(lib, "libstd-1.rlib"), nil, 0o600))
	first := programs(t, map[string]string{"rustc": "echo /nowhere\n", "clang-14": "echo none\n"})
	second := programs(t, map[string]string{
		"rustc": "echo " + lib + "\n", "clang-15": "echo wasm32\n", "wasm-ld": "", "wasm-ld-15": "",
	})
	t.Setenv("PATH", first+string(os.PathListSeparator)+second)
	assert.Equal(t, []string{filepath.Join(second, "rustc")}, of(t, guestbuild.Rust).Paths)
	assert.Equal(t, []string{filepath.Join(second, "clang-15"), filepath.Join(second, "wasm-ld-15")}, of(t, guestbuild.C).Paths)

	t.Setenv("RUSTC", filepath.Join(first, "rustc"))
	assert.NotEmpty(t, of(t, guestbuild.Rust).Missing, "the variable is obeyed")
}

func TestABuildThatFailsSaysSoAndItsCompilerWhy(t *testing.T) {
	programs(t, map[string]string{"go": `[ "$1" = env ] && echo go1.26.0 && exit; echo "main.go:1: wrong" >&2; exit 1` + "\n"})
	p := guestbuild.Project{Dir: t.TempDir(), Language: guestbuild.Go}
	var log bytes.Buffer
	require.ErrorIs(t, p.Build(t.Context(), "/dev/null", &log), guestbuild.ErrFailed)
	assert.Equal(t, "main.go:1: wrong\n", log.String())
}

func TestABuildEndsInTime(t *testing.T) {
	dir := programs(t, map[string]string{"go": `[ "$1" = env ] && echo go1.26.0 && exit; echo started; exec cat pipe` + "\n"})
	t.Setenv("PATH", dir+string(os.PathListSeparator)+"/bin"+string(os.PathListSeparator)+"/usr/bin")
	why := errors.New("too long")
	ctx, cancel := context.WithCancelCause(t.Context())
	p := guestbuild.Project{Dir: t.TempDir(), Language: guestbuild.Go}
	// It never ends by itself, and ends when it has said that it runs.
	log := writerFunc(func(b []byte) (int, error) { cancel(why); return len(b), nil })
	mkfifo(t, filepath.Join(p.Dir, "pipe"))
	require.ErrorIs(t, p.Build(ctx, "/dev/null", log), why)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestScriptsAreNotBuilt(t *testing.T) {
	p := guestbuild.Project{Dir: t.TempDir(), Language: guestbuild.TypeScript}
	require.Error(t, p.Build(t.Context(), "x", &bytes.Buffer{}))
}

func TestWithSection(t *testing.T) {
	module := []byte("\x00asm\x01\x00\x00\x00")
	got := guestbuild.WithSection(module, "n", []byte("{}"))
	assert.Equal(t, "\x00asm\x01\x00\x00\x00\x00\x04\x01n{}", string(got))
	long := guestbuild.WithSection(module, "name", bytes.Repeat([]byte("x"), 300))
	assert.Equal(t, []byte{0, 0xb1, 0x02, 4}, long[8:12], "305 bytes")
	assert.Len(t, long, 8+3+305)
}
