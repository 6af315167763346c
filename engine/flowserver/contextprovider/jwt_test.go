package contextprovider_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
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
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/contextprovider"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// testKeys are made once: RSA takes its time.
var testKeys = sync.OnceValue(func() (k struct {
	rsa, other, weak *rsa.PrivateKey
	ec, ec384        *ecdsa.PrivateKey
	ed               ed25519.PrivateKey
},
) {
	k.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.other, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.weak, _ = rsa.GenerateKey(rand.Reader, 1024)
	k.ec, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.ec384, _ = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, k.ed, _ = ed25519.GenerateKey(rand.Reader)
	return k
})

const (
	issuer   = "https://id.example.com"
	audience = "menu"
)

func b64(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// webKey is the public part of a key as an issuer publishes it.
func webKey(id string, key crypto.Signer, more ...string) map[string]any {
	w := map[string]any{"kid": id, "use": "sig"}
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		w["kty"], w["n"], w["e"] = "RSA", b64(public.N.Bytes()), "AQAB"
	case *ecdsa.PublicKey:
		point, _ := public.Bytes() // 4, x, y
		size := len(point) / 2
		w["kty"], w["crv"] = "EC", public.Curve.Params().Name
		w["x"], w["y"] = b64(point[1:1+size]), b64(point[1+size:])
	case ed25519.PublicKey:
		w["kty"], w["crv"], w["x"] = "OKP", "Ed25519", b64(public)
	}
	for i := 0; i < len(more); i += 2 {
		w[more[i]] = more[i+1]
	}
	return w
}

func set(keys ...map[string]any) string {
	raw, _ := json.Marshal(map[string]any{"keys": keys})
	return string(raw)
}

// claims are good ones, with changes: a nil value takes a claim away.
func claims(changes jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{"iss": issuer, "aud": audience, "sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "n": json.Number("12345678901234567890")}
	maps.Copy(c, changes)
	for name, value := range c {
		if value == nil {
			delete(c, name)
		}
	}
	return c
}

func sign(method jwt.SigningMethod, kid string, key any, c jwt.MapClaims, header ...string) string {
	t := jwt.NewWithClaims(method, c)
	if kid != "" {
		t.Header["kid"] = kid
	}
	for i := 0; i < len(header); i += 2 {
		t.Header[header[i]] = header[i+1]
	}
	signed, err := t.SignedString(key)
	if err != nil {
		panic(err)
	}
	return signed
}

// otherBits returns another letter of base64 with the same first bits; the last of a
// signature of 256 bytes has four that mean nothing.
func otherBits(letter byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, letter)^1])
}

// issuerServer publishes what keys says.
func issuerServer(t *testing.T, keys func() string) (config contextprovider.JWTConfig, fetches *atomic.Int64) {
	t.Helper()
	fetches = &atomic.Int64{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetches.Add(1)
		body := keys()
		if body == "" {
			w.WriteHeader(http.StatusBadGateway)
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(srv.Close)
	return contextprovider.JWTConfig{Issuer: issuer, Audience: audience, JWKSURL: srv.URL, Client: srv.Client()}, fetches
}

func ask(t *testing.T, p contextprovider.Provider, token string) (string, error) {
	t.Helper()
	values, err := p(t.Context(), with("Bearer "+token))
	if err != nil {
		return "", err
	}
	raw, err := json.Marshal(values)
	require.NoError(t, err)
	return string(raw), nil
}

func TestTokens(t *testing.T) {
	k := testKeys()
	config, fetches := issuerServer(t, func() string {
		return set(webKey("rsa", k.rsa), webKey("named", k.other, "alg", "RS512"), webKey("ec", k.ec), webKey("ec384", k.ec384), webKey("ed", k.ed),
			webKey("weak", k.weak), webKey("enc", k.other, "use", "enc"),
			map[string]any{"kid": "oct", "kty": "oct", "k": b64([]byte("a shared secret of some length 123"))}, map[string]any{"kty": "new"})
	})
	p, err := contextprovider.JWT(config)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(k.rsa.Public())
	require.NoError(t, err)
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	good := sign(jwt.SigningMethodRS256, "rsa", k.rsa, claims(nil))
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	now := time.Now()
	// endingWith has members after the others: a reader that takes no heed of the case of letters takes these.
	endingWith := func(changes jwt.MapClaims, more string) string {
		raw, err := json.Marshal(claims(changes))
		require.NoError(t, err)
		text := b64([]byte(`{"alg":"EdDSA","kid":"ed"}`)) + "." + b64([]byte(string(raw[:len(raw)-1])+","+more+"}"))
		return text + "." + b64(ed25519.Sign(k.ed, []byte(text)))
	}
	for name, test := range map[string]struct{ token, says string }{
		"a claim that others add":          {endingWith(nil, `"team":"x"`), ""},
		"EXP, and expired":                 {endingWith(jwt.MapClaims{"exp": now.Add(-time.Hour).Unix()}, fmt.Sprintf(`"EXP":%d`, now.Add(time.Hour).Unix())), "the token is malformed"},
		"AUD, for another":                 {endingWith(jwt.MapClaims{"aud": "x"}, `"AUD":"`+audience+`"`), "the token is malformed"},
		"Sub, of another":                  {endingWith(nil, `"Sub":"boss"`), "the token is malformed"},
		"Iss, of another":                  {endingWith(jwt.MapClaims{"iss": "x"}, `"Iss":"`+issuer+`"`), "the token is malformed"},
		"a subject twice":                  {endingWith(nil, `"sub":"boss"`), "the token is malformed"},
		"RS256":                            {good, ""},
		"PS384":                            {sign(jwt.SigningMethodPS384, "rsa", k.rsa, claims(nil)), ""},
		"ES256":                            {sign(jwt.SigningMethodES256, "ec", k.ec, claims(nil)), ""},
		"ES384":                            {sign(jwt.SigningMethodES384, "ec384", k.ec384, claims(nil)), ""},
		"EdDSA":                            {sign(jwt.SigningMethodEdDSA, "ed", k.ed, claims(nil)), ""},
		"a key of one algorithm":           {sign(jwt.SigningMethodRS512, "named", k.other, claims(nil)), ""},
		"no key id where one key fits":     {sign(jwt.SigningMethodEdDSA, "", k.ed, claims(nil)), ""},
		"several audiences":                {sign(jwt.SigningMethodEdDSA, "ed", k.ed, claims(jwt.MapClaims{"aud": []string{"x", audience}})), ""},
		"expired within the leeway":        {sign(jwt.SigningMethodEdDSA, "ed", k.ed, claims(jwt.MapClaims{"exp": now.Add(-10 * time.Second).Unix()})), ""},
		"issued within the leeway":         {sign(jwt.SigningMethodEdDSA, "ed", k.ed, claims(jwt.MapClaims{"iat": now.Add(10 * time.Second).Unix()})), ""},
		"expired":                          {sign(jwt.SigningMethodEdDSA, "ed", k.ed, claims(jwt.MapClaims{"exp": now.Add(-time.Minute).Unix()})), "the token has expired"},
		"not valid yet":                    {sign(jwt.SigningMethodEdDSA, "ed", k.ed, claims(jwt.MapClaims{"nbf": now.Add(time.Minute).Unix()})), "the token is not valid yet"},
		"issued in the future":             {sign(jwt.SigningMethodEdDSA, "ed", k.ed, claims(jwt.MapClaims{"iat": now.Add(time.Minute).Unix()})), "the token is not valid yet"},
		"without an expiry":                {sign(jwt.SigningMethodEdDSA, "ed", k.ed, claims(jwt.MapClaims{"exp": nil})), "the token is not valid"},
		"of another issuer":                {sign(jwt.SigningMethodEdDSA, "ed", k.ed, claims(jwt.MapClaims{"iss": issuer + "/"})), "the token is another issuer's"},
		"without an issuer":                {sign(jwt.SigningMethodEdDSA, "ed", k.ed, claims(jwt.MapClaims{"iss": nil})), ""},
		"for another audience":             {sign(jwt.SigningMethodEdDSA, "ed", k.ed, claims(jwt.MapClaims{"aud": "x"})), "the token is for somebody else"},
		"without an audience":              {sign(jwt.SigningMethodEdDSA, "ed", k.ed, claims(jwt.MapClaims{"aud": nil})), ""},
		"signed by another key":            {sign(jwt.SigningMethodRS256, "rsa", k.other, claims(nil)), "the token is not valid"},
		"of a key that is not there":       {sign(jwt.SigningMethodRS256, "gone", k.rsa, claims(nil)), "the token is not valid"},
		"no key id where several fit":      {sign(jwt.SigningMethodRS512, "", k.rsa, claims(nil)), "the token is not valid"},
		"of a weak key":                    {sign(jwt.SigningMethodRS256, "weak", k.weak, claims(nil)), "the token is not valid"},
		"of a key for encryption":          {sign(jwt.SigningMethodRS256, "enc", k.other, claims(nil)), "the token is not valid"},
		"a key in another's algorithm":     {sign(jwt.SigningMethodRS256, "named", k.other, claims(nil)), "the token is not valid"},
		"signed with nothing":              {sign(jwt.SigningMethodNone, "rsa", jwt.UnsafeAllowNoneSignatureType, claims(nil)), "the token is not valid"},
		"a public key as a secret":         {sign(jwt.SigningMethodHS256, "rsa", pemKey, claims(nil)), "the token is not valid"},
		"a modulus as a secret":            {sign(jwt.SigningMethodHS256, "rsa", k.rsa.N.Bytes(), claims(nil)), "the token is not valid"},
		"a secret that is published":       {sign(jwt.SigningMethodHS256, "oct", []byte("a shared secret of some length 123"), claims(nil)), "the token is not valid"},
		"critical extensions":              {sign(jwt.SigningMethodEdDSA, "ed", k.ed, claims(nil), "crit", "exp"), "the token is not valid"},
		"a key of its own":                 {sign(jwt.SigningMethodEdDSA, "x", k.ed, claims(nil), "jwk", "{}", "jku", "https://evil.example/"), "the token is not valid"},
		"cut":                              {head + "." + body, "the token is malformed"},
		"changed":                          {head + "." + b64([]byte(`{"sub":"root"}`)) + "." + signature, "the token is not valid"},
		"a signature with more at its end": {good + "A", "the token is not valid"},
		"a signature in another spelling":  {good[:len(good)-1] + otherBits(good[len(good)-1]), "the token is malformed"},
		"too long":                         {good + strings.Repeat("A", 20_000), "the token is too long"},
		"rubbish":                          {"a.b.c", "the token is malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ask(t, p, test.token)
			if name == "without an issuer" || name == "without an audience" {
				require.ErrorIs(t, err, status.ErrUnauthenticated)
				return
			}
			if test.says != "" {
				require.ErrorIs(t, err, status.ErrUnauthenticated, got)
				assert.True(t, status.Convert(err).Public())
				assert.Equal(t, test.says, status.Convert(err).Message)
				return
			}
			require.NoError(t, err)
			var values struct {
				Auth struct {
					UID   string
					Token struct{ N json.Number }
				}
			}
			require.NoError(t, json.Unmarshal([]byte(got), &values))
			assert.Equal(t, "ann", values.Auth.UID)
			assert.Equal(t, "12345678901234567890", values.Auth.Token.N.String(), "digits are kept")
		})
	}
	assert.LessOrEqual(t, fetches.Load(), int64(2), "the first, and one for keys that were not there")
	for _, header := range []string{"", "Bearer", "Bearer ", good, "Basic " + good} {
		_, err := p(t.Context(), with(header))
		require.ErrorIs(t, err, status.ErrUnauthenticated, header)
	}
	_, err = p(t.Context(), with("bearer "+good))
	require.NoError(t, err, "schemes have no case")
}

func TestKeysThatAreGiven(t *testing.T) {
	k := testKeys()
	asked := ""
	p, err := contextprovider.JWT(contextprovider.JWTConfig{
		Issuer: issuer, Audience: audience, Keys: map[string]crypto.PublicKey{"a": k.ec.Public()}, Algorithms: []string{"ES256"},
		Policy: func(_ context.Context, claims json.RawMessage) error {
			if asked = string(claims); strings.Contains(asked, "bob") {
				return status.Publicf(status.PermissionDenied, "not bob")
			}
			return nil
		},
	})
	require.NoError(t, err)
	_, err = ask(t, p, sign(jwt.SigningMethodES256, "a", k.ec, claims(nil)))
	require.NoError(t, err)
	assert.Contains(t, asked, `"sub":"ann"`)
	_, err = ask(t, p, sign(jwt.SigningMethodES256, "a", k.ec, claims(jwt.MapClaims{"sub": "bob"})))
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	got, err := ask(t, p, sign(jwt.SigningMethodES256, "a", k.ec, claims(jwt.MapClaims{"sub": nil})))
	require.NoError(t, err)
	assert.NotContains(t, got, "uid", "a token without a subject has no user")
	for name, c := range map[string]contextprovider.JWTConfig{
		"nothing":         {},
		"no issuer":       {Audience: audience, Keys: map[string]crypto.PublicKey{"a": k.ec.Public()}},
		"no audience":     {Issuer: issuer, Keys: map[string]crypto.PublicKey{"a": k.ec.Public()}},
		"no keys":         {Issuer: issuer, Audience: audience},
		"both":            {Issuer: issuer, Audience: audience, Keys: map[string]crypto.PublicKey{"a": k.ec.Public()}, JWKSURL: "https://x"},
		"a weak key":      {Issuer: issuer, Audience: audience, Keys: map[string]crypto.PublicKey{"a": k.weak.Public()}},
		"a private key":   {Issuer: issuer, Audience: audience, Keys: map[string]crypto.PublicKey{"a": k.ec}},
		"a secret":        {Issuer: issuer, Audience: audience, Keys: map[string]crypto.PublicKey{"a": []byte("secret")}},
		"none":            {Issuer: issuer, Audience: audience, JWKSURL: "https://x", Algorithms: []string{"none"}},
		"HS256":           {Issuer: issuer, Audience: audience, JWKSURL: "https://x", Algorithms: []string{"RS256", "HS256"}},
		"keys in clear":   {Issuer: issuer, Audience: audience, JWKSURL: "http://id.example.com/jwks"},
		"keys in a file":  {Issuer: issuer, Audience: audience, JWKSURL: "file:///etc/keys"},
		"keys of nowhere": {Issuer: issuer, Audience: audience, JWKSURL: "https://"},
	} {
		_, err := contextprovider.JWT(c)
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
}

func TestOneFetchServesAll(t *testing.T) {
	k := testKeys()
	release := make(chan struct{})
	config, fetches := issuerServer(t, func() string { <-release; return set(webKey("ec", k.ec)) })
	config.MinRefresh = time.Nanosecond // it is not this that holds them back
	p, err := contextprovider.JWT(config)
	require.NoError(t, err)
	token := sign(jwt.SigningMethodES256, "ec", k.ec, claims(nil))
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p(impatient, with("Bearer "+token))
	require.ErrorIs(t, err, context.Canceled, "who leaves does not wait")
	errs := make(chan error, 50)
	for range cap(errs) {
		go func() {
			_, err := p(context.Background(), with("Bearer "+token))
			errs <- err
		}()
	}
	close(release)
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	assert.Equal(t, int64(1), fetches.Load())
}

// transport answers without a network, so that time can be a test's.
type transport func() (int, string)

func (f transport) RoundTrip(*http.Request) (*http.Response, error) {
	code, body := f()
	rec := httptest.NewRecorder()
	rec.WriteHeader(code)
	_, _ = rec.WriteString(body)
	return rec.Result(), nil
}

func TestKeysChange(t *testing.T) {
	k := testKeys()
	synctest.Test(t, func(t *testing.T) {
		code, body, fetches := http.StatusOK, set(webKey("old", k.rsa)), 0
		p, err := contextprovider.JWT(contextprovider.JWTConfig{
			Issuer: issuer, Audience: audience, JWKSURL: "https://id.example.com/jwks",
			Client: &http.Client{Transport: transport(func() (int, string) { fetches++; return code, body })},
		})
		require.NoError(t, err)
		try := func(kid string, key *rsa.PrivateKey) error {
			t.Helper()
			_, err := ask(t, p, sign(jwt.SigningMethodRS256, kid, key, claims(nil)))
			synctest.Wait()
			return err
		}
		require.NoError(t, try("old", k.rsa))
		require.ErrorIs(t, try("new", k.other), status.ErrUnauthenticated)
		assert.Equal(t, 1, fetches, "none too soon")
		time.Sleep(31 * time.Second)
		body = set(webKey("old", k.rsa), webKey("new", k.other))
		require.NoError(t, try("new", k.other), "a key that is not known is looked for")
		assert.Equal(t, 2, fetches)
		for range 100 {
			require.ErrorIs(t, try("made up", k.other), status.ErrUnauthenticated)
		}
		assert.Equal(t, 2, fetches, "a caller who makes up key ids causes no fetches")

		body = set(webKey("new", k.other))
		time.Sleep(11 * time.Minute)
		require.NoError(t, try("old", k.rsa), "old keys serve while new ones come")
		require.ErrorIs(t, try("old", k.rsa), status.ErrUnauthenticated, "a key that was withdrawn is gone")

		code = http.StatusInternalServerError
		time.Sleep(23 * time.Hour)
		require.NoError(t, try("new", k.other), "the issuer is down; its keys serve on")
		time.Sleep(2 * time.Hour)
		err = try("new", k.other)
		require.ErrorIs(t, err, status.ErrUnavailable, "but not for ever")
		assert.Positive(t, status.Convert(err).RetryAfter)
		code = http.StatusOK
		time.Sleep(31 * time.Second)
		require.NoError(t, try("new", k.other))
	})
}

func TestKeySetsAreBounded(t *testing.T) {
	k := testKeys()
	token := sign(jwt.SigningMethodES256, "ec", k.ec, claims(nil))
	many := make([]map[string]any, 101)
	for i := range many {
		many[i] = webKey(fmt.Sprint(i), k.ec)
	}
	off := webKey("ec", k.ec)
	off["y"] = off["x"] // not on the curve
	for name, body := range map[string]string{
		"too many keys":        set(many...),
		"too long":             set(webKey("ec", k.ec)) + strings.Repeat(" ", 1<<20),
		"no JSON":              "<html>",
		"no keys":              `{"keys":[]}`,
		"no set":               `[]`,
		"a key off its curve":  set(off),
		"an answer of no keys": "",
		"a private key":        set(webKey("ec", k.ec, "d", "AA")),
	} {
		config, _ := issuerServer(t, func() string { return body })
		p, err := contextprovider.JWT(config)
		require.NoError(t, err)
		_, err = ask(t, p, token)
		require.ErrorIs(t, err, status.ErrUnavailable, name)
	}
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(slow.Close)
	p, err := contextprovider.JWT(contextprovider.JWTConfig{Issuer: issuer, Audience: audience, JWKSURL: slow.URL, Client: slow.Client(), FetchTimeout: 20 * time.Millisecond})
	require.NoError(t, err)
	_, err = ask(t, p, token)
	require.ErrorIs(t, err, status.ErrUnavailable, "an issuer that does not answer")
}

// FuzzKeySet reads foreign key sets; whatever they are, nothing breaks and no more keys
// come out than are allowed.
func FuzzKeySet(f *testing.F) {
	k := testKeys()
	f.Add(set(webKey("a", k.rsa), webKey("b", k.ec), webKey("c", k.ed)))
	f.Add(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"","y":""},{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		n, err := contextprovider.ParseSet([]byte(body))
		if n > 100 || (err == nil) != (n > 0) {
			t.Fatalf("%d keys, %v", n, err)
		}
	})
}
