package wasmhost

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/services"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

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
	bytes := &upload{store: h.store, digest: module.Digest(up.Wasm)}
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
	schemas := a.Descriptor.SchemaSize().Memory() + text.memory() + promptMemory(a.Descriptor)
	release, err := t.holdSchemas(schemas, h.schemasOf(t, name))
	if err != nil {
		return nil, err
	}
	l := &loaded{guest: guest, text: text, record: record(t.name, name, up, a), release: release, schemas: schemas, services: h.servicesOf(t, name, grants, limits)}
	if text != nil {
		l.services.List(a.Linkage.Capabilities)
	}
	if err := h.bind(t, l, a.Descriptor, limits, up.lazy); err != nil {
		release()
		l.services.Close()
		return nil, err
	}
	return l, nil
}

// promptMemory estimates the bytes that parsed prompts hold, schemas included.
func promptMemory(d *abi.Descriptor) (bytes int64) {
	for _, a := range d.Actions() {
		bytes += 32 * int64(len(a.Source))
	}
	return bytes
}

// analyzeScript is analyze for a script. Its text is checked now, unless it was before.
func (h *Host) analyzeScript(ctx context.Context, up *Upload, bytes *upload, parse func([]byte) (*abi.Descriptor, error)) (*scriptText, *Analysis, error) {
	engine, err := h.scripts.module()
	if err != nil {
		return nil, nil, err
	}
	text := newScriptText(up, bytes.get, engine, h.compiler)
	a, err := text.analyze(ctx, up, parse)
	return text, a, err
}

// servicesOf returns what a module may ask of the host.
func (h *Host) servicesOf(t *tenant, name string, grants policy.Grants, limits policy.Limits) *services.Services {
	network := h.egress
	network.InFlight, network.Connections = t.inFlight, t.connections
	return services.New(services.Config{
		Tenant: t.name, Module: name, Grants: grants, Limits: limits, Provided: h.provided(),
		Egress: network, KV: h.kv, Secrets: h.secrets, Registry: h.registry, BeginGenerate: t.beginGenerate, EgressLeft: t.egressLeft, SpendEgress: t.account.SpendEgress,
		Requests: t.requests, Answers: t.answers, Replies: t.replies,
	})
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

// provided lists the capabilities of this host that not every host has.
func (h *Host) provided() []abi.Capability {
	if h.registry != nil {
		return policy.Grantable()
	}
	return slices.DeleteFunc(policy.Grantable(), func(c abi.Capability) bool { return c == abi.CapRun || c == abi.CapGenerate })
}
