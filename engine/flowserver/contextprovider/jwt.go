package contextprovider

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// JWTConfig says which JSON Web Tokens (RFC 7519) let a caller in. Issuer, Audience and
// one of JWKSURL and Keys are required.
type JWTConfig struct {
	// Issuer is the value that "iss" must have.
	Issuer string
	// Audience is the value that "aud" must be or contain.
	Audience string
	// JWKSURL is where the issuer publishes its keys (RFC 7517): https, or http
	// on a loopback address. They are fetched when a token is first seen, again
	// every RefreshAfter, and when a token names a key that is not known, at
	// most once in MinRefresh.
	JWKSURL string
	// Keys are public keys by their id: *rsa.PublicKey, *ecdsa.PublicKey or
	// ed25519.PublicKey.
	Keys map[string]crypto.PublicKey
	// Algorithms are those that a token may be signed with, of RS256, RS384,
	// RS512, PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA: all of these.
	// Shared secrets (HS256) and "none" are never among them.
	Algorithms []string
	// Leeway is by how much clocks may differ: 30 s.
	Leeway time.Duration
	// Policy may look at the claims and refuse the caller.
	Policy func(ctx context.Context, claims json.RawMessage) error
	// Client fetches the keys; nil takes one that follows no redirects.
	Client *http.Client
	// RefreshAfter is how long keys are used before they are fetched anew: 10
	// minutes. When that fails they are used for up to MaxStale: 24 hours.
	RefreshAfter, MaxStale time.Duration
	// MinRefresh is the least time between two fetches: 30 s.
	MinRefresh time.Duration
	// FetchTimeout bounds a fetch: 10 s.
	FetchTimeout time.Duration
}

// maxTokenBytes bounds a token before anything is made of it.
const maxTokenBytes = 16 << 10

var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// JWT lets those callers in whose Authorization header is "Bearer <token>" with a token
// that was signed by the issuer, for the audience, and has not expired. It adds {"auth":
// {"uid": sub, "token": claims}}, as Genkit's Firebase plugin does. Without a token, or
// with one that is not good, it refuses with UNAUTHENTICATED, and with UNAVAILABLE when
// the issuer's keys can't be had.
func JWT(c JWTConfig) (Provider, error) {
	if c.Issuer == "" || c.Audience == "" || (c.JWKSURL == "") == (len(c.Keys) == 0) {
		return nil, status.Errorf(status.InvalidArgument, "jwt: Issuer, Audience and one of JWKSURL and Keys are required")
	}
	if c.Leeway == 0 {
		c.Leeway = 30 * time.Second
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = algorithms
	}
	for _, name := range c.Algorithms {
		if !slices.Contains(algorithms, name) {
			return nil, status.Errorf(status.InvalidArgument, "jwt: the algorithm %q is not one of %s", name, strings.Join(algorithms, ", "))
		}
	}
	keys, err := newKeySet(c)
	if err != nil {
		return nil, err
	}
	v := &verifier{keys: keys, policy: c.Policy, parser: jwt.NewParser(
		jwt.WithValidMethods(slices.Clone(c.Algorithms)), jwt.WithIssuer(c.Issuer), jwt.WithAudience(c.Audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(c.Leeway), jwt.WithStrictDecoding(),
	)}
	return v.provide, nil
}

type verifier struct {
	parser *jwt.Parser
	keys   keySource
	policy func(context.Context, json.RawMessage) error
}

func (v *verifier) provide(ctx context.Context, r *Request) (Values, error) {
	scheme, token, ok := strings.Cut(r.Headers[authorization], " ")
	token = strings.TrimSpace(token)
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, status.Publicf(status.Unauthenticated, "a bearer token is wanted")
	}
	if len(token) > maxTokenBytes {
		return nil, status.Publicf(status.Unauthenticated, "the token is too long")
	}
	raw, err := payload(token)
	if err != nil {
		return nil, err
	}
	claims := &jwt.RegisteredClaims{}
	var unavailable error
	_, err = v.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		key, err := v.key(ctx, t)
		if err != nil && !errors.Is(err, errNoKey) {
			unavailable = err
		}
		return key, err
	})
	if unavailable != nil {
		return nil, unavailable
	}
	if err != nil {
		return nil, status.Publicf(status.Unauthenticated, "%s", reason(err)).WithCause(err)
	}
	if v.policy != nil {
		if err := v.policy(ctx, raw); err != nil {
			return nil, err
		}
	}
	auth := map[string]any{"token": raw}
	if claims.Subject != "" {
		auth["uid"] = claims.Subject
	}
	return Values{"auth": auth}, nil
}

// errNoKey reports a token that no key fits.
var errNoKey = errors.New("no key fits the token")

// key finds the key of a token whose algorithm has been checked to be allowed.
func (v *verifier) key(ctx context.Context, t *jwt.Token) (any, error) {
	if _, critical := t.Header["crit"]; critical {
		return nil, errNoKey // extensions that have to be understood, and none is (RFC 7515, 4.1.11)
	}
	id, _ := t.Header["kid"].(string)
	k, err := v.keys.find(ctx, id, t.Method.Alg())
	if err != nil {
		return nil, err
	}
	return k.public, nil
}

// reason is the reason that a caller may see why a token is refused.
func reason(err error) string {
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return "the token is malformed"
	case errors.Is(err, jwt.ErrTokenExpired):
		return "the token has expired"
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return "the token is not valid yet"
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return "the token is another issuer's"
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return "the token is for somebody else"
	}
	return "the token is not valid"
}

// registered are the claims whose names have a meaning of their own (RFC 7519, 4.1).
type registered struct {
	Issuer    json.RawMessage `json:"iss"`
	Subject   json.RawMessage `json:"sub"`
	Audience  json.RawMessage `json:"aud"`
	Expires   json.RawMessage `json:"exp"`
	NotBefore json.RawMessage `json:"nbf"`
	IssuedAt  json.RawMessage `json:"iat"`
	ID        json.RawMessage `json:"jti"`
}

// payload returns the claims of a token, byte by byte. Their names count in their exact letters alone: a token
// with "Sub" or "AUD", or with a member twice, is refused, because the library, like encoding/json, would take the
// one for "sub", and issuers that let others add claims reserve only the exact names.
func payload(token string) (json.RawMessage, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, status.Publicf(status.Unauthenticated, "the token is malformed")
	}
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err == nil {
		err = schema.CheckUnique(header)
	}
	var raw []byte
	if err == nil {
		raw, err = base64.RawURLEncoding.DecodeString(parts[1])
	}
	if err == nil {
		err = schema.Decode(raw, &registered{}, schema.IgnoreUnknown)
	}
	if err != nil {
		return nil, status.Publicf(status.Unauthenticated, "the token is malformed").WithCause(err)
	}
	return raw, nil
}

// publicKey is a key and its permitted uses.
type publicKey struct {
	public    crypto.PublicKey
	id        string
	algorithm string // "" is any that fits
}

// fits reports whether the key goes with an algorithm: its kind, its curve and, where
// it says so, its name. It keeps a key of one kind from being taken for another.
func (k publicKey) fits(algorithm string) bool {
	if k.algorithm != "" && k.algorithm != algorithm {
		return false
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return algorithm[:2] == "RS" || algorithm[:2] == "PS"
	case *ecdsa.PublicKey:
		return algorithm == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[public.Curve.Params().BitSize]
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}

// keySource finds keys. It fails with errNoKey, or with what a caller may be told.
type keySource interface {
	find(ctx context.Context, id, algorithm string) (publicKey, error)
}

// keyList is a set of keys that does not change.
type keyList []publicKey

// find returns the key with the id. A token without one takes the only key that fits.
func (l keyList) find(_ context.Context, id, algorithm string) (publicKey, error) {
	var found []publicKey
	for _, k := range l {
		if (id == "" || k.id == id) && k.fits(algorithm) {
			found = append(found, k)
		}
	}
	if len(found) != 1 {
		return publicKey{}, errNoKey
	}
	return found[0], nil
}

func newKeySet(c JWTConfig) (keySource, error) {
	if c.JWKSURL != "" {
		return newRemote(c)
	}
	var list keyList
	for id, public := range c.Keys {
		k := publicKey{public: public, id: id}
		if err := k.check(); err != nil {
			return nil, status.Errorf(status.InvalidArgument, "jwt: the key %q: %w", id, err)
		}
		list = append(list, k)
	}
	return list, nil
}
