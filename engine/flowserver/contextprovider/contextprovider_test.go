package contextprovider_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/contextprovider"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func with(authorization ...string) *contextprovider.Request {
	r := &contextprovider.Request{Method: "POST", Headers: map[string]string{}}
	for _, value := range authorization {
		r.Headers["authorization"] = value
	}
	return r
}

func TestAPIKeys(t *testing.T) {
	policy := contextprovider.APIKeyPolicy(func(_ context.Context, key string) error {
		if key == "evil" {
			return status.Publicf(status.Aborted, "not you")
		}
		if key == "broken" {
			return errors.New("the database is down")
		}
		return nil
	})
	for name, test := range map[string]struct {
		provider contextprovider.Provider
		request  *contextprovider.Request
		want     string
		code     status.Code
	}{
		"any key is passed on as it is":          {contextprovider.AnyAPIKey(), with("Bearer x"), `{"auth":{"apiKey":"Bearer x"}}`, status.OK},
		"no key is passed on as none":            {contextprovider.AnyAPIKey(), with(), `{"auth":{}}`, status.OK},
		"the right key":                          {contextprovider.APIKey("s3cret"), with("s3cret"), `{"auth":{"apiKey":"s3cret"}}`, status.OK},
		"one of several keys":                    {contextprovider.APIKey("old", "new"), with("new"), `{"auth":{"apiKey":"new"}}`, status.OK},
		"no key":                                 {contextprovider.APIKey("s3cret"), with(), "", status.Unauthenticated},
		"an empty key":                           {contextprovider.APIKey("s3cret"), with(""), "", status.Unauthenticated},
		"an empty key where the secret is empty": {contextprovider.APIKey(""), with(""), "", status.Unauthenticated},
		"another key":                            {contextprovider.APIKey("s3cret"), with("s3cre"), "", status.PermissionDenied},
		"the right key in another case":          {contextprovider.APIKey("s3cret"), with("S3CRET"), "", status.PermissionDenied},
		"the right key as a bearer":              {contextprovider.APIKey("s3cret"), with("Bearer s3cret"), "", status.PermissionDenied},
		"no keys are right":                      {contextprovider.APIKey(), with("x"), "", status.PermissionDenied},
		"a policy that agrees":                   {policy, with("good"), `{"auth":{"apiKey":"good"}}`, status.OK},
		"a policy that is asked without a key":   {policy, with(), `{"auth":{}}`, status.OK},
		"a policy that refuses":                  {policy, with("evil"), "", status.Aborted},
		"a policy that breaks":                   {policy, with("broken"), "", status.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			values, err := test.provider(t.Context(), test.request)
			assert.Equal(t, test.code, status.Of(err))
			if err == nil {
				raw, err := json.Marshal(values)
				require.NoError(t, err)
				assert.JSONEq(t, test.want, string(raw))
			}
		})
	}
}
