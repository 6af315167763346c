package usage_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/faultfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// counting counts a call of a tool and has the sums stored.
func counting(tool string) faultfs.Step[*usage.Book] {
	return faultfs.Step[*usage.Book]{
		Name: "count " + tool,
		Do: func(b *usage.Book) error {
			b.Record(tenant.Event{Time: at("2030-01-31T12:00:00Z"), Tenant: "acme", Tool: tool})
			return b.Flush()
		},
		Model: func(state map[string]string) {
			var n int
			_, _ = fmt.Sscan(state[tool], &n)
			state[tool] = fmt.Sprint(n + 1)
		},
	}
}

// No fault of the disk and no power cut takes a call from the sums that Flush has acknowledged, or has one counted twice.
func TestNoFaultOfTheDiskLosesASum(t *testing.T) {
	day := at("2030-01-31T12:00:00Z")
	faultfs.Exhaust(t, faultfs.Case[*usage.Book]{
		Open: func(files storedir.FS) (*usage.Book, error) {
			return usage.OpenFS(usage.Config{}, files, func() time.Time { return day })
		},
		Close: func(b *usage.Book) error { return b.Close() },
		Steps: []faultfs.Step[*usage.Book]{counting("a"), counting("b"), counting("a"), counting("c"), counting("a")},
		State: func(b *usage.Book) map[string]string {
			state := map[string]string{}
			r, err := b.Report(t.Context(), usage.Query{By: []string{"tool"}, Since: day, Until: day})
			if err != nil {
				return map[string]string{"all": faultfs.Failed(err)}
			}
			for _, row := range r.Rows {
				state[row.Tool] = fmt.Sprint(row.Calls)
			}
			return state
		},
		Uncertain: true, // what could not be stored is counted, and lost with the process
	})
}

// A disk that is full or can't be written is told, keeps no call from being counted and no event from
// its sink, and leaves no damage.
func TestADiskThatCantBeWrittenIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		says string
	}{
		"full":      {syscall.ENOSPC, "disk is full"},
		"read-only": {syscall.EROFS, "may not write"},
		"broken":    {syscall.EIO, "the usage accounts can't be written"},
	} {
		t.Run(name, func(t *testing.T) {
			disk, r := faultfs.New(1), newReceiver(t)
			b, err := usage.OpenFS(usage.Config{Sinks: []usage.Target{r.sink(t)}}, disk.FS(), time.Now)
			require.NoError(t, err)
			countTools(b, 0, 5)
			require.NoError(t, b.Flush())
			eventually(t, func() bool { return len(r.names()) == 5 && b.Sinks()[0].Queued == 0 }, "all is well")
			disk.Inject(faultfs.Fault{At: disk.Ops() + 1, Err: test.err, Sticky: true})
			countTools(b, 5, 8)
			err = b.Flush()
			require.ErrorIs(t, err, status.ErrUnavailable)
			assert.Contains(t, status.ToWire(err, false).Message, test.says)
			eventually(t, func() bool { return b.Sinks()[0].Queued >= 3 }, "events wait in memory")
			disk.Inject(faultfs.Fault{})
			countTools(b, 8, 9)
			eventually(t, func() bool { return len(r.names()) == 9 && b.Sinks()[0].Queued == 0 }, "and are delivered when the disk is well")
			require.NoError(t, b.Flush())
			require.NoError(t, b.Close())
			disk.Restart()
			b, err = usage.OpenFS(usage.Config{Sinks: []usage.Target{r.sink(t)}}, disk.FS(), time.Now)
			require.NoError(t, err)
			sums := report(t, b, "", usage.Query{})
			assert.EqualValues(t, 9, sums.Total.Calls)
			assert.Zero(t, sums.Damaged)
			require.NoError(t, b.Close())
		})
	}
}
