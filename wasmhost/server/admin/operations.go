package admin

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

func (t *Tenants) readOperations(ctx context.Context) error {
	docs, err := t.store.List(ctx, operationKind)
	if err != nil {
		return err
	}
	for _, d := range docs {
		o := &operation{revision: d.Revision}
		err := d.Problem
		if err == nil {
			err = schema.Decode(d.Value, &o.Operation, schema.RefuseUnknown)
		}
		if err == nil && o.ID != d.Name {
			err = status.Publicf(status.DataLoss, "what is stored of the operation %q is another one's", abi.Line(d.Name, 80))
		}
		if err != nil {
			t.log.ErrorContext(ctx, "a stored operation can't be read, and is listed as damaged", slog.String("operation", d.Name), slog.Any("error", err))
			o = t.damagedOperation(d, err)
		}
		t.operations[o.ID] = o
	}
	return nil
}

// damagedOperation stands for an operation that can't be read. Its ID tells when it began; it is kept
// like those that have ended.
func (t *Tenants) damagedOperation(d Document, err error) *operation {
	at, parseErr := time.Parse(timeOfID, d.Name[:min(len(d.Name), len(timeOfID))])
	if parseErr != nil {
		at = t.now().UTC()
	}
	wire := status.ToWire(status.Publicf(status.DataLoss, "what is stored of the operation %q is damaged: what it did, and whether it has ended, is not known", abi.Line(d.Name, 80)).WithCause(err), false)
	return &operation{
		Operation: Operation{ID: d.Name, State: Unreadable, Error: &wire, CreatedAt: at, UpdatedAt: at},
		revision:  d.Revision,
	}
}

// timeOfID is the beginning of an operation's ID.
const timeOfID = "20060102-150405.000"

// begin stores a new operation.
func (t *Tenants) begin(ctx context.Context, kind, tenantName string) (*operation, error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	// IDs sort by time, so that a list shows the newest first.
	id := now.Format(timeOfID) + "-" + rand.Text()[:16]
	o := &operation{Operation: Operation{ID: id, Kind: kind, Tenant: tenantName, State: Running, CreatedAt: now, UpdatedAt: now}}
	if err := t.putOperation(ctx, o); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.operations[id] = o
	return o, nil
}

func (t *Tenants) putOperation(ctx context.Context, o *operation) error {
	t.mu.RLock()
	stored, revision := o.Operation, o.revision
	t.mu.RUnlock()
	stored.Progress = nil // of this process
	raw, err := rawjson.Encode(stored)
	if err != nil {
		return status.Errorf(status.Internal, "encode an operation: %w", err)
	}
	d, err := replace(ctx, t.store, Document{Kind: operationKind, Name: o.ID, Revision: revision, Value: raw})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	o.revision = d.Revision
	return nil
}

// note changes an operation in memory.
func (t *Tenants) note(o *operation, change func(*Operation)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&o.Operation)
	o.UpdatedAt = time.Now().UTC().Truncate(time.Millisecond)
}

// succeed ends an operation. When it can't be stored, the next start finds out.
func (t *Tenants) succeed(ctx context.Context, o *operation) {
	t.note(o, func(o *Operation) { o.State, o.Error = Succeeded, nil })
	if err := t.putOperation(ctx, o); err != nil {
		t.log.WarnContext(ctx, "the end of an operation can't be stored yet", slog.String("operation", o.ID), slog.Any("error", err))
	}
	t.forget(ctx, time.Now())
}

// forget drops the operations that have ended long ago, and the oldest of too many.
func (t *Tenants) forget(ctx context.Context, now time.Time) {
	t.mu.Lock()
	var ended []*operation
	for _, o := range t.operations {
		if o.State != Running {
			ended = append(ended, o)
		}
	}
	slices.SortFunc(ended, func(a, b *operation) int { return b.UpdatedAt.Compare(a.UpdatedAt) })
	var old []string
	for i, o := range ended {
		if i >= maxOperations || now.Sub(o.UpdatedAt) > keepOperations {
			old = append(old, o.ID)
			delete(t.operations, o.ID)
		}
	}
	t.mu.Unlock()
	for _, id := range old {
		if err := t.store.Delete(ctx, operationKind, id); err != nil {
			t.log.WarnContext(ctx, "an old operation can't be forgotten yet", slog.String("operation", id), slog.Any("error", err))
		}
	}
}

// Operation returns an operation; NOT_FOUND when there is none, or it is kept no longer, DATA_LOSS when it is damaged.
func (t *Tenants) Operation(id string) (Operation, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	o, ok := t.operations[id]
	if !ok {
		return Operation{}, status.Publicf(status.NotFound, "operation %q does not exist, or is kept no longer", abi.Line(id, 80))
	}
	if o.State == Unreadable {
		return Operation{}, status.Publicf(status.DataLoss, "%s", o.Error.Message)
	}
	return o.show(), nil
}

// Operations returns at most limit operations that are older than one, all when before is
// empty, newest first, and whether there are more.
func (t *Tenants) Operations(before string, limit int) (page []Operation, more bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []*operation
	for _, o := range t.operations {
		if before == "" || o.ID < before {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b *operation) int { return cmp.Compare(b.ID, a.ID) })
	page = make([]Operation, 0, min(limit, len(all)))
	for _, o := range all[:min(limit, len(all))] {
		page = append(page, o.show())
	}
	return page, len(all) > limit
}

// deletion returns the operation that deletes a tenant, as far as it is known; nil where there is none.
func (t *Tenants) deletion(name string) *operation {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, o := range t.operations {
		if o.State == Running && o.Kind == deleteTenant && o.Tenant == name {
			return o
		}
	}
	return nil
}
