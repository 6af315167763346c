package registry

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Plugin brings actions and values. It has up to four phases; the first one is
// Register, which runs when the plugin is added and is for what is cheap to make:
// values such as middleware, formats and schemas, and actions that need no start. The
// others are optional interfaces: [Initializer], [ActionResolver] and [ActionLister].
//
// Whatever the later phases bring is named "<plugin>/<name>": that is how a registry
// knows whom to ask.
type Plugin interface {
	Name() string
	Register(ctx context.Context, r *Registry) error
}

// Initializer is a [Plugin] that makes its actions when the first of them is needed,
// because that asks a server, say. A success counts once; a failure fails the lookup
// that needed it with its own error, and the next lookup tries again. Of several
// lookups at once one does the work and the others wait for it. Nothing is registered
// of an Init that fails.
type Initializer interface {
	Init(ctx context.Context) ([]action.Action, error)
}

// ActionResolver is a [Plugin] that can make an action that it did not list or
// register, such as a model that came out since. It is asked for keys of its own
// prefix that nothing else has; NOT_FOUND, or nil, means that it has none either.
// Its results are cached, up to [MaxResolved] actions, and are not listed: the name
// was the caller's idea.
type ActionResolver interface {
	ResolveAction(ctx context.Context, key action.Key) (action.Action, error)
}

// ActionLister is a [Plugin] that knows its actions without starting. One that has
// Init and not this is started by the first listing. See [ListWait].
type ActionLister interface {
	ListActions(ctx context.Context) ([]action.Desc, error)
}

// MaxResolved bounds how many actions of an [ActionResolver] are kept.
const MaxResolved = 1024

// AddPlugin adds a plugin and runs its first phase. It fails with ALREADY_EXISTS when
// the registry itself has one of that name, and with INVALID_ARGUMENT when the name is
// empty or, for a plugin with later phases, holds a slash. Actions that Register added
// before it failed stay.
func (r *Registry) AddPlugin(ctx context.Context, p Plugin) error {
	name := p.Name()
	l := &lazy{name: name, plugin: p, reg: r, resolved: map[action.Key]action.Action{}}
	l.init, _ = p.(Initializer)
	l.resolver, _ = p.(ActionResolver)
	l.lister, _ = p.(ActionLister)
	if name == "" || l.phased() && strings.Contains(name, "/") {
		return status.Publicf(status.InvalidArgument, "plugin name %q: want a name without a slash", name)
	}
	if !r.reserve(l) {
		return status.Publicf(status.AlreadyExists, "plugin %q is already registered", name)
	}
	if err := register(ctx, p, r); err != nil {
		r.mu.Lock()
		delete(r.plugins, name)
		r.mu.Unlock()
		return fmt.Errorf("plugin %q: %w", name, err)
	}
	l.ready.Store(true)
	return nil
}

// Plugin returns the plugin of a name, the registry's own before its parents'; false when
// there is none.
func (r *Registry) Plugin(name string) (Plugin, bool) {
	for ; r != nil; r = r.parent {
		r.mu.RLock()
		l := r.plugins[name]
		r.mu.RUnlock()
		if l != nil && l.ready.Load() {
			return l.plugin, true
		}
	}
	return nil, false
}

func (r *Registry) reserve(l *lazy) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.plugins[l.name]; taken {
		return false
	}
	r.plugins[l.name] = l
	return true
}

func register(ctx context.Context, p Plugin, r *Registry) (err error) {
	defer func() {
		if rec := recover(); rec != nil {
			err = status.Errorf(status.Internal, "register panicked: %v\n%s", rec, debug.Stack())
		}
	}()
	return p.Register(ctx, r)
}

// InitPlugins starts the plugins that have not started yet, the parent's first, each in
// the order of the names. It goes on after a failure and returns all of them.
func (r *Registry) InitPlugins(ctx context.Context) error {
	var errs []error
	if r.parent != nil {
		errs = append(errs, r.parent.InitPlugins(ctx))
	}
	for _, l := range r.lazies() {
		errs = append(errs, l.start(ctx))
	}
	return errors.Join(errs...)
}

// lazies returns the plugins with later phases, by name.
func (r *Registry) lazies() []*lazy {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var list []*lazy
	for _, l := range r.plugins {
		if l.phased() && l.ready.Load() {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b *lazy) int { return strings.Compare(a.name, b.name) })
	return list
}

// starts tells which plugin waits for which, so that two that need each other are told
// so. One is shared by a registry and all below it.
type starts struct {
	mu sync.Mutex // guards the fields so marked of each lazy
}

// startingKey holds the chain of plugins whose Init runs in a context.
type startingKey struct{}

type starting struct {
	l     *lazy
	outer *starting
}

func (s *starting) has(l *lazy) bool {
	for ; s != nil; s = s.outer {
		if s.l == l {
			return true
		}
	}
	return false
}

// start runs Init unless that has been done. Inside the plugin's own Init it does
// nothing: what is not registered yet is not found.
func (l *lazy) start(ctx context.Context) error {
	if l.init == nil || l.done.Load() {
		return nil
	}
	chain, _ := ctx.Value(startingKey{}).(*starting)
	if chain.has(l) {
		return nil
	}
	for {
		mine, wait, err := l.join(chain)
		if err != nil {
			return err
		}
		if mine != nil {
			return l.lead(context.WithValue(ctx, startingKey{}, &starting{l, chain}), mine)
		}
		if wait == nil {
			return nil
		}
		select {
		case <-wait.done:
		case <-ctx.Done():
			l.leave(chain)
			return status.Convert(ctx.Err())
		}
		l.leave(chain)
		if !wait.abandoned {
			return wait.err
		}
	}
}

// flight is one run of an Init that several wait for.
type flight struct {
	done chan struct{}
	err  error
	// abandoned says that the caller who led it was cancelled: that is no answer for the
	// others.
	abandoned bool
}

// join returns the flight to lead or the one to wait for, and neither when the plugin
// has started.
func (l *lazy) join(chain *starting) (mine, wait *flight, err error) {
	l.reg.starts.mu.Lock()
	defer l.reg.starts.mu.Unlock()
	if l.done.Load() {
		return nil, nil, nil
	}
	if l.flight == nil {
		l.flight = &flight{done: make(chan struct{})}
		return l.flight, nil, nil
	}
	for s := chain; s != nil; s = s.outer {
		if l.needs(s.l, nil) {
			return nil, nil, status.Errorf(status.FailedPrecondition, "plugins %q and %q need each other to start", s.l.name, l.name)
		}
	}
	if chain != nil {
		chain.l.waits = append(chain.l.waits, l)
	}
	return nil, l.flight, nil
}

// needs reports whether l waits for other, or for one that does. starts.mu is held.
func (l *lazy) needs(other *lazy, seen []*lazy) bool {
	if slices.Contains(seen, l) {
		return false
	}
	return slices.ContainsFunc(l.waits, func(w *lazy) bool { return w == other || w.needs(other, append(seen, l)) })
}

func (l *lazy) leave(chain *starting) {
	if chain == nil {
		return
	}
	l.reg.starts.mu.Lock()
	defer l.reg.starts.mu.Unlock()
	if i := slices.Index(chain.l.waits, l); i >= 0 {
		chain.l.waits = slices.Delete(chain.l.waits, i, i+1)
	}
}

func (l *lazy) lead(ctx context.Context, f *flight) error {
	f.err = l.make(ctx)
	f.abandoned = f.err != nil && ctx.Err() != nil
	l.reg.starts.mu.Lock()
	defer l.reg.starts.mu.Unlock()
	l.flight = nil
	l.done.Store(f.err == nil)
	close(f.done)
	return f.err
}

// make runs Init and registers all it brings, or nothing.
func (l *lazy) make(ctx context.Context) (err error) {
	defer func() {
		if rec := recover(); rec != nil {
			err = status.Errorf(status.Internal, "plugin %q: init panicked: %v\n%s", l.name, rec, debug.Stack())
		}
	}()
	actions, err := l.init.Init(ctx)
	if err != nil {
		return fmt.Errorf("plugin %q: init: %w", l.name, err)
	}
	for _, a := range actions {
		if err := l.check(a); err != nil {
			return err
		}
	}
	if err := l.reg.Apply(Changes{Add: actions}); err != nil {
		return fmt.Errorf("plugin %q: init: %w", l.name, err)
	}
	return nil
}

func (l *lazy) check(a action.Action) error {
	if a == nil {
		return status.Errorf(status.Internal, "plugin %q brings an action that is nil", l.name)
	}
	return l.checkKey(a.Desc().Key())
}

func (l *lazy) checkKey(key action.Key) error {
	if key.Kind == "" || !l.owns(key) {
		return status.Errorf(status.Internal, "plugin %q brings %q: actions that it makes later must be named \"%s/…\"", l.name, key, l.name)
	}
	return nil
}

func (l *lazy) owns(key action.Key) bool {
	prefix, rest, found := strings.Cut(key.Name, "/")
	return found && prefix == l.name && rest != ""
}

// resolve starts the plugin and asks it for a key; nil when it has none.
func (l *lazy) resolve(ctx context.Context, key action.Key) (action.Action, error) {
	if err := l.start(ctx); err != nil {
		return nil, err
	}
	if a, _ := l.reg.own(key); a != nil {
		return a, nil
	}
	if l.resolver == nil {
		return nil, nil //nolint:nilnil // absence is no error here
	}
	l.mu.Lock()
	a := l.resolved[key]
	l.mu.Unlock()
	if a != nil {
		return a, nil
	}
	a, err := l.ask(ctx, key)
	if a == nil || err != nil {
		return nil, err
	}
	return l.keep(key, a), nil
}

func (l *lazy) ask(ctx context.Context, key action.Key) (a action.Action, err error) {
	defer func() {
		if rec := recover(); rec != nil {
			a, err = nil, status.Errorf(status.Internal, "plugin %q: resolving %q panicked: %v\n%s", l.name, key, rec, debug.Stack())
		}
	}()
	a, err = l.resolver.ResolveAction(ctx, key)
	if errors.Is(err, status.ErrNotFound) {
		return nil, nil //nolint:nilnil // absence is no error here
	}
	if err != nil {
		return nil, fmt.Errorf("plugin %q: resolve %q: %w", l.name, key, err)
	}
	if a != nil && a.Desc().Key() != key {
		return nil, status.Errorf(status.Internal, "plugin %q was asked for %q and returned %q", l.name, key, a.Desc().Key())
	}
	return a, nil
}

// keep caches a, or returns the action that another call cached first.
func (l *lazy) keep(key action.Key, a action.Action) action.Action {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first := l.resolved[key]; first != nil {
		return first
	}
	for old := range l.resolved { // any one: which of them a caller made up is not known
		if len(l.resolved) < MaxResolved {
			break
		}
		delete(l.resolved, old)
	}
	l.resolved[key] = a
	return a
}

// offers asks the plugin for what it can list.
func (l *lazy) offers(ctx context.Context) (descs []action.Desc, err error) {
	defer func() {
		if rec := recover(); rec != nil {
			descs, err = nil, status.Errorf(status.Internal, "plugin %q: listing panicked: %v\n%s", l.name, rec, debug.Stack())
		}
	}()
	if descs, err = l.lister.ListActions(ctx); err != nil {
		return nil, fmt.Errorf("plugin %q: list: %w", l.name, err)
	}
	for _, d := range descs {
		if err := l.checkKey(d.Key()); err != nil {
			return nil, err
		}
	}
	if descs, err = Readable(descs); err != nil {
		return descs, fmt.Errorf("plugin %q: list: %w", l.name, err)
	}
	return descs, nil
}
