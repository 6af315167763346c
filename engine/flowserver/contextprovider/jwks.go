package contextprovider

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Bounds of an issuer's key set.
const (
	maxSetBytes = 512 << 10
	maxKeys     = 100
	minRSABits  = 2048
	maxRSABits  = 8192
)

// check refuses keys that are weak, or so big that using them takes too long.
func (k publicKey) check() error {
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("an RSA key of %d bits; want %d to %d", bits, minRSABits, maxRSABits)
		}
		if public.E < 3 || public.E%2 == 0 {
			return fmt.Errorf("the RSA exponent %d", public.E)
		}
		return nil
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() && public.Curve != elliptic.P384() && public.Curve != elliptic.P521() {
			return errors.New("an unknown curve")
		}
		_, err := public.ECDH() // which looks whether the point is on it
		return err
	case ed25519.PublicKey:
		if len(public) != ed25519.PublicKeySize {
			return errors.New("an Ed25519 key of another size")
		}
		return nil
	}
	return fmt.Errorf("a %T is no public key", k.public)
}

// webKey is a JSON Web Key.
type webKey struct {
	KTY    string   `json:"kty"`
	Use    string   `json:"use"`
	Ops    []string `json:"key_ops"`
	Alg    string   `json:"alg"`
	KID    string   `json:"kid"`
	CRV    string   `json:"crv"`
	N      string   `json:"n"`
	E      string   `json:"e"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
	Secret string   `json:"d"`
}

// errOtherUse marks a key that is not for checking signatures, or of a kind that is not
// known here; an issuer may publish such, too.
var errOtherUse = errors.New("not a key to check signatures with")

func (w webKey) key() (publicKey, error) {
	k := publicKey{id: w.KID, algorithm: w.Alg}
	if (w.Use != "" && w.Use != "sig") || (len(w.Ops) > 0 && !slices.Contains(w.Ops, "verify")) || w.Secret != "" {
		return k, errOtherUse
	}
	switch w.KTY {
	case "RSA":
		n, e := number(w.N), number(w.E)
		if n == nil || e == nil || !e.IsInt64() || e.Int64() > 1<<31-1 {
			return k, errOtherUse
		}
		k.public = &rsa.PublicKey{N: n, E: int(e.Int64())}
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[w.CRV]
		x, errX := base64.RawURLEncoding.DecodeString(w.X)
		y, errY := base64.RawURLEncoding.DecodeString(w.Y)
		if curve == nil || errX != nil || errY != nil || len(x) != len(y) {
			return k, errOtherUse
		}
		public, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y)) // which looks whether it is on the curve
		if err != nil {
			return k, err
		}
		k.public = public
	case "OKP":
		raw, err := base64.RawURLEncoding.DecodeString(w.X)
		if w.CRV != "Ed25519" || err != nil {
			return k, errOtherUse
		}
		k.public = ed25519.PublicKey(raw)
	default:
		return k, errOtherUse // "oct" is a shared secret
	}
	return k, k.check()
}

func number(text string) *big.Int {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) == 0 || len(raw) > maxRSABits/8+1 {
		return nil
	}
	return new(big.Int).SetBytes(raw)
}

// parseSet reads a JSON Web Key Set. Keys that are of no use are passed over.
func parseSet(raw []byte) (keyList, error) {
	var set struct {
		Keys []webKey `json:"keys"`
	}
	if err := schema.Decode(raw, &set, schema.IgnoreUnknown); err != nil {
		return nil, fmt.Errorf("the key set is not in order: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("a set of %d keys; the limit is %d", len(set.Keys), maxKeys)
	}
	var list keyList
	for _, w := range set.Keys {
		if k, err := w.key(); err == nil {
			list = append(list, k)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("the key set has no key to check signatures with")
	}
	return list, nil
}

// remote is the key set of an issuer. One fetch is under way at a time, and everybody
// who needs it waits for that one.
type remote struct {
	config JWTConfig

	mu      sync.Mutex // guards the fields below; not held while a fetch is under way
	keys    keyList
	fetched time.Time     // of keys
	tried   time.Time     // the last fetch began
	running chan struct{} // closed at the end of the fetch that is under way; nil without one
	err     error         // of the last fetch
}

func newRemote(c JWTConfig) (*remote, error) {
	u, err := url.Parse(c.JWKSURL)
	if err != nil || u.Host == "" || (u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname()))) {
		return nil, status.Errorf(status.InvalidArgument, "jwt: JWKSURL is %q, want https, or http on a loopback address", c.JWKSURL)
	}
	c.RefreshAfter = cmp.Or(c.RefreshAfter, 10*time.Minute)
	c.MaxStale = cmp.Or(c.MaxStale, 24*time.Hour)
	c.MinRefresh = cmp.Or(c.MinRefresh, 30*time.Second)
	c.FetchTimeout = cmp.Or(c.FetchTimeout, 10*time.Second)
	if c.Client == nil {
		c.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return &remote{config: c}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func (r *remote) find(ctx context.Context, id, algorithm string) (publicKey, error) {
	keys, wait := r.current(false)
	if wait != nil && keys == nil {
		if err := r.await(ctx, wait); err != nil {
			return publicKey{}, err
		}
		keys, _ = r.current(false)
	}
	if keys == nil {
		return publicKey{}, r.unavailable()
	}
	k, err := keys.find(ctx, id, algorithm)
	if err == nil {
		return k, nil
	}
	// The issuer may have a new key.
	if _, wait = r.current(true); wait == nil {
		return publicKey{}, err
	}
	if err := r.await(ctx, wait); err != nil {
		return publicKey{}, err
	}
	if keys, _ = r.current(false); keys == nil {
		return publicKey{}, r.unavailable()
	}
	return keys.find(ctx, id, algorithm)
}

// current returns the keys that may be used, nil when there are none, and the fetch that
// is under way. It starts one when the keys are old or missing, or when they are not
// enough, but none too soon after the last.
func (r *remote) current(notEnough bool) (keyList, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	age := now.Sub(r.fetched)
	keys := r.keys
	if age > r.config.MaxStale {
		keys = nil
	}
	due := keys == nil || age > r.config.RefreshAfter || notEnough
	if r.running == nil && due && (r.tried.IsZero() || now.Sub(r.tried) >= r.config.MinRefresh) {
		r.tried, r.running = now, make(chan struct{})
		go r.fetch(r.running)
	}
	return keys, r.running
}

func (r *remote) await(ctx context.Context, wait <-chan struct{}) error {
	select {
	case <-wait:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *remote) unavailable() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return status.Publicf(status.Unavailable, "the keys of the tokens' issuer can't be had").
		WithCause(r.err).WithRetryAfter(r.config.MinRefresh)
}

// fetch ends by itself: it belongs to all who wait for it and to none of them.
func (r *remote) fetch(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), r.config.FetchTimeout) //nolint:forbidigo // all requests that wait share one fetch; FetchTimeout bounds it
	defer cancel()
	keys, err := r.get(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err = err; err == nil {
		r.keys, r.fetched = keys, time.Now()
	}
	r.running = nil
	close(done)
}

func (r *remote) get(ctx context.Context) (keyList, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.config.JWKSURL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := r.config.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the issuer answered %d", resp.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxSetBytes+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxSetBytes {
		return nil, fmt.Errorf("the key set exceeds the limit of %d bytes", maxSetBytes)
	}
	return parseSet(raw)
}
