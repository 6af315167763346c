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
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
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

const defaultMaxTenants = 10_000

// TenantKind is the kind of the documents of tenants in a [Store].
const TenantKind = "tenant"

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
	order      []string // their names, sorted, never changed in place; nil until it is asked for again
	operations map[string]*operation
	ledgers    map[string]*ledger // by tenant
	answers    answers
	creating   int // tenants that are being stored
	closed     bool
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

// put stores a record in the place of old, nil where there is none.
func (t *Tenants) put(ctx context.Context, r, old *record) (*record, error) {
	value, err := r.encode()
	if err != nil {
		return nil, err
	}
	d := Document{Kind: TenantKind, Name: r.Name, Value: value}
	if old == nil {
		d, err = t.store.Put(ctx, d)
	} else {
		d.Revision = old.Revision
		d, err = replace(ctx, t.store, d)
	}
	if err != nil {
		return nil, err
	}
	r.Revision, r.Problem = d.Revision, ""
	return r, nil
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

func noTenant(name string) error {
	return status.Publicf(status.NotFound, "tenant %q does not exist", abi.Line(name, 80)).WithDetails(map[string]string{"tenant": name})
}

// List returns at most limit tenants whose names come after a name, sorted by name, and
// whether there are more.
func (t *Tenants) List(after string, limit int) (page []Tenant, more bool) {
	names := t.names()
	first, found := slices.BinarySearch(names, after)
	if found {
		first++
	}
	names = names[first:]
	page = make([]Tenant, 0, min(limit, len(names)))
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, name := range names {
		r, there := t.tenants[name]
		switch {
		case !there: // deleted a moment ago
		case len(page) == limit:
			return page, true
		default:
			page = append(page, r.show())
		}
	}
	return page, false
}

// names returns the names of all tenants, sorted. Who lists all pages has them sorted once, and not for each page.
func (t *Tenants) names() []string {
	t.mu.RLock()
	order := t.order
	t.mu.RUnlock()
	if order != nil {
		return order
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.order == nil {
		t.order = slices.Sorted(maps.Keys(t.tenants))
	}
	return t.order
}

// set puts a record in its place. mu is held.
func (t *Tenants) set(r *record) {
	if t.tenants[r.Name] == nil {
		t.order = nil
	}
	t.tenants[r.Name] = r
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
		return nil, r.damage()
	}
	return r, nil
}

// findLost looks for modules of a tenant of which there is no record, such as one whose file is missing: a new
// tenant of the name would be served what another has stored. From then on it is one whose record is damaged, and
// findLost fails with DATA_LOSS. The lock of its name is held.
func (t *Tenants) findLost(ctx context.Context, name string) error {
	t.mu.RLock()
	known := t.tenants[name] != nil
	t.mu.RUnlock()
	if known || t.hosts.Store == nil {
		return nil
	}
	reader, ok := t.hosts.Store.(module.TenantReader)
	if !ok {
		return nil
	}
	left, err := reader.CurrentOf(ctx, name)
	if err != nil {
		return err
	}
	if r, ok := t.hosts.Store.(module.DamageReporter); len(left) == 0 && (!ok || r.Damaged()[name] == nil) {
		return nil
	}
	lost := damagedRecord(Document{Name: name}, fmt.Sprintf("modules of tenant %q are stored, but no record of it", name))
	t.mu.Lock()
	t.set(lost)
	t.mu.Unlock()
	t.log.ErrorContext(ctx, "the record of a stored tenant is missing", slog.String("tenant", name))
	return lost.damage()
}
