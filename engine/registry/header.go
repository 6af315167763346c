package registry

import (
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const (
	clientHeader         = "clientHeader"
	maxClientHeaderBytes = 256
)

// SetClientHeader stores what plugins add to the header by which their client tells a
// provider who it is (Genkit: the option clientHeader). It fails with INVALID_ARGUMENT
// for what no header may hold.
func (r *Registry) SetClientHeader(text string) error {
	unfit := func(c rune) bool { return c < ' ' || c > '~' }
	if len(text) > maxClientHeaderBytes || strings.ContainsFunc(text, unfit) {
		return status.Publicf(status.InvalidArgument, "the client header must be at most %d bytes of printable ASCII", maxClientHeaderBytes)
	}
	r.SetValue(clientHeader, clientHeader, text)
	return nil
}

// ClientHeader returns what [Registry.SetClientHeader] stored here or above, "" for
// nothing.
func (r *Registry) ClientHeader() string {
	v, _ := r.Value(clientHeader, clientHeader)
	text, _ := v.(string)
	return text
}
