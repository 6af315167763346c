package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

// shelf is a source whose offer can be changed, and that counts its fetches.
type shelf struct {
	fetches atomic.Int32
	fetch   func(ctx context.Context) ([]action.Action, error)
}

func (s *shelf) Fetch(ctx context.Context) ([]action.Action, error) {
	s.fetches.Add(1)
	return s.fetch(ctx)
}

func offers(actions ...action.Action) func(context.Context) ([]action.Action, error) {
	return func(context.Context) ([]action.Action, error) { return actions, nil }
}

func newDynamic(t testing.TB, c registry.DynamicConfig, s *shelf) *registry.Dynamic {
	t.Helper()
	return newNamed(t, "mcp", c, s)
}

func newNamed(t testing.TB, name string, c registry.DynamicConfig, s *shelf) *registry.Dynamic {
	t.Helper()
	d, err := registry.NewDynamic(name, c, s.Fetch)
	require.NoError(t, err)
	return d
}

func key(name string) action.Key {
	return action.Key{Kind: action.DynamicActionProvider, Name: name}
}

func TestADynamicProvidersActionsAreNamedThroughIt(t *testing.T) {
	s := &shelf{fetch: offers(newAction(t, action.Tool, "x", `"x"`), newAction(t, action.ToolV2, "v", `{"output":1}`), newAction(t, action.Resource, "a:b/c", `"r"`))}
	reg := registry.New(nil)
	d := newNamed(t, "mcp", registry.DynamicConfig{Description: "Talks.", Metadata: map[string]json.RawMessage{"k": json.RawMessage(`1`), "type": json.RawMessage(`"lie"`)}}, s)
	require.NoError(t, reg.AddProvider(d))
	require.NoError(t, reg.Register(newAction(t, action.Tool, "other", `"other"`)))
	child := registry.New(reg)

	for name, want := range map[string]string{"mcp:tool/x": `"x"`, "mcp:tool.v2/v": `{"output":1}`, "mcp:resource/a:b/c": `"r"`} {
		a, err := child.Lookup(t.Context(), key(name))
		assert.Equal(t, want, result(t, a, err), name)
	}
	a, err := child.Resolve(t.Context(), "/dynamic-action-provider/mcp:tool/x", action.Tool)
	assert.Equal(t, `"x"`, result(t, a, err))
	own, err := child.Lookup(t.Context(), key("mcp"))
	require.NoError(t, err)
	assert.JSONEq(t, `{"key":"/dynamic-action-provider/mcp","type":"dynamic-action-provider","name":"mcp","description":"Talks.",
		"outputSchema":{"type":"array","items":{"type":"object"}},"metadata":{"type":"dynamic-action-provider","k":1}}`, asJSON(t, own.Desc()))
	assert.JSONEq(t, `[{"key":"/dynamic-action-provider/mcp:tool/x","type":"tool","name":"x","description":"\"x\""},
		{"key":"/dynamic-action-provider/mcp:tool.v2/v","type":"tool.v2","name":"v","description":"{\"output\":1}"},
		{"key":"/dynamic-action-provider/mcp:resource/a:b/c","type":"resource","name":"a:b/c","description":"\"r\""}]`, result(t, own, nil))

	fetches := s.fetches.Load()
	for _, ref := range []string{"x", "/tool/x", "other"} {
		_, err := child.Resolve(t.Context(), ref, action.Tool)
		if ref != "other" {
			require.ErrorIs(t, err, status.ErrNotFound, "a plain key does not find what is named through a provider")
		}
	}
	_, err = child.List(t.Context())
	require.NoError(t, err)
	assert.Equal(t, fetches, s.fetches.Load(), "and does not ask it")

	for ref, want := range map[string]error{
		"mcp:tool/none": status.ErrNotFound, "mcp:tool/*": status.ErrInvalidArgument, "mcp:tool/": status.ErrNotFound,
		"mcp:": status.ErrNotFound, "none:tool/x": status.ErrNotFound, "none": status.ErrNotFound, "mcp:model/x": status.ErrNotFound,
	} {
		_, err := child.Lookup(t.Context(), key(ref))
		require.ErrorIs(t, err, want, ref)
	}
	_, err = child.Resolve(t.Context(), "/dynamic-action-provider/mcp:tool/x", action.Model)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = child.Resolve(t.Context(), "/dynamic-action-provider/mcp:tool/*", action.Tool)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}

func TestWhatWasFetchedIsGoodForAWhile(t *testing.T) {
	for name, c := range map[string]struct {
		ttl  time.Duration
		want []int32 // fetches after a use at 0 s, 2.9 s, 3.1 s and 60 s
	}{
		"three seconds, unless it is said": {0, []int32{1, 1, 2, 3}},
		"as long as is said":               {time.Minute, []int32{1, 1, 1, 2}},
		"not at all":                       {-1, []int32{1, 2, 3, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &shelf{fetch: offers(newAction(t, action.Tool, "x", `1`))}
				d := newDynamic(t, registry.DynamicConfig{TTL: c.ttl}, s)
				start := time.Now()
				for i, at := range []time.Duration{0, 2900 * time.Millisecond, 3100 * time.Millisecond, time.Minute} {
					time.Sleep(at - time.Since(start)) // the bubble's clock
					_, err := d.Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "x"})
					require.NoError(t, err)
					assert.Equal(t, c.want[i], s.fetches.Load(), at)
				}
			})
		})
	}
}

func TestUsesAtOnceShareAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		down := status.Errorf(status.Unavailable, "down")
		var failure error
		s := &shelf{}
		s.fetch = func(ctx context.Context) ([]action.Action, error) {
			select {
			case <-release:
				return []action.Action{newAction(t, action.Tool, "x", `1`)}, failure
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		d := newDynamic(t, registry.DynamicConfig{}, s)
		use := func(ctx context.Context, want error) func() {
			return func() {
				_, err := d.List(ctx)
				assert.ErrorIs(t, err, want)
			}
		}
		var wg sync.WaitGroup
		leaving, leave := context.WithCancel(t.Context())
		wg.Go(use(leaving, context.Canceled)) // leads
		synctest.Wait()
		for range 8 {
			wg.Go(use(t.Context(), nil))
		}
		impatient, stop := context.WithCancel(t.Context())
		wg.Go(use(impatient, status.ErrCancelled))
		synctest.Wait()
		stop()
		leave() // one of the others leads now
		synctest.Wait()
		assert.EqualValues(t, 2, s.fetches.Load())
		release <- struct{}{}
		wg.Wait()
		assert.EqualValues(t, 2, s.fetches.Load())

		d.Invalidate()
		failure = down
		for range 4 {
			wg.Go(use(t.Context(), status.ErrUnavailable))
		}
		synctest.Wait()
		release <- struct{}{}
		wg.Wait()
		assert.EqualValues(t, 3, s.fetches.Load(), "a failure is shared too")
		failure = nil
		close(release)
		use(t.Context(), nil)()
		assert.EqualValues(t, 4, s.fetches.Load(), "and is not kept")
	})
}

func TestInvalidatingReachesAFetchUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan string)
		s := &shelf{fetch: func(context.Context) ([]action.Action, error) {
			return []action.Action{newAction(t, action.Tool, <-release, `1`)}, nil
		}}
		d := newDynamic(t, registry.DynamicConfig{}, s)
		got := make(chan string, 2)
		list := func() {
			descs, err := d.List(t.Context())
			if assert.NoError(t, err) {
				got <- descs[0].Name
			}
		}
		go list()
		synctest.Wait()
		d.Invalidate() // the world has changed
		go list()
		synctest.Wait()
		release <- "a"
		release <- "b"
		assert.ElementsMatch(t, []string{"a", "b"}, []string{<-got, <-got}, "who comes after the change does not get what was fetched before it")
		cached, ok := d.Cached()
		require.True(t, ok)
		require.Len(t, cached, 1)
		d.Invalidate()
		_, ok = d.Cached()
		assert.False(t, ok)
	})
}

func TestAFetchThatAsksForItselfIsToldSo(t *testing.T) {
	reg := registry.New(nil)
	s := &shelf{fetch: func(ctx context.Context) ([]action.Action, error) {
		_, err := reg.Lookup(ctx, key("mcp:tool/x"))
		return nil, err
	}}
	require.NoError(t, reg.AddProvider(newDynamic(t, registry.DynamicConfig{}, s)))
	_, err := reg.Lookup(t.Context(), key("mcp:tool/x"))
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	_, err = reg.Catalog(t.Context())
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
}

func TestARunOfTheProviderDoesNotBringBackWhatWasInvalidated(t *testing.T) {
	var d *registry.Dynamic
	s := &shelf{fetch: func(context.Context) ([]action.Action, error) {
		d.Invalidate()
		return []action.Action{newAction(t, action.Tool, "x", `1`)}, nil
	}}
	d = newDynamic(t, registry.DynamicConfig{}, s)
	_, err := d.Action().RunJSON(t.Context(), nil, nil)
	require.NoError(t, err)
	_, kept := d.Cached()
	assert.False(t, kept)
	s.fetch = offers(newAction(t, action.Tool, "y", `1`))
	_, err = d.Action().RunJSON(t.Context(), nil, nil)
	require.NoError(t, err)
	descs, kept := d.Cached()
	assert.True(t, kept, "a run fetches for everybody")
	assert.Equal(t, "y", descs[0].Name)
}

func TestHostileOffersAreRefused(t *testing.T) {
	x := newAction(t, action.Tool, "x", `1`)
	huge, err := action.New(action.Desc{Kind: action.Tool, Name: "huge", Description: strings.Repeat("x", 9<<20)}, nil)
	require.NoError(t, err)
	var many []action.Action
	for i := range 11 {
		many = append(many, newAction(t, action.Tool, fmt.Sprint(i), `1`))
	}
	for name, c := range map[string]struct {
		fetch func(context.Context) ([]action.Action, error)
		want  error
	}{
		"too many":              {offers(many...), status.ErrResourceExhausted},
		"too much to say":       {offers(huge), status.ErrResourceExhausted},
		"nil":                   {offers(x, nil), status.ErrInternal},
		"twice":                 {offers(x, x), status.ErrInternal},
		"a provider":            {offers(newAction(t, action.DynamicActionProvider, "p", `1`)), status.ErrInternal},
		"no name":               {offers(named{x, ""}), status.ErrInternal},
		"a long name":           {offers(named{x, strings.Repeat("x", 300)}), status.ErrInternal},
		"a name that is bytes":  {offers(named{x, "\xff"}), status.ErrInternal},
		"a schema that is none": {offers(described{x, action.Desc{Kind: action.Tool, Name: "x", InputSchema: json.RawMessage("{")}}), status.ErrInternal},
		"metadata that is none": {offers(described{x, action.Desc{Kind: action.Tool, Name: "x", Metadata: map[string]json.RawMessage{"a": nil}}}), status.ErrInternal},
		"a panic":               {func(context.Context) ([]action.Action, error) { panic("ouch") }, status.ErrInternal},
		"its own error":         {func(context.Context) ([]action.Action, error) { return nil, status.ErrPermissionDenied }, status.ErrPermissionDenied},
	} {
		reg := registry.New(nil)
		require.NoError(t, reg.AddProvider(newDynamic(t, registry.DynamicConfig{MaxActions: 10}, &shelf{fetch: c.fetch})))
		require.NoError(t, reg.AddProvider(newNamed(t, "well", registry.DynamicConfig{}, &shelf{fetch: offers(x)})))
		_, err := reg.Lookup(t.Context(), key("mcp:tool/x"))
		require.ErrorIs(t, err, c.want, name)
		a, err := reg.Lookup(t.Context(), key("well:tool/x"))
		assert.Equal(t, `1`, result(t, a, err), name)
		all, err := reg.Catalog(t.Context())
		require.ErrorIs(t, err, c.want, name)
		assert.Equal(t, []string{"/dynamic-action-provider/mcp", "/dynamic-action-provider/well", "/dynamic-action-provider/well:tool/x"}, keysOf(all), name)
	}
	synctest.Test(t, func(t *testing.T) {
		slow := &shelf{fetch: func(ctx context.Context) ([]action.Action, error) { <-ctx.Done(); return nil, ctx.Err() }}
		d := newDynamic(t, registry.DynamicConfig{Timeout: time.Second}, slow)
		_, err := d.List(t.Context())
		require.ErrorIs(t, err, status.ErrUnavailable)
		assert.ErrorContains(t, err, "took longer than 1s")
	})
	for _, name := range []string{"", "a*", "a:", "a\nb", strings.Repeat("x", 300)} {
		_, err := registry.NewDynamic(name, registry.DynamicConfig{}, (&shelf{}).Fetch)
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
	_, err = registry.NewDynamic("x", registry.DynamicConfig{}, nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

// named is an action that no constructor has checked.
type named struct {
	action.Action
	name string
}

func (n named) Desc() action.Desc {
	d := n.Action.Desc()
	d.Name = n.name
	return d
}

// described says of itself what it likes.
type described struct {
	action.Action
	desc action.Desc
}

func (d described) Desc() action.Desc { return d.desc }

func keysOf(entries []registry.Entry) []string {
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.Key
	}
	return keys
}

func TestTheCatalogShowsItAllWithoutASpan(t *testing.T) {
	spans := &telemetrytest.Spans{}
	ctx := telemetry.WithTracerProvider(t.Context(), spans)
	parent := registry.New(nil)
	require.NoError(t, parent.AddProvider(newDynamic(t, registry.DynamicConfig{TTL: -1}, &shelf{fetch: offers(newAction(t, action.Tool, "x", `1`))})))
	require.NoError(t, parent.AddProvider(&provider{name: "wasm/acme", actions: []action.Action{newAction(t, action.Resource, "r", `1`)}}))
	child := registry.New(parent)
	require.NoError(t, child.Register(newAction(t, action.Model, "m", `1`)))
	require.NoError(t, child.AddProvider(newNamed(t, "mine", registry.DynamicConfig{}, &shelf{fetch: offers()})))
	all, err := child.Catalog(ctx)
	require.NoError(t, err)
	assert.Equal(t, []string{
		"/dynamic-action-provider/mcp", "/dynamic-action-provider/mcp:tool/x", "/dynamic-action-provider/mine", "/dynamic-action-provider/wasm/acme",
		"/model/m", "/resource/r",
	}, keysOf(all))
	assert.JSONEq(t, `{"key":"/dynamic-action-provider/mcp:tool/x","type":"tool","name":"x","description":"1"}`, asJSON(t, all[1]))
	assert.Empty(t, spans.Ended())
	_, err = child.Lookup(ctx, key("mcp:tool/x"))
	require.NoError(t, err)
	require.Len(t, spans.Ended(), 1, "a use is traced")
	assert.Equal(t, "/{mcp,t:action}", spans.Ended()[0]["genkit:path"])
	own, err := child.Lookup(t.Context(), key("wasm/acme"))
	assert.JSONEq(t, `[{"key":"/dynamic-action-provider/wasm/acme:resource/r","type":"resource","name":"r","description":"1"}]`, result(t, own, err), "every provider has an action")
	a, err := child.Lookup(t.Context(), key("wasm/acme:resource/r"))
	assert.Equal(t, `1`, result(t, a, err))
}

func TestProvidersComeAndGo(t *testing.T) {
	reg := registry.New(nil)
	p := func(v string) registry.Provider {
		return &provider{name: "p", actions: []action.Action{newAction(t, action.Tool, "x", v)}}
	}
	require.NoError(t, reg.AddProvider(p(`1`)))
	require.NoError(t, reg.ReplaceProvider(p(`2`)))
	require.NoError(t, reg.ReplaceProvider(&provider{name: "q"}))
	a, err := reg.Lookup(t.Context(), action.Key{Kind: action.Tool, Name: "x"})
	assert.Equal(t, `2`, result(t, a, err))
	assert.True(t, reg.RemoveProvider("p"))
	assert.False(t, reg.RemoveProvider("p"))
	_, err = reg.Lookup(t.Context(), action.Key{Kind: action.Tool, Name: "x"})
	require.ErrorIs(t, err, status.ErrNotFound)
	require.ErrorIs(t, reg.AddProvider(&provider{name: "a\nb"}), status.ErrInvalidArgument)
}

func TestDynamicProvidersUnderLoad(t *testing.T) {
	var n atomic.Int64
	s := &shelf{fetch: func(context.Context) ([]action.Action, error) {
		if n.Add(1)%5 == 0 {
			return nil, errors.New("now and then")
		}
		return []action.Action{newAction(t, action.Tool, "x", `1`)}, nil
	}}
	reg := registry.New(nil)
	d := newDynamic(t, registry.DynamicConfig{TTL: time.Microsecond}, s)
	require.NoError(t, reg.AddProvider(d))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				ctx, cancel := context.WithCancel(context.Background())
				if j%7 == 0 {
					cancel()
				}
				_, _ = reg.Lookup(ctx, key("mcp:tool/x"))
				_, _ = reg.Catalog(ctx)
				_ = reg.ReplaceProvider(d)
				if i == 0 {
					d.Invalidate()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	n.Store(0)
	d.Invalidate()
	_, err := d.List(t.Context())
	require.NoError(t, err)
}
