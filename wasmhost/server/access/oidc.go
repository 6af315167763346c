package access

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// OIDCConfig says which tokens of an OpenID Connect issuer are accepted, and what their
// bearers may do. Issuer, Audience and Rules are required.
type OIDCConfig struct {
	// Issuer is the issuer's URL, as its discovery document and its tokens have it: https,
	// or http on a loopback address.
	Issuer string `json:"issuer"`
	// Audience is the value that "aud" must be or contain.
	Audience string `json:"audience"`
	// Algorithms are those that a token may be signed with, of RS256, RS384, RS512, PS256,
	// PS384, PS512, ES256, ES384, ES512 and EdDSA: RS256 and ES256. Shared secrets and
	// "none" are never among them.
	Algorithms []string `json:"algorithms,omitempty"`
	// ClockSkewSeconds is by how much clocks may differ, at most 300: 30.
	ClockSkewSeconds int `json:"clockSkewSeconds,omitempty"`
	// NameClaim is the claim with a name for people: "name".
	NameClaim string `json:"nameClaim,omitempty"`
	// Rules turn claims into scopes; all that fit count.
	Rules []OIDCRule `json:"rules"`

	// Logger gets what can't be told to a caller; nil drops it.
	Logger *slog.Logger `json:"-"`
}

// OIDCRule gives scopes for a claim.
type OIDCRule struct {
	// Claim is the name of a claim, or where it lies within one, as a JSON pointer:
	// "groups", "/realm_access/roles". Its value is a text or an array of texts; "scope"
	// and "scp" hold texts with blanks between them.
	Claim string `json:"claim"`
	// Value is the text that has to be among them; empty takes each.
	Value string `json:"value,omitempty"`
	// Scopes are what it gives. Where Value is empty, the tenant is "{value}", for which
	// the text is put in: "{value}:invoke".
	Scopes []string `json:"scopes"`
}

const valueMark = "{value}"

var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// ParseOIDC reads a config out of JSON; INVALID_ARGUMENT for what it does not know.
func ParseOIDC(raw []byte) (OIDCConfig, error) {
	var c OIDCConfig
	if err := schema.Decode(raw, &c, schema.RefuseUnknown); err != nil {
		return c, status.Publicf(status.InvalidArgument, "oidc: %w", err)
	}
	return c, c.check()
}

func (c OIDCConfig) check() error {
	invalid := func(format string, args ...any) error {
		return status.Publicf(status.InvalidArgument, "oidc: "+format, args...)
	}
	if err := checkURL(c.Issuer, false); err != nil {
		return invalid("\"issuer\" %q %w", shown(c.Issuer), err)
	}
	switch {
	case c.Audience == "":
		return invalid("\"audience\" is required")
	case len(c.Rules) == 0:
		return invalid("\"rules\" are required: without any a token allows nothing")
	case c.ClockSkewSeconds < 0 || c.ClockSkewSeconds > 300:
		return invalid("\"clockSkewSeconds\" is %d, want 0 to 300", c.ClockSkewSeconds)
	}
	for _, name := range c.Algorithms {
		if !slices.Contains(algorithms, name) {
			return invalid("the algorithm %q is not one of %s", shown(name), strings.Join(algorithms, ", "))
		}
	}
	for i, r := range c.Rules {
		if err := r.check(); err != nil {
			return invalid("rule %d: %w", i+1, err)
		}
	}
	return nil
}

func (r OIDCRule) check() error {
	if r.Claim == "" || len(r.Scopes) == 0 {
		return errors.New("\"claim\" and \"scopes\" are required")
	}
	for _, text := range r.Scopes {
		tenant, scope, ok := strings.Cut(text, ":")
		if r.Value == "" {
			if tenant != valueMark || !ok || Scope(scope).rank() == 0 {
				return fmt.Errorf("scope %q: without \"value\" it has to be %s:manage, %s:invoke or %s:read", shown(text), valueMark, valueMark, valueMark)
			}
			continue
		}
		if _, err := ParseScopes([]string{text}); err != nil {
			return errors.New(status.Convert(err).Message)
		}
	}
	return nil
}

// OIDC accepts the tokens of an issuer. The issuer's keys are found by discovery, when the
// first token comes, and fetched again every ten minutes, and at most every ten seconds for
// a key that is not known; while the issuer does not answer, they are used for a day. A token
// that was good is not checked again for ten minutes. It is safe for concurrent use.
type OIDC struct {
	config   OIDCConfig
	skew     time.Duration
	verifier *oidc.IDTokenVerifier
	keys     *keyring
	log      *slog.Logger
	quick    *rate.Limiter

	mu    sync.RWMutex // guards known
	known map[[sha256.Size]byte]knownToken
}

// knownToken is a token that has been verified.
type knownToken struct {
	identity *Identity
	again    time.Time // when it has to be verified again
}

// maxKnown bounds the tokens that need no check.
const maxKnown = 10_000

var _ Authenticator = (*OIDC)(nil)

// NewOIDC returns an authenticator. It asks nothing of the issuer yet, and fails with
// INVALID_ARGUMENT when the config is not in order.
func NewOIDC(c OIDCConfig) (*OIDC, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = []string{"RS256", "ES256"}
	}
	if c.NameClaim == "" {
		c.NameClaim = "name"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	o := &OIDC{config: c, skew: 30 * time.Second, keys: newKeyring(c.Issuer, c.Logger), log: c.Logger, quick: rate.NewLimiter(quickChecks, quickChecks), known: map[[sha256.Size]byte]knownToken{}}
	if c.ClockSkewSeconds > 0 {
		o.skew = time.Duration(c.ClockSkewSeconds) * time.Second
	}
	// Expiry is checked here, because the library allows no difference of the clocks.
	o.verifier = oidc.NewVerifier(c.Issuer, &signatures{o}, &oidc.Config{ClientID: c.Audience, SupportedSigningAlgs: c.Algorithms, SkipExpiryCheck: true})
	return o, nil
}

var (
	errTokenExpired = status.Publicf(status.Unauthenticated, "the token has expired")
	errTokenEarly   = status.Publicf(status.Unauthenticated, "the token is not valid yet")
)

// KeyState is what an [OIDC] has of its issuer's keys.
type KeyState struct {
	Issuer string
	// Fetched is when the keys were last had; zero while no token has asked for them.
	Fetched time.Time
	// Failing is set when the last attempt to fetch them has failed.
	Failing bool
}

// KeyState tells of the issuer's keys. It asks nobody.
func (o *OIDC) KeyState() KeyState {
	o.keys.mu.Lock()
	defer o.keys.mu.Unlock()
	return KeyState{Issuer: o.config.Issuer, Fetched: o.keys.fetched, Failing: o.keys.failed != nil}
}

// Authenticate verifies a token. It fails with UNAUTHENTICATED for one that is not good, and
// with UNAVAILABLE when the issuer's keys can't be had.
func (o *OIDC) Authenticate(ctx context.Context, c Credentials) (*Identity, error) {
	if len(c.Token) > MaxTokenBytes || strings.Count(c.Token, ".") != 2 || strings.HasPrefix(c.Token, TokenPrefix) {
		return nil, errUnknown
	}
	sum := sha256.Sum256([]byte(c.Token))
	o.mu.RLock()
	known, ok := o.known[sum]
	o.mu.RUnlock()
	if ok {
		if err := known.identity.Life.Err(); err != nil {
			return nil, err
		}
		if time.Now().Before(known.again) {
			return known.identity, nil
		}
	}
	if c.Quick && !ok && !o.mayCheck(c.Token) {
		return nil, errUnknown
	}
	identity, err := o.verify(ctx, c.Token)
	if err != nil {
		if ok && status.Of(err) == status.Unauthenticated {
			o.mu.Lock()
			delete(o.known, sum) // the issuer has withdrawn its key
			o.mu.Unlock()
		}
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for old := range o.known {
		if len(o.known) < maxKnown {
			break
		}
		delete(o.known, old) // any: it is verified again
	}
	o.known[sum] = knownToken{identity, time.Now().Add(o.keys.refreshAfter)}
	return identity, nil
}

// mayCheck reports whether a signature of somebody is checked whose source has failed often: where the issuer has the key
// that the token names, a hundred times a second for all. So nobody locks out those with whom he shares an address, and
// nobody has the server compute for long.
func (o *OIDC) mayCheck(token string) bool {
	jws, err := jose.ParseSignedCompact(token, o.allowed())
	if err != nil {
		return false
	}
	header := jws.Signatures[0].Protected
	return o.keys.has(header.KeyID, header.Algorithm) && o.quick.Allow()
}

// quickChecks are the signatures a second that are checked for sources that have failed often. One takes some 100 µs.
const quickChecks = 100

// problem carries an error past the library, which keeps its text alone.
type problem struct{ err error }

type problemKey struct{}

func (o *OIDC) verify(ctx context.Context, token string) (*Identity, error) {
	var failed problem
	verified, err := o.verifier.Verify(context.WithValue(ctx, problemKey{}, &failed), token)
	if failed.err != nil {
		return nil, failed.err
	}
	if err != nil {
		return nil, errUnknown.WithCause(err)
	}
	var raw json.RawMessage
	if err := verified.Claims(&raw); err != nil {
		return nil, errUnknown.WithCause(err)
	}
	known, err := readClaims(raw)
	if err != nil {
		return nil, errUnknown.WithCause(err)
	}
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(raw, &claims); err != nil {
		return nil, errUnknown.WithCause(err)
	}
	now := time.Now()
	if known.Expires == nil || known.Subject == "" || known.Subject != verified.Subject || len(known.Subject) > 255 {
		return nil, errUnknown.WithCause(errors.New("the token has no \"exp\", or no usable \"sub\""))
	}
	for _, at := range []*float64{known.NotBefore, known.IssuedAt} {
		if at != nil && now.Add(o.skew).Before(seconds(*at)) {
			return nil, errTokenEarly
		}
	}
	until := seconds(*known.Expires).Add(o.skew)
	if !now.Before(until) {
		return nil, errTokenExpired
	}
	subject := o.config.Issuer + "#" + known.Subject
	if err := CheckSubject(subject); err != nil {
		return nil, status.Publicf(status.Unauthenticated, "the token's subject %s", status.Convert(err).Message)
	}
	identity := &Identity{Subject: subject, Scopes: o.scopes(claims), Life: NewLife(until, errTokenExpired)}
	if name := texts(claims, o.config.NameClaim); len(name) == 1 {
		identity.Name = shown(name[0])
	}
	return identity, nil
}

// registeredClaims are those whose names have a meaning of their own (RFC 7519, 4.1), and those that the library reads.
type registeredClaims struct {
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Audience  json.RawMessage `json:"aud"`
	Expires   *float64        `json:"exp"`
	NotBefore *float64        `json:"nbf"`
	IssuedAt  *float64        `json:"iat"`
	ID        json.RawMessage `json:"jti"`
	Nonce     json.RawMessage `json:"nonce"`
	Hash      json.RawMessage `json:"at_hash"`
	Names     json.RawMessage `json:"_claim_names"`
	Sources   json.RawMessage `json:"_claim_sources"`
}

// readClaims reads the claims of a token, whose names count in their exact letters alone. A token with "Sub" or "AUD", or with
// a claim twice, is refused: the library, like encoding/json, would take the one for "sub", and issuers that let others add
// claims reserve only the exact names.
func readClaims(payload []byte) (registeredClaims, error) {
	var c registeredClaims
	err := schema.Decode(payload, &c, schema.IgnoreUnknown)
	return c, err
}

// seconds makes a time of a number of JSON, within what times can be.
func seconds(s float64) time.Time {
	const most = 1 << 40 // seconds, some 34,000 years
	return time.Unix(int64(max(-most, min(s, most))), 0)
}

// scopes applies the rules.
func (o *OIDC) scopes(claims map[string]json.RawMessage) Scopes {
	var s Scopes
	for _, r := range o.config.Rules {
		for _, value := range texts(claims, r.Claim) {
			if r.Value != "" && value != r.Value {
				continue
			}
			for _, text := range r.Scopes {
				if text == string(Admin) {
					s.Admin = true
					continue
				}
				tenant, scope, _ := strings.Cut(text, ":")
				if r.Value == "" {
					tenant = value
				}
				if tenantName.MatchString(tenant) && len(s.Tenants) < MaxScopes {
					s.add(tenant, Scope(scope))
				}
			}
		}
	}
	return s
}

// texts returns the texts of a claim.
func texts(claims map[string]json.RawMessage, claim string) []string {
	name, within, nested := claim, "", strings.HasPrefix(claim, "/")
	if nested {
		name, within, nested = strings.Cut(claim[1:], "/")
	}
	raw := claims[unescape(name, claim)]
	for nested {
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil {
			return nil
		}
		name, within, nested = strings.Cut(within, "/")
		raw = object[unescape(name, claim)]
	}
	var one string
	if json.Unmarshal(raw, &one) == nil && one != "" {
		if claim == "scope" || claim == "scp" {
			return strings.Fields(one)
		}
		return []string{one}
	}
	var many []any
	if json.Unmarshal(raw, &many) != nil {
		return nil
	}
	var all []string
	for _, v := range many {
		if text, ok := v.(string); ok && text != "" {
			all = append(all, text)
		}
	}
	return all
}

// unescape reads a step of a JSON pointer (RFC 6901); a name that is none is taken as it is.
func unescape(step, claim string) string {
	if !strings.HasPrefix(claim, "/") {
		return step
	}
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
}

func (o *OIDC) allowed() []jose.SignatureAlgorithm {
	allowed := make([]jose.SignatureAlgorithm, len(o.config.Algorithms))
	for i, name := range o.config.Algorithms {
		allowed[i] = jose.SignatureAlgorithm(name)
	}
	return allowed
}

// signatures checks signatures for the library, with the issuer's keys.
type signatures struct{ o *OIDC }

// VerifySignature looks at the issuer that the token names before it asks for a key: nobody
// has the server fetch something for a token of another one.
func (s *signatures) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, s.o.allowed())
	if err != nil {
		return nil, err
	}
	claimed, err := readClaims(jws.UnsafePayloadWithoutVerification())
	if err != nil {
		return nil, err
	}
	if claimed.Issuer != s.o.config.Issuer {
		return nil, fmt.Errorf("the token is of the issuer %q", shown(claimed.Issuer))
	}
	header := jws.Signatures[0].Protected
	if _, extended := header.ExtraHeaders["crit"]; extended {
		return nil, errors.New("the token has extensions that must be understood")
	}
	key, err := s.o.keys.find(ctx, header.KeyID, header.Algorithm)
	if err != nil {
		if failed, ok := ctx.Value(problemKey{}).(*problem); ok && status.Of(err) != status.Unauthenticated {
			failed.err = err
		}
		return nil, err
	}
	select { // one processor is left to others
	case verifying <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-verifying }()
	return jws.Verify(key)
}

// verifying has a place for each signature that may be checked at a time.
var verifying = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))
