package kv_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/faultfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv/kvtest"
)

type faultStep = faultfs.Step[*kv.File]

var (
	faultSpaces = []kv.Namespace{{Tenant: "a", Module: "x"}, {Tenant: "a", Module: "y"}, {Tenant: strings.Repeat("B", 100), Module: "x"}}
	faultKeys   = []string{"k", "l", "gone"}
	faultQuota  = kv.Quota{Keys: 2, Bytes: 1 << 20, ValueBytes: 1 << 20}
	faultStart  = time.Unix(1_800_000_000, 0)
)

func nameOf(space int, key string) string { return fmt.Sprintf("%d/%s", space, key) }

func setting(space int, key, value string, ttl time.Duration, cond string) faultStep {
	return faultStep{
		Name: "set " + nameOf(space, key),
		Do: func(f *kv.File) error {
			o := kv.SetOptions{TTL: ttl}
			if cond != "" {
				o.If = json.RawMessage(cond)
			}
			return f.Set(context.Background(), faultSpaces[space], key, json.RawMessage(value), o, faultQuota)
		},
		Model: func(state map[string]string) {
			if cond != "" && state[nameOf(space, key)] != cond {
				return
			}
			state[nameOf(space, key)] = value
		},
	}
}

func deleting(space int, key string) faultStep {
	return faultStep{
		Name:  "delete " + nameOf(space, key),
		Do:    func(f *kv.File) error { return kv.Delete(context.Background(), f, faultSpaces[space], key) },
		Model: func(state map[string]string) { delete(state, nameOf(space, key)) },
	}
}

func dropping(space int) faultStep {
	return faultStep{
		Name: fmt.Sprint("drop ", space),
		Do:   func(f *kv.File) error { return f.Drop(context.Background(), faultSpaces[space]) },
		Model: func(state map[string]string) {
			delete(state, markOf(space))
			for _, key := range faultKeys {
				delete(state, nameOf(space, key))
			}
		},
	}
}

func markOf(space int) string { return fmt.Sprint(space, " is marked") }

func marking(space int) faultStep {
	return faultStep{
		Name:  fmt.Sprint("mark ", space),
		Do:    func(f *kv.File) error { return f.Mark(context.Background(), faultSpaces[space]) },
		Model: func(state map[string]string) { state[markOf(space)] = "yes" },
	}
}

func unmarking(space int) faultStep {
	return faultStep{
		Name:  fmt.Sprint("unmark ", space),
		Do:    func(f *kv.File) error { return f.Unmark(context.Background(), faultSpaces[space]) },
		Model: func(state map[string]string) { delete(state, markOf(space)) },
	}
}

// shown reads all keys, and holds the listings against them.
func shown(f *kv.File) map[string]string {
	state := map[string]string{}
	marked, markedErr := f.Marked(context.Background())
	for i, ns := range faultSpaces {
		switch {
		case markedErr != nil:
			state[markOf(i)] = faultfs.Failed(markedErr)
		case slices.Contains(marked, ns):
			state[markOf(i)] = "yes"
		}
		listed := map[string]bool{}
		page, listErr := f.List(context.Background(), ns, "", "", 100)
		for _, key := range page.Keys {
			listed[key] = true
		}
		for _, key := range faultKeys {
			value, err := f.Get(context.Background(), ns, key)
			switch {
			case err != nil:
				state[nameOf(i, key)] = faultfs.Failed(err)
			case listErr != nil:
				state[nameOf(i, key)] = faultfs.Failed(listErr)
			case value != nil != listed[key]:
				state[nameOf(i, key)] = fmt.Sprintf("%s, listed: %v", value, listed[key])
			case value != nil:
				state[nameOf(i, key)] = string(value)
			}
		}
	}
	return state
}

func faultCase(steps ...faultStep) faultfs.Case[*kv.File] {
	return faultfs.Case[*kv.File]{
		Open: func(fsys storedir.FS) (*kv.File, error) {
			return kv.OpenFS(fsys, func() time.Time { return faultStart })
		},
		Close: (*kv.File).Close, Steps: steps, State: shown,
	}
}

func TestNoFaultOfTheDiskLosesAValue(t *testing.T) {
	long := `"` + strings.Repeat("x", 70<<10) + `"` // so that the file is rewritten
	t.Run("changes", func(t *testing.T) {
		faultfs.Exhaust(t, faultCase(
			setting(0, "k", `100`, 0, ""), setting(1, "k", `{"n":1}`, 0, ""), setting(0, "l", `2`, time.Hour, ""), setting(0, "k", `900`, 0, `100`),
			setting(2, "k", `"other"`, 0, ""), deleting(0, "l"), dropping(1), setting(1, "l", `4`, 0, ""), deleting(1, "none"), setting(0, "k", `5`, 0, ""),
		))
	})
	t.Run("marks", func(t *testing.T) {
		faultfs.Exhaust(t, faultCase(
			setting(0, "k", `1`, 0, ""), setting(2, "k", `2`, 0, ""), marking(0), marking(2), marking(1), unmarking(2), setting(0, "l", `3`, 0, ""), dropping(1), unmarking(0), marking(0),
		))
	})
	t.Run("rewriting", func(t *testing.T) {
		faultfs.Exhaust(t, faultCase(
			setting(0, "k", long, 0, ""), setting(0, "k", `1`, 0, ""), setting(0, "l", long, 0, ""), deleting(0, "l"), setting(0, "k", `3`, 0, ""),
		))
	})
}

func TestADamagedValueIsNeverTakenForAnother(t *testing.T) {
	faultfs.Flips(t, faultCase(
		setting(0, "k", `100`, 0, ""), setting(0, "l", `2`, time.Hour, ""), setting(0, "k", `900`, 0, ""), setting(1, "k", `{"n":1}`, 0, ""), deleting(1, "k"), setting(1, "l", `3`, 0, ""),
		setting(2, "k", `"other"`, 0, ""),
	))
}

func TestTheStoreOnADiskInMemoryKeepsTheContract(t *testing.T) {
	kvtest.Run(t, func(t *testing.T, now func() time.Time) kv.Store {
		f, err := kv.OpenFS(faultfs.New(1).FS(), now)
		require.NoError(t, err)
		return f
	})
}

// One damaged file concerns one module. It is told, stays, and is removed by a drop.
func TestDamageStaysWhereItIs(t *testing.T) {
	disk := faultfs.New(1)
	c := faultCase()
	f, err := c.Open(disk.FS())
	require.NoError(t, err)
	for i := range faultSpaces {
		require.NoError(t, setting(i, "k", `1`, 0, "").Do(f))
	}
	require.NoError(t, f.Close())
	disk.Edit("t-a/m-x.kv", func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	f, err = c.Open(disk.FS())
	require.NoError(t, err, "the others are served")
	for range 2 {
		assert.Equal(t, []string{"x"}, f.Report("a").Damaged)
		_, err = f.Get(t.Context(), faultSpaces[0], "k")
		require.ErrorIs(t, err, status.ErrDataLoss)
		assert.True(t, status.Convert(err).Public())
		_, err = f.Get(t.Context(), faultSpaces[0], "none")
		require.ErrorIs(t, err, status.ErrDataLoss, "what is not found may have been there")
		require.ErrorIs(t, setting(0, "k", `1`, 0, "").Do(f), status.ErrDataLoss)
		_, err = f.List(t.Context(), faultSpaces[0], "", "", 1)
		require.ErrorIs(t, err, status.ErrDataLoss)
	}
	assert.Equal(t, kv.Report{Keys: 1, Bytes: 34, Damaged: []string{"x"}}, f.Report("a"))
	assert.Equal(t, kv.Report{Keys: 1, Bytes: 34}, f.Report(faultSpaces[2].Tenant))
	for _, ns := range faultSpaces[1:] {
		value, err := f.Get(t.Context(), ns, "k")
		require.NoError(t, err)
		assert.Equal(t, `1`, string(value))
	}
	spaces, err := f.Namespaces(t.Context())
	require.NoError(t, err)
	assert.Len(t, spaces, 3)
	require.NoError(t, f.Drop(t.Context(), faultSpaces[0]))
	assert.Empty(t, f.Report("a").Damaged)
	require.NoError(t, setting(0, "k", `2`, 0, "").Do(f))
	require.NoError(t, f.Close())
}

// A value that changes under an open store is told by its own checksum, and can be set anew.
func TestAValueThatChangesUnderTheStoreIsTold(t *testing.T) {
	disk := faultfs.New(1)
	f, err := faultCase().Open(disk.FS())
	require.NoError(t, err)
	require.NoError(t, setting(0, "k", `100`, 0, "").Do(f))
	require.NoError(t, setting(0, "l", `200`, 0, "").Do(f))
	disk.Edit("t-a/m-x.kv", func(b []byte) []byte { return []byte(strings.Replace(string(b), "100", "900", 1)) })
	_, err = f.Get(t.Context(), faultSpaces[0], "k")
	require.ErrorIs(t, err, status.ErrDataLoss)
	require.ErrorIs(t, setting(0, "k", `1`, 0, `900`).Do(f), status.ErrDataLoss)
	value, err := f.Get(t.Context(), faultSpaces[0], "l")
	require.NoError(t, err)
	assert.Equal(t, `200`, string(value))
	require.NoError(t, setting(0, "k", `1`, 0, "").Do(f))
	value, err = f.Get(t.Context(), faultSpaces[0], "k")
	require.NoError(t, err)
	assert.Equal(t, `1`, string(value))
}

func TestAFileShrinksAndFewFilesAreOpen(t *testing.T) {
	disk := faultfs.New(1)
	f, err := faultCase().Open(disk.FS())
	require.NoError(t, err)
	kv.KeepOpen(f, 3)
	for round := range 3 {
		for i := range 10 {
			ns := kv.Namespace{Tenant: "t", Module: fmt.Sprint(i)}
			if round > 0 {
				value, err := f.Get(t.Context(), ns, "k")
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(round-1), string(value))
			}
			require.NoError(t, f.Set(t.Context(), ns, "k", json.RawMessage(fmt.Sprint(round)), kv.SetOptions{}, faultQuota))
			require.LessOrEqual(t, kv.OpenFiles(t, f), 3)
		}
	}
	ns := faultSpaces[0]
	for i := range 1000 {
		value := fmt.Sprintf(`"%d %s"`, i, strings.Repeat("x", 1000))
		require.NoError(t, f.Set(t.Context(), ns, "k", json.RawMessage(value), kv.SetOptions{}, faultQuota))
		require.Less(t, disk.Size("t-a/m-x.kv"), 70<<10)
	}
	require.NoError(t, f.Close())
	_, err = f.Get(t.Context(), ns, "k")
	require.Error(t, err)
	require.NotErrorIs(t, err, status.ErrDataLoss)
}

// A file in another's place, whole as it is, is nobody's.
func TestAFileIsItsModulesAlone(t *testing.T) {
	disk := faultfs.New(1)
	f, err := faultCase().Open(disk.FS())
	require.NoError(t, err)
	for i := range faultSpaces {
		require.NoError(t, setting(i, "k", `1`, 0, "").Do(f))
	}
	require.NoError(t, f.Close())
	var other []byte
	disk.Edit("t-a/m-y.kv", func(b []byte) []byte { other = b; return b })
	disk.Edit("t-a/m-x.kv", func([]byte) []byte { return other })
	f, err = faultCase().Open(disk.FS())
	require.NoError(t, err)
	_, err = f.Get(t.Context(), faultSpaces[0], "k")
	require.ErrorIs(t, err, status.ErrDataLoss)
	_, err = f.Get(t.Context(), faultSpaces[1], "k")
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// A file that can't be read keeps the others from nothing, and is read when it can be.
func TestAFileThatCanNotBeReadIsToldAtTheStart(t *testing.T) {
	disk := faultfs.New(1)
	f, err := faultCase().Open(disk.FS())
	require.NoError(t, err)
	for i := range 2 {
		require.NoError(t, setting(i, "k", `1`, 0, "").Do(f))
	}
	require.NoError(t, f.Close())
	told := 0
	for at := 1; ; at++ {
		again := disk.Cut(faultfs.Everything)
		again.Inject(faultfs.Fault{At: at, Err: syscall.EIO})
		f, err := faultCase().Open(again.FS())
		if again.Ops() < at {
			require.Positive(t, told)
			return
		}
		if err != nil {
			require.False(t, strings.HasSuffix(again.Last(), ".kv"), "one file is not the store: %s", again.Last())
			continue
		}
		if len(f.Report("a").Damaged) > 0 {
			told++
		}
		assert.Equal(t, map[string]string{"0/k": `1`, "1/k": `1`}, shown(f), "the disk is well again")
		assert.Empty(t, f.Report("a").Damaged)
		require.NoError(t, f.Close())
	}
}
