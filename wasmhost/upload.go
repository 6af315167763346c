package wasmhost

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

// Upload is a module as it is handed in.
type Upload struct {
	// Name is the name of the module here; the descriptor's when empty, and
	// FallbackName when that has none.
	Name, FallbackName string
	Wasm               []byte
	// Language says that Wasm is the text of a script: [script.TypeScript] or [script.JavaScript]. Empty for a
	// module.
	Language script.Language
	// Descriptor is a sidecar: it takes the place of the descriptor that the module gives of
	// itself. Empty when there is none.
	Descriptor []byte
	// Policy is the module's policy. nil keeps that of the revision which the upload
	// replaces, so that a new build does not lose its grants; where there is none, and
	// for an empty object, nothing is granted and the tenant's limits hold.
	Policy []byte
	// Replace is [Config].ReplaceVersions for this upload.
	Replace bool

	lazy bool // it was served before: nothing of it needs to run yet
	anew bool // it is compiled although another tenant has had the same bytes compiled
}

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

// knows reports whether a module of the tenant's that is in service has these bytes. Bytes that the
// tenant has not uploaded are compiled for it as if nobody had: the duration of an upload must
// not reveal other tenants' modules.
func (h *Host) knows(t *tenant, digest string) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, l := range t.modules {
		if l.record.Digest == digest {
			return true
		}
	}
	return false
}

// place is the place of an upload in the queue, which it gives back while its module waits; nil for other calls.
func (t *tenant) place(ctx context.Context) share.Place {
	if p := t.loads.PassOf(ctx); p != nil {
		return p
	}
	return nil
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

// reload brings a stored revision into service; lazily, when nothing is to run before
// the first call.
func (h *Host) reload(ctx context.Context, t *tenant, rec module.Record, lazy bool) (*loaded, error) {
	if rec.Problem != "" {
		return nil, status.Publicf(status.DataLoss, "%s", rec.Problem)
	}
	wasm, err := h.store.Wasm(ctx, rec.Digest)
	if err != nil {
		return nil, err
	}
	// The stored descriptor stands in for the guest's own, so that nothing of it
	// runs before it is called.
	l, err := h.prepare(ctx, t, Upload{Name: rec.Name, Wasm: wasm, Language: script.Language(rec.Language), Descriptor: rec.Descriptor, Policy: rec.Policy, lazy: lazy})
	if err != nil {
		return nil, err
	}
	l.record = rec
	l.record.Current = true
	l.stored()
	return l, nil
}

// prepare does everything that can fail before an upload is stored.
func (h *Host) prepare(ctx context.Context, t *tenant, up Upload) (*loaded, error) {
	p, err := policy.Parse(up.Policy)
	if err != nil {
		return nil, err
	}
	if up.Name != "" {
		if err := abi.CheckModuleName(up.Name); err != nil {
			return nil, err
		}
	}
	limits := p.Limits.Within(t.limits)
	bounds := h.upload
	bounds.MemoryPages = min(bounds.MemoryPages, int(limits.MemoryBytes>>16))
	bounds.TableElements = int(limits.TableElements)
	read := abi.ParseDescriptor
	if up.lazy {
		read = abi.ParseStored
	}
	bytes := &upload{host: h, digest: module.Digest(up.Wasm)}
	bytes.wasm.Store(&up.Wasm)
	var text *scriptText
	var a *Analysis
	if up.Language != "" {
		text, a, err = h.analyzeScript(ctx, &up, bytes, read)
	} else {
		a, err = analyze(up.Wasm, up.Descriptor, bounds, read)
	}
	if err != nil {
		return nil, err
	}
	if t.grants != nil {
		if err := p.Grants.Within(*t.grants); err != nil {
			return nil, err
		}
	}
	if err := p.Grants.Check(a.Linkage.Capabilities, h.provided()); err != nil {
		return nil, err
	}
	mounts, err := h.files(t, p.Grants)
	if err != nil {
		return nil, err
	}
	src := sandbox.Source{
		Wasm: up.Wasm, Module: a.module, Limits: sandboxLimits(limits), Clock: p.Grants.Clock, Reuse: p.State == policy.Reuse,
		Interpreter: p.Interpreter, Account: t.account, Lazy: up.lazy, Anew: up.anew && !h.knows(t, a.Digest),
		Original: bytes.get, Config: p.Config, Mounts: mounts,
	}
	if text != nil {
		text.on(&src)
	}
	guest, err := h.guests.Compile(ctx, t.class, src)
	if err != nil {
		return nil, err
	}
	var l *loaded
	if !up.lazy {
		err = guest.Warm(ctx)
	}
	if err == nil {
		l, err = h.describe(ctx, t, up, a, guest, text, p.Grants, limits)
	}
	if err != nil {
		guest.Close()
		return nil, text.locate(err)
	}
	l.bytes = bytes
	return l, nil
}

// upload gives a module's bytes to a sandbox that has dropped its code: the uploaded
// ones until they are stored.
type upload struct {
	host   *Host
	digest string
	wasm   atomic.Pointer[[]byte]
}

func (u *upload) get(ctx context.Context) ([]byte, error) {
	if wasm := u.wasm.Load(); wasm != nil {
		return *wasm, nil
	}
	return u.host.store.Wasm(ctx, u.digest)
}

// describe completes the descriptor, asking the guest when only it knows, and makes
// the actions.
func (h *Host) describe(ctx context.Context, t *tenant, up Upload, a *Analysis, guest running, text *scriptText, grants policy.Grants, limits policy.Limits) (*loaded, error) {
	switch a.DescriptorIn {
	case "":
		return nil, status.Publicf(status.InvalidArgument, "the module has no descriptor: add a custom section %q, export %q, or upload a descriptor beside it", abi.DescriptorSection, abi.DescribeExport)
	case "export":
		raw, err := ask(ctx, guest, t.place(ctx))
		if err != nil {
			return nil, err
		}
		if err := a.describe(raw, abi.ParseDescriptor); err != nil {
			return nil, err
		}
	}
	name := cmp.Or(up.Name, a.Descriptor.Name, up.FallbackName)
	if err := abi.CheckModuleName(name); err != nil {
		return nil, err
	}
	if text != nil {
		if err := a.completeScript(); err != nil {
			return nil, err
		}
		if err := grants.Check(a.Linkage.Capabilities, h.provided()); err != nil {
			return nil, err
		}
	}
	schemas := a.Descriptor.SchemaSize().Memory() + text.memory()
	release, err := t.holdSchemas(schemas, h.schemasOf(t, name))
	if err != nil {
		return nil, err
	}
	l := &loaded{guest: guest, text: text, record: record(t.name, name, up, a), release: release, schemas: schemas, services: h.services(t, name, grants, limits)}
	if text != nil {
		l.services.listed = a.Linkage.Capabilities
	}
	if err := h.bind(t, l, a.Descriptor, limits, up.lazy); err != nil {
		release()
		l.services.close()
		return nil, err
	}
	return l, nil
}

// ask calls a guest's genkit_describe; place is given back while the guest waits.
func ask(ctx context.Context, guest running, place share.Place) ([]byte, error) {
	res, err := guest.Call(ctx, sandbox.Call{Export: abi.DescribeExport, MaxOutput: abi.MaxDescriptorBytes, Place: place})
	if err != nil {
		e := status.Convert(err)
		if !e.Public() {
			return nil, e
		}
		return nil, status.Publicf(status.InvalidArgument, "%s failed: %s", abi.DescribeExport, e.Message).WithCause(err)
	}
	return res.Output, nil
}

func record(tenantName, name string, up Upload, a *Analysis) module.Record {
	rec := module.Record{
		Tenant: tenantName, Name: name, Version: a.Descriptor.Version, Description: a.Descriptor.Description,
		Digest: a.Digest, Size: len(up.Wasm), Language: string(up.Language), Convention: string(a.Linkage.Convention), DescriptorSource: a.DescriptorIn,
		Descriptor: compact(a.raw), Policy: compact(up.Policy), Capabilities: []string{}, Actions: []string{},
	}
	for _, c := range a.Linkage.Capabilities {
		rec.Capabilities = append(rec.Capabilities, string(c))
	}
	return rec
}

// compact returns checked JSON without white space, nil for nothing.
func compact(raw []byte) json.RawMessage {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil // checked before
	}
	return abi.Escape(b.Bytes())
}

func sandboxLimits(l policy.Limits) sandbox.Limits {
	return sandbox.Limits{
		Timeout: l.Timeout(), Fuel: l.Fuel, MemoryBytes: l.MemoryBytes, TableElements: uint32(l.TableElements),
		InputBytes: int(l.InputBytes), OutputBytes: int(l.OutputBytes), Concurrency: int(l.Concurrency),
	}
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

// schemasOf returns the memory of the schemas of a module in service.
func (h *Host) schemasOf(t *tenant, name string) int64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if l := t.modules[name]; l != nil {
		return l.schemas
	}
	return 0
}

// holdSchemas counts the memory of compiled schemas, of which a tenant's modules may
// hold a quarter of its memory. They stay there for as long as their module is in
// service, whether or not it is called.
// Those of the module that is replaced are not counted.
func (t *tenant) holdSchemas(bytes, replaced int64) (release func(), err error) {
	most := t.quota.MemoryBytes / 4
	if now := t.schemas.Add(bytes) - replaced; most > 0 && now > most {
		t.schemas.Add(-bytes)
		return nil, status.Publicf(status.ResourceExhausted, "with this module's the tenant's scripts and schemas would hold about %d bytes of memory, and may hold %d, a quarter of \"memoryBytes\"; remove a module, or make its schemas smaller", now, most)
	}
	return sync.OnceFunc(func() { t.schemas.Add(-bytes) }), nil
}

// files returns the directories of the operator that a policy mounts.
func (h *Host) files(t *tenant, grants policy.Grants) ([]sandbox.Mount, error) {
	mounts := make([]sandbox.Mount, 0, len(grants.Files))
	for _, f := range grants.Files {
		m, ok := h.mounts[f.Mount]
		if !ok {
			return nil, status.Publicf(status.FailedPrecondition, "the policy grants the mount %q, which this server does not have", f.Mount)
		}
		mounts = append(mounts, sandbox.Mount{Path: f.Path, FS: m.FS(f.Write, t.files)})
	}
	return mounts, nil
}
