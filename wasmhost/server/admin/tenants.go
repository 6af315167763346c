// Package admin makes the tenants of a host resources: created, changed, suspended and
// deleted while the server runs, and kept across restarts.
//
// It owns the tenant as a resource, the store's contract, and the service that keeps store
// and host in step; [Dir] keeps tenants in a local directory, [Memory] as long as the process
// lives. The host stays the only home of running tenants. Use:
//
//	store, err := admin.OpenDir(dir)
//	tenants, err := admin.Open(ctx, admin.Config{Store: store})
//	host, err := tenants.Start(ctx, wasmhost.Config{…})
//	acme, err := tenants.Create(ctx, "acme", admin.Settings{DisplayName: "Acme"}, "")
//
// A change that was acknowledged is there after a crash: it is stored first, and the host
// follows; a start brings both together, and goes on with deletions that were under way.
//
// Experimental: the set of settings grows.
package admin

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// Config configures the service. Only Store is required.
type Config struct {
	// Store keeps tenants and operations. Its owner closes it, after [Tenants.Close].
	Store Store
	// Initial are tenants that are created where they are not stored. Those that are stored
	// count as they are stored; a line of the log says so where they differ.
	Initial map[string]Settings
	// Erase is called when a tenant is deleted, after the host has erased its modules and
	// values: it deletes what else belongs to the tenant. It is called again after a failure
	// or a crash, until it succeeds. nil has nothing to delete.
	Erase func(ctx context.Context, t Tenant) error
	// Created is called when a tenant was created by [Tenants.Create]; nil is not.
	Created func(t Tenant)
	// Prices are of the tokens of models, for budgets of money; nil has none. They are those
	// of Usage, where that is given.
	Prices *usage.Prices
	// Usage are the accounts of the server, from which a record of spending that is lost or
	// damaged is made anew; nil has none. They are open before and closed after the service.
	Usage *usage.Book
	// MaxTenants bounds the tenants: 10 000.
	MaxTenants int
	// Logger gets lines about changes and failures; nil drops them.
	Logger *slog.Logger
}

const (
	defaultMaxTenants = 10_000
	tenantKind        = "tenant"
)

// ErrStale is in the chain of an error when a change was made for another revision than the
// one that is stored.
var ErrStale = errors.New("the revision is not the current one")

// Tenants is the service. It is safe for concurrent use; changes of one tenant come one after
// the other. Close it before the host and the store.
type Tenants struct {
	config Config
	store  Store
	log    *slog.Logger
	host   *wasmhost.Host // set by Start
	hosts  wasmhost.Config
	ends   context.Context // of work in the background
	end    context.CancelFunc
	work   sync.WaitGroup
	slots  chan struct{} // of deletions
	retry  time.Duration // the first wait after a failure
	now    func() time.Time

	changes keyed // by tenant; taken before mu

	mu         sync.RWMutex // guards the fields below
	tenants    map[string]*record
	operations map[string]*operation
	ledgers    map[string]*ledger // by tenant
	answers    answers
	creating   int // tenants that are being stored
	closed     bool
}

// Open reads the store and creates the initial tenants and [wasmhost.DefaultTenant] where
// they are not there. It fails when the store can't be read or written; a tenant that is
// damaged is reported, and not served.
func Open(ctx context.Context, c Config) (*Tenants, error) {
	if c.Store == nil {
		return nil, status.Errorf(status.InvalidArgument, "admin: Store is required")
	}
	c.MaxTenants = cmp.Or(c.MaxTenants, defaultMaxTenants)
	c.Initial = maps.Clone(c.Initial)
	t := &Tenants{
		config: c, store: c.Store, log: c.Logger, slots: make(chan struct{}, maxDeletions), retry: time.Second,
		tenants: map[string]*record{}, operations: map[string]*operation{}, ledgers: map[string]*ledger{}, now: time.Now,
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.ends, t.end = context.WithCancel(context.WithoutCancel(ctx))
	err := t.read(ctx)
	if err == nil {
		err = t.createInitial(ctx)
	}
	if err != nil {
		t.end()
		return nil, err
	}
	return t, nil
}

func (t *Tenants) read(ctx context.Context) error {
	docs, err := t.store.List(ctx, tenantKind)
	if err != nil {
		return err
	}
	for _, d := range docs {
		r, err := &record{}, d.Problem
		if err == nil {
			r, err = decodeRecord(d)
		}
		if err != nil {
			t.log.ErrorContext(ctx, "a stored tenant can't be read, and is not served", slog.String("tenant", d.Name), slog.Any("error", err))
			r = &record{Tenant: Tenant{Name: d.Name, State: Damaged, Revision: d.Revision, Problem: status.ToWire(err, false).Message}}
		}
		t.tenants[d.Name] = r
	}
	if err := t.readOperations(ctx); err != nil {
		return err
	}
	if err := t.readSpent(ctx); err != nil {
		return err
	}
	return t.readAnswers(ctx)
}

func (t *Tenants) createInitial(ctx context.Context) error {
	initial := t.config.Initial
	if _, ok := initial[wasmhost.DefaultTenant]; !ok {
		initial = maps.Clone(initial)
		if initial == nil {
			initial = map[string]Settings{}
		}
		initial[wasmhost.DefaultTenant] = Settings{}
	}
	for _, name := range slices.Sorted(maps.Keys(initial)) {
		settings := initial[name]
		if err := checkName(name); err != nil {
			return err
		}
		if err := settings.check(); err != nil {
			return err
		}
		stored, ok := t.tenants[name]
		if !ok {
			r, err := t.put(ctx, fresh(name, settings), "")
			if err != nil {
				return err
			}
			t.tenants[name] = r
			continue
		}
		t.compare(ctx, stored, settings)
	}
	return nil
}

// compare logs that the stored tenant counts, and not its initial settings.
func (t *Tenants) compare(ctx context.Context, stored *record, initial Settings) {
	switch {
	case stored.State == Deleting:
		t.log.WarnContext(ctx, "a tenant that is to be there at the start is being deleted", slog.String("tenant", stored.Name))
	case stored.State != Damaged && !initial.same(Settings{}) && !initial.same(stored.Settings):
		t.log.WarnContext(ctx, "the stored settings of a tenant count, not those of the start; change them with \"genkit-wasm tenant set\"", slog.String("tenant", stored.Name))
	}
}

func fresh(name string, s Settings) *record {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return &record{Tenant: Tenant{Name: name, ID: rand.Text(), Settings: s, State: Active, CreatedAt: now, UpdatedAt: now}}
}

func checkName(name string) error {
	if abi.CheckModuleName(name) != nil {
		return status.Publicf(status.InvalidArgument, "tenant %q: want a name of 1 to 64 letters, digits, \"_\", \".\" or \"-\", starting with a letter or digit", abi.Line(name, 80))
	}
	return nil
}

// put stores a record in the place of a revision.
func (t *Tenants) put(ctx context.Context, r *record, revision string) (*record, error) {
	value, err := r.encode()
	if err != nil {
		return nil, err
	}
	d, err := t.store.Put(ctx, Document{Kind: tenantKind, Name: r.Name, Revision: revision, Value: value})
	if err != nil {
		return nil, err
	}
	r.Revision, r.Problem = d.Revision, ""
	return r, nil
}

// Start makes the host with the tenants that are stored: Tenants of the configuration is not
// used. A tenant that the host does not take is reported with its problem, and suspended. It
// goes on with deletions that were under way. It is called once.
func (t *Tenants) Start(ctx context.Context, config wasmhost.Config) (*wasmhost.Host, error) {
	config.Tenants = map[string]wasmhost.TenantConfig{}
	t.mu.Lock()
	for name, r := range t.tenants {
		c := r.config()
		if r.State == Deleting || r.State == Damaged && name != wasmhost.DefaultTenant {
			continue
		}
		if err := config.CheckTenant(name, c); err != nil {
			t.log.ErrorContext(ctx, "a stored tenant is suspended: the server does not allow its settings", slog.String("tenant", name), slog.Any("error", err))
			r.Problem = status.ToWire(err, false).Message
			c = wasmhost.TenantConfig{ID: r.ID, Suspended: true}
		}
		config.Tenants[name] = c
	}
	t.mu.Unlock()
	host, err := wasmhost.New(ctx, config)
	if err != nil {
		return nil, err
	}
	t.host, t.hosts = host, config
	t.resume(ctx)
	t.goes(t.keepSpent)
	return host, nil
}

// Close ends the work in the background, which goes on at the next start.
func (t *Tenants) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.end()
	t.work.Wait()
}

// goes runs work in the background; not once the service is closed.
func (t *Tenants) goes(work func(ctx context.Context)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.work.Go(func() { work(t.ends) })
	}
}

// Get returns a tenant; NOT_FOUND when there is none.
func (t *Tenants) Get(name string) (Tenant, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	r, ok := t.tenants[name]
	if !ok {
		return Tenant{}, noTenant(name)
	}
	return r.show(), nil
}

// ID returns the ID of a tenant that may be given something; NOT_FOUND when there is none,
// ABORTED when it is being deleted, DATA_LOSS when it is damaged.
func (t *Tenants) ID(name string) (string, error) {
	r, err := t.current(name, "")
	if err != nil {
		return "", err
	}
	return r.ID, nil
}

func (r *record) show() Tenant {
	shown := r.Tenant
	shown.Settings = r.clone()
	return shown
}

func noTenant(name string) error {
	return status.Publicf(status.NotFound, "tenant %q does not exist", abi.Line(name, 80)).WithDetails(map[string]string{"tenant": name})
}

// List returns at most limit tenants whose names come after a name, sorted by name, and
// whether there are more.
func (t *Tenants) List(after string, limit int) (page []Tenant, more bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	names := make([]string, 0, len(t.tenants))
	for name := range t.tenants {
		if name > after {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	page = make([]Tenant, 0, min(limit, len(names)))
	for _, name := range names[:min(limit, len(names))] {
		page = append(page, t.tenants[name].show())
	}
	return page, len(names) > limit
}

// Create makes a tenant; ALREADY_EXISTS when there is one of the name, RESOURCE_EXHAUSTED
// when there are as many as may be. request is a hash of the request that asks for it, or
// empty: asked for again by the same request, Create returns the tenant that it made.
func (t *Tenants) Create(ctx context.Context, name string, s Settings, request string) (Tenant, error) {
	if err := checkName(name); err != nil {
		return Tenant{}, err
	}
	s = s.clone()
	if err := s.check(); err != nil {
		return Tenant{}, err
	}
	defer t.changes.lock(name)()
	t.mu.Lock()
	old, n := t.tenants[name], len(t.tenants)+t.creating
	t.creating++
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.creating--
		t.mu.Unlock()
	}()
	if old != nil && request != "" && old.Request == request && old.State != Deleting {
		return old.show(), nil
	}
	switch {
	case old != nil && old.State == Deleting:
		return Tenant{}, status.Publicf(status.AlreadyExists, "tenant %q is being deleted; wait for the operation %s", name, old.Operation)
	case old != nil:
		return Tenant{}, status.Publicf(status.AlreadyExists, "tenant %q exists already", name)
	case n >= t.config.MaxTenants:
		return Tenant{}, status.Publicf(status.ResourceExhausted, "the server has its %d tenants; delete one first", t.config.MaxTenants)
	}
	r := fresh(name, s)
	r.Request = request
	made, err := t.apply(ctx, nil, r)
	if err == nil && t.config.Created != nil {
		t.config.Created(made)
	}
	return made, err
}

// Change changes a tenant's settings: change is given those that are stored and returns those
// that are to be. revision is the one that the caller knows, or empty for whatever is stored;
// FAILED_PRECONDITION with [ErrStale] when the stored one is another.
func (t *Tenants) Change(ctx context.Context, name, revision string, change func(Settings) (Settings, error)) (Tenant, error) {
	return t.change(ctx, name, revision, func(r *record) error {
		s, err := change(r.clone())
		if err != nil {
			return err
		}
		if err := s.check(); err != nil {
			return err
		}
		r.Settings = s
		return nil
	})
}

// Suspend keeps a tenant's modules and lets nothing of it run; requests under way end. A
// tenant that is suspended stays as it is. revision is as for [Tenants.Change].
func (t *Tenants) Suspend(ctx context.Context, name, revision string) (Tenant, error) {
	return t.enterState(ctx, name, revision, Suspended)
}

// Resume lets a suspended tenant run again. revision is as for [Tenants.Change].
func (t *Tenants) Resume(ctx context.Context, name, revision string) (Tenant, error) {
	return t.enterState(ctx, name, revision, Active)
}

func (t *Tenants) enterState(ctx context.Context, name, revision string, s State) (Tenant, error) {
	return t.change(ctx, name, revision, func(r *record) error {
		r.State = s
		return nil
	})
}

func (t *Tenants) change(ctx context.Context, name, revision string, change func(*record) error) (Tenant, error) {
	defer t.changes.lock(name)()
	old, err := t.current(name, revision)
	if err != nil {
		return Tenant{}, err
	}
	r := *old
	r.Settings = old.clone()
	if err := change(&r); err != nil {
		return Tenant{}, err
	}
	if r.State == old.State && r.same(old.Settings) && old.Problem == "" {
		return old.show(), nil // nothing changes, the revision neither
	}
	r.UpdatedAt = time.Now().UTC().Truncate(time.Millisecond)
	return t.apply(ctx, old, &r)
}

// current returns a tenant that may be changed. The lock of its name is held.
func (t *Tenants) current(name, revision string) (*record, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	r, ok := t.tenants[name]
	if !ok {
		return nil, noTenant(name)
	}
	if revision != "" && r.Revision != revision {
		return nil, status.Publicf(status.FailedPrecondition, "tenant %q was changed meanwhile; its revision is %q", name, r.Revision).WithCause(ErrStale)
	}
	switch r.State {
	case Deleting:
		return nil, status.Publicf(status.Aborted, "tenant %q is being deleted", name)
	case Damaged:
		return nil, status.Publicf(status.DataLoss, "%s", r.Problem)
	}
	return r, nil
}

// apply stores a tenant, and lets the host follow. The lock of its name is held.
func (t *Tenants) apply(ctx context.Context, old, r *record) (Tenant, error) {
	if t.host == nil {
		return Tenant{}, status.Errorf(status.FailedPrecondition, "admin: Start was not called")
	}
	if err := t.hosts.CheckTenant(r.Name, r.config()); err != nil {
		return Tenant{}, err
	}
	revision := ""
	if old != nil {
		revision = old.Revision
	}
	name := r.Name
	r, err := t.put(ctx, r, revision)
	if err != nil {
		t.reread(ctx, name)
		return Tenant{}, err
	}
	t.mu.Lock()
	t.tenants[r.Name] = r
	t.mu.Unlock()
	// It is stored: the host follows, also when the caller has left.
	t.follow(context.WithoutCancel(ctx), r)
	t.mu.RLock()
	defer t.mu.RUnlock()
	return r.show(), nil
}
