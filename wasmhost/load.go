package wasmhost

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/sandbox"
)

// Upload is a module as it is handed in.
type Upload struct {
	// Name is what the module is called here; the descriptor's when empty.
	Name string
	Wasm []byte
	// Descriptor is a sidecar: it takes the place of what the module says of
	// itself. Empty when there is none.
	Descriptor []byte
	// Policy is the module's policy, empty for no grants and the tenant's
	// limits.
	Policy []byte
	// Replace is [Config].ReplaceVersions for this upload.
	Replace bool

	lazy bool // it was served before: nothing of it needs to run yet
}

// Analysis is what a host sees in an upload before it runs anything of it.
type Analysis struct {
	Digest       string
	Module       *inspect.Module
	Linkage      *abi.Linkage
	Descriptor   *abi.Descriptor // nil when only genkit_describe can tell
	DescriptorIn string          // "section", "sidecar", "export" or ""
}

// loaded is a module in service. One without actions has a problem, which its
// record tells.
type loaded struct {
	record   module.Record
	number   atomic.Int64 // the record's revision, for those who call meanwhile
	guest    *sandbox.Module
	bytes    *upload
	actions  map[action.Key]action.Action
	descs    []action.Desc
	services *services
	values   map[string]map[string]any // by kind and name
	guests   []*guest                  // behind the values
}

func (l *loaded) revision() int { return int(l.number.Load()) }

// stored is called when the record is that of the store, which has the bytes too.
func (l *loaded) stored() {
	l.number.Store(int64(l.record.Revision))
	l.bytes.wasm.Store(nil)
}

func (l *loaded) close() {
	if l.guest != nil {
		l.guest.Close()
	}
	l.services.close()
}

// Load checks an upload, stores it and puts it into service in the place of the
// module of its name. Until all of that has worked the old one serves. It fails
// with INVALID_ARGUMENT when the module, its descriptor or its policy is not
// acceptable, ALREADY_EXISTS when its version is that of other bytes, RESOURCE_EXHAUSTED
// when compiling it costs too much, the tenant has too many modules or too many uploads
// under way, PERMISSION_DENIED when it imports what it is not granted, UNIMPLEMENTED when
// it needs what this host does not have, NOT_FOUND when the tenant does not exist. An
// upload that changes nothing is answered with the record that is current.
func (h *Host) Load(ctx context.Context, tenantName string, up Upload) (module.Record, error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return module.Record{}, err
	}
	start := time.Now()
	_, leave, err := t.loads.Enter(ctx)
	if err != nil {
		return module.Record{}, err
	}
	defer leave()
	l, err := h.prepare(ctx, t, up)
	if err != nil {
		return module.Record{}, err
	}
	t.loading.Lock()
	defer t.loading.Unlock()
	if current, err := h.Module(tenantName, l.record.Name); err == nil && same(current, l.record) {
		l.close()
		return current, nil
	}
	err = h.checkRoom(t, l.record.Name)
	if err == nil && !up.Replace {
		err = h.checkVersion(ctx, &l.record)
	}
	var rec module.Record
	if err == nil {
		rec, err = h.store.Put(ctx, l.record, up.Wasm)
	}
	if err != nil {
		l.close()
		return module.Record{}, err
	}
	l.record = rec
	l.stored()
	h.swap(t, rec.Name, l)
	h.log.InfoContext(ctx, "module loaded", slog.String("tenant", tenantName), slog.String("module", rec.Name),
		slog.Int("revision", rec.Revision), slog.String("digest", rec.Digest), slog.Duration("took", time.Since(start)))
	return rec, nil
}

func same(a, b module.Record) bool {
	return a.Digest == b.Digest && a.Problem == "" && bytes.Equal(a.Descriptor, b.Descriptor) && bytes.Equal(a.Policy, b.Policy)
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
	l, err := h.prepare(ctx, t, Upload{Name: rec.Name, Wasm: wasm, Descriptor: rec.Descriptor, Policy: rec.Policy, lazy: lazy})
	if err != nil {
		return nil, err
	}
	l.record = rec
	l.record.Current = true
	l.stored()
	return l, nil
}

// Analyse parses and links an upload without compiling or running it.
func Analyse(wasm, sidecar []byte, limits inspect.Limits) (*Analysis, error) {
	m, err := inspect.Parse(wasm, limits)
	if err != nil {
		return nil, refusal(err)
	}
	if m.Kind() == inspect.KindCommand && !hasTools(m) {
		return nil, errCommand()
	}
	a := &Analysis{Digest: module.Digest(wasm), Module: m}
	if a.Linkage, err = abi.Link(imports(m)); err != nil {
		return nil, err
	}
	raw, source := sidecar, "sidecar"
	if len(raw) == 0 {
		section, found, err := m.CustomSection(abi.DescriptorSection)
		if err != nil {
			return nil, refusal(err)
		}
		if !found {
			if _, ok := m.Export(abi.DescribeExport); ok {
				a.DescriptorIn = "export"
			}
			return a, nil
		}
		raw, source = bytes.TrimRight(section, "\x00"), "section"
	}
	if a.Descriptor, err = abi.ParseDescriptor(raw); err != nil {
		return nil, err
	}
	a.DescriptorIn = source
	return a, checkExports(m, a.Descriptor)
}

func errCommand() error {
	return status.Publicf(status.InvalidArgument, "the module is a WASI command (it exports _start and not _initialize); build it as a reactor: Go with -buildmode=c-shared, clang with -mexec-model=reactor, Rust as a cdylib")
}

// hasTools reports whether anything besides _start can be called. TinyGo's Extism
// plug-ins export _start beside their functions and never have it run.
func hasTools(m *inspect.Module) bool {
	return slices.ContainsFunc(m.Exports, func(e inspect.Export) bool {
		return e.Kind == inspect.ExternFunc && e.Name != "_start" && isTool(m.FuncType(e.Index)) && !strings.HasPrefix(e.Name, "__")
	})
}

// isTool reports whether a function has a type that can be called as a tool.
func isTool(t inspect.FuncType) bool {
	return len(t.Params) == 0 && (len(t.Results) == 0 || (len(t.Results) == 1 && t.Results[0] == inspect.I32))
}

func refusal(err error) error {
	r, ok := err.(*inspect.Refusal) //nolint:errorlint // Parse returns nothing else
	if !ok {
		return status.Errorf(status.Internal, "inspect: %w", err)
	}
	text := r.Error()
	if r.Hint != "" {
		text += "; " + r.Hint
	}
	return status.Publicf(status.InvalidArgument, "module refused: %s", text).
		WithDetails(map[string]any{"code": r.Code, "offset": r.Offset, "hint": r.Hint})
}

func imports(m *inspect.Module) []abi.Import {
	list := make([]abi.Import, len(m.Imports))
	for i, imp := range m.Imports {
		list[i] = abi.Import{Module: imp.Module, Name: imp.Name, Signature: signature(m.Types[imp.Type])}
	}
	return list
}

// signature writes a type as "(i32,i32)->(i32)".
func signature(t inspect.FuncType) string {
	list := func(types []inspect.ValType) string {
		names := make([]string, len(types))
		for i, v := range types {
			names[i] = v.String()
		}
		return "(" + strings.Join(names, ",") + ")"
	}
	return list(t.Params) + "->" + list(t.Results)
}

// checkExports wants the function of each tool, middleware and format, of a type that
// can be called.
func checkExports(m *inspect.Module, d *abi.Descriptor) error {
	for _, t := range d.Tools {
		if err := checkExport(m, "tool", t.Name, t.Export); err != nil {
			return err
		}
	}
	for _, w := range d.Middleware {
		if err := checkExport(m, "middleware", w.Name, w.Export); err != nil {
			return err
		}
	}
	for _, f := range d.Formats {
		if err := checkExport(m, "format", f.Name, f.Export); err != nil {
			return err
		}
	}
	return nil
}

func checkExport(m *inspect.Module, noun, name, export string) error {
	e, ok := m.Export(export)
	if !ok || e.Kind != inspect.ExternFunc {
		return status.Publicf(status.InvalidArgument, "%s %q names the export %q, which the module does not have", noun, name, abi.Line(export, 80))
	}
	if export == "_start" {
		return errCommand()
	}
	typ := m.FuncType(e.Index)
	if !isTool(typ) {
		return status.Publicf(status.InvalidArgument, "export %q of %s %q has the type %s, want ()->(i32)", abi.Line(export, 80), noun, name, signature(typ))
	}
	return nil
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
	bounds := h.inspect
	bounds.MemoryPages = min(bounds.MemoryPages, int(limits.MemoryBytes>>16))
	bounds.TableElements = int(limits.TableElements)
	a, err := Analyse(up.Wasm, up.Descriptor, bounds)
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
	mounts, err := h.files(p.Grants)
	if err != nil {
		return nil, err
	}
	bytes := &upload{host: h, digest: a.Digest}
	bytes.wasm.Store(&up.Wasm)
	guest, err := h.sandbox.Compile(ctx, sandbox.Source{
		Wasm: up.Wasm, Module: a.Module, Limits: sandboxLimits(limits), Clock: p.Grants.Clock, Reuse: p.State == policy.Reuse,
		Interpreter: p.Interpreter, Account: t.account, Lazy: up.lazy,
		Original: bytes.get, Config: p.Config, Mounts: mounts,
	})
	if err != nil {
		return nil, err
	}
	var l *loaded
	if !up.lazy {
		err = guest.Warm(ctx)
	}
	if err == nil {
		l, err = h.describe(ctx, t, up, a, guest, p.Grants, limits)
	}
	if err != nil {
		guest.Close()
		return nil, err
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
func (h *Host) describe(ctx context.Context, t *tenant, up Upload, a *Analysis, guest *sandbox.Module, grants policy.Grants, limits policy.Limits) (*loaded, error) {
	raw := up.Descriptor
	switch a.DescriptorIn {
	case "":
		return nil, status.Publicf(status.InvalidArgument, "the module has no descriptor: add a custom section %q, export %q, or upload a descriptor beside it", abi.DescriptorSection, abi.DescribeExport)
	case "section":
		section, _, err := a.Module.CustomSection(abi.DescriptorSection)
		if err != nil {
			return nil, refusal(err)
		}
		raw = bytes.TrimRight(section, "\x00")
	case "export":
		res, err := guest.Call(ctx, sandbox.Call{Export: abi.DescribeExport, MaxOutput: abi.MaxDescriptorBytes})
		if err != nil {
			e := status.Convert(err)
			if !e.Public() {
				return nil, e
			}
			return nil, status.Publicf(status.InvalidArgument, "%s failed: %s", abi.DescribeExport, e.Message).WithCause(err)
		}
		raw = res.Output
		if a.Descriptor, err = abi.ParseDescriptor(raw); err != nil {
			return nil, err
		}
		if err := checkExports(a.Module, a.Descriptor); err != nil {
			return nil, err
		}
	}
	name := up.Name
	if name == "" {
		name = a.Descriptor.Name
	}
	if err := abi.CheckModuleName(name); err != nil {
		return nil, err
	}
	l := &loaded{guest: guest, record: record(t.name, name, up, a, raw), services: h.services(t, name, grants, limits)}
	if err := h.bind(t, l, a.Descriptor, limits); err != nil {
		l.services.close()
		return nil, err
	}
	return l, nil
}

func record(tenantName, name string, up Upload, a *Analysis, descriptor []byte) module.Record {
	rec := module.Record{
		Tenant: tenantName, Name: name, Version: a.Descriptor.Version, Description: a.Descriptor.Description,
		Digest: a.Digest, Size: len(up.Wasm), Convention: string(a.Linkage.Convention), DescriptorSource: a.DescriptorIn,
		Descriptor: compact(descriptor), Policy: compact(up.Policy), Capabilities: []string{}, Actions: []string{},
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
