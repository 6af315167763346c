package secrets

import (
	"log/slog"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// Config configures a store. TenantID is required, and one of Path and Backend.
type Config struct {
	// Path is the directory of the values, which one process at a time may use.
	Path string
	// Backend keeps the values in the place of the directory; nil has them there. Its owner closes it, after
	// [Store.Close].
	Backend Backend
	// Keys encrypt and decrypt. Without them nothing can be stored, and nothing that is
	// stored can be used.
	Keys *Keys
	// TenantID returns the ID of a tenant, which no other tenant has had: a value belongs to
	// it, and not to the next tenant of the same name. It fails with NOT_FOUND where there is
	// no such tenant. It is called concurrently and must not call the store.
	TenantID func(tenant string) (string, error)
	// Providers are the names that credentials may have, with the URL below which each
	// provider is asked. A credential is good for the URL that its provider had when it was
	// set, so that a server which is started with another one does not send it there.
	Providers map[string]string
	// Logger gets lines about changes, and about values that can't be opened; never a value.
	// nil drops them.
	Logger *slog.Logger
}

// Store keeps values. It is safe for concurrent use: changes of one tenant come one after the
// other, and wait for no other tenant's. Close it.
type Store struct {
	config  Config
	files   storedir.FS // nil where the backend is another
	backend Backend
	log     *slog.Logger
	opened  openedValues

	mu     sync.Mutex // guards the fields below
	spaces map[string]*space
	closed bool
	// stored and damaged count what Open has found.
	stored, damaged int
}
