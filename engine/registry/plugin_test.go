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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// plain is a plugin with the first phase alone.
type plain struct {
	name     string
	register func(ctx context.Context, r *registry.Registry) error
}

func (p *plain) Name() string { return p.name }

func (p *plain) Register(ctx context.Context, r *registry.Registry) error {
	if p.register == nil {
		return nil
	}
	return p.register(ctx, r)
}

// starter has Init, and counts how often it runs.
type starter struct {
	plain
	init func(ctx context.Context) ([]action.Action, error)
	runs atomic.Int32
}

func (p *starter) Init(ctx context.Context) ([]action.Action, error) {
	p.runs.Add(1)
	return p.init(ctx)
}

// full has every phase.
type full struct {
	starter
	resolve func(ctx context.Context, key action.Key) (action.Action, error)
	list    func(ctx context.Context) ([]action.Desc, error)
}

func (p *full) ResolveAction(ctx context.Context, key action.Key) (action.Action, error) {
	return p.resolve(ctx, key)
}

func (p *full) ListActions(ctx context.Context) ([]action.Desc, error) { return p.list(ctx) }

func starting(name string, init func(ctx context.Context) ([]action.Action, error)) *starter {
	return &starter{plain: plain{name: name}, init: init}
}

func brings(t testing.TB, names ...string) func(context.Context) ([]action.Action, error) {
	var actions []action.Action
	for _, name := range names {
		actions = append(actions, newAction(t, action.Model, name, `"`+name+`"`))
	}
	return func(context.Context) ([]action.Action, error) { return actions, nil }
}

func model(name string) action.Key { return action.Key{Kind: action.Model, Name: name} }

func TestAPluginStartsOnceWhenItIsNeeded(t *testing.T) {
	reg := registry.New(nil)
	p, other := starting("acme", brings(t, "acme/m", "acme/n")), starting("idle", brings(t, "idle/m"))
	require.NoError(t, reg.AddPlugin(t.Context(), p))
	require.NoError(t, reg.AddPlugin(t.Context(), other))
	require.ErrorIs(t, reg.AddPlugin(t.Context(), starting("acme", nil)), status.ErrAlreadyExists)
	assert.Zero(t, p.runs.Load(), "adding a plugin does not start it")

	child := registry.New(reg)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			a, err := child.Lookup(t.Context(), model("acme/m"))
			if assert.NoError(t, err) {
				assert.Equal(t, model("acme/m"), a.Desc().Key())
			}
		})
	}
	wg.Wait()
	_, err := child.Lookup(t.Context(), model("acme/none"))
	require.ErrorIs(t, err, status.ErrNotFound)
	_, err = child.Lookup(t.Context(), model("m"))
	require.ErrorIs(t, err, status.ErrNotFound)
	assert.EqualValues(t, 1, p.runs.Load())
	assert.Zero(t, other.runs.Load())

	a, err := child.Resolve(t.Context(), "n", action.Model)
	assert.Equal(t, `"acme/n"`, result(t, a, err), "a bare name looks at all plugins")
	assert.EqualValues(t, 1, other.runs.Load())
	_, err = child.Resolve(t.Context(), "m", action.Model)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Contains(t, err.Error(), "acme/m, idle/m")
	require.NoError(t, child.InitPlugins(t.Context()))
	assert.EqualValues(t, 1, p.runs.Load()+other.runs.Load()-1)
}

func TestAStartThatFailsSaysSoAndIsTriedAgain(t *testing.T) {
	reg := registry.New(nil)
	require.NoError(t, reg.Register(newAction(t, action.Model, "acme/taken", `0`)))
	failure := error(status.Errorf(status.Unavailable, "the key is missing"))
	var next []action.Action
	p := starting("acme", func(context.Context) ([]action.Action, error) { return next, failure })
	require.NoError(t, reg.AddPlugin(t.Context(), p))
	good := newAction(t, action.Model, "acme/m", `1`)

	_, err := reg.Lookup(t.Context(), model("acme/m"))
	require.ErrorIs(t, err, status.ErrUnavailable)
	assert.ErrorContains(t, err, `plugin "acme": init`)
	require.ErrorIs(t, reg.InitPlugins(t.Context()), status.ErrUnavailable)
	_, err = reg.Resolve(t.Context(), "m", action.Model)
	require.ErrorIs(t, err, status.ErrUnavailable, "a bare name is not missing when somebody can't be asked")

	failure = nil
	for name, broken := range map[string][]action.Action{
		"an action that is nil":         {good, nil},
		"a name without the prefix":     {good, newAction(t, action.Model, "m", `1`)},
		"a name with another's prefix":  {good, newAction(t, action.Model, "other/m", `1`)},
		"the same action twice":         {good, good},
		"an action that is there":       {good, newAction(t, action.Model, "acme/taken", `1`)},
		"the prefix and nothing behind": {good, newAction(t, action.Model, "acme/", `1`)},
	} {
		next = broken
		_, err = reg.Lookup(t.Context(), model("acme/m"))
		require.Error(t, err, name)
		require.NotErrorIs(t, err, status.ErrNotFound, name)
	}
	next = []action.Action{good}
	a, err := reg.Lookup(t.Context(), model("acme/m"))
	assert.Equal(t, `1`, result(t, a, err), "nothing of the failures stays")
	runs := p.runs.Load()
	_, err = reg.Lookup(t.Context(), model("acme/m"))
	require.NoError(t, err)
	assert.Equal(t, runs, p.runs.Load())
}

func TestAStartThatPanicsIsAnError(t *testing.T) {
	reg := registry.New(nil)
	require.NoError(t, reg.AddPlugin(t.Context(), starting("acme", func(context.Context) ([]action.Action, error) { panic("ouch") })))
	for range 2 { // the second one does not hang
		_, err := reg.Lookup(t.Context(), model("acme/m"))
		require.ErrorIs(t, err, status.ErrInternal)
	}
	err := reg.AddPlugin(t.Context(), &plain{name: "p", register: func(context.Context, *registry.Registry) error { panic("ouch") }})
	require.ErrorIs(t, err, status.ErrInternal)
	require.NoError(t, reg.AddPlugin(t.Context(), &plain{name: "p"}), "the name is free again")
}

func TestACallerWhoLeavesDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := registry.New(nil)
		release := make(chan struct{})
		p := starting("acme", nil)
		p.init = func(ctx context.Context) ([]action.Action, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-release:
				return brings(t, "acme/m")(ctx)
			}
		}
		require.NoError(t, reg.AddPlugin(t.Context(), p))
		leaving, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := reg.Lookup(leaving, model("acme/m"))
			assert.ErrorIs(t, err, context.Canceled)
		})
		synctest.Wait()
		wg.Go(func() {
			_, err := reg.Lookup(t.Context(), model("acme/m"))
			assert.NoError(t, err)
		})
		synctest.Wait()
		leave()
		synctest.Wait()
		close(release)
		wg.Wait()
		assert.EqualValues(t, 2, p.runs.Load())
	})
}

func TestPluginsThatNeedEachOtherAreToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a deadlock fails the test
		reg := registry.New(nil)
		var both sync.WaitGroup
		both.Add(2)
		needs := func(own, other string) *starter {
			return starting(own, func(ctx context.Context) ([]action.Action, error) {
				both.Done()
				both.Wait() // until the other has begun too
				_, err := reg.Lookup(ctx, model(other+"/m"))
				if err != nil && !errors.Is(err, status.ErrNotFound) {
					return nil, err
				}
				return brings(t, own+"/m")(ctx)
			})
		}
		require.NoError(t, reg.AddPlugin(t.Context(), needs("a", "b")))
		require.NoError(t, reg.AddPlugin(t.Context(), needs("b", "a")))
		errs := make(chan error, 2)
		for _, name := range []string{"a", "b"} {
			go func() {
				_, err := reg.Lookup(t.Context(), model(name+"/m"))
				errs <- err
			}()
		}
		first, second := <-errs, <-errs
		assert.True(t, errors.Is(first, status.ErrFailedPrecondition) || errors.Is(second, status.ErrFailedPrecondition), "%v, %v", first, second)
		assert.ErrorContains(t, errors.Join(first, second), "need each other to start")
	})
	reg := registry.New(nil)
	self := starting("self", func(ctx context.Context) ([]action.Action, error) {
		_, err := reg.Lookup(ctx, model("self/m"))
		if !errors.Is(err, status.ErrNotFound) {
			return nil, fmt.Errorf("want NOT_FOUND, got %w", err)
		}
		return brings(t, "self/m")(ctx)
	})
	require.NoError(t, reg.AddPlugin(t.Context(), self))
	_, err := reg.Lookup(t.Context(), model("self/m"))
	require.NoError(t, err, "a plugin may look while it starts")
}

func TestAPluginMakesWhatNobodyListed(t *testing.T) {
	reg := registry.New(nil)
	asked := 0
	p := &full{starter: *starting("acme", brings(t, "acme/known"))}
	p.list = func(context.Context) ([]action.Desc, error) {
		return []action.Desc{{Kind: action.Model, Name: "acme/known"}, {Kind: action.Model, Name: "acme/listed"}}, nil
	}
	p.resolve = func(_ context.Context, key action.Key) (action.Action, error) {
		asked++
		switch {
		case strings.HasPrefix(key.Name, "acme/made"):
			return action.New(action.Desc{Kind: key.Kind, Name: key.Name}, func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
				return json.RawMessage(`"made"`), nil
			})
		case key.Name == "acme/wrong":
			return newAction(t, action.Model, "acme/other", `0`), nil
		case key.Name == "acme/down":
			return nil, status.Errorf(status.Unavailable, "down")
		case key.Name == "acme/panics":
			panic("ouch")
		}
		return nil, status.ErrNotFound
	}
	require.NoError(t, reg.AddPlugin(t.Context(), p))

	names := func() []string {
		descs, err := reg.List(t.Context())
		require.NoError(t, err)
		var list []string
		for _, d := range descs {
			list = append(list, d.Name)
		}
		return list
	}
	assert.Equal(t, []string{"acme/known", "acme/listed"}, names())
	assert.Zero(t, p.runs.Load(), "a plugin that lists is not started for a list")
	for range 2 {
		a, err := reg.Lookup(t.Context(), model("acme/made"))
		assert.Equal(t, `"made"`, result(t, a, err))
	}
	assert.Equal(t, 1, asked, "what was made is kept")
	a, err := reg.Lookup(t.Context(), model("acme/known"))
	assert.Equal(t, `"acme/known"`, result(t, a, err))
	assert.Equal(t, 1, asked, "what is registered is not asked for")
	assert.Equal(t, []string{"acme/known", "acme/listed"}, names(), "what a caller made up is not listed")
	for name, want := range map[string]error{
		"acme/none": status.ErrNotFound, "acme/wrong": status.ErrInternal, "acme/down": status.ErrUnavailable, "acme/panics": status.ErrInternal,
	} {
		_, err := reg.Lookup(t.Context(), model(name))
		require.ErrorIs(t, err, want, name)
	}
	asked = 0
	for i := range registry.MaxResolved + 10 {
		_, err := reg.Lookup(t.Context(), model(fmt.Sprintf("acme/made%d", i)))
		require.NoError(t, err)
	}
	again := 0
	for i := range registry.MaxResolved + 10 {
		before := asked
		_, err := reg.Lookup(t.Context(), model(fmt.Sprintf("acme/made%d", i)))
		require.NoError(t, err)
		again += asked - before
	}
	assert.Positive(t, again, "what callers make up does not pile up")
}

func TestAListingThatFailsHidesNobodyElse(t *testing.T) {
	reg := registry.New(nil)
	require.NoError(t, reg.Register(newAction(t, action.Tool, "kit/add", `1`)))
	down := status.Errorf(status.Unavailable, "down")
	lister := &full{starter: *starting("acme", brings(t, "acme/m"))}
	lister.list = func(context.Context) ([]action.Desc, error) { return nil, down }
	require.NoError(t, reg.AddPlugin(t.Context(), lister))
	require.NoError(t, reg.AddPlugin(t.Context(), starting("sick", func(context.Context) ([]action.Action, error) { return nil, down })))
	liar := &full{starter: *starting("liar", brings(t))}
	liar.list = func(context.Context) ([]action.Desc, error) {
		return []action.Desc{{Kind: action.Tool, Name: "kit/add"}}, nil
	}
	require.NoError(t, reg.AddPlugin(t.Context(), liar))
	mute := &full{starter: *starting("mute", brings(t))}
	mute.list = func(context.Context) ([]action.Desc, error) { panic("ouch") }
	require.NoError(t, reg.AddPlugin(t.Context(), mute))
	require.NoError(t, reg.AddProvider(&provider{name: "dead", broken: down}))
	require.NoError(t, reg.AddProvider(&provider{name: "host", actions: []action.Action{newAction(t, action.Tool, "host/x", `2`)}}))

	descs, err := reg.List(t.Context())
	require.ErrorIs(t, err, status.ErrUnavailable)
	for _, text := range []string{"acme", "sick", "liar", "mute"} {
		assert.ErrorContains(t, err, `plugin "`+text+`"`)
	}
	var keys []string
	for _, d := range descs {
		keys = append(keys, d.Key().String())
	}
	assert.Equal(t, []string{"/tool.v2/host/x", "/tool.v2/kit/add", "/tool/host/x", "/tool/kit/add"}, keys)
	_, err = reg.Resolve(t.Context(), "add", action.Tool)
	require.ErrorIs(t, err, status.ErrUnavailable, "a provider that can't be asked might have it")
	require.True(t, reg.RemoveProvider("dead"))
	a, err := reg.Resolve(t.Context(), "add", action.Tool)
	assert.Equal(t, `1`, result(t, a, err), "a listing that fails takes nothing from the others")
}

func TestPluginNames(t *testing.T) {
	reg := registry.New(nil)
	require.ErrorIs(t, reg.AddPlugin(t.Context(), &plain{}), status.ErrInvalidArgument)
	require.ErrorIs(t, reg.AddPlugin(t.Context(), starting("a/b", nil)), status.ErrInvalidArgument)
	require.NoError(t, reg.AddPlugin(t.Context(), &plain{name: "middleware/x"}))
	require.NoError(t, registry.New(reg).AddPlugin(t.Context(), &plain{name: "middleware/x"}), "a child may have its own")
}

func TestChangesAreMadeAtOnceOrNotAtAll(t *testing.T) {
	reg := registry.New(nil)
	one, two, other := newAction(t, action.Tool, "a", `1`), newAction(t, action.Tool, "a", `2`), newAction(t, action.Tool, "b", `3`)
	require.NoError(t, reg.Apply(registry.Changes{Add: []action.Action{one}, Values: []registry.Value{{Kind: "k", Name: "n", Value: 1}}}))
	for name, c := range map[string]struct {
		changes registry.Changes
		want    error
	}{
		"a taken key":              {registry.Changes{Add: []action.Action{other, two}}, status.ErrAlreadyExists},
		"a key twice":              {registry.Changes{Add: []action.Action{other, other}}, status.ErrAlreadyExists},
		"a key added and replaced": {registry.Changes{Add: []action.Action{other}, Replace: []action.Action{other}}, status.ErrAlreadyExists},
		"nil":                      {registry.Changes{Add: []action.Action{other, nil}}, status.ErrInvalidArgument},
		"nil for another":          {registry.Changes{Add: []action.Action{other}, Replace: []action.Action{nil}}, status.ErrInvalidArgument},
		"a taken value":            {registry.Changes{Add: []action.Action{other}, Values: []registry.Value{{Kind: "k", Name: "n"}}}, status.ErrAlreadyExists},
		"a value twice":            {registry.Changes{Add: []action.Action{other}, Values: []registry.Value{{Kind: "x"}, {Kind: "x"}}}, status.ErrAlreadyExists},
	} {
		require.ErrorIs(t, reg.Apply(c.changes), c.want, name)
		_, err := reg.Lookup(t.Context(), other.Desc().Key())
		require.ErrorIs(t, err, status.ErrNotFound, name)
	}
	require.NoError(t, reg.Apply(registry.Changes{Remove: []action.Key{one.Desc().Key(), {Kind: action.Tool, Name: "gone"}}, Add: []action.Action{two, other}}))
	a, err := reg.Lookup(t.Context(), one.Desc().Key())
	assert.Equal(t, `2`, result(t, a, err))
	require.NoError(t, reg.Apply(registry.Changes{Replace: []action.Action{one}}))
	a, err = reg.Lookup(t.Context(), one.Desc().Key())
	assert.Equal(t, `1`, result(t, a, err))
}

func TestASwapIsNeverSeenHalfDone(t *testing.T) {
	reg := registry.New(nil)
	set := func(v string) []action.Action {
		return []action.Action{newAction(t, action.Tool, "a", v), newAction(t, action.Tool, "b", v)}
	}
	sets := [][]action.Action{set(`1`), set(`2`)}
	require.NoError(t, reg.Apply(registry.Changes{Add: sets[0]}))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 200 {
				_ = reg.Apply(registry.Changes{Replace: sets[i%2]})
				descs, err := reg.List(context.Background())
				if assert.NoError(t, err) && assert.Len(t, descs, 4) {
					assert.Equal(t, descs[2].Description, descs[3].Description)
				}
			}
		})
	}
	wg.Wait()
}

func TestTheClientHeaderIsOneOfHTTP(t *testing.T) {
	reg := registry.New(registry.New(nil))
	assert.Empty(t, reg.ClientHeader())
	require.NoError(t, reg.SetClientHeader("acme-app/1.2 (x)"))
	assert.Equal(t, "acme-app/1.2 (x)", registry.New(reg).ClientHeader())
	for _, bad := range []string{"a\r\nX-Evil: 1", "ü", strings.Repeat("x", 257)} {
		require.ErrorIs(t, reg.SetClientHeader(bad), status.ErrInvalidArgument)
	}
}

func TestTheClientHeaderIsThatOfTheRegistryThatIsAsked(t *testing.T) {
	reg := registry.New(nil)
	plain := registry.ClientHeaderOf(t.Context())
	assert.Regexp(t, `^genkit-wasm/\S+ gl-go/1\.\S+$`, plain)
	assert.Equal(t, plain, registry.ClientHeaderOf(reg.WithClientHeader(t.Context())))
	require.NoError(t, reg.SetClientHeader("app/1"))
	ctx := reg.WithClientHeader(t.Context())
	assert.Equal(t, plain+" app/1", registry.ClientHeaderOf(ctx))
	child := registry.New(reg)
	require.NoError(t, child.SetClientHeader("child/2"))
	assert.Equal(t, plain+" child/2", registry.ClientHeaderOf(child.WithClientHeader(ctx)))
	assert.Equal(t, plain, registry.ClientHeaderOf(registry.New(nil).WithClientHeader(ctx)), "another registry's is not handed on")
	assert.Equal(t, "aX: b", registry.ScrubHeader(" a\r\nX: b\x00\x7f\u00fc "))
}

// halfway lists something and fails.
type halfway struct{}

func (halfway) Name() string { return "halfway" }
func (halfway) List(context.Context) ([]action.Desc, error) {
	return []action.Desc{{Kind: action.Flow, Name: "halfway/a"}}, status.ErrUnavailable
}

func (halfway) Resolve(context.Context, action.Key) (action.Action, error) {
	return nil, status.ErrNotFound
}

func TestAListingKeepsWhatAProviderKnowsBesideItsError(t *testing.T) {
	reg := registry.New(nil)
	require.NoError(t, reg.AddProvider(halfway{}))
	descs, err := reg.List(t.Context())
	require.ErrorIs(t, err, status.ErrUnavailable)
	require.Len(t, descs, 1)
	assert.Equal(t, "halfway/a", descs[0].Name)
}

func TestPluginsUnderLoad(t *testing.T) {
	var tries atomic.Int32
	root := registry.New(nil)
	for i := range 6 {
		own, needed := fmt.Sprintf("p%d", i), fmt.Sprintf("p%d", i+1)
		p := &full{starter: *starting(own, func(ctx context.Context) ([]action.Action, error) {
			if tries.Add(1)%4 == 0 {
				return nil, status.ErrUnavailable
			}
			if i < 5 { // each needs the next one
				if _, err := root.Lookup(ctx, model(needed+"/m")); err != nil {
					return nil, err
				}
			}
			return brings(t, own+"/m")(ctx)
		})}
		p.resolve = func(_ context.Context, key action.Key) (action.Action, error) {
			return newAction(t, key.Kind, key.Name, `1`), nil
		}
		p.list = func(context.Context) ([]action.Desc, error) { return nil, nil }
		require.NoError(t, root.AddPlugin(t.Context(), p))
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			child := registry.New(root)
			for j := range 60 {
				ctx, cancel := context.WithCancel(context.Background())
				if j%5 == 0 {
					cancel()
				}
				name := fmt.Sprintf("p%d/", (i+j)%6)
				_, _ = child.Lookup(ctx, model(name+"m"))
				_, _ = child.Lookup(ctx, model(fmt.Sprintf("%sn%d", name, j%3)))
				_, _ = child.List(ctx)
				cancel()
			}
		})
	}
	wg.Wait()
	tries.Store(0)
	var err error
	for range 30 { // each try may fail once
		if err = root.InitPlugins(t.Context()); err == nil {
			break
		}
	}
	require.NoError(t, err)
	for i := range 6 {
		a, err := root.Lookup(t.Context(), model(fmt.Sprintf("p%d/m", i)))
		assert.Equal(t, fmt.Sprintf(`"p%d/m"`, i), result(t, a, err))
	}
}
