package wasi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/wasi"
)

// suiteVariable names the folder that holds the tests of WebAssembly/wasi-testsuite with
// their modules: its branch prod/testsuite-base.
const suiteVariable = "WASI_TESTSUITE"

// Tests that our own WASI may fail, by name, and why. A listed test that passes is an
// error, so that the lists stay true.
var (
	// Over wazero's own file system, which allows everything.
	failsOverWazerosFiles = map[string]string{
		"c/pwrite-with-append":  "wazero's file system refuses to write at an offset of a file that is appended to",
		"rust/symlink_filestat": "the times of a link itself can't be set",
	}
	// Over the file system that guests get.
	failsOverGuestsFiles = map[string]string{
		"rust/fd_filestat_set":               noTimes,
		"rust/fd_readdir":                    "a listing gives no inode numbers: each would cost a call of the system",
		"rust/nofollow_errors":               noLinks,
		"rust/path_exists":                   noLinks,
		"rust/path_filestat":                 noTimes,
		"rust/path_link":                     noLinks,
		"rust/path_symlink_trailing_slashes": noLinks,
		"rust/readlink":                      noLinks,
		"rust/symlink_create":                noLinks,
		"rust/symlink_filestat":              noLinks,
	}
)

const (
	noLinks = "guests make no links and read none"
	noTimes = "guests set no times"
)

// suiteCase is the JSON file beside a module.
type suiteCase struct {
	Args     []string          `json:"args"`
	Env      map[string]string `json:"env"`
	Root     string            `json:"root"`
	ExitCode uint32            `json:"exit_code"`
	Stdout   string            `json:"stdout"`
	Stderr   string            `json:"stderr"`

	// The newer form says the same in steps.
	Operations []struct {
		Type     string            `json:"type"`
		Args     []string          `json:"args"`
		Env      map[string]string `json:"env"`
		Root     string            `json:"root"`
		ID       string            `json:"id"`
		Payload  string            `json:"payload"`
		ExitCode uint32            `json:"exit_code"`
	} `json:"operations"`
}

// The WASI test suite: at least what wazero's own implementation passes.
func TestTheWASITestSuite(t *testing.T) {
	folder := os.Getenv(suiteVariable)
	if folder == "" {
		t.Skipf("%s does not name a checkout of WebAssembly/wasi-testsuite, branch prod/testsuite-base", suiteVariable)
	}
	modules, err := filepath.Glob(filepath.Join(folder, "tests", "*", "testsuite", "wasm32-wasip1", "*.wasm"))
	require.NoError(t, err)
	require.Len(t, modules, 72)
	passed := map[string]int{}
	for _, module := range modules {
		parts := strings.Split(filepath.ToSlash(module), "/")
		name := parts[len(parts)-4] + "/" + strings.TrimSuffix(filepath.Base(module), ".wasm")
		t.Run(name, func(t *testing.T) {
			theirs := runSuiteCase(t, module, wazeros)
			ours := runSuiteCase(t, module, oursOver(wazerosFiles))
			guests := runSuiteCase(t, module, oursOver(guestsFiles))
			for host, err := range map[string]error{"wazero": theirs, "ours": ours, "guests": guests} {
				if err == nil {
					passed[host]++
				} else {
					t.Logf("%s: %v", host, err)
				}
			}
			assert.Equal(t, failsOverWazerosFiles[name] == "", ours == nil, "ours: %v", ours)
			assert.Equal(t, failsOverGuestsFiles[name] == "", guests == nil, "what guests get: %v", guests)
		})
	}
	for _, host := range slices.Sorted(maps.Keys(passed)) {
		t.Logf("%s passes %d of %d", host, passed[host], len(modules))
	}
	assert.GreaterOrEqual(t, passed["ours"], passed["wazero"])
}

// runner links WASI to a runtime and says how a module is instantiated.
type runner func(ctx context.Context, t *testing.T, r wazero.Runtime, c suiteCase, root string, stdout, stderr io.Writer) wazero.ModuleConfig

func runSuiteCase(t *testing.T, module string, run runner) error {
	t.Helper()
	c := readSuiteCase(t, module)
	root := ""
	if c.Root != "" {
		root = t.TempDir()
		require.NoError(t, os.CopyFS(root, os.DirFS(filepath.Join(filepath.Dir(module), c.Root))))
		removeLeftovers(t, root)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCloseOnContextDone(true))
	defer r.Close(ctx)
	var stdout, stderr bytes.Buffer
	config := run(ctx, t, r, c, root, &stdout, &stderr)
	wasm, err := os.ReadFile(module)
	require.NoError(t, err)
	mod, err := r.InstantiateWithConfig(ctx, wasm, config)
	if mod != nil {
		defer mod.Close(ctx)
	}
	code := uint32(0)
	if exit, ok := errors.AsType[*sys.ExitError](err); ok {
		code, err = exit.ExitCode(), nil
	}
	switch {
	case err != nil:
		line, _, _ := strings.Cut(err.Error(), "\n")
		return fmt.Errorf("%s; %s", line, stderr.String())
	case code != c.ExitCode:
		return fmt.Errorf("exit code %d, want %d; %s", code, c.ExitCode, stderr.String())
	case c.Stdout != "" && stdout.String() != c.Stdout:
		return fmt.Errorf("stdout %q, want %q", stdout.String(), c.Stdout)
	}
	return nil
}

func readSuiteCase(t *testing.T, module string) (c suiteCase) {
	t.Helper()
	raw, err := os.ReadFile(strings.TrimSuffix(module, ".wasm") + ".json")
	if os.IsNotExist(err) {
		return c
	}
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &c))
	for _, op := range c.Operations {
		switch op.Type {
		case "run":
			c.Args, c.Env, c.Root = op.Args, op.Env, op.Root
		case "wait":
			c.ExitCode = op.ExitCode
		case "read":
			if op.ID != "stderr" {
				c.Stdout = op.Payload
			}
		}
	}
	return c
}

// removeLeftovers removes files of failed tests, as the suite's own runner does.
func removeLeftovers(t *testing.T, root string) {
	t.Helper()
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".cleanup") {
			require.NoError(t, os.RemoveAll(filepath.Join(root, e.Name())))
		}
	}
}

func wazeros(ctx context.Context, t *testing.T, r wazero.Runtime, c suiteCase, root string, stdout, stderr io.Writer) wazero.ModuleConfig {
	t.Helper()
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	config := wazero.NewModuleConfig().WithArgs(append([]string{"test.wasm"}, c.Args...)...).WithStdout(stdout).WithStderr(stderr).
		WithSysNanosleep().WithSysNanotime().WithSysWalltime()
	for k, v := range c.Env {
		config = config.WithEnv(k, v)
	}
	if root != "" {
		config = config.WithFSConfig(wazero.NewFSConfig().WithDirMount(root, "/"))
	}
	return config
}

func wazerosFiles(_ *testing.T, root string) wasi.Mount {
	return wasi.Mount{Path: "/", FS: sysfs.DirFS(root)}
}

func guestsFiles(t *testing.T, root string) wasi.Mount {
	t.Helper()
	m, err := vfs.Open(root, vfs.Options{Writable: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return wasi.Mount{Path: "/", FS: m.FS(true, nil)}
}

func oursOver(files func(*testing.T, string) wasi.Mount) runner {
	return func(ctx context.Context, t *testing.T, r wazero.Runtime, c suiteCase, root string, stdout, stderr io.Writer) wazero.ModuleConfig {
		t.Helper()
		config := &wasi.Config{Args: append([]string{"test.wasm"}, c.Args...), Clock: true}
		for k, v := range c.Env {
			config.Env = append(config.Env, k+"="+v)
		}
		if root != "" {
			config.Mounts = []wasi.Mount{files(t, root)}
		}
		p := wasi.New(config, &testHost{out: map[int32]io.Writer{1: stdout, 2: stderr}})
		t.Cleanup(func() { p.Reset(nil) })
		_, err := wasi.Module(r, func(context.Context) *wasi.Process { return p }).Instantiate(ctx)
		require.NoError(t, err)
		return wazero.NewModuleConfig()
	}
}
