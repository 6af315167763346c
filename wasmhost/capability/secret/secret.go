// Package secret holds what guests may use and never see: values by name, for each
// tenant, and the scrubber that keeps them out of everything that a guest is shown.
//
// It owns the form of a reference, {{secret:NAME}}, and the ways in which a server
// could echo a value: as it is, in base64, in hex, percent-encoded, escaped for JSON
// or HTML, whichever of its characters are, and by two of these one in the other. Use:
//
//	secrets := secret.Static{"default": {"API_KEY": secret.New(value)}}
//	v, err := secrets.Secret(ctx, tenant, "API_KEY")
//	clean := secret.NewScrubber(map[string]secret.Value{"API_KEY": v}).Scrub(reply)
//
// Values print as "[secret]" everywhere. All of it is safe for concurrent use.
package secret

import (
	"context"
	"log/slog"
	"os"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// Bounds of a value. A short one could not be told from chance when it is scrubbed
// from a reply.
const (
	MinBytes = 8
	MaxBytes = 8 << 10
)

// hidden is the text that a value prints as.
const hidden = "[secret]"

// Value is a secret's text. It shows itself to nobody but [Value.Reveal].
type Value struct{ text string }

// New returns text as a value.
func New(text string) Value { return Value{text} }

// Reveal returns the text, for the one place that sends it.
func (v Value) Reveal() string { return v.text }

// String hides the text.
func (Value) String() string { return hidden }

// GoString hides the text.
func (Value) GoString() string { return hidden }

// LogValue hides the text.
func (Value) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the text.
func (Value) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Check refuses values that can't be sent in a header or can't be scrubbed: fewer than
// [MinBytes], more than [MaxBytes], control characters.
func (v Value) Check() error {
	if len(v.text) < MinBytes || len(v.text) > MaxBytes {
		return status.Publicf(status.InvalidArgument, "a secret has %d to %d bytes; this one has %d", MinBytes, MaxBytes, len(v.text))
	}
	for i := range len(v.text) {
		if c := v.text[i]; c < 0x20 || c == 0x7f {
			return status.Publicf(status.InvalidArgument, "a secret is one line of text; this one has a control character")
		}
	}
	return nil
}

// Source finds secrets. Secret fails with NOT_FOUND when the tenant has none of that
// name.
type Source interface {
	Secret(ctx context.Context, tenant, name string) (Value, error)
}

// Static is a source that does not change: tenant → name → value.
type Static map[string]map[string]Value

var _ Source = Static(nil)

// Secret looks the value up.
func (s Static) Secret(_ context.Context, tenant, name string) (Value, error) {
	v, ok := s[tenant][name]
	if !ok {
		return Value{}, status.Publicf(status.NotFound, "secret %q does not exist", name)
	}
	return v, nil
}

// Add reads a secret as a command line names it, "NAME=@FILE", "NAME=env:VARIABLE",
// or either with "TENANT/" before the name. A value itself is refused: command lines
// are seen by others. One newline at the end of a file is no part of the value.
func (s Static) Add(reference, defaultTenant string) error {
	name, from, ok := strings.Cut(reference, "=")
	tenant, rest, qualified := strings.Cut(name, "/")
	if qualified {
		name = rest
	} else {
		tenant = defaultTenant
	}
	if !ok || policy.CheckSecretName(name) != nil || tenant == "" {
		return status.Publicf(status.InvalidArgument, "want NAME=@FILE or NAME=env:VARIABLE")
	}
	var text string
	if file, ok := strings.CutPrefix(from, "@"); ok {
		raw, err := os.ReadFile(file)
		if err != nil {
			return status.Publicf(status.NotFound, "secret %q: %w", name, err)
		}
		text = strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	} else if variable, ok := strings.CutPrefix(from, "env:"); ok {
		if text, ok = os.LookupEnv(variable); !ok {
			return status.Publicf(status.NotFound, "secret %q: the environment has no %q", name, variable)
		}
	} else {
		return status.Publicf(status.InvalidArgument, "secret %q: want @FILE or env:VARIABLE, not the value itself", name)
	}
	v := New(text)
	if err := v.Check(); err != nil {
		return status.Publicf(status.InvalidArgument, "secret %q: %s", name, status.Convert(err).Message)
	}
	if s[tenant] == nil {
		s[tenant] = map[string]Value{}
	}
	s[tenant][name] = v
	return nil
}
