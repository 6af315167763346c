package admin

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

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
	docs, err := t.store.List(ctx, TenantKind)
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
			r = damagedRecord(d, status.ToWire(err, false).Message)
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
		if err := settings.accept(); err != nil {
			return err
		}
		stored, ok := t.tenants[name]
		if !ok {
			r, err := t.put(ctx, fresh(name, settings), nil)
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

// Start makes the host with the tenants that are stored: Tenants of the configuration is not
// used. A tenant that the host does not take is reported with its problem, and suspended; so is one
// that is damaged, whose calls fail with DATA_LOSS. It goes on with deletions that were under way.
// It is called once.
func (t *Tenants) Start(ctx context.Context, config wasmhost.Config) (*wasmhost.Host, error) {
	config.Tenants = map[string]wasmhost.TenantConfig{}
	t.mu.Lock()
	for name, r := range t.tenants {
		c := r.config()
		if r.State == Deleting {
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
