package registry_test

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// stubborn is a provider whose List does what it likes.
type stubborn struct {
	list func(ctx context.Context) ([]action.Desc, error)
}

func (stubborn) Name() string { return "slow" }

func (s stubborn) List(ctx context.Context) ([]action.Desc, error) { return s.list(ctx) }

func (stubborn) Resolve(context.Context, action.Key) (action.Action, error) {
	return nil, status.ErrNotFound
}

// Whoever hangs is named and missing, and keeps nothing else from being listed: when it
// is first asked for as long as a listing waits, later for no time. Once it is done, what
// it offers is there.
func TestAListingDoesNotWaitForWhoHangs(t *testing.T) {
	descs := []action.Desc{{Kind: action.Model, Name: "slow/m"}}
	type setup func(reg *registry.Registry, hang func(ctx context.Context)) error
	for name, c := range map[string]struct {
		add   setup
		found string
	}{
		"init": {func(reg *registry.Registry, hang func(ctx context.Context)) error {
			init := brings(t, "slow/m")
			return reg.AddPlugin(t.Context(), starting("slow", func(ctx context.Context) ([]action.Action, error) { hang(ctx); return init(ctx) }))
		}, "/model/slow/m"},
		"list": {func(reg *registry.Registry, hang func(ctx context.Context)) error {
			p := &full{starter: *starting("slow", brings(t)), list: func(ctx context.Context) ([]action.Desc, error) { hang(ctx); return descs, ctx.Err() }}
			return reg.AddPlugin(t.Context(), p)
		}, "/model/slow/m"},
		"provider": {func(reg *registry.Registry, hang func(ctx context.Context)) error {
			return reg.AddProvider(stubborn{func(ctx context.Context) ([]action.Desc, error) { hang(ctx); return descs, ctx.Err() }})
		}, "/model/slow/m"},
		"fetch": {func(reg *registry.Registry, hang func(ctx context.Context)) error {
			fetch := brings(t, "x")
			return reg.AddProvider(newNamed(t, "slow", registry.DynamicConfig{TTL: time.Hour}, &shelf{fetch: func(ctx context.Context) ([]action.Action, error) { hang(ctx); return fetch(ctx) }}))
		}, "/dynamic-action-provider/slow:model/x"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reg := registry.New(nil)
				require.NoError(t, reg.Register(newAction(t, action.Tool, "good", `1`)))
				release := make(chan struct{})
				var asked atomic.Int32
				require.NoError(t, c.add(reg, func(context.Context) { asked.Add(1); <-release }))
				for i, wait := range []time.Duration{registry.ListWait, 0, 0} {
					begun := time.Now()
					all, err := reg.Catalog(t.Context())
					require.ErrorIs(t, err, status.ErrUnavailable, i)
					assert.Contains(t, err.Error(), `"slow" has not answered within 5s`)
					assert.Equal(t, wait, time.Since(begun), i)
					assert.Contains(t, keysOf(all), "/tool/good")
					assert.NotContains(t, keysOf(all), c.found)
				}
				assert.EqualValues(t, 1, asked.Load(), "it is asked once")
				close(release)
				synctest.Wait()
				all, err := reg.Catalog(t.Context())
				require.NoError(t, err)
				assert.Contains(t, keysOf(all), c.found)
			})
		})
	}
}

// A caller who leaves ends its own wait, and makes nobody late.
func TestACallerWhoLeavesMakesNobodyLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := registry.New(nil)
		release := make(chan struct{})
		require.NoError(t, reg.AddPlugin(t.Context(), starting("slow", func(ctx context.Context) ([]action.Action, error) {
			<-release
			return brings(t, "slow/m")(ctx)
		})))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := reg.List(ctx)
		require.ErrorIs(t, err, status.ErrDeadlineExceeded)
		time.AfterFunc(time.Second, func() { close(release) })
		begun := time.Now()
		all, err := reg.List(t.Context())
		require.NoError(t, err)
		assert.Len(t, all, 1)
		assert.Equal(t, time.Second, time.Since(begun))
	})
}

// What a listing has found of a plugin that can list, and hangs when it starts, is not
// waited for either.
func TestLookingUpWhatIsListedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := registry.New(nil)
		release := make(chan struct{})
		p := &full{
			starter: *starting("slow", func(ctx context.Context) ([]action.Action, error) { <-release; return brings(t, "slow/m")(ctx) }),
			list: func(context.Context) ([]action.Desc, error) {
				return []action.Desc{{Kind: action.Model, Name: "slow/m"}}, nil
			},
		}
		require.NoError(t, reg.AddPlugin(t.Context(), p))
		_, err := registry.New(reg).LookupListed(t.Context(), model("slow/m"))
		require.ErrorIs(t, err, status.ErrUnavailable)
		close(release)
		synctest.Wait()
		a, err := registry.New(reg).LookupListed(t.Context(), model("slow/m"))
		assert.Equal(t, `"slow/m"`, result(t, a, err))
		_, err = reg.LookupListed(t.Context(), model("none"))
		require.ErrorIs(t, err, status.ErrNotFound)
	})
}

// A panic of a provider is an error, and one action that can't be encoded is left out.
func TestOneBadActionOrProviderHidesNoOther(t *testing.T) {
	bad := []action.Desc{
		{Kind: action.Model, Name: "slow/schema", InputSchema: json.RawMessage(`{not json`)},
		{Kind: action.Model, Name: "slow/out", OutputSchema: json.RawMessage(`}`)},
		{Kind: action.Model, Name: "slow/note", Metadata: map[string]json.RawMessage{"m": json.RawMessage(`nope`)}},
		{Kind: action.Model, Name: "slow/fine", Metadata: map[string]json.RawMessage{"m": nil}},
	}
	for name, c := range map[string]struct {
		add  func(reg *registry.Registry) error
		errs []string
		all  []string
	}{
		"plugin": {func(reg *registry.Registry) error {
			return reg.AddPlugin(t.Context(), &full{starter: *starting("slow", brings(t)), list: func(context.Context) ([]action.Desc, error) { return bad, nil }})
		}, []string{"/model/slow/schema", "/model/slow/out", "/model/slow/note", `plugin "slow"`}, []string{"/model/slow/fine", "/tool.v2/good", "/tool/good"}},
		"provider": {func(reg *registry.Registry) error {
			return reg.AddProvider(stubborn{func(context.Context) ([]action.Desc, error) { return bad, nil }})
		}, []string{"/model/slow/schema", "/model/slow/out", "/model/slow/note"}, []string{"/dynamic-action-provider/slow", "/model/slow/fine", "/tool.v2/good", "/tool/good"}},
		"panic": {func(reg *registry.Registry) error {
			return reg.AddProvider(stubborn{func(context.Context) ([]action.Desc, error) { panic("ouch") }})
		}, []string{`provider "slow" panicked: ouch`}, []string{"/dynamic-action-provider/slow", "/tool.v2/good", "/tool/good"}},
	} {
		t.Run(name, func(t *testing.T) {
			reg := registry.New(nil)
			require.NoError(t, reg.Register(newAction(t, action.Tool, "good", `1`)))
			require.NoError(t, c.add(reg))
			all, err := reg.Catalog(t.Context())
			require.ErrorIs(t, err, status.ErrInternal)
			for _, text := range c.errs {
				assert.ErrorContains(t, err, text)
			}
			assert.Equal(t, c.all, keysOf(all))
			_, err = json.Marshal(all)
			require.NoError(t, err)
		})
	}
}
