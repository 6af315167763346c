package wasmhost

import (
	"context"
	"errors"
	"log/slog"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/services"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// newTenant makes a tenant that has no modules yet, and a place in every queue.
func (h *Host) newTenant(name string, c TenantConfig, old *tenant) *tenant {
	quota := c.Quota.Or(h.quota)
	t := &tenant{modules: map[string]*loaded{}, lives: map[string]*services.Lifetime{}, kept: kept{}, leftover: map[string]bool{}, code: newCodeGuest()}
	t.capacity = capacity{
		name: name, class: "tenant " + name, limits: c.Limits.Within(h.limits), quota: quota,
		grants:  h.grants,
		account: h.sandbox.NewAccount(share.AccountLimits{MemoryBytes: quota.MemoryBytes, FuelPerMinute: quota.FuelPerMinute, EgressBytesPerMinute: quota.EgressBytesPerMinute}),
		bill:    &bill{modules: map[string]*tenants.Totals{}}, config: c, serving: &serving{},
	}
	if old != nil {
		t.share(&old.capacity)
	} else {
		h.join(&t.capacity)
	}
	if why := c.refusal(); why != nil {
		t.serving.refuse(why)
	}
	t.lines = tenants.NewLines(quota.LogBytesPerSecond, func(dropped tenants.LinesReport, ended bool) { h.tellLines(name, dropped, ended) })
	if c.Group != "" {
		t.class = "group " + c.Group
	}
	if c.Grants != nil {
		t.grants = c.Grants
	}
	return t
}

// join gives a tenant that is new its places in the queues, and what else it counts by.
func (h *Host) join(t *capacity) {
	t.calls, t.loads, t.lists = h.calls.Join(t.quota), h.loads.Join(tenants.Quota{}), h.lists.Join(tenants.Quota{})
	t.compiles, t.decodes, t.checks = h.compiles.Join(tenants.Quota{}), h.decodes.Join(tenants.Quota{}), h.checks.Join(tenants.Quota{})
	t.requests, t.answers, t.replies = h.requests.Join(0), h.answers.Join(0), h.replies.Join(0)
	t.files, t.generates = h.opens.Join(h.opens.Limit()/4), &generating{}
	t.inFlight, t.connections = make(chan struct{}, maxInFlight), egress.NewConnections(2*maxInFlight)
	t.bound()
	t.account.QueueCompiles(t.compiles.Enter)
}

// share has the tenant count where an earlier one of its name does, in whose place it is to come: what runs and what was used counts
// on. What the two share has the earlier one's bounds until follow is called.
func (t *capacity) share(old *capacity) {
	t.calls, t.loads, t.lists, t.compiles, t.decodes, t.checks = old.calls, old.loads, old.lists, old.compiles, old.decodes, old.checks
	t.requests, t.answers, t.replies, t.files = old.requests, old.answers, old.replies, old.files
	t.inFlight, t.connections, t.generates = old.inFlight, old.connections, old.generates
	t.account.Follow(old.account)
	t.account.QueueCompiles(t.compiles.Enter)
}

// bound gives what the tenant counts by the bounds of its quota.
func (t *capacity) bound() {
	t.calls.SetQuota(t.quota)
	t.loads.SetQuota(tenants.Quota{Concurrency: loadsOfTenant, Queue: loadQueue, Weight: t.quota.Weight})
	t.lists.SetQuota(tenants.Quota{Concurrency: listsOfTenant, Queue: listQueue, Weight: t.quota.Weight})
	// These queues need no bound of their own: only admitted calls get there.
	for _, place := range []*tenants.Tenant{t.compiles, t.decodes} {
		place.SetQuota(tenants.Quota{Queue: 1 << 20, Weight: t.quota.Weight})
	}
	t.checks.SetQuota(tenants.Quota{Queue: 1 << 20, Waiting: 1 << 20, Weight: t.quota.Weight})
	for _, bytes := range []*tenants.Share{t.requests, t.answers, t.replies} {
		bytes.SetLimit(t.quota.RequestBytes)
	}
	t.generates.setLimit(t.quota.Generates)
}

// SetTenant adds a tenant, or changes the settings of an existing one; it serves the tenant's modules
// from the store. Calls and uploads under way end under the settings with which they began; an upload
// that waits meanwhile fails with UNAVAILABLE. Usage goes on being counted. It fails with
// INVALID_ARGUMENT when the name is not usable, the quota out of range, or the grants more
// than those of [Config]. A module whose policy the new settings don't allow is kept, reported with its
// problem, and not served. Where one can't be brought back at the moment, because the machine is too
// busy or lacks something, a change fails with UNAVAILABLE and leaves everything as it is; of a tenant
// that is added, the module is tried again until it is served.
//
// A tenant that is suspended ends the requests under way that came in by [Host.BeginRun]; other
// calls that have begun run to their end. Settings that differ in nothing else cost next to
// nothing.
//
// Experimental: the settings that can change while calls run may still change.
func (h *Host) SetTenant(ctx context.Context, name string, c TenantConfig) error {
	if err := checkTenant(h.grants, name, c); err != nil {
		return err
	}
	h.changing.Lock()
	defer h.changing.Unlock()
	old, err := h.tenant(name)
	if err != nil && !errors.Is(err, status.ErrNotFound) {
		return err
	}
	if old != nil && old.config.alike(c) {
		old.config.Suspended, old.config.Refusal = c.Suspended, c.Refusal
		old.serving.refuse(c.refusal())
		return nil
	}
	if old != nil {
		old.loading.Lock() // nothing is loaded any more
		defer old.loading.Unlock()
	}
	records, err := h.stored(ctx, name)
	if err != nil {
		return err
	}
	t := h.newTenant(name, c, old)
	if old != nil {
		h.mu.RLock()
		t.bill, t.leftover, t.lives, t.lines, t.serving = old.bill, old.leftover, old.lives, old.lines, old.serving
		t.lines.SetRate(t.quota.LogBytesPerSecond)
		h.mu.RUnlock()
	}
	var again []module.Record
	for _, rec := range records {
		switch err := h.restoreModule(ctx, t, rec); {
		case err == nil:
		case old == nil:
			again = append(again, rec)
		default:
			t.close()
			h.drop(t)
			return status.Publicf(status.Unavailable, "the tenant's module %q can't be brought back now: %s", rec.Name, status.ToWire(err, false).Message).
				WithRetryAfter(retryFirst).WithCause(err)
		}
	}
	if err := h.replaceTenant(name, old, t); err != nil {
		return err
	}
	for _, rec := range again {
		h.retry(t, rec)
	}
	t.serving.refuse(c.refusal())
	return nil
}

// RemoveTenant takes a tenant out of service, with its modules; NOT_FOUND when there is
// none. Its stored modules stay, and are served again when the tenant is set again. Calls
// under way run to their end. It fails with FAILED_PRECONDITION for [DefaultTenant].
// [Host.EraseTenant] deletes what is stored, too.
//
// Experimental: see [Host.SetTenant].
func (h *Host) RemoveTenant(_ context.Context, name string) error {
	if name == DefaultTenant {
		return status.Publicf(status.FailedPrecondition, "the tenant %q can't be removed", DefaultTenant)
	}
	h.changing.Lock()
	defer h.changing.Unlock()
	old, err := h.tenant(name)
	if err != nil {
		return err
	}
	old.loading.Lock()
	defer old.loading.Unlock()
	defer old.lines.Close()
	return h.replaceTenant(name, old, nil)
}

// tellLines logs that lines of a tenant's modules are dropped, or how many were.
func (h *Host) tellLines(name string, dropped tenants.LinesReport, ended bool) {
	if !ended {
		h.log.Warn("the modules of a tenant log more than they may; their lines are dropped for a while", slog.String("tenant", name))
		return
	}
	h.log.Warn("log lines of a tenant's modules were dropped", slog.String("tenant", name), slog.Int64("lines", dropped.Lines), slog.Int64("bytes", dropped.Bytes))
}

// replaceTenant puts t in the place of old; either may be nil. The loading lock of old is
// held.
func (h *Host) replaceTenant(name string, old, t *tenant) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		if t != nil {
			t.close()
			h.leave(t, old)
		}
		return status.Publicf(status.Unavailable, "the host is shutting down")
	}
	if t != nil {
		h.tenants[name] = t
	} else {
		delete(h.tenants, name)
	}
	h.mu.Unlock()
	if old != nil {
		old.gone = true
		old.close()
		h.leave(old, t)
	}
	if t != nil {
		t.bound()
	}
	return nil
}

// leave gives up a tenant's places in the queues, unless another one shares them. Its calls under way keep their slots.
func (h *Host) leave(t, other *tenant) {
	h.drop(t)
	if other != nil {
		return
	}
	for _, place := range []*tenants.Tenant{t.calls, t.loads, t.lists, t.compiles, t.decodes, t.checks} {
		place.Quit()
	}
}

// drop gives up a tenant's account.
func (h *Host) drop(t *tenant) {
	h.sandbox.DropAccount(t.account)
	h.guests.DropAccount(t.account)
}

// stored returns the current records of a tenant's modules.
func (h *Host) stored(ctx context.Context, name string) ([]module.Record, error) {
	if r, ok := h.store.(module.TenantReader); ok {
		return r.CurrentOf(ctx, name)
	}
	all, err := h.store.Current(ctx)
	if err != nil {
		return nil, err
	}
	var own []module.Record
	for _, rec := range all {
		if rec.Tenant == name {
			own = append(own, rec)
		}
	}
	return own, nil
}
