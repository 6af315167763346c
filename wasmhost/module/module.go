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

// Record describes one revision of a module. It is what the HTTP API answers.
type Record struct {
	Tenant   string `json:"tenant"`
	Name     string `json:"name"`
	Revision int    `json:"revision"` // 1, 2, … in the order of uploads
	// Version is what the descriptor calls itself; it orders nothing.
	Version     string    `json:"version,omitempty"`
	Description string    `json:"description,omitempty"`
	Digest      string    `json:"digest"` // "sha256:<hex>" of the uploaded bytes
	Size        int       `json:"size"`   // bytes
	CreatedAt   time.Time `json:"createdAt"`
	// Convention is "genkit_v1" or "extism".
	Convention string `json:"convention"`
	// DescriptorSource is "section", "export" or "sidecar".
	DescriptorSource string          `json:"descriptorSource"`
	Descriptor       json.RawMessage `json:"descriptor"`
	Policy           json.RawMessage `json:"policy,omitempty"`
	Capabilities     []string        `json:"capabilities"`     // that the module imports
	Actions          []string        `json:"actions"`          // keys, such as "/tool/textkit/slugify"
	Values           []string        `json:"values,omitempty"` // middleware and formats, such as "/middleware/redact/mask"
	// Current marks the revision that is served; it is not stored.
	Current bool `json:"current"`
	// Problem says why a stored module is not served: its record can't be read
	// (the store says so), or the host can't serve it any more. It is not stored.
	Problem string `json:"problem,omitempty"`
}

// Store keeps modules. An error that is not one of those named is INTERNAL.
type Store interface {
	// Put stores the bytes and a new record, numbers it, and makes it current,
	// all or nothing: after a crash at any point either the old or the new
	// revision is current and whole. It returns the record as stored.
	Put(ctx context.Context, rec Record, wasm []byte) (Record, error)
	// Current returns the current record of every module of every tenant,
	// sorted by tenant and name. A module of which that record can't be read
	// comes with Problem set and Tenant and Name given, and does not keep the
	// others from coming.
	Current(ctx context.Context) ([]Record, error)
	// Versions returns all records of a module, newest first, with Current
	// set on one; NOT_FOUND when there is none.
	Versions(ctx context.Context, tenant, name string) ([]Record, error)
	// SetCurrent makes an existing revision current; NOT_FOUND when it is not
	// there.
	SetCurrent(ctx context.Context, tenant, name string, revision int) (Record, error)
	// Delete removes a module with all its revisions; NOT_FOUND when it is not
	// there. Bytes that no record refers to any more may be dropped.
	Delete(ctx context.Context, tenant, name string) error
	// Wasm returns the bytes of a digest, checked against it; NOT_FOUND when
	// they are not there, DATA_LOSS when they don't match.
	Wasm(ctx context.Context, digest string) ([]byte, error)
}

// Digest returns "sha256:<hex>" of wasm.
func Digest(wasm []byte) string {
	sum := sha256.Sum256(wasm)
	return "sha256:" + hex.EncodeToString(sum[:])
}
