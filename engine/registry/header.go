package registry

import (
	"context"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const (
	clientHeader         = "clientHeader"
	maxClientHeaderBytes = 256
	modulePath           = "github.com/genkit-wasm/genkit-wasm"
)

// SetClientHeader stores the text that plugins add to the header by which their client tells a
// provider who it is (Genkit: the option clientHeader). It fails with INVALID_ARGUMENT
// for what no header may hold.
func (r *Registry) SetClientHeader(text string) error {
	unfit := func(c rune) bool { return !fitsHeader(c) }
	if len(text) > maxClientHeaderBytes || strings.ContainsFunc(text, unfit) {
		return status.Publicf(status.InvalidArgument, "the client header must be at most %d bytes of printable ASCII", maxClientHeaderBytes)
	}
	r.SetValue(clientHeader, clientHeader, text)
	return nil
}

// ClientHeader returns the value that [Registry.SetClientHeader] stored here or above, "" for
// nothing.
func (r *Registry) ClientHeader() string {
	v, _ := r.Value(clientHeader, clientHeader)
	text, _ := v.(string)
	return text
}

type clientHeaderKey struct{}

// WithClientHeader returns ctx with the registry's client header, for the requests that
// its actions make to model servers. Engines do this for what they run, generate.Run for
// its calls and [Registry.List] for what it asks.
func (r *Registry) WithClientHeader(ctx context.Context) context.Context {
	text := r.ClientHeader()
	if has, _ := ctx.Value(clientHeaderKey{}).(string); text == has {
		return ctx
	}
	return context.WithValue(ctx, clientHeaderKey{}, text)
}

// ClientHeaderOf returns the value of the header X-Goog-Api-Client for a request made
// under ctx: this library and its version, Go's version, and what
// [Registry.WithClientHeader] put there (Genkit JS: getClientHeader in js/core/src/index.ts).
// It holds printable ASCII only.
func ClientHeaderOf(ctx context.Context) string {
	text, _ := ctx.Value(clientHeaderKey{}).(string)
	if text = ScrubHeader(text); text == "" {
		return librarySays()
	}
	return librarySays() + " " + text
}

var librarySays = sync.OnceValue(func() string {
	return ScrubHeader("genkit-wasm/" + libraryVersion() + " gl-go/" + strings.ReplaceAll(strings.TrimPrefix(runtime.Version(), "go"), " ", "_"))
})

// libraryVersion is the version of this module in the running binary.
func libraryVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == modulePath && m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	return "devel"
}

// ScrubHeader returns text without what no header may hold, control characters above
// all, and without the blanks around it.
func ScrubHeader(text string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if fitsHeader(c) {
			return c
		}
		return -1
	}, text))
}

func fitsHeader(c rune) bool { return c >= ' ' && c <= '~' }
