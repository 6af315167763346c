package access_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

// issuer is an OpenID Connect issuer over HTTP, whose answers a test may change.
type issuer struct {
	*httptest.Server
	t    testing.TB
	asks atomic.Int64 // of its keys

	mu        sync.Mutex // guards the fields below
	keys      []jose.JSONWebKey
	document  map[string]any
	answer    http.HandlerFunc // in the place of the keys
	discovery http.HandlerFunc // in the place of the document
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		document, discovery := i.document, i.discovery
		i.mu.Unlock()
		if discovery != nil {
			discovery(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(document)
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		i.asks.Add(1)
		i.mu.Lock()
		keys, answer := jose.JSONWebKeySet{Keys: i.keys}, i.answer
		i.mu.Unlock()
		if answer != nil {
			answer(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(keys)
	})
	mux.HandleFunc("/other", func(w http.ResponseWriter, r *http.Request) { // where redirects lead: to what would do
		if strings.Contains(r.URL.RawQuery, "discovery") {
			_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
			return
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: i.keys})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	i.document = map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"}
	return i
}

func (i *issuer) set(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

// publish makes the public halves of keys the issuer's.
func (i *issuer) publish(keys ...jose.JSONWebKey) {
	i.set(func() {
		i.keys = nil
		for _, k := range keys {
			i.keys = append(i.keys, k.Public())
		}
	})
}

func (i *issuer) config(rules ...access.OIDCRule) access.OIDCConfig {
	if len(rules) == 0 {
		rules = []access.OIDCRule{{Claim: "tenant", Scopes: []string{"{value}:invoke"}}}
	}
	return access.OIDCConfig{Issuer: i.URL, Audience: "tools", Rules: rules}
}

func (i *issuer) open(rules ...access.OIDCRule) *access.OIDC {
	i.t.Helper()
	o, err := access.NewOIDC(i.config(rules...))
	require.NoError(i.t, err)
	return o
}

// claims are those of a good token, changed.
func (i *issuer) claims(changes map[string]any) map[string]any {
	c := map[string]any{"iss": i.URL, "aud": "tools", "sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "tenant": "acme", "name": "Ann"}
	maps.Copy(c, changes)
	for name, v := range c {
		if v == nil {
			delete(c, name)
		}
	}
	return c
}

var rsaKey = sync.OnceValue(func() jose.JSONWebKey {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return jose.JSONWebKey{Key: private, KeyID: "rsa", Algorithm: "RS256", Use: "sig"}
})

func public(k jose.JSONWebKey) jose.JSONWebKey { return k.Public() }

func ecKey(t testing.TB, id string) jose.JSONWebKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return jose.JSONWebKey{Key: private, KeyID: id, Algorithm: "ES256", Use: "sig"}
}

func sign(t testing.TB, key jose.JSONWebKey, claims any, headers map[jose.HeaderKey]any) string {
	t.Helper()
	options := &jose.SignerOptions{ExtraHeaders: headers}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, options)
	require.NoError(t, err)
	raw, err := json.Marshal(claims)
	require.NoError(t, err)
	signed, err := signer.Sign(raw)
	require.NoError(t, err)
	text, err := signed.CompactSerialize()
	require.NoError(t, err)
	return text
}

func TestATokenOfTheIssuerLetsIn(t *testing.T) {
	i := newIssuer(t)
	key := ecKey(t, "one")
	i.publish(rsaKey(), key)
	o := i.open()
	for name, token := range map[string]string{
		"RS256":                      sign(t, rsaKey(), i.claims(nil), nil),
		"ES256":                      sign(t, key, i.claims(nil), nil),
		"several audiences":          sign(t, key, i.claims(map[string]any{"aud": []string{"x", "tools"}}), nil),
		"a clock that is ahead":      sign(t, key, i.claims(map[string]any{"iat": time.Now().Add(20 * time.Second).Unix(), "nbf": time.Now().Add(20 * time.Second).Unix()}), nil),
		"just expired, by our clock": sign(t, key, i.claims(map[string]any{"exp": time.Now().Add(-20 * time.Second).Unix()}), nil),
	} {
		identity, err := ask(o, token)
		require.NoError(t, err, name)
		assert.Equal(t, i.URL+"#ann", identity.Subject, name)
		assert.Equal(t, "Ann", identity.Name, name)
		assert.Equal(t, []string{"acme:invoke"}, identity.Scopes.List(), name)
	}
	assert.EqualValues(t, 1, i.asks.Load(), "the keys are fetched once")
}

func encode(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func TestHostileTokens(t *testing.T) {
	i := newIssuer(t)
	key, other := ecKey(t, "one"), ecKey(t, "one")
	i.publish(rsaKey(), key)
	o := i.open()
	good := sign(t, key, i.claims(nil), nil)
	parts := strings.Split(good, ".")
	mac := func(secret []byte, head string) string {
		h := hmac.New(sha256.New, secret)
		_, _ = h.Write([]byte(head))
		return head + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	}
	der, err := x509.MarshalPKIXPublicKey(public(rsaKey()).Key)
	require.NoError(t, err)
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	hs := encode(map[string]any{"alg": "HS256", "kid": "rsa"}) + "." + encode(i.claims(nil))
	_, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ed := jose.JSONWebKey{Key: edPrivate, KeyID: "one", Algorithm: "EdDSA"}
	signedBy := func(changes map[string]any) string { return sign(t, key, i.claims(changes), nil) }
	// endingWith has members after the others: a reader that takes no heed of the case of letters takes these.
	endingWith := func(changes map[string]any, more string) string {
		raw, err := json.Marshal(i.claims(changes))
		require.NoError(t, err)
		return sign(t, key, json.RawMessage(string(raw[:len(raw)-1])+","+more+"}"), nil)
	}
	past, future := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	for name, token := range map[string]string{
		"alg none":                      encode(map[string]any{"alg": "none"}) + "." + parts[1] + ".",
		"alg None":                      encode(map[string]any{"alg": "None"}) + "." + parts[1] + ".",
		"alg none with a signature":     encode(map[string]any{"alg": "none", "kid": "one"}) + "." + parts[1] + "." + parts[2],
		"no alg":                        encode(map[string]any{"kid": "one"}) + "." + parts[1] + "." + parts[2],
		"no signature":                  parts[0] + "." + parts[1] + ".",
		"HS256 with the public key":     mac(pemKey, hs),
		"HS256 with its DER":            mac(der, hs),
		"HS256 with nothing":            mac(nil, hs),
		"HS256 with the kid":            mac([]byte("rsa"), hs),
		"another algorithm of the key":  sign(t, jose.JSONWebKey{Key: rsaKey().Key, KeyID: "rsa", Algorithm: "RS512"}, i.claims(nil), nil),
		"an algorithm that is not on":   sign(t, ed, i.claims(nil), nil),
		"another key":                   sign(t, other, i.claims(nil), nil),
		"a key that it brings itself":   sign(t, other, i.claims(nil), map[jose.HeaderKey]any{"jwk": other.Public()}),
		"a key at an address":           sign(t, other, i.claims(nil), map[jose.HeaderKey]any{"jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1"}),
		"a critical extension":          sign(t, key, i.claims(nil), map[jose.HeaderKey]any{"crit": []string{"b64"}, "b64": true}),
		"an unknown critical extension": sign(t, key, i.claims(nil), map[jose.HeaderKey]any{"crit": []string{"x"}, "x": 1}),
		"changed claims":                parts[0] + "." + encode(i.claims(map[string]any{"tenant": "other"})) + "." + parts[2],
		"another issuer":                signedBy(map[string]any{"iss": "https://evil.example"}),
		"the issuer with a slash":       signedBy(map[string]any{"iss": i.URL + "/"}),
		"no issuer":                     signedBy(map[string]any{"iss": nil}),
		"another audience":              signedBy(map[string]any{"aud": "other"}),
		"an audience that contains it":  signedBy(map[string]any{"aud": "tools2"}),
		"no audience":                   signedBy(map[string]any{"aud": nil}),
		"an audience of another type":   signedBy(map[string]any{"aud": 1}),
		"expired":                       signedBy(map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}),
		"never expires":                 signedBy(map[string]any{"exp": nil}),
		"expires in words":              signedBy(map[string]any{"exp": "never"}),
		"expired long ago":              signedBy(map[string]any{"exp": -1e300}),
		"not yet":                       signedBy(map[string]any{"nbf": time.Now().Add(time.Minute).Unix()}),
		"issued in the future":          signedBy(map[string]any{"iat": time.Now().Add(time.Minute).Unix()}),
		"EXP, and expired":              endingWith(map[string]any{"exp": past}, fmt.Sprintf(`"EXP":%d`, future)),
		"AUD, for another":              endingWith(map[string]any{"aud": "other"}, `"AUD":"tools"`),
		"Sub, of another":               endingWith(nil, `"Sub":"boss"`),
		"Iss, of another":               endingWith(map[string]any{"iss": "https://evil.example"}, `"Iss":"`+i.URL+`"`),
		"NBF, and not yet":              endingWith(map[string]any{"nbf": future}, `"NBF":0`),
		"a subject twice":               endingWith(nil, `"sub":"boss"`),
		"a subject twice, escaped":      endingWith(nil, `"s\u0075b":"boss"`),
		"a tenant twice":                endingWith(nil, `"tenant":"other"`),
		"no subject":                    signedBy(map[string]any{"sub": nil}),
		"an empty subject":              signedBy(map[string]any{"sub": ""}),
		"a huge subject":                signedBy(map[string]any{"sub": strings.Repeat("x", 300)}),
		"claims that are no object":     sign(t, key, []int{1}, nil),
		"claims that are text":          sign(t, key, "x", nil),
		"huge":                          signedBy(map[string]any{"x": strings.Repeat("x", 20<<10)}),
		"five parts":                    good + ".a.b",
		"two parts":                     parts[0] + "." + parts[1],
		"dots":                          "..",
		"no base64":                     "!." + parts[1] + "." + parts[2],
		"an API key":                    "gwk_" + strings.Repeat("a", 16) + "_" + strings.Repeat("a", 52),
		"JSON serialisation":            `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			identity, err := ask(o, token)
			assert.Nil(t, identity)
			require.ErrorIs(t, err, status.ErrUnauthenticated)
			assert.True(t, status.Convert(err).Public())
			assert.Less(t, len(status.Convert(err).Message), 60, "why is for the log")
		})
	}
	before := i.asks.Load()
	for _, kid := range []string{"../../keys", "unknown", strings.Repeat("k", 8000), "\x00", "http://evil.example/keys"} {
		bad := other
		bad.KeyID = kid
		_, err := ask(o, sign(t, bad, i.claims(nil), nil))
		require.ErrorIs(t, err, status.ErrUnauthenticated, "%.20q", kid)
	}
	assert.LessOrEqual(t, i.asks.Load()-before, int64(1), "unknown keys don't have the issuer asked each time")
	_, err = ask(o, good)
	require.NoError(t, err, "a good one is still good")
	assert.Equal(t, 1, o.Known())
}

func TestTokensOfOthersFetchNothing(t *testing.T) {
	i := newIssuer(t)
	o := i.open()
	_, err := ask(o, sign(t, ecKey(t, "x"), i.claims(map[string]any{"iss": "https://evil.example"}), nil))
	require.ErrorIs(t, err, status.ErrUnauthenticated)
	_, err = ask(o, encode(map[string]any{"alg": "HS256"})+"."+encode(i.claims(nil))+".x")
	require.ErrorIs(t, err, status.ErrUnauthenticated)
	assert.Zero(t, i.asks.Load())
	_, err = o.Authenticate(t.Context(), access.Credentials{Token: sign(t, ecKey(t, "x"), i.claims(nil), nil), Quick: true})
	require.ErrorIs(t, err, status.ErrUnauthenticated, "nor does one that has to be quick")
	assert.Zero(t, i.asks.Load())
}

// Whoever shares an address with somebody who guesses goes on to be let in, also with a new token.
func TestNobodyLocksOutTokensOfAnAddress(t *testing.T) {
	i := newIssuer(t)
	key, other := ecKey(t, "one"), ecKey(t, "one")
	i.publish(key)
	o := i.open()
	throttle := access.NewThrottle(access.ThrottleConfig{Next: o})
	token := func(n int) string { return sign(t, key, i.claims(map[string]any{"n": n}), nil) }
	_, err := ask(throttle, token(0))
	require.NoError(t, err)
	for range 12 {
		_, err = ask(throttle, "gwk_"+strings.Repeat("a", 16)+"_"+strings.Repeat("a", 52))
	}
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	_, err = ask(throttle, token(1))
	require.NoError(t, err, "a new one")
	o.Refresh(0, time.Hour, time.Hour) // what was verified has to be verified again
	_, err = ask(throttle, token(2))
	require.NoError(t, err)
	_, err = ask(throttle, token(2))
	require.NoError(t, err, "one that was verified a while ago")
	asks := i.asks.Load()
	for range 200 {
		_, err = ask(throttle, sign(t, other, i.claims(nil), nil))
		require.ErrorIs(t, err, status.ErrResourceExhausted)
	}
	unknown := other
	unknown.KeyID = "unknown"
	_, err = ask(throttle, sign(t, unknown, i.claims(nil), nil))
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Equal(t, asks, i.asks.Load(), "the issuer is asked for nothing")
}

func TestTheIssuerRotatesItsKeys(t *testing.T) {
	i := newIssuer(t)
	first, second := ecKey(t, "first"), ecKey(t, "second")
	i.publish(first)
	o := i.open()
	assert.Equal(t, access.KeyState{Issuer: i.URL}, o.KeyState(), "nobody has asked for keys")
	o.Refresh(time.Hour, 0, 24*time.Hour)
	token := func(key jose.JSONWebKey, n int) string { return sign(t, key, i.claims(map[string]any{"n": n}), nil) }
	_, err := ask(o, token(first, 1))
	require.NoError(t, err)
	i.publish(first, second)
	_, err = ask(o, token(second, 1))
	require.NoError(t, err, "a key that is not known is asked for")
	assert.EqualValues(t, 2, i.asks.Load())
	_, err = ask(o, token(first, 2))
	require.NoError(t, err)
	assert.EqualValues(t, 2, i.asks.Load())

	i.publish(second) // the first is withdrawn
	o.Refresh(0, 0, 24*time.Hour)
	_, err = ask(o, token(first, 3))
	require.ErrorIs(t, err, status.ErrUnauthenticated, "a key that was withdrawn is gone")

	i.set(func() {
		i.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	})
	_, err = ask(o, token(second, 2))
	require.NoError(t, err, "while the issuer is down its keys are used")
	state := o.KeyState()
	assert.True(t, state.Failing)
	assert.WithinDuration(t, time.Now(), state.Fetched, time.Minute, "they were had before")
	_, err = ask(o, token(first, 4))
	require.ErrorIs(t, err, status.ErrUnauthenticated)
	o.Refresh(0, 0, 0)
	_, err = ask(o, token(second, 3))
	require.ErrorIs(t, err, status.ErrUnavailable, "but not for ever")
	i.set(func() { i.answer = nil })
	o.Refresh(0, 0, time.Hour)
	_, err = ask(o, token(second, 4))
	require.NoError(t, err)
	assert.False(t, o.KeyState().Failing)
}

func TestATokenThatWasVerifiedIsNotVerifiedAgain(t *testing.T) {
	i := newIssuer(t)
	key := ecKey(t, "one")
	i.publish(key)
	o := i.open()
	token := sign(t, key, i.claims(map[string]any{"exp": time.Now().Add(-30*time.Second).Unix() + 2}), nil) // two seconds, with the skew
	identity, err := ask(o, token)
	require.NoError(t, err)
	again, err := o.Authenticate(t.Context(), access.Credentials{Token: token, Quick: true})
	require.NoError(t, err)
	assert.Same(t, identity, again)
	ended := make(chan error, 1)
	defer identity.Life.OnEnd(func(err error) { ended <- err })()
	require.ErrorContains(t, <-ended, "expired", "what runs ends with the token")
	_, err = ask(o, token)
	require.ErrorIs(t, err, status.ErrUnauthenticated)
}

// TestABrokenIssuer has the issuer answer what it should not. Each is bounded, and keeps
// nobody out for ever.
func TestABrokenIssuer(t *testing.T) {
	key := ecKey(t, "one")
	var sent atomic.Int64
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
	}
	set := func(keys ...any) string { raw, _ := json.Marshal(map[string]any{"keys": keys}); return string(raw) }
	endless := func(w http.ResponseWriter, r *http.Request) {
		chunk := []byte(strings.Repeat(" ", 64<<10))
		for n := 0; r.Context().Err() == nil && n < 1000; n++ {
			if _, err := w.Write(chunk); err != nil {
				return
			}
			sent.Add(int64(len(chunk)))
		}
	}
	many := make([]any, 101)
	for n := range many {
		k := key.Public()
		k.KeyID = fmt.Sprint(n)
		many[n] = k
	}
	bothKinds := []any{map[string]any{"kty": "EC", "kid": "x", "crv": "secp256k1", "x": "AA", "y": "AA"}, map[string]any{"kty": "what", "kid": "y"}, 7, key.Public()}
	for name, test := range map[string]struct {
		keys, discovery http.HandlerFunc
		want            status.Code
	}{
		"nothing":                            {keys: body(""), want: status.Unavailable},
		"no JSON":                            {keys: body("<html>"), want: status.Unavailable},
		"no keys":                            {keys: body("{}"), want: status.Unauthenticated},
		"too many keys":                      {keys: body(set(many...)), want: status.Unavailable},
		"keys without end":                   {keys: endless, want: status.Unavailable},
		"an error":                           {keys: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, want: status.Unavailable},
		"a redirect":                         {keys: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, want: status.Unavailable},
		"a cut connection":                   {keys: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, want: status.Unavailable},
		"a private key":                      {keys: body(set(key)), want: status.Unauthenticated},
		"a shared secret":                    {keys: body(set(map[string]any{"kty": "oct", "kid": "one", "k": "AAAA"})), want: status.Unauthenticated},
		"a key for encryption":               {keys: body(set(jose.JSONWebKey{Key: key.Public().Key, KeyID: "one", Use: "enc"})), want: status.Unauthenticated},
		"two keys of one id":                 {keys: body(set(public(ecKey(t, "one")), key.Public())), want: status.Unauthenticated},
		"other kinds of keys besides":        {keys: body(set(bothKinds...)), want: status.OK},
		"no discovery":                       {discovery: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, want: status.Unavailable},
		"discovery without end":              {discovery: endless, want: status.Unavailable},
		"a discovery of another issuer":      {discovery: body(`{"issuer":"https://evil.example","jwks_uri":"https://evil.example/keys"}`), want: status.Unavailable},
		"keys at an address in the clear":    {discovery: body(`{"issuer":"ISSUER","jwks_uri":"http://192.0.2.1/keys"}`), want: status.Unavailable},
		"keys at an address with a password": {discovery: body(`{"issuer":"ISSUER","jwks_uri":"USER/keys"}`), want: status.Unavailable},
		"keys at an address with a query":    {discovery: body(`{"issuer":"ISSUER","jwks_uri":"ISSUER/keys?p=policy"}`), want: status.OK},
		"keys at an address of a file":       {discovery: body(`{"issuer":"ISSUER","jwks_uri":"file:///etc/passwd"}`), want: status.Unavailable},
		"keys at no address":                 {discovery: body(`{"issuer":"ISSUER"}`), want: status.Unavailable},
		"a discovery that redirects": {discovery: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other?discovery", http.StatusFound)
		}, want: status.Unavailable},
		"keys in other letters":            {keys: body(strings.Replace(set(key.Public()), `"keys"`, `"Keys"`, 1)), want: status.Unavailable},
		"a discovery in other letters":     {discovery: body(`{"issuer":"ISSUER","Jwks_uri":"ISSUER/keys"}`), want: status.Unavailable},
		"a discovery of two":               {discovery: body(`{"issuer":"https://evil.example","Issuer":"ISSUER","jwks_uri":"ISSUER/keys"}`), want: status.Unavailable},
		"a discovery that is no JSON":      {discovery: body("<html>"), want: status.Unavailable},
		"a discovery with a list for keys": {discovery: body(`{"issuer":"ISSUER","jwks_uri":["x"]}`), want: status.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			i.publish(key)
			i.set(func() {
				i.answer = test.keys
				if test.discovery != nil {
					i.discovery = func(w http.ResponseWriter, r *http.Request) {
						rec := httptest.NewRecorder()
						if name == "discovery without end" {
							test.discovery(w, r)
							return
						}
						test.discovery(rec, r)
						maps.Copy(w.Header(), rec.Header())
						w.WriteHeader(rec.Code)
						_, _ = w.Write([]byte(strings.NewReplacer("ISSUER", i.URL, "USER", strings.Replace(i.URL, "://", "://u:p@", 1)).Replace(rec.Body.String())))
					}
				}
			})
			o := i.open()
			o.Refresh(0, time.Hour, time.Hour)
			start := time.Now()
			_, err := ask(o, sign(t, key, i.claims(nil), nil))
			assert.Equal(t, test.want, status.Of(err), "%v", err)
			assert.Less(t, time.Since(start), 9*time.Second)
			if test.want == status.Unavailable {
				assert.NotContains(t, status.Convert(err).Message, "127.0.0.1")
				_, err = ask(o, sign(t, key, i.claims(nil), nil))
				assert.Equal(t, status.Unavailable, status.Of(err), "it is not asked again at once")
				assert.LessOrEqual(t, i.asks.Load(), int64(1))
				i.set(func() { i.answer, i.discovery = nil, nil })
				o.Refresh(time.Hour, 0, time.Hour)
				_, err = ask(o, sign(t, key, i.claims(nil), nil))
				assert.NoError(t, err, "once it answers again, it is asked")
			}
		})
	}
	assert.Less(t, sent.Load(), int64(20<<20), "what has no end is read no further")
}

// TestKeysThatAreTooWeak has tokens that are signed, as they should be, by keys that are too
// small.
func TestKeysThatAreTooWeak(t *testing.T) {
	i := newIssuer(t)
	for name, bits := range map[string]int{"weak": 1024, "good": 2048} {
		private, err := rsa.GenerateKey(rand.Reader, bits) //nolint:gosec // to see it refused
		require.NoError(t, err)
		i.publish(jose.JSONWebKey{Key: private, KeyID: name})
		head := encode(map[string]any{"alg": "RS256", "kid": name}) + "." + encode(i.claims(nil))
		sum := sha256.Sum256([]byte(head))
		signature, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:])
		require.NoError(t, err)
		_, err = ask(i.open(), head+"."+base64.RawURLEncoding.EncodeToString(signature))
		assert.Equal(t, name == "good", err == nil, "%s: %v", name, err)
	}
}

// A caller who leaves while the issuer is slow waits no longer, and many who wait cost one
// request.
func TestASlowIssuer(t *testing.T) {
	i := newIssuer(t)
	key := ecKey(t, "one")
	i.publish(key)
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	i.set(func() {
		i.answer = func(w http.ResponseWriter, _ *http.Request) {
			once.Do(func() { close(begun) })
			<-goOn
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
		}
	})
	o := i.open()
	var all sync.WaitGroup
	var failed atomic.Int64
	token := sign(t, key, i.claims(nil), nil)
	for range 20 {
		all.Go(func() {
			if _, err := ask(o, token); err != nil {
				failed.Add(1)
			}
		})
	}
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := o.Authenticate(ctx, access.Credentials{Token: token})
	require.Error(t, err, "a caller who has left does not wait")
	close(goOn)
	all.Wait()
	assert.Zero(t, failed.Load())
	assert.EqualValues(t, 1, i.asks.Load())
}

func TestClaimsBecomeScopes(t *testing.T) {
	i := newIssuer(t)
	key := ecKey(t, "one")
	i.publish(key)
	rule := func(claim, value string, scopes ...string) access.OIDCRule {
		return access.OIDCRule{Claim: claim, Value: value, Scopes: scopes}
	}
	for name, test := range map[string]struct {
		rules  []access.OIDCRule
		claims map[string]any
		want   []string
	}{
		"a text":                         {[]access.OIDCRule{rule("role", "boss", "admin")}, map[string]any{"role": "boss"}, []string{"admin"}},
		"another text":                   {[]access.OIDCRule{rule("role", "boss", "admin")}, map[string]any{"role": "bosses"}, []string{}},
		"a text with blanks is one":      {[]access.OIDCRule{rule("role", "boss", "admin")}, map[string]any{"role": "no boss"}, []string{}},
		"an array":                       {[]access.OIDCRule{rule("groups", "devs", "acme:manage", "beta:read")}, map[string]any{"groups": []string{"x", "devs"}}, []string{"acme:manage", "beta:read"}},
		"the scope of OAuth":             {[]access.OIDCRule{rule("scope", "tools", "acme:invoke")}, map[string]any{"scope": "openid tools"}, []string{"acme:invoke"}},
		"nested":                         {[]access.OIDCRule{rule("/realm_access/roles", "admin", "admin")}, map[string]any{"realm_access": map[string]any{"roles": []string{"admin"}}}, []string{"admin"}},
		"nested in what is no object":    {[]access.OIDCRule{rule("/realm_access/roles", "admin", "admin")}, map[string]any{"realm_access": "roles"}, []string{}},
		"a name that is a URL":           {[]access.OIDCRule{rule("https://example.com/tenant", "", "{value}:read")}, map[string]any{"https://example.com/tenant": "acme"}, []string{"acme:read"}},
		"a pointer with escapes":         {[]access.OIDCRule{rule("/a~1b/c~0d", "x", "admin")}, map[string]any{"a/b": map[string]any{"c~d": "x"}}, []string{"admin"}},
		"the value is the tenant":        {[]access.OIDCRule{rule("tenants", "", "{value}:invoke")}, map[string]any{"tenants": []any{"acme", "beta", 7, nil, "", "admin"}}, []string{"acme:invoke", "admin:invoke", "beta:invoke"}},
		"values that are no tenants":     {[]access.OIDCRule{rule("tenants", "", "{value}:invoke")}, map[string]any{"tenants": []string{"a:manage", "../x", "a b", "{value}", strings.Repeat("x", 65)}}, []string{}},
		"several rules, the widest wins": {[]access.OIDCRule{rule("a", "x", "acme:read"), rule("b", "y", "acme:manage")}, map[string]any{"a": "x", "b": "y"}, []string{"acme:manage"}},
		"no such claim":                  {[]access.OIDCRule{rule("a", "x", "acme:read")}, nil, []string{}},
		"a claim in other letters":       {[]access.OIDCRule{rule("role", "boss", "admin")}, map[string]any{"Role": "boss"}, []string{}},
		"true is no text":                {[]access.OIDCRule{rule("boss", "true", "admin")}, map[string]any{"boss": true}, []string{}},
	} {
		identity, err := ask(i.open(test.rules...), sign(t, key, i.claims(test.claims), nil))
		require.NoError(t, err, name)
		assert.Equal(t, test.want, identity.Scopes.List(), name)
	}
	tenants := make([]string, 1000)
	for n := range tenants {
		tenants[n] = fmt.Sprintf("t%d", n)
	}
	identity, err := ask(i.open(rule("tenants", "", "{value}:invoke")), sign(t, key, i.claims(map[string]any{"tenants": tenants}), nil))
	require.NoError(t, err)
	assert.Len(t, identity.Scopes.Tenants, access.MaxScopes)
}

func TestConfigsOfOIDC(t *testing.T) {
	good := `{"issuer":"https://id.example.com","audience":"tools","rules":[{"claim":"groups","value":"devs","scopes":["acme:manage"]}]}`
	c, err := access.ParseOIDC([]byte(good))
	require.NoError(t, err)
	_, err = access.NewOIDC(c)
	require.NoError(t, err)
	change := func(old, text string) string {
		require.Contains(t, good, old)
		return strings.Replace(good, old, text, 1)
	}
	for _, raw := range []string{
		``, `{}`, `[]`, good + `{}`, change(`"issuer"`, `"isuer"`), change(`"audience"`, `"Audience"`), change(`"tools"`, `"other","audience":"tools"`), change(`https://id.example.com`, ``), change(`https://`, `http://`), change(`https://`, `ftp://`),
		change(`id.example.com`, `id.example.com?x=1`), change(`id.example.com`, `id.example.com#x`), change(`id.example.com`, `user:pass@id.example.com`),
		change(`"tools"`, `""`), change(`"audience":"tools",`, ``), change(`"rules":[`, `"rules":[],"algorithms":[`), change(`"rules"`, `"algorithms":["HS256"],"rules"`),
		change(`"rules"`, `"algorithms":["none"],"rules"`), change(`"rules"`, `"clockSkewSeconds":301,"rules"`), change(`"rules"`, `"clockSkewSeconds":-1,"rules"`),
		change(`"claim":"groups",`, ``), change(`["acme:manage"]`, `[]`), change(`acme:manage`, `acme:admin`), change(`acme:manage`, `{value}:manage`), change(`"value":"devs",`, ``),
		strings.Replace(change(`"value":"devs",`, ``), `acme:manage`, `admin`, 1), strings.Replace(change(`"value":"devs",`, ``), `acme:manage`, `{value}`, 1),
	} {
		_, err := access.ParseOIDC([]byte(raw))
		require.ErrorIs(t, err, status.ErrInvalidArgument, raw)
		assert.True(t, status.Convert(err).Public(), raw)
	}
	_, err = access.NewOIDC(access.OIDCConfig{})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func BenchmarkOIDC(b *testing.B) {
	i := newIssuer(b)
	key := rsaKey()
	i.publish(key)
	o := i.open()
	token := sign(b, key, i.claims(nil), nil)
	for b.Loop() {
		if _, err := ask(o, token); err != nil {
			b.Fatal(err)
		}
	}
}
