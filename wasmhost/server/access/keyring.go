package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Bounds of an issuer's keys.
const (
	refreshAfter = 10 * time.Minute
	minRefresh   = 10 * time.Second
	maxStale     = 24 * time.Hour
	maxKeys      = 100
	minRSABits   = 2048
	maxIssuer    = 300 // bytes of an issuer's name in a log
	maxReason    = 450 // bytes of why keys could not be fetched in a log
	maxRSABits   = 8192
)

// keyring holds an issuer's public keys.
type keyring struct {
	issuer string
	client *http.Client
	log    *slog.Logger
	// After refreshAfter keys are fetched again, after maxStale they are not used any
	// more, and between two fetches are minRefresh.
	refreshAfter, minRefresh, maxStale time.Duration

	mu      sync.Mutex // guards the fields below
	keys    []jose.JSONWebKey
	fetched time.Time // when keys were had
	tried   time.Time // when they were last asked for
	failed  error     // of that time; nil when it worked
	// loading is closed when the fetch that is under way has ended; nil: none is.
	loading chan struct{}
}

func newKeyring(issuer string, log *slog.Logger) *keyring {
	return &keyring{issuer: issuer, client: httpClient(), log: log, refreshAfter: refreshAfter, minRefresh: minRefresh, maxStale: maxStale}
}

// errNoKey reports a token that no key fits.
var errNoKey = errUnknown.WithCause(errors.New("no key of the issuer fits the token"))

// find returns the key of a token, and asks the issuer when its keys are old or the key is
// not among them. It fails with UNAUTHENTICATED for a key that does not exist, and with
// UNAVAILABLE when that can't be told.
func (k *keyring) find(ctx context.Context, id, algorithm string) (*jose.JSONWebKey, error) {
	for waited := false; ; waited = true {
		k.mu.Lock()
		now := time.Now()
		key := k.match(id, algorithm)
		age := now.Sub(k.fetched)
		switch {
		case key != nil && age <= k.refreshAfter:
			k.mu.Unlock()
			return key, nil
		case k.loading != nil && (key == nil || age > k.maxStale) && !waited:
			loading := k.loading
			k.mu.Unlock()
			select {
			case <-loading:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		case k.loading != nil || waited || now.Sub(k.tried) < k.minRefresh:
			defer k.mu.Unlock()
			return k.last(key, age)
		default:
			k.loading, k.tried = make(chan struct{}), now
			k.mu.Unlock()
			k.load(ctx)
		}
	}
}

// last returns what there is when the issuer is not asked.
func (k *keyring) last(key *jose.JSONWebKey, age time.Duration) (*jose.JSONWebKey, error) {
	switch {
	case key != nil && age <= k.maxStale:
		return key, nil
	case k.fetched.IsZero() || age > k.maxStale:
		return nil, status.Publicf(status.Unavailable, "the keys of the token's issuer can't be had").WithRetryAfter(k.minRefresh).WithCause(k.failed)
	}
	return nil, errNoKey
}

// has reports whether the issuer's key of a token is known. It asks nobody.
func (k *keyring) has(id, algorithm string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.match(id, algorithm) != nil
}

// match finds a key. A token that names none takes the only one that fits.
func (k *keyring) match(id, algorithm string) *jose.JSONWebKey {
	var found *jose.JSONWebKey
	for i := range k.keys {
		if key := &k.keys[i]; (id == "" || key.KeyID == id) && fits(key, algorithm) {
			if found != nil {
				return nil
			}
			found = key
		}
	}
	return found
}

// load asks the issuer, for all who wait.
func (k *keyring) load(ctx context.Context) {
	// It goes on when the caller leaves, since others wait for it, in its own time.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	keys, err := k.fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failed = err; err != nil {
		k.log.Warn("the keys of an issuer could not be fetched", slog.String("issuer", k.issuer), slog.String("error", shownOf(strings.Map(printed, err.Error()), maxReason)))
	} else {
		k.keys, k.fetched = keys, time.Now()
	}
	close(k.loading)
	k.loading = nil
}

// printed puts a space in the place of what has no shape of its own, or turns what stands after it around.
func printed(r rune) rune {
	if !unicode.IsPrint(r) {
		return ' '
	}
	return r
}

// fetch discovers where the keys are, and gets them.
func (k *keyring) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, k.client), k.issuer)
	if mismatch, ok := errors.AsType[*oidc.IssuerMismatchError](err); ok {
		return nil, otherIssuer(mismatch.Discovered)
	}
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	var raw json.RawMessage
	if err := provider.Claims(&raw); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	var document struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := schema.Decode(raw, &document, schema.IgnoreUnknown); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	if document.Issuer != k.issuer {
		return nil, otherIssuer(document.Issuer)
	}
	if err := checkURL(document.Keys, true); err != nil {
		return nil, fmt.Errorf("discovery: jwks_uri %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, document.Keys, nil)
	if err != nil {
		return nil, err
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err = io.ReadAll(resp.Body) // bounded by the client
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the issuer answered %s", resp.Status)
	}
	return parseKeys(raw)
}

// otherIssuer is the error of a discovery document that is not of the issuer that was set. What the document says is quoted,
// without a password, a query and a fragment, so that an operator can compare the two.
func otherIssuer(found string) error {
	u, err := url.Parse(found)
	if err != nil {
		return errors.New("discovery: the document is of another issuer, which is no URL")
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	return fmt.Errorf("discovery: the document is of the issuer %q; set that one, letter for letter, if it is yours", shownOf(u.String(), maxIssuer))
}

// parseKeys reads a JSON Web Key Set (RFC 7517). Keys of other kinds or uses, and such as are
// too weak or so big that using them takes long, are passed over.
func parseKeys(raw []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := schema.Decode(raw, &set, schema.IgnoreUnknown); err != nil {
		return nil, fmt.Errorf("no set of keys: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys, more than %d", len(set.Keys), maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && key.Valid() && (key.Use == "" || key.Use == "sig") {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// fits reports whether a key goes with an algorithm, by its kind, its curve and, where it
// says so, its name.
func fits(key *jose.JSONWebKey, algorithm string) bool {
	if key.Algorithm != "" && key.Algorithm != algorithm {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		bits := public.N.BitLen()
		return (algorithm[:2] == "RS" || algorithm[:2] == "PS") && bits >= minRSABits && bits <= maxRSABits && public.E >= 3 && public.E%2 == 1
	case *ecdsa.PublicKey:
		return algorithm == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[public.Curve.Params().BitSize]
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}
