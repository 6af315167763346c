package faultfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/faultfs"
)

// careless is a store of one value that makes the mistake it is told to.
type careless struct {
	fsys    storedir.FS
	mistake string
	value   string // the content it believes to be stored
}

func (c *careless) set(value string) error {
	var err error
	switch c.mistake {
	case "none", "no sum", "believes memory":
		err = storedir.WriteFile(c.fsys, ".", "value", []byte(value))
	case "no file sync":
		err = c.put(value, "temporary", false)
		if err == nil {
			err = storedir.Rename(c.fsys, ".", "temporary", "value")
		}
	case "no directory sync":
		if err = c.put(value, "temporary", true); err == nil {
			err = c.fsys.Rename("temporary", "value")
		}
	case "in place":
		if err = c.put(value, "value", true); err == nil {
			err = c.fsys.SyncDir(".")
		}
	}
	if err == nil || c.mistake == "believes memory" {
		c.value = value
	}
	return err
}

func (c *careless) put(value, name string, sync bool) error {
	f, err := c.fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write([]byte(value)); err == nil && sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func carelessCase(mistake string) faultfs.Case[*careless] {
	c := faultfs.Case[*careless]{
		Open: func(fsys storedir.FS) (*careless, error) {
			if err := fsys.SyncDir("."); err != nil {
				return nil, err
			}
			return &careless{fsys: fsys, mistake: mistake}, nil
		},
		Close: func(*careless) error { return nil },
		State: func(c *careless) map[string]string {
			b, err := c.fsys.ReadFile("value", 1000)
			switch {
			case mistake == "believes memory" && c.value != "":
				return map[string]string{"value": c.value}
			case errors.Is(err, fs.ErrNotExist):
				return map[string]string{}
			case err != nil:
				return map[string]string{"value": faultfs.Failed(err)}
			}
			return map[string]string{"value": string(b)}
		},
	}
	for i := range 2 {
		value := strings.Repeat(fmt.Sprint(i), 700) // more than a sector
		c.Steps = append(c.Steps, faultfs.Step[*careless]{
			Name: "set", Do: func(c *careless) error { return c.set(value) },
			Model: func(state map[string]string) { state["value"] = value },
		})
	}
	return c
}

// verdict is a test that panics with what it is told.
type verdict struct{ testing.TB }

func (v *verdict) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (v *verdict) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }

func judge(t *testing.T, run func(testing.TB)) (said string) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			said, _ = r.(string)
		}
	}()
	run(&verdict{t})
	return ""
}

func TestMistakesAreFound(t *testing.T) {
	for mistake, want := range map[string]string{
		"no file sync":      "power cut",
		"no directory sync": "power cut",
		"in place":          "power cut",
		"believes memory":   "the store tells",
	} {
		assert.Contains(t, judge(t, func(tb testing.TB) { faultfs.Exhaust(tb, carelessCase(mistake)) }), want, mistake)
	}
	assert.Contains(t, judge(t, func(tb testing.TB) { faultfs.Flips(tb, carelessCase("no sum")) }), "want", "a store without checksums")
}

func TestADiskKeepsWhatWasSynced(t *testing.T) {
	d := faultfs.New(1)
	fsys := d.FS()
	require.NoError(t, storedir.Mkdir(fsys, ".", "dir"))
	require.NoError(t, storedir.WriteFile(fsys, "dir", "kept", []byte("kept")))
	require.NoError(t, storedir.WriteNew(fsys, "dir/unnamed", []byte("its name is not synced")))
	f, err := fsys.OpenFile("dir/kept", os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("K"), 0)
	require.NoError(t, err)
	nothing, everything := d.Cut(faultfs.Nothing), d.Cut(faultfs.Everything)
	assert.Equal(t, []string{"dir/kept"}, nothing.Files())
	assert.Equal(t, []string{"dir/kept", "dir/unnamed"}, everything.Files())
	for disk, want := range map[*faultfs.Disk]string{d: "Kept", nothing: "kept", everything: "Kept"} {
		b, err := disk.FS().ReadFile("dir/kept", 100)
		require.NoError(t, err)
		assert.Equal(t, want, string(b))
	}
	d.Inject(faultfs.Fault{At: d.Ops() + 1, Err: fs.ErrPermission})
	require.ErrorIs(t, f.Sync(), fs.ErrPermission)
	require.NoError(t, f.Sync())
	b, err := fsys.ReadFile("dir/kept", 100)
	require.NoError(t, err)
	assert.Equal(t, "Kept", string(b), "it is seen")
	d.Restart()
	_, err = fsys.ReadDir(".")
	require.ErrorIs(t, err, fs.ErrClosed)
	assert.Equal(t, status.Internal.String(), strings.TrimPrefix(faultfs.Failed(err), "failed: "))
}
