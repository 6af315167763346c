package egress_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
)

// A secret that changes while a request is under way: the one that was sent is the one that
// is taken out of the answer.
func TestTheSecretThatWasSentIsTakenOut(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, r.Header.Get("Authorization")) })
	asked := 0
	w.rules.Secret = func(context.Context, string) (secret.Value, error) {
		asked++
		return secret.New(fmt.Sprintf("value-number-%d", asked)), nil
	}
	for n := range 2 {
		resp, err := w.do(egress.Request{URL: w.url("api.example.com", "/"), Headers: map[string]string{"Authorization": "{{secret:KEY}}"}})
		require.NoError(t, err)
		assert.Equal(t, "[secret:KEY]", string(resp.Body))
		assert.Equal(t, n+1, asked, "each request gets the value of its time")
	}
}

// A secret that is there and can't be read can't be taken out of an answer either, so that
// nothing is asked.
func TestASecretThatCanNotBeReadFailsTheRequest(t *testing.T) {
	requests := 0
	w := newWorld(t, func(http.ResponseWriter, *http.Request) { requests++ })
	for name, c := range map[string]struct {
		err  error
		code status.Code
		says string
	}{
		"it does not exist":  {status.Publicf(status.NotFound, "no such secret"), status.OK, ""},
		"no key opens it":    {status.Publicf(status.FailedPrecondition, "the server's key does not open it"), status.FailedPrecondition, "http: the server's key does not open it"},
		"it is damaged":      {status.Publicf(status.DataLoss, "it is damaged"), status.DataLoss, "http: it is damaged"},
		"the disk has faded": {errors.New("read /secret/place: no"), status.Unavailable, `http: the secret "KEY" can't be read`},
	} {
		requests = 0
		w.rules.Secret = func(context.Context, string) (secret.Value, error) { return secret.Value{}, c.err }
		_, err := w.do(egress.Request{URL: w.url("api.example.com", "/")})
		if c.code == status.OK {
			require.NoError(t, err, name)
			assert.Equal(t, 1, requests, name)
			continue
		}
		require.Error(t, err, name)
		assert.Equal(t, c.code, status.Of(err), name)
		assert.Equal(t, c.says, status.Convert(err).Message, name)
		assert.Zero(t, requests, name)
	}
}
