package session_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/session"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const crashEnv = "GENKIT_WASM_TEST_SAVE_INTO"

// TestMain is also the child of [TestADirectorySurvivesKill]: it saves into a directory
// until it is killed, and says after each time what is stored.
func TestMain(m *testing.M) {
	path := os.Getenv(crashEnv)
	if path == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := saveForever(path); err != nil {
		fmt.Fprintln(os.Stdout, "error", err)
	}
	os.Exit(1)
}

func saveForever(path string) error {
	d, err := session.OpenDir(path, session.DirConfig{})
	if err != nil {
		return err
	}
	s, err := session.Load(context.Background(), session.Config{Store: d, ID: "a"})
	if err != nil {
		return err
	}
	for n, err := session.StateOf[saying](s); ; n.N++ {
		if err != nil {
			return err
		}
		n.Text = strings.Repeat(strconv.Itoa(n.N), 5000)
		if err = s.SetState(context.Background(), n); err == nil {
			fmt.Fprintln(os.Stdout, n.N)
		}
	}
}

type saying struct {
	N    int
	Text string
}

// TestADirectorySurvivesKill kills a process that saves in a loop, at random moments, and
// looks at what it leaves: what it called stored, or what comes after, and that whole.
func TestADirectorySurvivesKill(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	path, last := t.TempDir(), 0
	d, err := session.OpenDir(path, session.DirConfig{})
	require.NoError(t, err)
	newSession(t, session.Config{Store: d, ID: "a", State: saying{}})
	require.NoError(t, d.Close())
	for i := 0; i < rounds || last == 0 && i < 10*rounds; i++ { // a busy machine may need more time
		last = max(last, killed(t, path, time.Duration(3+i/10)*time.Millisecond))
		d, err := session.OpenDir(path, session.DirConfig{})
		require.NoError(t, err)
		s, err := session.Load(t.Context(), session.Config{Store: d, ID: "a"})
		require.NoError(t, err)
		got, err := session.StateOf[saying](s)
		require.NoError(t, err)
		assert.Contains(t, []int{last, last + 1}, got.N)
		if got.N > 0 {
			assert.Equal(t, strings.Repeat(strconv.Itoa(got.N), 5000), got.Text)
		}
		last = got.N
		require.NoError(t, d.Close())
		entries, err := os.ReadDir(path)
		require.NoError(t, err)
		assert.Len(t, entries, 2, "the lock and the session: nothing half written stays")
	}
	t.Logf("%d processes killed, %d saves", rounds, last)
	require.Positive(t, last, "nothing was ever saved")
}

// killed lets a child save for a moment, at most so long, and returns what it called stored last.
func killed(t *testing.T, path string, most time.Duration) int {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines, last := bufio.NewScanner(out), 0
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		require.NoError(t, err, lines.Text())
		if last == 0 { // it is at work: any moment from here on will do
			timer.Reset(rand.N(most))
		}
		last = n
	}
	timer.Stop()
	require.Error(t, cmd.Wait())
	return last
}

func TestADirectoryIsOneProcesss(t *testing.T) {
	path := t.TempDir()
	d, err := session.OpenDir(path, session.DirConfig{})
	require.NoError(t, err)
	_, err = session.OpenDir(path, session.DirConfig{})
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.ErrorContains(t, err, "in use by another process")
	require.NoError(t, d.Close())
	require.NoError(t, d.Close())
	_, _, err = d.Get(t.Context(), "a")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	again, err := session.OpenDir(path, session.DirConfig{})
	require.NoError(t, err)
	require.NoError(t, again.Close())
	file := filepath.Join(path, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = session.OpenDir(file, session.DirConfig{})
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	info, err := os.Stat(filepath.Join(path, "lock"))
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
}

func TestDamageIsToldAndNotTakenForNothing(t *testing.T) {
	path := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret.json")
	require.NoError(t, os.WriteFile(outside, []byte(`{"id":"out","revision":"1","session":{"id":"out"}}`), 0o600))
	d, err := session.OpenDir(path, session.DirConfig{MaxFileBytes: 1000})
	require.NoError(t, err)
	defer d.Close()
	_, err = d.Save(t.Context(), "good", json.RawMessage(`{"id":"good"}`), "")
	require.NoError(t, err)
	good, err := os.ReadFile(filepath.Join(path, "good.json"))
	require.NoError(t, err)
	for name, spoil := range map[string]func(file string) error{
		"cut":       func(f string) error { return os.WriteFile(f, good[:len(good)-3], 0o600) },
		"empty":     func(f string) error { return os.WriteFile(f, nil, 0o600) },
		"another":   func(f string) error { return os.WriteFile(f, good, 0o600) },
		"bare":      func(f string) error { return os.WriteFile(f, []byte(`{"id":"bare"}`), 0o600) },
		"huge":      func(f string) error { return os.WriteFile(f, make([]byte, 2000), 0o600) },
		"directory": func(f string) error { return os.Mkdir(f, 0o700) },
		"out":       func(f string) error { return os.Symlink(outside, f) },
		"inside":    func(f string) error { return os.Symlink("good.json", f) },
	} {
		if err := spoil(filepath.Join(path, name+".json")); err != nil {
			t.Skipf("this system makes no such file: %v", err)
		}
		_, _, err = d.Get(t.Context(), name)
		require.ErrorIs(t, err, status.ErrDataLoss, name)
		_, err = d.Save(t.Context(), name, json.RawMessage(`{}`), "")
		require.ErrorIs(t, err, status.ErrDataLoss, name)
		require.NoError(t, d.Delete(t.Context(), name), "what is damaged can be removed")
		_, _, err = d.Get(t.Context(), name)
		require.ErrorIs(t, err, status.ErrNotFound, name)
	}
	_, err = os.Stat(outside)
	require.NoError(t, err, "what a link leads to stays")
	_, _, err = d.Get(t.Context(), "good")
	require.NoError(t, err)

	_, err = d.Save(t.Context(), "big", json.RawMessage(`"`+strings.Repeat("x", 2000)+`"`), "")
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	_, err = d.Save(t.Context(), "bad", json.RawMessage(`{`), "")
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = d.Save(t.Context(), "a\x00", json.RawMessage(`{}`), "")
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestWhatWasLeftHalfWrittenIsRemoved(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(path, "_tmp-XYZ"), []byte(`{`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(path, "tmp.json"), []byte(`{"id":"tmp","revision":"1","session":{"id":"tmp"}}`), 0o600))
	d, err := session.OpenDir(path, session.DirConfig{})
	require.NoError(t, err)
	defer d.Close()
	_, err = os.Stat(filepath.Join(path, "_tmp-XYZ"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, _, err = d.Get(t.Context(), "tmp")
	require.NoError(t, err)
}

func FuzzDirFile(f *testing.F) {
	f.Add([]byte(`{"id":"a","revision":"1","session":{"id":"a"}}`))
	f.Add([]byte(`{"id":"a","revision":1}`))
	path := f.TempDir()
	d, err := session.OpenDir(path, session.DirConfig{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = d.Close() })
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(filepath.Join(path, "a.json"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		doc, revision, err := d.Get(t.Context(), "a")
		if err == nil && (revision == "" || !json.Valid(doc)) {
			t.Fatalf("%q gives %q at %q", content, doc, revision)
		}
	})
}
