package openai_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const ownKey = "sk-mine-abcdefghijkl"

func TestRequestBringsItsOwnKey(t *testing.T) {
	s := serve(t, document(200, plain))
	m := newModel(t, s)
	req := request(t, `{"messages":[{"role":"user","content":[{"text":"q"}]}],"config":{"apiKey":"`+ownKey+`","temperature":0}}`)

	resp, _, err := generate(t.Context(), m, req, false)
	require.NoError(t, err)
	require.NotNil(t, resp.Request, "an engine must find the request without the key")
	assert.JSONEq(t, `{"temperature":0}`, string(resp.Request.Config))
	assert.NotContains(t, toJSON(t, resp), ownKey)

	out, err := m.RunJSON(t.Context(), json.RawMessage(toJSON(t, req)), nil)
	require.NoError(t, err)
	assert.NotContains(t, string(out), ownKey)

	for i := range 2 {
		assert.Equal(t, "Bearer "+ownKey, s.header(i).Get("Authorization"))
		assert.NotContains(t, s.body(i), ownKey)
		assert.NotContains(t, s.body(i), "apiKey")
	}
	_, _, err = generate(t.Context(), m, hello(), false)
	require.NoError(t, err)
	assert.Equal(t, "Bearer "+testKey, s.header(2).Get("Authorization"), "one request's key is not the next one's")
}

func TestOwnKeyIsNotInErrors(t *testing.T) {
	s := serve(t, document(401, `{"error":{"message":"bad key `+ownKey+`"}}`))
	req := request(t, `{"messages":[{"role":"user","content":[{"text":"q"}]}],"config":{"apiKey":"`+ownKey+`"}}`)
	_, _, err := generate(t.Context(), newModel(t, s), req, false)
	require.ErrorIs(t, err, status.ErrUnauthenticated)
	assert.Contains(t, err.Error(), "[hidden]")
	assert.NotContains(t, err.Error(), ownKey)
}

// spy stands where the model's action, which is traced, stands.
type spy struct {
	model.Model
	seen []string
}

func (s *spy) Generate(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
	raw, err := json.Marshal(req)
	s.seen = append(s.seen, string(raw))
	return &model.Response{}, err
}

func (s *spy) RunJSON(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
	s.seen = append(s.seen, string(in))
	return json.RawMessage(`{}`), nil
}

func TestKeyDoesNotReachTheTrace(t *testing.T) {
	const secret = "sk-s3cret-value"
	cases := []struct {
		config string
		refuse bool
	}{
		{config: `{"apiKey":"` + secret + `","a":1}`},
		{config: `{"apiKey":"` + secret + `","apiKey":"` + secret + `2"}`},
		{config: `{"\u0061piKey":"` + secret + `"}`},
		{config: `{"ap\u0069\u004bey":"` + secret + `"}`},
		{config: `{"apiKey":null}`},
		{config: `{"api_key":"` + secret + `"}`, refuse: true},
		{config: `{"APIKEY":"` + secret + `"}`, refuse: true},
		{config: `{"api-key":"` + secret + `"}`, refuse: true},
		{config: `{"api` + "\u212A" + `ey":"` + secret + `"}`, refuse: true},
		{config: `{"extra":{"api_key":"` + secret + `"}}`, refuse: true},
		{config: `{"apiKey":["` + secret + `"]}`, refuse: true},
		{config: `{"apiKey":"` + secret + `\n"}`, refuse: true},
	}
	for _, tc := range cases {
		for _, field := range []string{"config", "Config", "c\\u006fnfig"} {
			inner := &spy{}
			m := openai.Guard(inner)
			in := `{"messages":[{"role":"user","content":[{"text":"q"}]}],"config":{},"` + field + `":` + tc.config + `}`
			_, err := m.RunJSON(t.Context(), json.RawMessage(in), nil)
			if !tc.refuse && field != "Config" {
				require.NoError(t, err, in)
				_, err = m.Generate(t.Context(), request(t, in), nil)
				require.NoError(t, err, in)
				assert.Len(t, inner.seen, 2)
			} else {
				require.ErrorIs(t, err, status.ErrInvalidArgument, in)
				assert.NotContains(t, err.Error(), secret)
				assert.Empty(t, inner.seen)
			}
			for _, text := range inner.seen {
				assert.NotContains(t, text, secret, in)
			}
		}
	}
}

func TestRequestWithoutAKeyPassesUntouched(t *testing.T) {
	inner := &spy{}
	in := `{ "messages":[], "config" : {"temperature":1.0} }`
	_, err := openai.Guard(inner).RunJSON(t.Context(), json.RawMessage(in), nil)
	require.NoError(t, err)
	assert.Equal(t, []string{in}, inner.seen)
}
