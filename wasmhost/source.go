package wasmhost

import (
	"context"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

// Upload is a module as it is handed in.
type Upload struct {
	// Name is the name of the module here; the descriptor's when empty, and
	// FallbackName when that has none.
	Name, FallbackName string
	Wasm               []byte
	// Language says that Wasm is the text of a script, [script.TypeScript] or [script.JavaScript], or the archive of
	// one of several files, [script.Package]. Empty for a module.
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

// upload gives a module's bytes to a sandbox that has dropped its code: the uploaded
// ones until they are stored.
type upload struct {
	store  module.Store
	digest string
	wasm   atomic.Pointer[[]byte]
}

func (u *upload) get(ctx context.Context) ([]byte, error) {
	if wasm := u.wasm.Load(); wasm != nil {
		return *wasm, nil
	}
	return u.store.Wasm(ctx, u.digest)
}
