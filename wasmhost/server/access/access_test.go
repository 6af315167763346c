package access_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func scopes(t testing.TB, texts ...string) access.Scopes {
	t.Helper()
	s, err := access.ParseScopes(texts)
	require.NoError(t, err)
	return s
}

func TestEachScopeIncludesThoseAfterIt(t *testing.T) {
	order := []access.Scope{access.Admin, access.Manage, access.Invoke, access.Read}
	for i, has := range order {
		text := "acme:" + string(has)
		if has == access.Admin {
			text = "admin"
		}
		s := scopes(t, text)
		for j, wants := range order {
			assert.Equal(t, i <= j, s.Allows("acme", wants), "%s allows %s", has, wants)
			assert.Equal(t, has == access.Admin, s.Allows("other", wants), "%s of another tenant allows %s", has, wants)
			assert.Equal(t, has == access.Admin, s.Allows("", wants), "%s of no tenant allows %s", has, wants)
		}
		for _, none := range []access.Scope{"", "open", "signed in", "root", "Read"} {
			assert.Equal(t, has == access.Admin, s.Allows("acme", none), "%s allows %q", has, none)
		}
	}
	assert.False(t, access.Scopes{}.Allows("", access.Read))
	assert.False(t, access.Scopes{Tenants: map[string]access.Scope{"acme": "root", "": "admin"}}.Allows("acme", access.Read))
	assert.False(t, access.Scopes{Tenants: map[string]access.Scope{"acme": "admin"}}.Allows("acme", access.Read))
}

func TestScopesAsText(t *testing.T) {
	s := scopes(t, "b:read", "a:invoke", "a:manage", "a:read", "admin", "admin")
	assert.Equal(t, []string{"admin", "a:manage", "b:read"}, s.List())
	raw, err := json.Marshal(s)
	require.NoError(t, err)
	var back access.Scopes
	require.NoError(t, json.Unmarshal(raw, &back))
	assert.Equal(t, s, back)
	for _, text := range []string{"", "a", ":read", "a:", "a:admin", "a:Read", "a: read", " a:read", "a/b:read", "..:read", "a:read:x", "*:read", "Admin", "-a:read", strings.Repeat("a", 65) + ":read", "a\n:read"} {
		_, err := access.ParseScopes([]string{text})
		require.ErrorIs(t, err, status.ErrInvalidArgument, "%q", text)
		assert.True(t, status.Convert(err).Public())
		assert.Less(t, len(err.Error()), 300)
	}
	many := make([]string, access.MaxScopes+1)
	for i := range many {
		many[i] = fmt.Sprintf("t%d:read", i)
	}
	_, err = access.ParseScopes(many)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	for _, raw := range []string{`"admin"`, `[1]`, `{}`} {
		assert.Error(t, json.Unmarshal([]byte(raw), &back), raw)
	}
}

// answers is an authenticator that always answers the same.
type answers struct {
	identity *access.Identity
	err      error
}

func (a answers) Authenticate(context.Context, access.Credentials) (*access.Identity, error) {
	return a.identity, a.err
}

func TestAChainTakesTheFirstIdentity(t *testing.T) {
	ann, ben := answers{identity: &access.Identity{Subject: "ann"}}, answers{identity: &access.Identity{Subject: "ben"}}
	unknown := answers{err: status.Publicf(status.Unauthenticated, "unknown")}
	down := answers{err: status.Publicf(status.Unavailable, "down")}
	broken := answers{err: errors.New("broken")}
	for name, test := range map[string]struct {
		chain access.Chain
		want  string
		code  status.Code
	}{
		"the first":                            {access.Chain{ann, ben}, "ann", status.OK},
		"the second":                           {access.Chain{unknown, ben}, "ben", status.OK},
		"the second, when the first is down":   {access.Chain{down, ben}, "ben", status.OK},
		"nobody knows it":                      {access.Chain{unknown, unknown}, "", status.Unauthenticated},
		"one does not know it and one is down": {access.Chain{down, unknown}, "", status.Unavailable},
		"in the other order":                   {access.Chain{unknown, down}, "", status.Unavailable},
		"one is broken":                        {access.Chain{unknown, broken}, "", status.Internal},
		"one says nothing":                     {access.Chain{answers{}}, "", status.Internal},
		"there is none":                        {nil, "", status.Unauthenticated},
	} {
		identity, err := test.chain.Authenticate(t.Context(), access.Credentials{Token: "x"})
		assert.Equal(t, test.code, status.Of(err), name)
		if test.want == "" {
			assert.Nil(t, identity, name)
			continue
		}
		assert.Equal(t, test.want, identity.Subject, name)
	}
}
