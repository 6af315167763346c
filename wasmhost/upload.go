package wasmhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
)

// Loaded is the result of an upload.
type Loaded struct {
	module.Record

	// Changed is false when the same upload is in service already.
	Changed bool
}

// Load checks an upload, stores it and puts it into service in the place of the
// module of its name. Until all of that has worked the old one serves. It fails
// with INVALID_ARGUMENT when the module, its descriptor or its policy is not
// acceptable, ALREADY_EXISTS when its version is that of other bytes, RESOURCE_EXHAUSTED
// when compiling it costs too much, the tenant has too many modules, too many bytes stored or
// too many uploads under way, PERMISSION_DENIED when it imports what it is not granted, UNIMPLEMENTED when
// it needs what this host does not have, NOT_FOUND when the tenant does not exist. An
// upload that changes nothing is answered with the record that is current.
func (h *Host) Load(ctx context.Context, tenantName string, up Upload) (Loaded, error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return Loaded{}, err
	}
	if err := h.damage(tenantName); err != nil {
		return Loaded{}, err
	}
	if err := t.serving.check(); err != nil {
		return Loaded{}, err
	}
	start := time.Now()
	inside, leave, err := t.loads.Enter(ctx)
	if err != nil {
		return Loaded{}, err
	}
	defer leave()
	ctx = share.WithPlace(inside, t.place(inside))
	up.anew = !up.Replace && h.shared()
	l, err := h.prepareNext(ctx, t, up)
	if err != nil {
		return Loaded{}, err
	}
	defer t.loading.Unlock()
	if err := t.here(); err != nil {
		l.close()
		return Loaded{}, err
	}
	if err := h.wanted(ctx, tenantName, l.record.Name); err != nil {
		l.close()
		return Loaded{}, err
	}
	if current, err := h.Module(tenantName, l.record.Name); err == nil && same(current, l.record) {
		l.close()
		return Loaded{Record: current}, nil
	}
	err = h.checkRoom(t, l.record.Name)
	if err == nil && !up.Replace {
		err = h.checkVersion(ctx, &l.record)
	}
	if err == nil {
		err = h.startEmpty(ctx, t, l.record.Name)
	}
	through := 0
	if err == nil {
		through, err = h.room(t, &l.record)
	}
	var rec module.Record
	if err == nil {
		rec, err = h.store.Put(ctx, l.record, up.Wasm)
	}
	if err != nil {
		l.close()
		return Loaded{}, err
	}
	l.record = rec
	l.stored()
	h.swap(t, rec.Name, l)
	h.prune(ctx, &rec, through)
	h.countKept(ctx, t, rec.Name)
	h.log.InfoContext(ctx, "module loaded", slog.String("tenant", tenantName), slog.String("module", rec.Name),
		slog.Int("revision", rec.Revision), slog.String("digest", rec.Digest), slog.Duration("took", time.Since(start)))
	return Loaded{rec, true}, nil
}

// maxPrepares bounds how often an upload is prepared whose policy is that of the module it
// replaces, when that is changed meanwhile.
const maxPrepares = 3

// prepareNext prepares an upload and takes the tenant's loading lock. An upload without a policy
// of its own has that of the module which it then replaces, not of one that was there when it began:
// what was taken from a module meanwhile does not come back. When it fails, the lock is free.
func (h *Host) prepareNext(ctx context.Context, t *tenant, up Upload) (*loaded, error) {
	inherits := up.Policy == nil
	for range maxPrepares {
		if inherits {
			up.Policy = h.currentPolicy(t.name, up)
		}
		l, err := h.prepare(ctx, t, up)
		if err != nil {
			return nil, err
		}
		t.loading.Lock()
		if !inherits || bytes.Equal(up.Policy, h.currentPolicy(t.name, up)) {
			return l, nil
		}
		t.loading.Unlock()
		l.close()
	}
	return nil, status.Publicf(status.Aborted, "the module's policy was changed again and again while this upload was prepared; try again")
}

// shared tells whether tenants share the host.
func (h *Host) shared() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.tenants) > 1
}

// currentPolicy returns the policy of the module that an upload replaces; nil when it
// replaces none, or when only the guest could tell its name.
func (h *Host) currentPolicy(tenantName string, up Upload) []byte {
	name := up.Name
	if name == "" && up.Language == "" {
		a, err := analyze(up.Wasm, up.Descriptor, h.upload, abi.ParseStored) // only its name is asked for: no schema is compiled
		if err != nil || a.Descriptor == nil {
			return nil
		}
		name = a.Descriptor.Name
	}
	current, err := h.Module(tenantName, name)
	if err != nil {
		return nil
	}
	return current.Policy
}

func same(a, b module.Record) bool {
	return a.Digest == b.Digest && a.Language == b.Language && a.Problem == "" && bytes.Equal(a.Descriptor, b.Descriptor) && bytes.Equal(a.Policy, b.Policy)
}

// checkVersion refuses other bytes under a name and version of the descriptor that an earlier revision
// has already.
func (h *Host) checkVersion(ctx context.Context, rec *module.Record) error {
	if rec.Version == "" || h.replace {
		return nil
	}
	revisions, err := h.store.Versions(ctx, rec.Tenant, rec.Name)
	if errors.Is(err, status.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, r := range revisions {
		if r.Version == rec.Version && r.Digest != rec.Digest && r.Problem == "" && calledName(&r) == calledName(rec) {
			return status.Publicf(status.AlreadyExists,
				"version %q of module %q is revision %d already, with other bytes (%s); raise the version in the descriptor", abi.Line(r.Version, 80), rec.Name, r.Revision, r.Digest)
		}
	}
	return nil
}

// calledName is the module's name in its own descriptor.
func calledName(rec *module.Record) string {
	var d struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(rec.Descriptor, &d) // it was parsed when it came
	return d.Name
}

// checkRoom refuses a module more than the tenant may have.
func (h *Host) checkRoom(t *tenant, name string) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if _, ok := t.modules[name]; !ok && int64(len(t.modules)) >= t.quota.Modules {
		return status.Publicf(status.ResourceExhausted, "tenant already has its maximum of %d modules; remove one first", t.quota.Modules)
	}
	return nil
}
