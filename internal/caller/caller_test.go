package caller_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/caller"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

// authenticator is one that a function is.
type authenticator func(access.Credentials) (*access.Identity, error)

func (f authenticator) Authenticate(_ context.Context, c access.Credentials) (*access.Identity, error) {
	return f(c)
}

var home = netip.MustParseAddr("192.0.2.1")

func TestATokenIsOneBearer(t *testing.T) {
	for name, test := range map[string]struct {
		given []string
		token string // empty: refused
		says  string
	}{
		"none":            {nil, "", "is wanted"},
		"one":             {[]string{"Bearer abc"}, "abc", ""},
		"in small":        {[]string{"bearer  abc "}, "abc", ""},
		"two":             {[]string{"Bearer a", "Bearer a"}, "", "malformed"},
		"another scheme":  {[]string{"Basic abc"}, "", "malformed"},
		"no token":        {[]string{"Bearer "}, "", "malformed"},
		"no scheme":       {[]string{"abc"}, "", "malformed"},
		"the longest":     {[]string{"Bearer " + strings.Repeat("x", access.MaxTokenBytes)}, strings.Repeat("x", access.MaxTokenBytes), ""},
		"one that is too": {[]string{"Bearer " + strings.Repeat("x", access.MaxTokenBytes+1)}, "", "malformed"},
	} {
		asked := ""
		want := &access.Identity{Subject: "key:x"}
		answer := http.Header{}
		got, err := caller.Authenticate(t.Context(), authenticator(func(c access.Credentials) (*access.Identity, error) {
			asked = c.Token
			assert.Equal(t, home, c.From, name)
			return want, nil
		}), test.given, home, answer)
		assert.Equal(t, test.token, asked, name)
		if test.token != "" {
			require.NoError(t, err, name)
			assert.Same(t, want, got, name)
			assert.Empty(t, answer, name)
			continue
		}
		assert.Nil(t, got, name)
		assert.Equal(t, status.Unauthenticated, status.Of(err), name)
		assert.ErrorContains(t, err, test.says, name)
		assert.Equal(t, caller.ChallengeNone, answer.Get(caller.Challenge), name)
	}
}

func TestAChallengeIsForIdentitiesThatAreNotGood(t *testing.T) {
	for name, test := range map[string]struct {
		err       error
		code      status.Code
		challenge string
	}{
		"a key that is none":    {status.Errorf(status.Unauthenticated, "x"), status.Unauthenticated, caller.ChallengeWrong},
		"too many tries":        {status.Errorf(status.ResourceExhausted, "x"), status.ResourceExhausted, ""},
		"a store that fails":    {errors.New("x"), status.Internal, ""},
		"neither one nor other": {nil, status.Internal, ""},
	} {
		answer := http.Header{}
		got, err := caller.Authenticate(t.Context(), authenticator(func(access.Credentials) (*access.Identity, error) { return nil, test.err }), []string{"Bearer x"}, home, answer)
		assert.Nil(t, got, name)
		require.Error(t, err, name)
		assert.Equal(t, test.code, status.Of(err), name)
		assert.Equal(t, test.challenge, answer.Get(caller.Challenge), name)
	}
}

// An identity that has ended lets nobody in, whatever its authenticator looked at.
func TestALifeThatIsOverLetsNobodyIn(t *testing.T) {
	ended := access.NewLife(time.Time{}, nil)
	ended.End(nil)
	refused := access.NewLife(time.Time{}, nil)
	refused.End(errors.New("of a database"))
	for name, life := range map[string]*access.Life{
		"by the clock":             access.NewLife(time.Now().Add(-time.Second), status.Publicf(status.Unauthenticated, "over")),
		"by the clock, of nothing": access.NewLife(time.Now().Add(-time.Second), nil),
		"of nothing":               ended,
		"of something else":        refused,
	} {
		answer := http.Header{}
		auth := authenticator(func(access.Credentials) (*access.Identity, error) {
			return &access.Identity{Subject: "x", Life: life}, nil
		})
		_, err := caller.Authenticate(t.Context(), auth, []string{"Bearer x"}, home, answer)
		require.ErrorIs(t, err, status.ErrUnauthenticated, name)
		assert.True(t, status.Convert(err).Public(), name)
		assert.Equal(t, caller.ChallengeWrong, answer.Get(caller.Challenge), name)
		told := false
		life.OnEnd(func(err error) { told = err != nil })()
		assert.True(t, told, "%s: who watches is told at once", name)
	}
}

func TestTokensAreTaken(t *testing.T) {
	r := &http.Request{Header: http.Header{"Authorization": {"a", "b"}, "Accept": {"*/*"}}}
	assert.Equal(t, []string{"a", "b"}, caller.TakeTokens(r))
	assert.Equal(t, http.Header{"Accept": {"*/*"}}, r.Header)
	assert.Empty(t, caller.TakeTokens(r))
}

func TestNamesAndAddressesAreRead(t *testing.T) {
	for text, want := range map[string]string{
		"localhost": "localhost", "LocalHost:3400": "localhost", "tools.example.com.": "tools.example.com", "tools.example.com.:443": "tools.example.com",
		"127.0.0.1:1": "127.0.0.1", "[::1]:1": "::1", "[::1]": "::1", "::1": "::1", "": "",
	} {
		assert.Equal(t, want, caller.HostName(text), text)
	}
	for text, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "192.0.2.1": "192.0.2.1", "[2001:db8::1]:80": "2001:db8::1", "2001:db8::1": "2001:db8::1", "[2001:db8::1]": "2001:db8::1",
		"[::ffff:192.0.2.1]:80": "192.0.2.1", "[fe80::1%eth0]:80": "fe80::1", "@": "invalid IP", "": "invalid IP", "example.com:80": "invalid IP",
	} {
		assert.Equal(t, want, caller.Address(text).String(), text)
	}
}

// Callers that nobody could tell apart in a log are let in by no authenticator.
func TestAnIdentityHasASubject(t *testing.T) {
	for _, subject := range []string{"", "ann\u200b", "ann\n"} {
		_, err := caller.Authenticate(t.Context(), authenticator(func(access.Credentials) (*access.Identity, error) {
			return &access.Identity{Subject: subject}, nil
		}), []string{"Bearer x"}, home, http.Header{})
		require.ErrorIs(t, err, status.ErrInternal, "%q", subject)
	}
}
