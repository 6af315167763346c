package module

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Memory keeps modules for as long as the process lives. See [NewMemory].
type Memory struct {
	mu      sync.RWMutex // guards the fields below
	modules map[moduleID]*history
	blobs   map[string]*blob // by digest
}

var (
	_ Store        = (*Memory)(nil)
	_ Switcher     = (*Memory)(nil)
	_ Deleter      = (*Memory)(nil)
	_ Pruner       = (*Memory)(nil)
	_ TenantReader = (*Memory)(nil)
)

type moduleID struct{ tenant, name string }

// history is every revision of one module, oldest first.
type history struct {
	records []Record
	pruned  int // revisions before the first of records
	current int // revision
}

type blob struct {
	wasm []byte
	refs int // records that name it
}

// NewMemory returns an empty store in memory.
func NewMemory() *Memory {
	return &Memory{modules: map[moduleID]*history{}, blobs: map[string]*blob{}}
}

// Put implements [Store]. It copies wasm.
func (m *Memory) Put(ctx context.Context, rec Record, wasm []byte) (Record, error) {
	rec, err := prepare(ctx, rec, wasm)
	if err != nil {
		return Record{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id := moduleID{rec.Tenant, rec.Name}
	h := m.modules[id]
	if h == nil {
		h = &history{}
		m.modules[id] = h
	}
	rec.Revision = h.latest() + 1
	h.records = append(h.records, clone(rec))
	h.current = rec.Revision
	b := m.blobs[rec.Digest]
	if b == nil {
		b = &blob{wasm: bytes.Clone(wasm)}
		m.blobs[rec.Digest] = b
	}
	b.refs++
	rec.Current = true
	return rec, nil
}

// Current implements [Store].
func (m *Memory) Current(ctx context.Context) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := make([]Record, 0, len(m.modules))
	for _, h := range m.modules {
		all = append(all, h.at(h.current))
	}
	sortRecords(all)
	return all, nil
}

// CurrentOf implements [TenantReader].
func (m *Memory) CurrentOf(ctx context.Context, tenant string) ([]Record, error) {
	all, err := m.Current(ctx)
	return slices.DeleteFunc(all, func(rec Record) bool { return rec.Tenant != tenant }), err
}

func (h *history) latest() int { return h.pruned + len(h.records) }

func (h *history) at(revision int) Record {
	rec := clone(h.records[revision-h.pruned-1])
	rec.Current = revision == h.current
	return rec
}

// Versions implements [Store].
func (m *Memory) Versions(ctx context.Context, tenant, name string) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	h := m.modules[moduleID{tenant, name}]
	if h == nil {
		return nil, errNoModule(tenant, name)
	}
	all := make([]Record, 0, len(h.records))
	for revision := h.latest(); revision > h.pruned; revision-- {
		all = append(all, h.at(revision))
	}
	return all, nil
}

// SetCurrent implements [Switcher].
func (m *Memory) SetCurrent(ctx context.Context, tenant, name string, revision int) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, status.Convert(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.modules[moduleID{tenant, name}]
	if h == nil {
		return Record{}, errNoModule(tenant, name)
	}
	if revision <= h.pruned || revision > h.latest() {
		return Record{}, errNoRevision(name, revision)
	}
	h.current = revision
	return h.at(revision), nil
}

// Delete implements [Deleter].
func (m *Memory) Delete(ctx context.Context, tenant, name string) error {
	if err := ctx.Err(); err != nil {
		return status.Convert(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.modules[moduleID{tenant, name}]
	if h == nil {
		return errNoModule(tenant, name)
	}
	delete(m.modules, moduleID{tenant, name})
	m.unref(h.records)
	return nil
}

// Prune implements [Pruner].
func (m *Memory) Prune(ctx context.Context, tenant, name string, through int) error {
	if err := ctx.Err(); err != nil {
		return status.Convert(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.modules[moduleID{tenant, name}]
	if h == nil {
		return errNoModule(tenant, name)
	}
	if through >= h.current {
		return errPruneCurrent(name, through)
	}
	if n := through - h.pruned; n > 0 {
		m.unref(h.records[:n])
		h.records, h.pruned = slices.Clone(h.records[n:]), through
	}
	return nil
}

// unref drops the bytes of removed records, unless another record refers to them. m.mu is
// held.
func (m *Memory) unref(records []Record) {
	for _, rec := range records {
		b := m.blobs[rec.Digest]
		if b.refs--; b.refs == 0 {
			delete(m.blobs, rec.Digest)
		}
	}
}

// Wasm implements [Store]; the caller owns the result.
func (m *Memory) Wasm(ctx context.Context, digest string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	b := m.blobs[digest]
	if b == nil {
		return nil, errNoBytes(digest)
	}
	return bytes.Clone(b.wasm), nil
}

// prepare checks a record that is to be stored and sets Digest, Size and CreatedAt; the
// caller sets Revision.
func prepare(ctx context.Context, rec Record, wasm []byte) (Record, error) {
	if err := ctx.Err(); err != nil {
		return rec, status.Convert(err)
	}
	if err := checkNames(rec.Tenant, rec.Name); err != nil {
		return rec, err
	}
	rec = clone(rec)
	digest := Digest(wasm)
	if rec.Digest == "" {
		rec.Digest = digest
	}
	if rec.Digest != digest {
		return rec, status.Errorf(status.InvalidArgument, "module %q: the record says %s, the bytes are %s", rec.Name, rec.Digest, digest)
	}
	rec.Size = len(wasm)
	rec.CreatedAt = time.Now().UTC().Truncate(time.Millisecond)
	rec.Current, rec.Problem = false, ""
	return rec, nil
}

func checkNames(tenant, name string) error {
	if err := abi.CheckModuleName(tenant); err != nil {
		return status.Publicf(status.InvalidArgument, "tenant %q: not a usable name", abi.Line(tenant, 80))
	}
	return abi.CheckModuleName(name)
}

// clone copies everything that a record refers to, so that stores and callers share nothing.
func clone(rec Record) Record {
	rec.Descriptor = slices.Clone(rec.Descriptor)
	rec.Policy = slices.Clone(rec.Policy)
	rec.Capabilities = slices.Clone(rec.Capabilities)
	rec.Actions = slices.Clone(rec.Actions)
	rec.Values = slices.Clone(rec.Values)
	return rec
}

func sortRecords(records []Record) {
	slices.SortFunc(records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Name, b.Name))
	})
}

func errNoModule(tenant, name string) error {
	return status.Publicf(status.NotFound, "module %q of tenant %q does not exist", abi.Line(name, 80), abi.Line(tenant, 80))
}

func errNoRevision(name string, revision int) error {
	return status.Publicf(status.NotFound, "revision %d of module %q does not exist", revision, abi.Line(name, 80))
}

func errPruneCurrent(name string, through int) error {
	return status.Publicf(status.FailedPrecondition, "revisions up to %d of module %q include the current one", through, abi.Line(name, 80))
}

func errNoBytes(digest string) error {
	return status.Publicf(status.NotFound, "the bytes of %s are not stored", abi.Line(digest, 80))
}
