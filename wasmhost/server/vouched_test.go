package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
)

// tellers is a registry whose tool, flow and generate action answer with their action context.
func tellers(t *testing.T) *registry.Registry {
	t.Helper()
	r := registry.New(nil)
	for _, key := range []action.Key{{Kind: action.Tool, Name: "test/who"}, {Kind: action.Flow, Name: "who"}, {Kind: action.Util, Name: "generate"}} {
		a, err := action.New(action.Desc{Kind: key.Kind, Name: key.Name}, func(ctx context.Context, _ json.RawMessage, _ action.Emit) (json.RawMessage, error) {
			return action.Context(ctx), nil
		})
		require.NoError(t, err)
		require.NoError(t, r.Register(a))
	}
	return r
}

// What runs is told by the server who calls, and no caller can say that it is another one.
func TestNobodyClaimsToBeAnother(t *testing.T) {
	reg := tellers(t)
	g := newGuarded(t, func(c *server.Config) { c.Registry = func(string) (*registry.Registry, error) { return reg, nil } })
	key, token := g.keyOf("default:invoke")
	auth := `"auth":{"uid":"key:` + key.ID + `"}`
	for _, c := range []struct{ path, body, want string }{
		{"/tools/test/who", `{}`, `{"result":{` + auth + `}}`},
		{"/tools/test/who", `{"context":{ }}`, `{"result":{` + auth + `}}`},
		{"/tools/test/who", `{"context":{"user":{"uid":"ann"},"n":1.10}}`, `{"result":{` + auth + `,"user":{"uid":"ann"},"n":1.10}}`},
		{"/generate", `{"model":"m","messages":[]}`, `{` + auth + `}`},
		{"/flows/who", `{"data":{"auth":{"uid":"root"}}}`, `{"result":{` + auth + `}}`},
	} {
		r := g.post(c.path, c.body, bearer(token))
		assert.Equal(t, http.StatusOK, r.status, r.body)
		assert.Equal(t, c.want, strings.TrimSpace(r.body), c.path)
	}
	for _, claim := range []string{`{"auth":{"uid":"root"}}`, `{"Auth":null}`, `{"n":1,"AUTH":{}}`, `{"\u0061uth":{"uid":"root"}}`} {
		r := g.post("/tools/test/who", `{"context":`+claim+`}`, bearer(token))
		assert.Equal(t, http.StatusBadRequest, r.status, claim)
		assert.Contains(t, r.problem(t).Detail, `"context" has "auth"`)
	}
	open := newWorld(t, func(c *server.Config) { c.Registry = func(string) (*registry.Registry, error) { return reg, nil } })
	assert.Equal(t, `{"result":{"auth":{"uid":"ann"}}}`, strings.TrimSpace(open.post("/tools/test/who", `{"context":{"auth":{"uid":"ann"}}}`).body), "a server that asks nobody vouches for nothing")
	assert.Equal(t, `{"result":{}}`, strings.TrimSpace(open.post("/flows/who", `{}`).body))
}
