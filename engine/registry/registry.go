// Package registry keeps the actions and values of an engine: actions by key, values by kind
// and name, and the providers through which actions appear at run time.
//
// It owns resolution: a key is looked for among the registry's own actions, then
// its providers, then the parent. Child registries shadow their parent, which is
// how a tenant or a single generate call sees more than everybody else. A plain
// tool is found and listed as /tool/<name> and as /tool.v2/<name>; the second form
// is made at the level where the plain one is, so that it is never another tool's.
// Use:
//
//	reg := registry.New(nil)
//	err := reg.Register(a)
//	tool, err := reg.Resolve(ctx, "textkit/slugify", action.Tool)
//
// A *Registry is safe for concurrent use. It holds no lock while it calls a
// provider.
package registry

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Provider brings actions that come and go: Wasm modules, MCP servers. Its
// methods are called concurrently.
type Provider interface {
	// Name identifies the provider; two of one name can't be added.
	Name() string
	// List describes the actions that can be resolved. It must not start a guest.
	List(ctx context.Context) ([]action.Desc, error)
	// Resolve returns the action of a key, NOT_FOUND when the provider has
	// none.
	Resolve(ctx context.Context, key action.Key) (action.Action, error)
}

// ValueProvider is implemented by a [Provider] that brings values too, such as
// the middleware and the formats of a module.
type ValueProvider interface {
	// Values returns the values of a kind by name. It must be quick, start no
	// guest, and the caller must not change the map.
	Values(kind string) map[string]any
}

// Registry holds actions, values, plugins and providers.
type Registry struct {
	parent *Registry
	starts *starts

	mu        sync.RWMutex // guards the fields below
	actions   map[action.Key]action.Action
	values    map[valueKey]any
	plugins   map[string]*lazy
	providers []*source
}

type valueKey struct{ kind, name string }

// source is a provider with its own action, /dynamic-action-provider/<name>.
type source struct {
	Provider
	act     action.Action
	waiting *waiting // of listings
}

// New returns an empty registry below parent, which may be nil.
func New(parent *Registry) *Registry {
	r := &Registry{
		parent: parent, starts: &starts{},
		actions: map[action.Key]action.Action{}, values: map[valueKey]any{}, plugins: map[string]*lazy{},
	}
	if parent != nil {
		r.starts = parent.starts
	}
	return r
}

// Register adds an action. It fails with ALREADY_EXISTS when the registry itself
// (not its parent) has one of that key.
func (r *Registry) Register(a action.Action) error {
	key := a.Desc().Key()
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.actions[key]; taken {
		return status.Publicf(status.AlreadyExists, "action %q is already registered", key)
	}
	r.actions[key] = a
	return nil
}

// Replace adds an action or puts it in the place of the one of its key.
func (r *Registry) Replace(a action.Action) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.actions[a.Desc().Key()] = a
}

// Unregister removes an action and reports whether it was there.
func (r *Registry) Unregister(key action.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, found := r.actions[key]
	delete(r.actions, key)
	return found
}

// checked is a Provider that can tell that it will never have anything: a misspelt name
// is an error where it is added, not an absence where it is used.
type checked interface{ Check() error }

// AddProvider adds a source of actions; ALREADY_EXISTS when its name is taken,
// INVALID_ARGUMENT when the name is not usable. A provider with a method Check() error is
// added only if that returns nil, and its error is returned.
func (r *Registry) AddProvider(p Provider) error {
	return r.setProvider(p, false)
}

// ReplaceProvider adds a source of actions or puts it in the place of the one of its
// name.
func (r *Registry) ReplaceProvider(p Provider) error {
	return r.setProvider(p, true)
}

func (r *Registry) setProvider(p Provider, replace bool) error {
	if c, ok := p.(checked); ok {
		if err := c.Check(); err != nil {
			return err
		}
	}
	s := &source{Provider: p, waiting: &waiting{}}
	if d, ok := p.(*Dynamic); ok {
		s.act = d.act
	} else {
		var err error
		if s.act, err = action.New(providerDesc(p.Name()), s.run); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.providers, func(other *source) bool { return other.Name() == p.Name() })
	switch {
	case i < 0:
		r.providers = append(r.providers, s)
	case !replace:
		return status.Publicf(status.AlreadyExists, "provider %q is already registered", p.Name())
	default:
		r.providers = slices.Clone(r.providers)
		r.providers[i] = s
	}
	return nil
}

// run is the work of a provider's own action: it lists.
func (s *source) run(ctx context.Context, _ json.RawMessage, _ action.Emit) (json.RawMessage, error) {
	descs, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(entries(s.Name(), descs))
}

// RemoveProvider takes a source of actions out and reports whether it was there.
func (r *Registry) RemoveProvider(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.providers, func(s *source) bool { return s.Name() == name })
	if i >= 0 {
		r.providers = slices.Delete(slices.Clone(r.providers), i, i+1)
	}
	return i >= 0
}

// sources returns the providers of this level. A change replaces the slice by a changed
// copy, so that no copy is needed here.
func (r *Registry) sources() []*source {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clip(r.providers)
}

func (r *Registry) own(key action.Key) (action.Action, *lazy) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if a := r.actions[key]; a != nil {
		return a, nil
	}
	prefix, _, found := strings.Cut(key.Name, "/")
	if l := r.plugins[prefix]; found && l != nil && l.phased() && l.ready.Load() {
		return nil, l
	}
	return nil, nil
}

// Lookup returns the action of a full key; NOT_FOUND when there is none. A key of kind
// dynamic-action-provider names a provider or, as "<provider>:<kind>/<name>", one of its
// actions. When a plugin or a provider that might have the action fails, so does the
// lookup: which action runs is not decided by an outage.
func (r *Registry) Lookup(ctx context.Context, key action.Key) (action.Action, error) {
	if key.Kind == action.DynamicActionProvider {
		return r.lookupProvided(ctx, key)
	}
	for reg := r; reg != nil; reg = reg.parent {
		if a, err := reg.lookupHere(ctx, key); a != nil || err != nil {
			return a, err
		}
	}
	return nil, notFound(key)
}

// lookupHere looks at one level, for the second form of a plain tool too; nil when
// there is none.
func (r *Registry) lookupHere(ctx context.Context, key action.Key) (action.Action, error) {
	a, err := r.lookupKey(ctx, key)
	if a != nil || err != nil || key.Kind != action.ToolV2 {
		return a, err
	}
	a, err = r.lookupKey(ctx, action.Key{Kind: action.Tool, Name: key.Name})
	if a == nil || err != nil || !a.Desc().HasMultipart() {
		return nil, err
	}
	return action.AsMultipart(a), nil
}

func (r *Registry) lookupKey(ctx context.Context, key action.Key) (action.Action, error) {
	a, plugin := r.own(key)
	if a != nil {
		return a, nil
	}
	if plugin != nil {
		if a, err := plugin.resolve(ctx, key); a != nil || err != nil {
			return a, err
		}
	}
	for _, p := range r.sources() {
		if qualified(p.Provider) {
			continue
		}
		a, err := p.Resolve(ctx, key)
		if err == nil {
			return a, nil
		}
		if !errors.Is(err, status.ErrNotFound) {
			return nil, err
		}
	}
	return nil, nil //nolint:nilnil // absence is no error here
}

// lookupProvided finds a provider's own action, or an action through its provider.
func (r *Registry) lookupProvided(ctx context.Context, key action.Key) (action.Action, error) {
	for reg := r; reg != nil; reg = reg.parent {
		if a, _ := reg.own(key); a != nil {
			return a, nil
		}
		for _, s := range reg.sources() {
			if s.Name() == key.Name {
				return s.act, nil
			}
		}
	}
	p := r.providerOf(key.Name)
	if p == nil {
		return nil, notFound(key)
	}
	kind, name, ok := strings.Cut(key.Name[len(p.Name())+1:], "/")
	if !ok || name == "" {
		return nil, notFound(key)
	}
	list, _, err := r.Expand(ctx, key.Name, action.Kind(kind))
	if err != nil {
		return nil, err
	}
	if len(list) != 1 || strings.HasSuffix(name, "*") {
		return nil, status.Publicf(status.InvalidArgument, "%q does not name one action", key)
	}
	return list[0].Action, nil
}

func notFound(key action.Key) error {
	return status.Publicf(status.NotFound, "%s %q not found", key.Kind, key.Name)
}

// Resolve finds an action by a reference that a person would write: a full key
// ("/tool/textkit/slugify"), a name ("textkit/slugify"), or a bare name
// ("slugify") where only one action of the kinds ends in it. The kinds are tried
// in order. It fails with NOT_FOUND, or with INVALID_ARGUMENT when a bare name
// could mean several actions.
func (r *Registry) Resolve(ctx context.Context, ref string, kinds ...action.Kind) (action.Action, error) {
	if strings.HasPrefix(ref, "/") {
		key, err := action.ParseKey(ref)
		if err != nil {
			return nil, err
		}
		if key.Kind == action.DynamicActionProvider && !slices.Contains(kinds, key.Kind) {
			return r.resolveProvided(ctx, key, kinds)
		}
		if !slices.Contains(kinds, key.Kind) {
			return nil, status.Publicf(status.InvalidArgument, "%q is not a %s", ref, kinds[0])
		}
		return r.Lookup(ctx, key)
	}
	if ref == "" {
		return nil, status.Publicf(status.InvalidArgument, "the name of a %s is missing", kinds[0])
	}
	for reg := r; reg != nil; reg = reg.parent { // a child's multipart tool shadows a plain one above it
		for _, kind := range kinds {
			if a, err := reg.lookupHere(ctx, action.Key{Kind: kind, Name: ref}); a != nil || err != nil {
				return a, err
			}
		}
	}
	if strings.Contains(ref, "/") {
		return nil, notFound(action.Key{Kind: kinds[0], Name: ref})
	}
	return r.resolveShort(ctx, ref, kinds)
}

func (r *Registry) resolveProvided(ctx context.Context, key action.Key, kinds []action.Kind) (action.Action, error) {
	if strings.HasSuffix(key.Name, "*") {
		return nil, status.Publicf(status.InvalidArgument, "%q does not name one %s", key, kinds[0])
	}
	list, found, err := r.Expand(ctx, key.Name, kinds...)
	if err != nil {
		return nil, err
	}
	if !found || len(list) == 0 {
		return nil, notFound(key)
	}
	return list[0].Action, nil
}

func (r *Registry) resolveShort(ctx context.Context, ref string, kinds []action.Kind) (action.Action, error) {
	descs, failed := r.List(ctx)
	var candidates []action.Key // one for each name, of the first kind that has it
	for _, kind := range kinds {
		for _, d := range descs {
			if d.Kind == kind && action.ShortName(d.Name) == ref && !named(candidates, d.Name) {
				candidates = append(candidates, d.Key())
			}
		}
	}
	switch len(candidates) {
	case 0:
		if failed != nil { // who can't be asked may have it
			return nil, failed
		}
		return nil, notFound(action.Key{Kind: kinds[0], Name: ref})
	case 1:
		return r.Lookup(ctx, candidates[0])
	}
	names := make([]string, len(candidates))
	for i, key := range candidates {
		names[i] = key.Name
	}
	return nil, status.Publicf(status.InvalidArgument, "%s %q is ambiguous: write one of %s", kinds[0], ref, strings.Join(names, ", "))
}

func named(keys []action.Key, name string) bool {
	return slices.ContainsFunc(keys, func(k action.Key) bool { return k.Name == name })
}

// List describes every action that a plain key resolves to, sorted by key; a plain
// tool in both its forms. A registry's own actions shadow its plugins' and providers',
// and all of them shadow the parent's. A plugin that can list is not started. Like
// os.ReadDir, List returns the actions that it could find beside an error: a plugin or provider that
// fails, or takes longer than [ListWait], does not hide the others.
func (r *Registry) List(ctx context.Context) ([]action.Desc, error) {
	ctx = r.WithClientHeader(ctx)
	found := map[action.Key]action.Desc{}
	var errs []error
	for reg := r; reg != nil; reg = reg.parent {
		here, err := reg.listHere(ctx)
		errs = append(errs, err)
		for _, d := range here {
			addDesc(found, d)
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b action.Desc) int {
		return strings.Compare(a.Key().String(), b.Key().String())
	}), join(errs)
}

func (r *Registry) listHere(ctx context.Context) (map[action.Key]action.Desc, error) {
	here := map[action.Key]action.Desc{}
	var errs []error
	var offered []action.Desc
	for _, l := range r.lazies() { // first: a listing may start a plugin, which registers
		descs, err := l.list(ctx)
		offered, errs = append(offered, descs...), append(errs, err)
	}
	r.mu.RLock()
	own := slices.Collect(maps.Values(r.actions))
	r.mu.RUnlock()
	for _, a := range own {
		addDesc(here, a.Desc())
	}
	for _, d := range offered {
		addDesc(here, d)
	}
	for _, p := range r.sources() {
		if qualified(p.Provider) {
			continue
		}
		descs, err := p.list(ctx, false)
		errs = append(errs, err)
		for _, d := range descs {
			addDesc(here, d)
		}
	}
	for _, d := range slices.Collect(maps.Values(here)) {
		if d.HasMultipart() {
			addDesc(here, d.Multipart())
		}
	}
	return here, join(errs)
}

func addDesc(found map[action.Key]action.Desc, d action.Desc) {
	if _, shadowed := found[d.Key()]; !shadowed {
		found[d.Key()] = d
	}
}

// SetValue stores a value, such as a format or the default model, and replaces
// an earlier one.
func (r *Registry) SetValue(kind, name string, value any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[valueKey{kind, name}] = value
}

// RegisterValue is [Registry.SetValue] for a name that must be free: it fails with
// ALREADY_EXISTS when the registry itself (not its parent) has one.
func (r *Registry) RegisterValue(kind, name string, value any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.values[valueKey{kind, name}]; taken {
		return status.Publicf(status.AlreadyExists, "%s %q is already registered", kind, name)
	}
	r.values[valueKey{kind, name}] = value
	return nil
}

// ownValue looks at one level: the registry's values, then its providers'.
func (r *Registry) ownValue(kind, name string) (any, bool) {
	r.mu.RLock()
	v, ok := r.values[valueKey{kind, name}]
	r.mu.RUnlock()
	if ok {
		return v, true
	}
	for _, p := range r.sources() {
		if vp, brings := p.Provider.(ValueProvider); brings {
			if v, ok := vp.Values(kind)[name]; ok {
				return v, true
			}
		}
	}
	return nil, false
}

// Value returns a value of this registry or its nearest ancestor that has one.
func (r *Registry) Value(kind, name string) (any, bool) {
	for reg := r; reg != nil; reg = reg.parent {
		if v, ok := reg.ownValue(kind, name); ok {
			return v, true
		}
	}
	return nil, false
}

// ResolveValue finds a value by its name, or by a bare name where only one value
// of the kind ends in it. It fails with NOT_FOUND, or with INVALID_ARGUMENT when a
// bare name could mean several.
func (r *Registry) ResolveValue(kind, ref string) (any, error) {
	if v, ok := r.Value(kind, ref); ok {
		return v, nil
	}
	var candidates []string
	all := r.Values(kind)
	for name := range all {
		if ref != "" && action.ShortName(name) == ref {
			candidates = append(candidates, name)
		}
	}
	switch len(candidates) {
	case 0:
		return nil, notFound(action.Key{Kind: action.Kind(kind), Name: ref})
	case 1:
		return all[candidates[0]], nil
	}
	slices.Sort(candidates)
	return nil, status.Publicf(status.InvalidArgument, "%s %q is ambiguous: write one of %s", kind, ref, strings.Join(candidates, ", "))
}

// Values returns all values of a kind by name, ancestors' included.
func (r *Registry) Values(kind string) map[string]any {
	all := map[string]any{}
	add := func(name string, v any) {
		if _, shadowed := all[name]; !shadowed {
			all[name] = v
		}
	}
	for reg := r; reg != nil; reg = reg.parent {
		reg.mu.RLock()
		own := maps.Clone(reg.values)
		reg.mu.RUnlock()
		for key, v := range own {
			if key.kind == kind {
				add(key.name, v)
			}
		}
		for _, p := range reg.sources() {
			if vp, brings := p.Provider.(ValueProvider); brings {
				for name, v := range vp.Values(kind) {
					add(name, v)
				}
			}
		}
	}
	return all
}
