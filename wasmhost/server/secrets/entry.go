package secrets

import (
	"errors"
	"time"
)

// Kind says who uses a value.
type Kind string

// The kinds of values.
const (
	// Secret is used by guests, which refer to it by its name.
	Secret Kind = "secret"
	// Credential is an API key of the tenant, under the name of the provider of models that
	// it is for.
	Credential Kind = "credential"
)

// Key is where a value is kept.
type Key struct {
	Tenant string
	Kind   Kind
	Name   string
}

// MaxSecrets bounds the values of a kind that a tenant has. A value's length is bounded by
// [secret.MaxBytes].
const MaxSecrets = 256

// ErrStale is in the chain of an error when a change was made for another revision than the
// one that is stored.
var ErrStale = errors.New("the revision is not the current one")

// Entry is what is told of a value.
type Entry struct {
	Name string `json:"name"`
	// Revision changes with each change of the value; it is the entity tag of the HTTP API.
	Revision  string    `json:"revision,omitempty"`
	ChangedAt time.Time `json:"changedAt,omitzero"`
	// URL is where a credential is sent, and nowhere else.
	URL string `json:"url,omitempty"`
	// Problem says why the value can't be used.
	Problem string `json:"problem,omitempty"`
}
