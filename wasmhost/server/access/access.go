// Package access says who calls a server and what they may do there.
//
// It owns identities and their scopes, API keys, tokens of OpenID Connect issuers, and the
// throttle of failed attempts. It knows no HTTP and nothing of the host: a server asks an
// [Authenticator] with what came, and the [Identity] what it allows. Use:
//
//	keys, err := access.OpenKeys(ctx, access.KeysConfig{Store: access.NewMemory()})
//	key, token, err := keys.Create(ctx, access.KeySpec{Name: "ci", Scopes: scopes})
//	identity, err := keys.Authenticate(ctx, access.Credentials{Token: token})
//	identity.Scopes.Allows("acme", access.Invoke)
//
// An application with users of its own brings its own Authenticator.
//
// Experimental: identities are new, and what goes with them may still change.
package access

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Scope is what an identity may do: [Admin] with the server, the others with one tenant.
// Each includes those after it.
type Scope string

// The scopes.
const (
	// Admin may do everything, with every tenant.
	Admin Scope = "admin"
	// Manage may change a tenant's modules.
	Manage Scope = "manage"
	// Invoke may run a tenant's tools and flows, and generate.
	Invoke Scope = "invoke"
	// Read may see a tenant's modules, actions and usage.
	Read Scope = "read"
)

// rank orders the scopes of a tenant; 0 is none of them.
func (s Scope) rank() int {
	switch s {
	case Manage:
		return 3
	case Invoke:
		return 2
	case Read:
		return 1
	}
	return 0
}

// MaxScopes bounds the scopes of an identity.
const MaxScopes = 256

var tenantName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// Scopes is a set of scopes. In JSON it is an array of texts: "admin", or a tenant and a
// scope, as in "acme:invoke". A value must not be changed once an identity has it.
type Scopes struct {
	// Admin is set when the scope [Admin] is among them.
	Admin bool
	// Tenants has the widest scope for each tenant, by its name.
	Tenants map[string]Scope
}

// MaxSubject is the most bytes that the subject of an identity may have.
const MaxSubject = 512

// CheckSubject tells whether people and logs can tell a subject from any other: it is not empty, has no more than
// [MaxSubject] bytes, and no character that nobody sees. The INVALID_ARGUMENT error says what is wanted.
func CheckSubject(subject string) error {
	if subject == "" || len(subject) > MaxSubject || !utf8.ValidString(subject) || strings.TrimSpace(subject) != subject ||
		strings.ContainsFunc(subject, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return status.Publicf(status.InvalidArgument, "has to have 1 to %d bytes of characters that can be seen", MaxSubject)
	}
	return nil
}

// ParseScopes reads texts as JSON has them; INVALID_ARGUMENT when one is none, or there are
// more than [MaxScopes].
func ParseScopes(texts []string) (Scopes, error) {
	var s Scopes
	if len(texts) > MaxScopes {
		return s, status.Publicf(status.InvalidArgument, "%d scopes exceed the limit of %d", len(texts), MaxScopes)
	}
	for _, text := range texts {
		if text == string(Admin) {
			s.Admin = true
			continue
		}
		tenant, scope, _ := strings.Cut(text, ":")
		if !tenantName.MatchString(tenant) || Scope(scope).rank() == 0 {
			return Scopes{}, status.Publicf(status.InvalidArgument, "scope %q: want \"admin\", or TENANT:manage, TENANT:invoke or TENANT:read", shown(text))
		}
		s.add(tenant, Scope(scope))
	}
	return s, nil
}

func (s *Scopes) add(tenant string, scope Scope) {
	if s.Tenants == nil {
		s.Tenants = map[string]Scope{}
	}
	if scope.rank() > s.Tenants[tenant].rank() {
		s.Tenants[tenant] = scope
	}
}

// shown makes a text of somebody else's fit for a message.
func shown(text string) string { return shownOf(text, 80) }

// shownOf is shown with another bound.
func shownOf(text string, most int) string {
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// List returns the scopes as texts, "admin" first and the tenants in order.
func (s Scopes) List() []string {
	list := make([]string, 0, len(s.Tenants)+1)
	for tenant, scope := range s.Tenants {
		list = append(list, tenant+":"+string(scope))
	}
	slices.Sort(list)
	if s.Admin {
		list = slices.Insert(list, 0, string(Admin))
	}
	return list
}

// MarshalJSON writes what [Scopes.List] returns.
func (s Scopes) MarshalJSON() ([]byte, error) { return json.Marshal(s.List()) }

// UnmarshalJSON reads what MarshalJSON writes, by the rules of [ParseScopes].
func (s *Scopes) UnmarshalJSON(raw []byte) error {
	var texts []string
	if err := json.Unmarshal(raw, &texts); err != nil {
		return status.Publicf(status.InvalidArgument, "scopes: want an array of texts")
	}
	parsed, err := ParseScopes(texts)
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

// Allows reports whether a scope is among them, of a tenant where it is not [Admin].
func (s Scopes) Allows(tenant string, scope Scope) bool {
	switch {
	case s.Admin:
		return true
	case scope.rank() == 0:
		return false // Admin, and what is no scope
	}
	return s.Tenants[tenant].rank() >= scope.rank()
}

// Sees reports whether there is any scope for a tenant. For all others the tenant does not
// exist.
func (s Scopes) Sees(tenant string) bool { return s.Allows(tenant, Read) }

// Identity is a caller who is known.
type Identity struct {
	// Subject names the identity for logs. It is no secret, stays the same when a key is
	// rotated or a token renewed, and no two identities share it: "key:4hx…", or an
	// issuer, "#" and its subject.
	Subject string
	// Name is for people; it may be empty.
	Name   string
	Scopes Scopes
	// Life tells when the identity ends; nil does not end.
	Life *Life
}

// Credentials is what came with a request.
type Credentials struct {
	// Token is the bearer token, never empty.
	Token string
	// From is where the request came from; the zero value is unknown.
	From netip.Addr
	// Quick asks for an answer that costs little: few signatures are checked, and nobody is asked for
	// a key that is not known. What can't be told in that way is refused.
	Quick bool
}

// MaxTokenBytes bounds the tokens that an authenticator has to look at.
const MaxTokenBytes = 16 << 10

// Authenticator finds the identity that a token stands for. It fails with UNAUTHENTICATED
// for a token that it does not know or accept, and with another code when it can't tell,
// for example UNAVAILABLE; only a public error's text reaches the caller. It must not keep
// the token, is called concurrently, and before a request's body is read, so that it has
// to bound its own time.
type Authenticator interface {
	Authenticate(ctx context.Context, c Credentials) (*Identity, error)
}

// Chain asks one authenticator after the other. The first identity counts. When there is
// none it fails with the first error that is not UNAUTHENTICATED, if any: whether the token
// is good is not known then.
type Chain []Authenticator

var _ Authenticator = Chain(nil)

// Authenticate returns the first identity.
func (c Chain) Authenticate(ctx context.Context, given Credentials) (*Identity, error) {
	var failed, refused error
	for _, a := range c {
		identity, err := a.Authenticate(ctx, given)
		switch {
		case err == nil && identity != nil:
			return identity, nil
		case err == nil:
			err = status.Errorf(status.Internal, "an authenticator returned neither an identity nor an error")
			fallthrough
		case status.Of(err) != status.Unauthenticated:
			if failed == nil {
				failed = err
			}
		case refused == nil || tells(err) && !tells(refused):
			refused = err
		}
	}
	if failed != nil {
		return nil, failed
	}
	if refused != nil {
		return nil, refused
	}
	return nil, errUnknown
}

// errUnknown is the answer for every token that is not known: whether it is malformed, names
// no key or has a wrong secret is not told.
var errUnknown = status.Publicf(status.Unauthenticated, "the key or token is not valid")

// tells reports whether an error says more than that the token is not known.
func tells(err error) bool { return !errors.Is(err, error(errUnknown)) }
