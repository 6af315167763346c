package module_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/faultfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module/moduletest"
)

type faultStep = faultfs.Step[*module.Dir]

// The model of a store: for each module "<tenant>/<name>" the current revision, and for
// each of its revisions "<tenant>/<name>@<n>" the bytes' seed.

func uploaded(tenant, name, seed string) faultStep {
	key := tenant + "/" + name
	return faultStep{
		Name: "upload " + seed + " to " + key,
		Do: func(d *module.Dir) error {
			rec, wasm := moduletest.Record(tenant, name, seed)
			_, err := d.Put(context.Background(), rec, wasm)
			return err
		},
		Model: func(state map[string]string) {
			next := 1
			for n := range 20 {
				if _, ok := state[fmt.Sprintf("%s@%d", key, n)]; ok {
					next = n + 1
				}
			}
			state[key], state[fmt.Sprintf("%s@%d", key, next)] = fmt.Sprint(next), seed
		},
	}
}

func pointed(tenant, name string, revision int) faultStep {
	key := tenant + "/" + name
	return faultStep{
		Name: fmt.Sprintf("roll %s back to %d", key, revision),
		Do: func(d *module.Dir) error {
			_, err := d.SetCurrent(context.Background(), tenant, name, revision)
			return err
		},
		Model: func(state map[string]string) {
			if _, ok := state[fmt.Sprintf("%s@%d", key, revision)]; ok {
				state[key] = fmt.Sprint(revision)
			}
		},
	}
}

func removed(tenant, name string) faultStep {
	key := tenant + "/" + name
	return faultStep{
		Name: "delete " + key,
		Do:   func(d *module.Dir) error { return d.Delete(context.Background(), tenant, name) },
		Model: func(state map[string]string) {
			delete(state, key)
			for n := range 20 {
				delete(state, fmt.Sprintf("%s@%d", key, n))
			}
		},
	}
}

func pruned(tenant, name string, through int) faultStep {
	key := tenant + "/" + name
	return faultStep{
		Name: fmt.Sprintf("prune %s through %d", key, through),
		Do:   func(d *module.Dir) error { return d.Prune(context.Background(), tenant, name, through) },
		Model: func(state map[string]string) {
			for n := range through + 1 {
				delete(state, fmt.Sprintf("%s@%d", key, n))
			}
		},
	}
}

var seeds = []string{"a", "b", "c", "d"}

// look reads everything, every record and its bytes.
func look(d *module.Dir) map[string]string {
	state := map[string]string{}
	seedOf := map[string]string{}
	for _, seed := range seeds {
		rec, _ := moduletest.Record("", "", seed)
		seedOf[rec.Digest] = seed
	}
	for _, id := range [][2]string{{"default", "textkit"}, {"default", "other"}, {"acme", "textkit"}} {
		key := id[0] + "/" + id[1]
		versions, err := d.Versions(context.Background(), id[0], id[1])
		if errors.Is(err, status.ErrNotFound) {
			continue
		}
		if err != nil {
			state[key] = faultfs.Failed(err)
			continue
		}
		state[key] = faultfs.Failed(status.ErrDataLoss) // none is current
		for _, rec := range versions {
			if rec.Current && rec.Problem == "" {
				state[key] = fmt.Sprint(rec.Revision)
			}
			at := fmt.Sprintf("%s@%d", key, rec.Revision)
			state[at] = seedOf[rec.Digest]
			if rec.Problem != "" {
				state[at] = faultfs.Failed(status.ErrDataLoss)
			} else if _, err := d.Wasm(context.Background(), rec.Digest); err != nil {
				state[at] = faultfs.Failed(err)
			}
		}
	}
	return state
}

func faultCase() faultfs.Case[*module.Dir] {
	return faultfs.Case[*module.Dir]{
		Open:  module.OpenFS,
		Close: (*module.Dir).Close,
		State: look, Exact: true,
		Steps: []faultStep{
			uploaded("default", "textkit", "a"), uploaded("default", "textkit", "b"), uploaded("default", "textkit", "c"),
			pointed("default", "textkit", 2), uploaded("acme", "textkit", "a"), uploaded("default", "other", "d"),
			pruned("default", "textkit", 1), removed("default", "other"), uploaded("default", "other", "d"),
			uploaded("default", "textkit", "a"), pruned("default", "textkit", 2), removed("acme", "textkit"), uploaded("default", "textkit", "d"),
		},
	}
}

func TestNoFaultOfTheDiskLosesAModule(t *testing.T) { faultfs.Exhaust(t, faultCase()) }

func TestADamagedModuleIsNeverTakenForAnother(t *testing.T) {
	c := faultCase()
	c.Stride = 3
	faultfs.Flips(t, c)
}

// TestAnUploadDoesTheSameWhetherTheBytesAreThereOrNot: otherwise its time would tell a tenant what another one has uploaded.
func TestAnUploadDoesTheSameWhetherTheBytesAreThereOrNot(t *testing.T) {
	disk := faultfs.New(1)
	d, err := module.OpenFS(disk.FS())
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	operations := func(tenant, name, seed string) int {
		before := disk.Ops()
		require.NoError(t, uploaded(tenant, name, seed).Do(d))
		return disk.Ops() - before
	}
	operations("default", "textkit", "a")
	operations("acme", "first", "b")
	require.Equal(t, operations("acme", "second", "c"), operations("acme", "third", "a"))
}
