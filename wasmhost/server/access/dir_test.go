package access_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/faultfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access/accesstest"
)

func openDir(t testing.TB, path string) *access.Dir {
	t.Helper()
	d, err := access.OpenDir(path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Close()) })
	return d
}

func TestStores(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		accesstest.Store(t, func(*testing.T) access.Store { return access.NewMemory() })
	})
	t.Run("dir", func(t *testing.T) {
		accesstest.Store(t, func(t *testing.T) access.Store { return openDir(t, t.TempDir()) })
	})
}

func put(id, record string) faultfs.Step[*access.Dir] {
	return faultfs.Step[*access.Dir]{
		Name:  "put " + id,
		Do:    func(d *access.Dir) error { return d.Put(context.Background(), id, []byte(record)) },
		Model: func(state map[string]string) { state[id] = record },
	}
}

func del(id string) faultfs.Step[*access.Dir] {
	return faultfs.Step[*access.Dir]{
		Name:  "delete " + id,
		Do:    func(d *access.Dir) error { return d.Delete(context.Background(), id) },
		Model: func(state map[string]string) { delete(state, id) },
	}
}

func faultCase() faultfs.Case[*access.Dir] {
	return faultfs.Case[*access.Dir]{
		Open:  access.OpenFS,
		Close: (*access.Dir).Close,
		Steps: []faultfs.Step[*access.Dir]{put("a", "1"), put("b", "1"), put("a", "2"), del("b"), put("c", ""), del("none"), put("a", "3")},
		State: func(d *access.Dir) map[string]string {
			state := map[string]string{}
			err := d.Load(context.Background(), func(id string, record []byte, damage error) error {
				state[id] = string(record)
				if damage != nil {
					state[id] = faultfs.Failed(damage)
				}
				return nil
			})
			if err != nil {
				return map[string]string{"all": faultfs.Failed(err)}
			}
			return state
		},
	}
}

func TestDirKeepsItsWordOnADiskThatFails(t *testing.T) { faultfs.Exhaust(t, faultCase()) }

func TestDirTellsDamage(t *testing.T) { faultfs.Flips(t, faultCase()) }

func TestADirIsOneProcesss(t *testing.T) {
	path := t.TempDir()
	openDir(t, path)
	_, err := access.OpenDir(path)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.ErrorContains(t, err, "the key store in")
	assert.ErrorContains(t, err, "is in use")
}

func TestFilesOfADirAreItsOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	d := openDir(t, path)
	require.NoError(t, d.Put(t.Context(), "a", []byte("x")))
	for name, want := range map[string]os.FileMode{".": 0o700, "a.json": 0o600} {
		info, err := os.Stat(filepath.Join(path, name))
		require.NoError(t, err)
		assert.Equal(t, want, info.Mode().Perm(), name)
	}
}

func TestWhatIsNoRecordIsPassedOver(t *testing.T) {
	path := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.WriteFile(outside, []byte("sha256:x\nsecret"), 0o600))
	for _, name := range []string{"README", "A.json", "a b.json", ".json", storedir.TemporaryPrefix + "x"} {
		require.NoError(t, os.WriteFile(filepath.Join(path, name), nil, 0o600))
	}
	require.NoError(t, os.Symlink(outside, filepath.Join(path, "link.json")))
	require.NoError(t, os.MkdirAll(filepath.Join(path, "dir.json", "in"), 0o700))
	d := openDir(t, path)
	seen := map[string]string{}
	require.NoError(t, d.Load(t.Context(), func(id string, record []byte, damage error) error {
		require.ErrorIs(t, damage, status.ErrDataLoss)
		assert.Nil(t, record)
		seen[id] = status.Of(damage).String()
		return nil
	}))
	assert.Equal(t, map[string]string{"link": "DATA_LOSS", "dir": "DATA_LOSS"}, seen)
	for id := range seen {
		require.NoError(t, d.Delete(t.Context(), id), "it can be removed")
	}
	assert.Empty(t, accesstest.Contents(t, d))
	assert.FileExists(t, outside)
	require.NoError(t, d.Close())
	require.NoError(t, d.Close())
	require.ErrorIs(t, d.Put(t.Context(), "a", nil), status.ErrFailedPrecondition)
}

const killEnv = "GENKIT_WASM_TEST_KEYS"

// TestAKilledProcessLosesNoKey kills a process that changes keys at random points. After
// each, what it has told to be done is done, and nothing is half.
func TestAKilledProcessLosesNoKey(t *testing.T) {
	if path := os.Getenv(killEnv); path != "" {
		changeKeys(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "keys")
	good, bad := map[string]string{}, map[string]bool{} // token by id, tokens that are over
	changes := 0
	for round := 0; changes < 200; round++ {
		require.Less(t, round, 60)
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAKilledProcessLosesNoKey$")
		cmd.Env = append(os.Environ(), killEnv+"="+path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		var acknowledged strings.Builder
		buf := make([]byte, 1)
		for lines := 0; lines < 5+round*7%11; { // then it dies, wherever it is
			if _, err := out.Read(buf); err != nil {
				break
			}
			acknowledged.Write(buf)
			if buf[0] == '\n' {
				lines++
			}
		}
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		text := acknowledged.String()
		for line := range strings.SplitSeq(text[:strings.LastIndex(text, "\n")+1], "\n") {
			word := strings.Fields(line)
			switch {
			case len(word) == 3 && word[0] == "good":
				if old, ok := good[word[1]]; ok {
					bad[old] = true
				}
				good[word[1]] = word[2]
				changes++
			case len(word) == 2 && word[0] == "gone":
				bad[good[word[1]]] = true
				delete(good, word[1])
				changes++
			}
		}
		d, err := access.OpenDir(path)
		require.NoError(t, err)
		keys, err := access.OpenKeys(t.Context(), access.KeysConfig{Store: d})
		require.NoError(t, err)
		lost := 0
		for id, token := range good {
			if _, err := ask(keys, token); err != nil { // the change after the last that was told may have been made
				lost++
				delete(good, id)
			}
		}
		assert.LessOrEqual(t, lost, 1, "keys that were told are gone")
		for token := range bad {
			_, err := ask(keys, token)
			require.ErrorIs(t, err, status.ErrUnauthenticated, "a key that was told to be revoked is back")
		}
		all, _ := keys.List("", 10_000)
		for _, k := range all {
			assert.Equal(t, access.Active, k.State)
		}
		require.NoError(t, keys.Close())
		require.NoError(t, d.Close())
	}
	t.Logf("%d changes", changes)
}

// changeKeys creates, rotates and revokes keys until it is killed, and tells what is done.
func changeKeys(t *testing.T, path string) {
	t.Helper()
	d := openDir(t, path)
	keys := openKeys(t, d)
	for n := 0; ; n++ {
		key, token := create(t, keys, time.Time{}, "admin")
		fmt.Fprintf(os.Stdout, "good %s %s\n", key.ID, token)
		if n%2 == 0 {
			_, token, err := keys.Rotate(t.Context(), key.ID, 0, time.Time{})
			require.NoError(t, err)
			fmt.Fprintf(os.Stdout, "good %s %s\n", key.ID, token)
		}
		if n%3 == 0 {
			require.NoError(t, keys.Revoke(t.Context(), key.ID))
			fmt.Fprintf(os.Stdout, "gone %s\n", key.ID)
		}
	}
}
