package sandbox_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// logged is a log that a test reads.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

// session opens a sandbox on dir, compiles wasm, calls it and closes everything. It
// returns what was logged.
func session(t *testing.T, dir string, config sandbox.Config, wasm []byte) string {
	t.Helper()
	log := &logged{}
	config.CacheDir, config.Logger = dir, slog.New(slog.NewTextHandler(log, nil))
	sb, err := sandbox.New(t.Context(), config)
	require.NoError(t, err)
	m := compile(t, sb, wasm, limits())
	_, err = m.Call(t.Context(), sandbox.Call{Export: "ok"})
	require.NoError(t, err)
	require.NoError(t, sb.Close(context.Background()))
	return log.take()
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.code"))
	require.NoError(t, err)
	return files
}

// A compiler that fails proves that code came from the cache.
func fromCache() sandbox.Config { return sandbox.Config{Compiler: []string{"/nonexistent/compiler"}} }

func TestCodeIsKeptBetweenRuns(t *testing.T) {
	dir := t.TempDir()
	assert.Empty(t, session(t, dir, sandbox.Config{Compiler: compiler}, loopModule()))
	require.Len(t, entries(t, dir), 1)
	assert.Empty(t, session(t, dir, fromCache(), loopModule()))
	// The same bytes give the same entry without a compiling process.
	assert.Empty(t, session(t, dir, sandbox.Config{}, loopModule()))
	require.Len(t, entries(t, dir), 1)
}

// An attacker who can write to the cache but does not have its key can't have code run.
func TestCodeThatWasTamperedWithIsMadeAnew(t *testing.T) {
	original := loopModule()
	for name, tamper := range map[string]func(t *testing.T, dir, file string){
		"a flipped byte in the code": func(t *testing.T, _, file string) {
			b := read(t, file)
			b[len(b)-100] ^= 1
			require.NoError(t, os.WriteFile(file, b, 0o600))
		},
		"a flipped byte in the header": func(t *testing.T, _, file string) {
			b := read(t, file)
			b[20] ^= 1
			require.NoError(t, os.WriteFile(file, b, 0o600))
		},
		"a file that is cut short": func(t *testing.T, _, file string) {
			require.NoError(t, os.Truncate(file, 1000))
		},
		"an empty file": func(t *testing.T, _, file string) { require.NoError(t, os.Truncate(file, 0)) },
		"the code of another module": func(t *testing.T, dir, file string) {
			session(t, dir, sandbox.Config{}, recursion())
			for _, other := range entries(t, dir) {
				if other != file {
					require.NoError(t, os.Rename(other, file))
				}
			}
		},
		"code that is signed with another key": func(t *testing.T, _, file string) {
			elsewhere := t.TempDir()
			session(t, elsewhere, sandbox.Config{}, original)
			require.NoError(t, os.Rename(entries(t, elsewhere)[0], file))
		},
		"another key": func(t *testing.T, dir, _ string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "key"), bytes.Repeat([]byte{7}, 32), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			session(t, dir, sandbox.Config{}, original)
			files := entries(t, dir)
			require.Len(t, files, 1)
			tamper(t, dir, files[0])
			assert.Contains(t, session(t, dir, sandbox.Config{}, original), "cached code is refused and made anew")
			assert.Empty(t, session(t, dir, fromCache(), original), "what was made anew is kept")
		})
	}
}

func TestAKeyThatOthersCouldReadIsReplaced(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes of files say nothing there")
	}
	dir := t.TempDir()
	session(t, dir, sandbox.Config{}, loopModule())
	key := filepath.Join(dir, "key")
	old := read(t, key)
	require.NoError(t, os.Chmod(key, 0o644))
	assert.Contains(t, session(t, dir, sandbox.Config{}, loopModule()), "refused")
	assert.NotEqual(t, old, read(t, key))
	info, err := os.Stat(key)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// A symbolic link in the place of an entry or of the key is not followed.
func TestLinksInTheCacheAreNotFollowed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege there")
	}
	dir, elsewhere := t.TempDir(), t.TempDir()
	session(t, dir, sandbox.Config{}, loopModule())
	entry, target := entries(t, dir)[0], filepath.Join(elsewhere, "code")
	require.NoError(t, os.Rename(entry, target))
	require.NoError(t, os.Symlink(target, entry))
	assert.Contains(t, session(t, dir, sandbox.Config{}, loopModule()), "refused")
	key := filepath.Join(dir, "key")
	require.NoError(t, os.Rename(key, filepath.Join(elsewhere, "key")))
	require.NoError(t, os.Symlink(filepath.Join(elsewhere, "key"), key))
	assert.Contains(t, session(t, dir, sandbox.Config{}, loopModule()), "refused")
	info, err := os.Lstat(key)
	require.NoError(t, err)
	assert.True(t, info.Mode().IsRegular())
}

func TestTheCacheKeepsWithinItsBound(t *testing.T) {
	dir := t.TempDir()
	for i := range 6 {
		session(t, dir, sandbox.Config{CacheBytes: 20 << 10}, callTree(i+1))
	}
	total := int64(0)
	for _, file := range entries(t, dir) {
		info, err := os.Stat(file)
		require.NoError(t, err)
		total += info.Size()
	}
	assert.Positive(t, total)
	assert.LessOrEqual(t, total, int64(20<<10))
}

// Nothing is left in the system's temporary folder, and the folder that wazero reads
// from holds no code but while it reads.
func TestNoCodeLiesAbout(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	sb, err := sandbox.New(t.Context(), sandbox.Config{CacheDir: t.TempDir(), Compiler: compiler})
	require.NoError(t, err)
	compile(t, sb, loopModule(), limits())
	files := 0
	require.NoError(t, walk(os.Getenv("TMPDIR"), func(path string) {
		if filepath.Base(path) != "lock" { // of the scratch directory
			files++
		}
	}))
	assert.Zero(t, files)
	require.NoError(t, sb.Close(t.Context()))
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// Where the system's temporary folder can't be written to, the cache's own folder does.
func TestATemporaryFolderThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", filepath.Join(dir, "absent"))
	session(t, dir, sandbox.Config{Compiler: compiler}, loopModule())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, left, 2, "the key and an entry")
}

// Many ask for the same module at once: it is made once.
func TestModulesOfTheSameBytesShareTheirCode(t *testing.T) {
	dir := t.TempDir()
	log := &logged{}
	sb := newSandbox(t, sandbox.Config{CacheDir: dir, Compiler: compiler, Logger: slog.New(slog.NewTextHandler(log, nil))})
	var wg sync.WaitGroup
	modules := make([]*sandbox.Module, 16)
	for i := range modules {
		wg.Go(func() {
			modules[i] = compile(t, sb, loopModule(), limits())
			_, err := modules[i].Call(t.Context(), sandbox.Call{Export: "ok"})
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	assert.Len(t, entries(t, dir), 1)
	one := sb.MemoryBytes()
	for _, m := range modules[1:] {
		m.Close()
	}
	_, err := modules[0].Call(t.Context(), sandbox.Call{Export: "ok"})
	require.NoError(t, err, "the code of a module that is in service was dropped with another's")
	assert.Less(t, sb.MemoryBytes(), one)
	modules[0].Close()
	assert.Zero(t, sb.MemoryBytes())
	assert.Empty(t, strings.TrimSpace(log.take()))
}
