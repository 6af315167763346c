package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/faultfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin/admintest"
)

func openDir(t testing.TB, path string) *admin.Dir {
	t.Helper()
	d, err := admin.OpenDir(path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Close()) })
	return d
}

func TestTheDirectoryKeepsTheContract(t *testing.T) {
	admintest.Run(t, func(t *testing.T) admin.Store { return openDir(t, t.TempDir()) })
}

func TestTheMemoryKeepsTheContract(t *testing.T) {
	admintest.Run(t, func(*testing.T) admin.Store { return admin.NewMemory() })
}

func TestADirectoryIsOneProcesses(t *testing.T) {
	path := t.TempDir()
	openDir(t, path)
	_, err := admin.OpenDir(path)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.Contains(t, err.Error(), "in use by another process")
}

func TestDocumentsAreThereWhenTheDirectoryIsOpenedAgain(t *testing.T) {
	path := t.TempDir()
	d, err := admin.OpenDir(path)
	require.NoError(t, err)
	stored, err := d.Put(t.Context(), admin.Document{Kind: "tenant", Name: "Acme", Value: json.RawMessage(`{"a":1}`)})
	require.NoError(t, err)
	require.NoError(t, d.Close())
	require.NoError(t, d.Close())
	_, err = d.Get(t.Context(), "tenant", "Acme")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	require.NoError(t, os.WriteFile(filepath.Join(path, "tenant", ".tmp-left"), []byte("half"), 0o600))
	again := openDir(t, path)
	all, err := again.List(t.Context(), "tenant")
	require.NoError(t, err)
	assert.Equal(t, []admin.Document{stored}, all)
	assert.NoFileExists(t, filepath.Join(path, "tenant", ".tmp-left"))
}

// A file that is damaged, that was put in the place of another, or that is none of a store is
// told as damaged, and the others are read.
func TestADamagedDocumentIsTold(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	for _, name := range []string{"good", "bad", "swapped", "linked"} {
		_, err := d.Put(t.Context(), admin.Document{Kind: "tenant", Name: name, Value: json.RawMessage(`{"name":"` + name + `"}`)})
		require.NoError(t, err)
	}
	file := func(name string) string { return filepath.Join(path, "tenant", name+".json") }
	raw, err := os.ReadFile(file("good"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file("swapped"), raw, 0o600))
	require.NoError(t, os.WriteFile(file("bad"), raw[:len(raw)-1], 0o600))
	require.NoError(t, os.Remove(file("linked")))
	require.NoError(t, os.Symlink(file("good"), file("linked")))
	all, err := d.List(t.Context(), "tenant")
	require.NoError(t, err)
	require.Len(t, all, 4)
	names := []string{}
	for _, doc := range all {
		names = append(names, doc.Name)
		_, err := d.Get(t.Context(), "tenant", doc.Name)
		if doc.Name == "good" {
			require.NoError(t, doc.Problem)
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, doc.Problem, status.ErrDataLoss, doc.Name)
		require.ErrorIs(t, err, status.ErrDataLoss, doc.Name)
		_, err = d.Put(t.Context(), admin.Document{Kind: "tenant", Name: doc.Name, Value: json.RawMessage(`1`)})
		require.ErrorIs(t, err, status.ErrDataLoss, "what is damaged is not written over")
		require.NoError(t, d.Delete(t.Context(), "tenant", doc.Name))
	}
	assert.Equal(t, []string{"bad", "good", "linked", "swapped"}, names)
	raw, err = os.ReadFile(file("good"))
	require.NoError(t, err)
	assert.NotEmpty(t, raw, "a link was not followed")
}

type faultStep = faultfs.Step[*admin.Dir]

func stored(kind, name, value string) faultStep {
	return faultStep{
		Name: "store " + kind + " " + name,
		Do: func(d *admin.Dir) error {
			old, err := d.Get(context.Background(), kind, name)
			if err != nil && !errors.Is(err, status.ErrNotFound) {
				return err
			}
			_, err = d.Put(context.Background(), admin.Document{Kind: kind, Name: name, Revision: old.Revision, Value: json.RawMessage(value)})
			return err
		},
		Model: func(state map[string]string) { state[kind+" "+name] = value },
	}
}

func deleted(kind, name string) faultStep {
	return faultStep{
		Name:  "delete " + kind + " " + name,
		Do:    func(d *admin.Dir) error { return d.Delete(context.Background(), kind, name) },
		Model: func(state map[string]string) { delete(state, kind+" "+name) },
	}
}

// look reads everything, by list and by name, which have to tell the same.
func look(d *admin.Dir) map[string]string {
	state := map[string]string{}
	for kind, names := range map[string][]string{"tenant": {"a", "B"}, "operation": {"x"}} {
		listed := map[string]string{}
		all, listErr := d.List(context.Background(), kind)
		for _, doc := range all {
			if doc.Problem == nil {
				listed[doc.Name] = string(doc.Value)
			}
		}
		for _, name := range names {
			key := kind + " " + name
			doc, err := d.Get(context.Background(), kind, name)
			switch {
			case errors.Is(err, status.ErrNotFound):
			case err != nil:
				state[key] = faultfs.Failed(err)
			default:
				state[key] = string(doc.Value)
			}
			switch {
			case listErr != nil:
				state[key] = faultfs.Failed(listErr)
			case err == nil && listed[name] != state[key]:
				state[key] = "listed as " + listed[name]
			}
		}
	}
	return state
}

func faultCase() faultfs.Case[*admin.Dir] {
	return faultfs.Case[*admin.Dir]{
		Open:  func(fsys storedir.FS) (*admin.Dir, error) { return admin.OpenFS(fsys) },
		Close: (*admin.Dir).Close,
		State: look,
		Steps: []faultStep{
			stored("tenant", "a", `{"n":1}`), stored("tenant", "B", `{"n":2}`), stored("tenant", "a", `{"n":3}`), stored("operation", "x", `1`),
			deleted("tenant", "B"), stored("tenant", "B", `{"n":4}`), deleted("operation", "x"), deleted("operation", "none"), stored("tenant", "a", `{"n":5}`),
		},
	}
}

func TestNoFaultOfTheDiskLosesADocument(t *testing.T) { faultfs.Exhaust(t, faultCase()) }

func TestADamagedDocumentIsNeverTakenForAnother(t *testing.T) { faultfs.Flips(t, faultCase()) }

// A change that failed, and could not be undone either, is on the disk, or not, before the
// store tells which: a power cut does not take back what was told.
func TestWhatIsToldAfterAFailureLasts(t *testing.T) {
	told := map[string]int{}
	for at := 1; at < 30; at++ {
		disk := faultfs.New(1)
		d, err := admin.OpenFS(disk.FS())
		require.NoError(t, err)
		first, err := d.Put(t.Context(), admin.Document{Kind: "tenant", Name: "a", Value: json.RawMessage(`"old"`)})
		require.NoError(t, err)
		disk.Inject(faultfs.Fault{At: disk.Ops() + at, Err: syscall.EIO, After: true, Sticky: true})
		_, err = d.Put(t.Context(), admin.Document{Kind: "tenant", Name: "a", Revision: first.Revision, Value: json.RawMessage(`"new"`)})
		disk.Inject(faultfs.Fault{})
		got, getErr := d.Get(t.Context(), "tenant", "a")
		require.NoError(t, getErr)
		if err != nil {
			told[string(got.Value)]++
		}
		after, err := admin.OpenFS(disk.Cut(faultfs.Nothing).FS())
		require.NoError(t, err)
		again, err := after.Get(t.Context(), "tenant", "a")
		require.NoError(t, err)
		assert.Equal(t, got, again, "the operation %d and those after it failed", at)
	}
	assert.Positive(t, told[`"new"`], "%v", told)
	assert.Positive(t, told[`"old"`], "%v", told)
}

// A disk that is full, or that may not be written, is said to be so.
func TestADiskThatTakesNothingIsSaidToBeSo(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		code error
		says string
	}{
		"full":      {syscall.ENOSPC, status.ErrResourceExhausted, "disk is full"},
		"read-only": {syscall.EROFS, status.ErrUnavailable, "may not write"},
	} {
		t.Run(name, func(t *testing.T) {
			disk := faultfs.New(1)
			d, err := admin.OpenFS(disk.FS())
			require.NoError(t, err)
			first, err := d.Put(t.Context(), admin.Document{Kind: "tenant", Name: "a", Value: json.RawMessage(`1`)})
			require.NoError(t, err)
			disk.Inject(faultfs.Fault{At: disk.Ops() + 1, Err: test.err, Sticky: true})
			_, err = d.Put(t.Context(), admin.Document{Kind: "tenant", Name: "a", Revision: first.Revision, Value: json.RawMessage(`2`)})
			require.ErrorIs(t, err, test.code)
			assert.Contains(t, status.ToWire(err, false).Message, test.says)
			disk.Inject(faultfs.Fault{})
			got, err := d.Get(t.Context(), "tenant", "a")
			require.NoError(t, err)
			assert.Equal(t, first, got)
			require.NoError(t, d.Close())
		})
	}
}
