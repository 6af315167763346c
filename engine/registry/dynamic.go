package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Qualified is implemented by a [Provider] whose actions are named through it alone:
// "<provider>:<kind>/<name>", after "/dynamic-action-provider/" or not. A lookup of a
// plain key does not ask it, so that it neither shadows anything nor slows anybody down.
type Qualified interface{ Qualified() bool }

func qualified(p Provider) bool {
	q, ok := p.(Qualified)
	return ok && q.Qualified()
}

// Bounds and defaults of a [Dynamic].
const (
	// DefaultTTL is the time for which an offer is cached.
	DefaultTTL = 3 * time.Second
	// DefaultFetchTimeout bounds a fetch.
	DefaultFetchTimeout = 30 * time.Second
	// DefaultMaxActions bounds how many actions a fetch may bring.
	DefaultMaxActions = 1000
	// maxDescBytes bounds the sum of the descriptors of a fetch, in bytes.
	maxDescBytes = 8 << 20
)

// DynamicConfig configures a [Dynamic].
type DynamicConfig struct {
	Description string
	// Metadata is published beside Genkit's own.
	Metadata map[string]json.RawMessage
	// TTL is the time for which an offer is cached: 0 means [DefaultTTL], less than 0 that
	// each use fetches.
	TTL time.Duration
	// Timeout bounds a fetch; 0 means [DefaultFetchTimeout].
	Timeout time.Duration
	// MaxActions bounds how many actions a fetch may bring; 0 means [DefaultMaxActions].
	MaxActions int
}

// Fetch returns the actions that a [Dynamic] offers now. They need no prefix.
type Fetch func(ctx context.Context) ([]action.Action, error)

// Dynamic is Genkit's dynamic action provider: a [Provider] whose actions are fetched
// when they are needed and kept for a while. It is safe for concurrent use: calls that
// need the same fetch share one. (Genkit: js/core/src/dynamic-action-provider.ts.)
type Dynamic struct {
	name    string
	ttl     time.Duration
	timeout time.Duration
	limit   int
	fetch   Fetch
	act     action.Action

	mu      sync.Mutex // guards the fields below
	current *offer
	flight  *fetching
	changes int // how often it was invalidated
}

var (
	_ Provider  = (*Dynamic)(nil)
	_ Qualified = (*Dynamic)(nil)
)

// offer is the result of a fetch.
type offer struct {
	actions map[action.Key]action.Action
	descs   []action.Desc
	until   time.Time
}

// fetching is a fetch that several wait for.
type fetching struct {
	done      chan struct{}
	got       *offer
	err       error
	abandoned bool // the caller that fetched was cancelled, which is no answer for the others
}

// NewDynamic makes a provider of fetch; INVALID_ARGUMENT when the name is not usable.
func NewDynamic(name string, c DynamicConfig, fetch Fetch) (*Dynamic, error) {
	d := &Dynamic{name: name, ttl: c.TTL, timeout: c.Timeout, limit: c.MaxActions, fetch: fetch}
	if fetch == nil {
		return nil, status.Publicf(status.InvalidArgument, "dynamic action provider %q fetches nothing", name)
	}
	if strings.HasSuffix(name, ":") || strings.Contains(name, "*") {
		return nil, status.Publicf(status.InvalidArgument, "dynamic action provider %q: the name may hold no * and not end in a colon", name)
	}
	if d.ttl == 0 {
		d.ttl = DefaultTTL
	}
	if d.timeout <= 0 {
		d.timeout = DefaultFetchTimeout
	}
	if d.limit <= 0 {
		d.limit = DefaultMaxActions
	}
	desc := providerDesc(name)
	desc.Description = c.Description
	maps.Copy(desc.Metadata, c.Metadata)
	desc.Metadata["type"] = json.RawMessage(`"dynamic-action-provider"`)
	var err error
	d.act, err = action.New(desc, d.run)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func providerDesc(name string) action.Desc {
	return action.Desc{
		Kind: action.DynamicActionProvider, Name: name,
		OutputSchema: json.RawMessage(`{"type":"array","items":{"type":"object"}}`),
		Metadata:     map[string]json.RawMessage{"type": json.RawMessage(`"dynamic-action-provider"`)},
	}
}

// Name returns the provider's name.
func (d *Dynamic) Name() string { return d.name }

// Qualified says that the actions are named through the provider.
func (d *Dynamic) Qualified() bool { return true }

// Action returns /dynamic-action-provider/<name>, which fetches anew and returns what
// there is as Genkit's list of action metadata.
func (d *Dynamic) Action() action.Action { return d.act }

// Invalidate makes the next use fetch. A fetch under way still answers the callers that
// wait for it, and no others.
func (d *Dynamic) Invalidate() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.current, d.flight = nil, nil
	d.changes++
}

// Cached describes the actions of the last fetch while they are valid, without
// fetching; false when there are none.
func (d *Dynamic) Cached() ([]action.Desc, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.fresh() {
		return nil, false
	}
	return d.current.descs, true
}

func (d *Dynamic) fresh() bool {
	return d.current != nil && d.ttl > 0 && time.Now().Before(d.current.until)
}

// List describes the actions, in the order in which they were fetched.
func (d *Dynamic) List(ctx context.Context) ([]action.Desc, error) {
	o, err := d.get(ctx, true)
	if err != nil {
		return nil, err
	}
	return o.descs, nil
}

// Resolve returns the action of a key.
func (d *Dynamic) Resolve(ctx context.Context, key action.Key) (action.Action, error) {
	o, err := d.get(ctx, true)
	if err != nil {
		return nil, err
	}
	if a := o.actions[key]; a != nil {
		return a, nil
	}
	return nil, notFound(key)
}

// get returns the cached offer, or fetches a new one. traced fetches through the provider's
// action, in a span.
func (d *Dynamic) get(ctx context.Context, traced bool) (*offer, error) {
	if ctx.Value(loadKey{d}) != nil {
		return nil, status.Errorf(status.FailedPrecondition, "dynamic action provider %q asks for its own actions while it fetches them", d.name)
	}
	for {
		o, mine, wait := d.join()
		if o != nil {
			return o, nil
		}
		if mine != nil {
			return d.lead(ctx, mine, traced)
		}
		select {
		case <-wait.done:
		case <-ctx.Done():
			return nil, status.Convert(ctx.Err())
		}
		if !wait.abandoned {
			return wait.got, wait.err
		}
	}
}

func (d *Dynamic) join() (o *offer, mine, wait *fetching) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fresh() {
		return d.current, nil, nil
	}
	if d.flight != nil {
		return nil, nil, d.flight
	}
	d.flight = &fetching{done: make(chan struct{})}
	return nil, d.flight, nil
}

// slot is where a traced run leaves its offer.
type slot struct {
	d *Dynamic
	o *offer
}

type slotKey struct{}

func (d *Dynamic) lead(ctx context.Context, f *fetching, traced bool) (*offer, error) {
	defer close(f.done)
	if traced {
		s := &slot{d: d}
		_, f.err = d.act.RunJSON(context.WithValue(ctx, slotKey{}, s), nil, nil)
		f.got = s.o
	} else {
		f.got, f.err = d.load(ctx)
	}
	if f.err == nil && f.got == nil {
		f.err = status.Errorf(status.Internal, "dynamic action provider %q fetched nothing", d.name)
	}
	f.abandoned = f.err != nil && ctx.Err() != nil
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flight == f { // else it was invalidated meanwhile
		d.flight = nil
		if f.err == nil {
			d.current = f.got
		}
	}
	return f.got, f.err
}

// run is the work of the provider's action.
func (d *Dynamic) run(ctx context.Context, _ json.RawMessage, _ action.Emit) (json.RawMessage, error) {
	d.mu.Lock()
	changes := d.changes
	d.mu.Unlock()
	o, err := d.load(ctx)
	if err != nil {
		return nil, err
	}
	if s, ok := ctx.Value(slotKey{}).(*slot); ok && s.d == d {
		s.o = o
	} else {
		d.mu.Lock()
		if d.changes == changes {
			d.current = o
		}
		d.mu.Unlock()
	}
	return json.Marshal(entries(d.name, o.descs))
}

// load fetches and checks.
func (d *Dynamic) load(ctx context.Context) (o *offer, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout, errFetchTimeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			o, err = nil, status.Errorf(status.Internal, "dynamic action provider %q panicked: %v\n%s", d.name, r, debug.Stack())
		}
	}()
	actions, err := d.fetch(context.WithValue(ctx, loadKey{d}, true))
	if err != nil && errors.Is(context.Cause(ctx), errFetchTimeout) {
		return nil, status.Publicf(status.Unavailable, "dynamic action provider %q took longer than %s", d.name, d.timeout).WithCause(err)
	}
	if err != nil {
		return nil, fmt.Errorf("dynamic action provider %q: %w", d.name, err)
	}
	if o, err = d.check(actions); err != nil {
		return nil, err
	}
	o.until = time.Now().Add(d.ttl)
	return o, nil
}

// loadKey marks the context of a fetch.
type loadKey struct{ d *Dynamic }

var errFetchTimeout = errors.New("the fetch took too long")

// check bounds the result of a fetch: it may come from a server that is not trusted.
func (d *Dynamic) check(actions []action.Action) (*offer, error) {
	if len(actions) > d.limit {
		return nil, status.Publicf(status.ResourceExhausted, "dynamic action provider %q brings %d actions, more than %d", d.name, len(actions), d.limit)
	}
	o := &offer{actions: make(map[action.Key]action.Action, len(actions)), descs: make([]action.Desc, 0, len(actions))}
	size := 0
	for _, a := range actions {
		if a == nil {
			return nil, status.Errorf(status.Internal, "dynamic action provider %q brings an action that is nil", d.name)
		}
		desc := a.Desc()
		key := desc.Key()
		if size += bytesOf(desc); size > maxDescBytes {
			return nil, status.Publicf(status.ResourceExhausted, "the metadata of dynamic action provider %q exceeds %d bytes", d.name, maxDescBytes)
		}
		if key.Kind == "" || key.Kind == action.DynamicActionProvider || key.Name == "" || len(key.Name) > action.MaxNameBytes || !utf8.ValidString(key.Name) {
			return nil, status.Publicf(status.Internal, "dynamic action provider %q brings an action without a usable kind and name", d.name)
		}
		if !readable(desc) || slices.ContainsFunc(slices.Collect(maps.Values(desc.Metadata)), func(raw json.RawMessage) bool { return raw == nil }) {
			return nil, status.Publicf(status.Internal, "dynamic action provider %q describes %q by invalid JSON", d.name, key)
		}
		if o.actions[key] != nil {
			return nil, status.Publicf(status.Internal, "dynamic action provider %q brings %q twice", d.name, key)
		}
		o.actions[key] = a
		o.descs = append(o.descs, desc)
	}
	return o, nil
}

func bytesOf(d action.Desc) int {
	n := len(d.Name) + len(d.Description) + len(d.InputSchema) + len(d.OutputSchema) + len(d.StreamSchema) + len(d.InitSchema)
	for key, raw := range d.Metadata {
		n += len(key) + len(raw)
	}
	return n
}
