package secrets_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/faultfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/secrets"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/secrets/secretstest"
)

func TestADirectoryIsABackend(t *testing.T) {
	secretstest.Run(t, func(t *testing.T) secretstest.Opened {
		t.Helper()
		path := t.TempDir()
		open := func() (secrets.Backend, storedir.FS) {
			files, err := storedir.Open(path, "test")
			require.NoError(t, err)
			b, err := secrets.DirBackend(files)
			require.NoError(t, err)
			return b, files
		}
		b, files := open()
		t.Cleanup(func() { assert.NoError(t, files.Close()) })
		return secretstest.Opened{Backend: b, Reopen: func() secrets.Backend {
			require.NoError(t, files.Close())
			b, files = open()
			return b
		}}
	})
}

// table is a backend of an embedder, without a step that drops a tenant.
type table struct {
	mu   sync.Mutex // guards rows
	rows map[secrets.Key][]byte
	down error // what every call fails with
}

func (b *table) List(_ context.Context, tenant string) (keys []secrets.Key, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range b.rows {
		if tenant == "" || k.Tenant == tenant {
			keys = append(keys, k)
		}
	}
	return keys, b.down
}

func (b *table) Get(_ context.Context, k secrets.Key) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	text, ok := b.rows[k]
	if !ok && b.down == nil {
		return nil, status.Errorf(status.NotFound, "no row")
	}
	return bytes.Clone(text), b.down
}

func (b *table) Put(_ context.Context, k secrets.Key, text []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down == nil {
		b.rows[k] = bytes.Clone(text)
	}
	return b.down
}

func (b *table) Delete(_ context.Context, k secrets.Key) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down == nil {
		delete(b.rows, k)
	}
	return b.down
}

func TestATableIsABackend(t *testing.T) {
	secretstest.Run(t, func(*testing.T) secretstest.Opened {
		return secretstest.Opened{Backend: &table{rows: map[secrets.Key][]byte{}}}
	})
}

// A store needs one home for its values, and tells callers of another's trouble without its words.
func TestABackendThatIsDown(t *testing.T) {
	id := func(string) (string, error) { return "id", nil }
	b := &table{rows: map[secrets.Key][]byte{}}
	for _, c := range []secrets.Config{{TenantID: id}, {TenantID: id, Path: t.TempDir(), Backend: b}} {
		_, err := secrets.Open(t.Context(), c)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
	s, err := secrets.Open(t.Context(), secrets.Config{Backend: b, TenantID: id, Keys: keys(t, newKey(t))})
	require.NoError(t, err)
	s.Hold()()
	b.down = errors.New("no route to 10.0.0.7")
	_, _, putErr := s.Put(t.Context(), "acme", secrets.Secret, "a", secret.New("a value of some length"), "")
	_, getErr := s.Get(t.Context(), "acme", secrets.Secret, "a")
	_, listErr := s.List(t.Context(), "acme", secrets.Secret)
	for _, err := range []error{putErr, getErr, listErr, s.Delete(t.Context(), "acme", secrets.Secret, "a", ""), s.Drop(t.Context(), "acme")} {
		require.ErrorIs(t, err, status.ErrUnavailable)
		assert.NotContains(t, status.ToWire(err, false).Message, "10.0.0.7")
	}
	require.NoError(t, s.Close())
	_, err = secrets.Open(t.Context(), secrets.Config{Backend: b, TenantID: id})
	require.Error(t, err)
}

// backendState reads all texts, and holds the list against them.
func backendState(b secrets.Backend, all []secrets.Key) map[string]string {
	state, ctx := map[string]string{}, context.Background()
	keys, listErr := b.List(ctx, "")
	listed := map[secrets.Key]bool{}
	for _, k := range keys {
		listed[k] = true
	}
	for _, k := range all {
		at := k.Tenant + "/" + k.Name
		text, err := b.Get(ctx, k)
		switch {
		case err != nil && !errors.Is(err, status.ErrNotFound):
			state[at] = faultfs.Failed(err)
		case listErr != nil:
			state[at] = faultfs.Failed(listErr)
		case (err == nil) != listed[k]:
			state[at] = "listed otherwise"
		case err == nil:
			state[at] = string(text)
		}
	}
	return state
}

// No fault of the disk and no power cut takes from the directory what it has acknowledged, or has it tell what does not last.
func TestNoFaultOfTheDiskLosesASealedText(t *testing.T) {
	ctx := t.Context()
	a, b := secrets.Key{Tenant: "a", Kind: secrets.Secret, Name: "k"}, secrets.Key{Tenant: "B", Kind: secrets.Credential, Name: "L"}
	do := func(name string, change func(secrets.Backend) error, model func(state map[string]string)) faultfs.Step[secrets.Backend] {
		return faultfs.Step[secrets.Backend]{Name: name, Do: change, Model: model}
	}
	put := func(k secrets.Key, text string) faultfs.Step[secrets.Backend] {
		return do("put "+text, func(s secrets.Backend) error { return s.Put(ctx, k, []byte(text)) }, func(state map[string]string) { state[k.Tenant+"/"+k.Name] = text })
	}
	faultfs.Exhaust(t, faultfs.Case[secrets.Backend]{
		Open:  secrets.DirBackend,
		Close: func(secrets.Backend) error { return nil },
		Steps: []faultfs.Step[secrets.Backend]{
			put(a, "one"), put(b, "two"), put(a, "three"),
			do("delete", func(s secrets.Backend) error { return s.Delete(ctx, b) }, func(state map[string]string) { delete(state, "B/L") }),
			put(b, "four"),
			do("drop", func(s secrets.Backend) error {
				d, ok := s.(secrets.Dropper)
				require.True(t, ok)
				return d.Drop(ctx, "a")
			}, func(state map[string]string) {
				maps.DeleteFunc(state, func(at, _ string) bool { return strings.HasPrefix(at, "a/") })
			}),
		},
		State: func(s secrets.Backend) map[string]string { return backendState(s, []secrets.Key{a, b}) },
	})
}
