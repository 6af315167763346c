package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/session"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/faultfs"
)

var faultIDs = []string{"a", "b", "C/d"}

// saved is a step that stores a document in the place of what is there.
func saved(id, doc string) faultfs.Step[*session.Dir] {
	return faultfs.Step[*session.Dir]{
		Name: "save " + id,
		Do: func(d *session.Dir) error {
			_, revision, err := d.Get(context.Background(), id)
			if err != nil && !errors.Is(err, status.ErrNotFound) {
				return err
			}
			_, err = d.Save(context.Background(), id, json.RawMessage(doc), revision)
			return err
		},
		Model: func(state map[string]string) { state[id] = doc },
	}
}

func deleted(id string) faultfs.Step[*session.Dir] {
	return faultfs.Step[*session.Dir]{
		Name:  "delete " + id,
		Do:    func(d *session.Dir) error { return d.Delete(context.Background(), id) },
		Model: func(state map[string]string) { delete(state, id) },
	}
}

func faultCase() faultfs.Case[*session.Dir] {
	return faultfs.Case[*session.Dir]{
		Open:  func(fsys storedir.FS) (*session.Dir, error) { return session.OpenFS(fsys, session.DirConfig{}) },
		Close: (*session.Dir).Close,
		Steps: []faultfs.Step[*session.Dir]{
			saved("a", `{"n":100}`), saved("b", `{"n":1}`), saved("a", `{"n":200}`), deleted("b"), saved("C/d", `{}`), deleted("none"), saved("a", `{"n":300}`),
		},
		State: func(d *session.Dir) map[string]string {
			state := map[string]string{}
			for _, id := range faultIDs {
				switch doc, _, err := d.Get(context.Background(), id); {
				case errors.Is(err, status.ErrNotFound):
				case err != nil:
					state[id] = faultfs.Failed(err)
				default:
					state[id] = string(doc)
				}
			}
			return state
		},
	}
}

func TestNoFaultOfTheDiskLosesASession(t *testing.T) { faultfs.Exhaust(t, faultCase()) }

func TestADamagedSessionIsNeverTakenForAnother(t *testing.T) { faultfs.Flips(t, faultCase()) }

// TestADirectoryOfAnOlderVersionIsRead opens what was written before files had checksums.
func TestADirectoryOfAnOlderVersionIsRead(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, os.CopyFS(path, os.DirFS("testdata/dir-v1")))
	d, err := session.OpenDir(path, session.DirConfig{})
	require.NoError(t, err)
	defer d.Close()
	doc, revision, err := d.Get(t.Context(), "a")
	require.NoError(t, err)
	assert.JSONEq(t, `{"id":"a","state":{"balance":100}}`, string(doc))
	assert.Equal(t, "MQ7ZXVNWUGWCOFJPYG3CQDPFQ2", revision, "a holder of this revision may still save")
	_, _, err = d.Get(t.Context(), "C/d")
	require.NoError(t, err)

	// From its first reading on a file has a checksum.
	file := filepath.Join(path, "a.json")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, bytes.Replace(content, []byte("100"), []byte("900"), 1), 0o600))
	_, _, err = d.Get(t.Context(), "a")
	require.ErrorIs(t, err, status.ErrDataLoss)
	require.NoError(t, d.Delete(t.Context(), "a"))
	_, err = d.Save(t.Context(), "a", json.RawMessage(`{}`), "")
	require.NoError(t, err)
}
