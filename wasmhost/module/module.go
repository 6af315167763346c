// Package module keeps uploaded modules: their bytes by digest, and one immutable
// record for each revision of each module of each tenant, of which one is current.
//
// It owns the record and the store's contract; [Dir] keeps modules in a local
// directory, [Memory] as long as the process lives. Use:
//
//	store, err := module.OpenDir(dir)
//	rec, err := store.Put(ctx, module.Record{Tenant: "default", Name: "textkit", …}, wasm)
//
// Stores are safe for concurrent use.
package module

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Record describes one revision of a module. The HTTP API answers with it.
type Record struct {
	Tenant   string `json:"tenant"`
	Name     string `json:"name"`
	Revision int    `json:"revision"` // 1, 2, … in the order of uploads
	// Version is the descriptor's version, for information; Revision gives the order.
	Version     string    `json:"version,omitempty"`
	Description string    `json:"description,omitempty"`
	Digest      string    `json:"digest"` // "sha256:<hex>" of the uploaded bytes
	Size        int       `json:"size"`   // bytes
	CreatedAt   time.Time `json:"createdAt"`
	// Language is that of a script, "typescript" or "javascript", whose text the bytes are, or "package", whose archive
	// they are; empty for a module.
	Language string `json:"language,omitempty"`
	// Convention is "genkit_v1" (genkit/1) or "extism".
	Convention string `json:"convention"`
	// DescriptorSource is "section", "export" or "sidecar".
	DescriptorSource string          `json:"descriptorSource"`
	Descriptor       json.RawMessage `json:"descriptor"`
	Policy           json.RawMessage `json:"policy,omitempty"`
	Capabilities     []string        `json:"capabilities"`     // capabilities that the module imports
	Actions          []string        `json:"actions"`          // keys, such as "/tool/textkit/slugify"
	Values           []string        `json:"values,omitempty"` // middleware and formats, such as "/middleware/redact/mask"
	// Current marks the revision that is served; it is not stored.
	Current bool `json:"current"`
	// Problem says why a stored module is not served: its record can't be read, or the
	// host can't serve it any more. It is not stored.
	Problem string `json:"problem,omitempty"`
}

// Store keeps modules. What a store may do besides is in [Switcher], [Deleter], [Pruner], [TenantReader] and [DamageReporter];
// both stores of this package roll back, delete and prune. The comments name the status codes that callers act on; any
// method may also fail with the code of its context, or with RESOURCE_EXHAUSTED, UNAVAILABLE, DATA_LOSS or INTERNAL when
// the storage fails.
type Store interface {
	// Put stores the bytes and a new record, numbers it, and makes it current, all or
	// nothing: after a crash at any point either the old or the new revision is current
	// and whole. It returns the record as stored, and fails with INVALID_ARGUMENT when
	// a name is not valid or rec.Digest does not match wasm.
	Put(ctx context.Context, rec Record, wasm []byte) (Record, error)
	// Current returns the current record of every module of every tenant, sorted by
	// tenant and name. If a record can't be read, the result has only Tenant, Name,
	// Problem and, if known, Revision for it; the other modules are still returned.
	Current(ctx context.Context) ([]Record, error)
	// Versions returns all records of a module, newest first, with Current
	// set on one; NOT_FOUND when there is none.
	Versions(ctx context.Context, tenant, name string) ([]Record, error)
	// Wasm returns the bytes of a digest, checked against it; NOT_FOUND when
	// they are not there, DATA_LOSS when they don't match.
	Wasm(ctx context.Context, digest string) ([]byte, error)
}

// Switcher is an optional interface of a store whose modules can be rolled back.
type Switcher interface {
	// SetCurrent makes an existing revision current; NOT_FOUND when it is not
	// there.
	SetCurrent(ctx context.Context, tenant, name string, revision int) (Record, error)
}

// Deleter is an optional interface of a store from which modules can be removed.
type Deleter interface {
	// Delete removes a module with all its revisions; NOT_FOUND when it is not
	// there. Bytes that no record refers to any more may be dropped.
	Delete(ctx context.Context, tenant, name string) error
}

// Pruner is an optional interface of a store that can forget old revisions.
type Pruner interface {
	// Prune removes the revisions from the first to through, with bytes that no other
	// record refers to. Their numbers are not used again. NOT_FOUND when there is no
	// such module, FAILED_PRECONDITION when the current revision is among them.
	Prune(ctx context.Context, tenant, name string, through int) error
}

// TenantReader is an optional interface of a store that finds one tenant's modules without
// reading those of the others.
type TenantReader interface {
	// CurrentOf returns the records of the tenant that Current would return.
	CurrentOf(ctx context.Context, tenant string) ([]Record, error)
}

// DamageReporter is an optional interface of a store that can report tenants whose modules it
// can't read.
type DamageReporter interface {
	// Damaged returns, by tenant, why the tenant's modules can't be read. The other methods skip
	// these tenants.
	Damaged() map[string]error
}

// Digest returns "sha256:<hex>" of wasm.
func Digest(wasm []byte) string {
	sum := sha256.Sum256(wasm)
	return "sha256:" + hex.EncodeToString(sum[:])
}
