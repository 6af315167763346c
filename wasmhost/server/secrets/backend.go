package secrets

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Backend keeps the values of a [Store], sealed: it can't read them, and what it changes, moves or brings back
// from an earlier time is found to be damaged. A directory is one, which the store opens by itself. The contract, which the kit in the
// package secretstest checks:
//
//   - Tenants are 1 to 64 bytes of printable ASCII, and names are as [CheckName] wants them. Keys that differ keep
//     apart, also where they differ by case alone. A text has 1 to [MaxSealedBytes] bytes.
//   - List returns the keys of all values of a tenant, or of all tenants where it is empty, in any order, those of
//     damaged ones too.
//   - Get returns a text as it was put; NOT_FOUND where there is none, DATA_LOSS where what is there can't be read and
//     never will be. The caller owns the text.
//   - Put stores a text under a key, or puts it in the place of what is there, whole or not at all. Once it has
//     returned nil the text outlives the process and a power cut. After a failure the old one is there or the new
//     one, and what Get and List have told since is not taken back by the end of the process.
//   - Delete removes a text, in the same way; one that is not there is no failure.
//
// Any other error says that the backend could not do its work now. It is called by many goroutines at a time, but
// by none for a tenant that one of them changes. It belongs to one store, and its owner closes it after the store.
type Backend interface {
	List(ctx context.Context, tenant string) ([]Key, error)
	Get(ctx context.Context, key Key) ([]byte, error)
	Put(ctx context.Context, key Key, sealed []byte) error
	Delete(ctx context.Context, key Key) error
}

// Dropper is a [Backend] that removes all values of a tenant in one step, so that a crash leaves all or none. Those of
// others are removed one by one.
type Dropper interface {
	Drop(ctx context.Context, tenant string) error
}

// MaxSealedBytes bounds a text of a [Backend].
const MaxSealedBytes = maxFileBytes

// drop is [Dropper], for backends that have no such step as well.
func drop(ctx context.Context, b Backend, tenant string) error {
	if d, ok := b.(Dropper); ok {
		return d.Drop(ctx, tenant)
	}
	if tenant == "" {
		return status.Errorf(status.InvalidArgument, "a tenant without a name has no values")
	}
	keys, err := b.List(ctx, tenant)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := b.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
