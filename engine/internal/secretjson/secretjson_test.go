package secretjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/internal/secretjson"
)

func TestWhichNamesAreSecret(t *testing.T) {
	for _, name := range []string{
		"apiKey", "api_key", "API-Key", "apikey", "openaiApiKey", "x-api-key", "Authorization", "accessToken", "auth_token",
		"password", "clientSecret", "client_secret", "secretAccessKey", "AWS_SESSION_TOKEN", "credentials", "token", "Cookie",
	} {
		assert.True(t, secretjson.IsName(name), name)
	}
	for _, name := range []string{
		"maxTokens", "max_output_tokens", "tokens", "stop_token", "key", "keys", "temperature", "version", "author", "secretary",
		"topK", "seed", "location", "passwordless", "",
	} {
		assert.False(t, secretjson.IsName(name), name)
	}
}

func TestSplitAndMerge(t *testing.T) {
	for name, c := range map[string]struct{ config, shown, secrets string }{
		"nothing":               {``, ``, ``},
		"null":                  {`null`, `null`, ``},
		"no secret":             {`{"temperature":0.50}`, `{"temperature":0.50}`, ``},
		"no object":             {`["apiKey"]`, `["apiKey"]`, ``},
		"a key":                 {`{"apiKey":"sk","n":1.10}`, `{"n":1.10}`, `{"apiKey":"sk"}`},
		"nothing but a key":     {`{"api_key":"sk"}`, ``, `{"api_key":"sk"}`},
		"an escaped name":       {`{"ap\u0069Key":"sk","n":1}`, `{"n":1}`, `{"apiKey":"sk"}`},
		"nested":                {`{"headers":{"Authorization":"Bearer x","Accept":"y"}}`, `{"headers":{"Accept":"y"}}`, `{"headers":{"Authorization":"Bearer x"}}`},
		"a secret object":       {`{"credentials":{"user":"a"},"n":1}`, `{"n":1}`, `{"credentials":{"user":"a"}}`},
		"an array with one":     {`{"servers":[{"url":"u","token":"t"}],"n":[1]}`, `{"n":[1]}`, `{"servers":[{"url":"u","token":"t"}]}`},
		"nothing is left of it": {`{"headers":{"Authorization":"x"}}`, `{"headers":{}}`, `{"headers":{"Authorization":"x"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			shown, secrets := secretjson.Split(json.RawMessage(c.config))
			assert.Equal(t, c.shown, string(shown))
			assert.Equal(t, c.secrets, string(secrets))
			whole, err := secretjson.Merge(shown, secrets)
			require.NoError(t, err)
			if c.config != "" {
				assert.JSONEq(t, c.config, string(whole))
			}
		})
	}
}

func TestMergeTrustsNoSecretOfTheOtherSide(t *testing.T) {
	for name, c := range map[string]struct{ config, secrets, want string }{
		"another key":           {`{"apiKey":"forged","n":1}`, `{"apiKey":"sk"}`, `{"apiKey":"sk","n":1}`},
		"a key where none was":  {`{"apiKey":"forged","n":1}`, ``, `{"n":1}`},
		"nothing":               {``, `{"apiKey":"sk"}`, `{"apiKey":"sk"}`},
		"a value for an object": {`{"headers":5}`, `{"headers":{"Authorization":"x"}}`, `{"headers":{"Authorization":"x"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := secretjson.Merge(json.RawMessage(c.config), json.RawMessage(c.secrets))
			require.NoError(t, err)
			assert.JSONEq(t, c.want, string(got))
		})
	}
	_, err := secretjson.Merge(json.RawMessage(`[1]`), json.RawMessage(`{"apiKey":"sk"}`))
	require.Error(t, err)
}

func TestHide(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"a request":           {`{"messages":[{"text":"apiKey"}],"config":{"apiKey":"sk","n":1.0}}`, `{"messages":[{"text":"apiKey"}],"config":{"n":1.0}}`},
		"only a key":          {`{"messages":[],"config":{"apiKey":"sk"}}`, `{"messages":[]}`},
		"an embedder's":       {`{"input":[],"options":{"apiKey":"sk","d":2}}`, `{"input":[],"options":{"d":2}}`},
		"middleware":          {`{"use":[{"name":"a","config":{"token":"t","b":1}},{"name":"c"}]}`, `{"use":[{"name":"a","config":{"b":1}},{"name":"c"}]}`},
		"a response":          {`{"message":{},"request":{"messages":[],"config":{"apiKey":"sk","n":1}}}`, `{"message":{},"request":{"messages":[],"config":{"n":1}}}`},
		"a hook's options":    {`{"options":{"config":{"apiKey":"sk","n":1}}}`, `{"options":{"config":{"n":1}}}`},
		"an escaped name":     {`{"c\u006fnfig":{"apiKey":"sk","n":1}}`, `{"config":{"n":1}}`},
		"somebody else's key": {`{"apiKey":"data","n":1}`, `{"apiKey":"data","n":1}`},
		"no object":           {`"config"`, `"config"`},
	} {
		t.Run(name, func(t *testing.T) {
			assert.JSONEq(t, c.want, string(secretjson.Hide(json.RawMessage(c.body))))
		})
	}
	same := json.RawMessage(`{"config": {"n":1}}`)
	assert.Equal(t, string(same), string(secretjson.Hide(same)), "what has no secret stays as it is, byte by byte")
}

// Every spelling of the place, with every form of a key: none is shown.
func TestHideInEveryPlaceAndForm(t *testing.T) {
	const key = "sk-0123456789"
	forms := []string{
		`{"apiKey":"K"}`, `{"APIKEY":"K"}`, `{"Api_Key":"K"}`, `{"ap\u0069Key":"K"}`, `{"n":{"x-api-key":"K"}}`, `{"credentials":{"a":"K"}}`, `{"paſſword":"K"}`,
		`{"headers":{"Authorization":"Bearer K"}}`, `{"headers":{"AUTHORIZATION":["Bearer K"]}}`, `{"extra":{"headers":[["Authorization","Bearer K"]]}}`,
		`{"headers":[["Accept","x"],["x-api-key","K"]]}`, `{"list":[[["cookie","K"]]]}`,
		`{"headers":[{"name":"Authorization","value":"Bearer K"}]}`, `{"headers":[{"Name":"authorization","Value":"Bearer K"}]}`, `{"header":{"key":"Authorization","value":"Bearer K"}}`,
		`{"headers":[{"key":"Cookie","values":["K"]}]}`, `{"a":[{"b":{"k":"token","v":"K"}}]}`, `{"n":[1,{"header":"Auth-Token","content":"K"}]}`,
		`{"header":["Authorization","Bearer K"]}`, `{"headers":["Authorization: Bearer K"]}`, `{"requestHeaders":["Accept","x","Authorization","Bearer K"]}`,
	}
	places := []string{
		`{"config":@}`, `{"Config":@}`, `{"CONFIG":@}`, `{"cOnFiG":@}`, `{"c\u006fnfig":@}`, `{"C\u004fnfig":@}`, `{"options":@}`, `{"Options":@}`, `{"OPTIONS":{"config":@}}`,
		`{"use":[{"name":"a","config":@}]}`, `{"use":[{"name":"a","Config":@}]}`, `{"Use":[{"name":"a","CONFIG":@}]}`, `{"USE":[{},{"config":@}]}`,
		`{"request":{"config":@}}`, `{"Request":{"Config":@}}`, `{"request":{"use":[{"Config":@}]}}`, `{"raw":{"config":@}}`, `{"RAW":{"Config":@}}`,
		`{"config":{},"Config":@}`, `{"Config":{},"config":@}`,
	}
	for _, form := range forms {
		for _, place := range places {
			body := strings.ReplaceAll(strings.ReplaceAll(place, "@", strings.ReplaceAll(form, "K\"", key+"\"")), "\n", "")
			require.True(t, json.Valid([]byte(body)), body)
			require.Contains(t, body, key)
			assert.NotContains(t, string(secretjson.Hide(json.RawMessage(body))), key, body)
		}
	}
	for _, config := range []string{
		`{"maxTokens":5,"stopSequences":["token","Password:"],"n":[["a","b"],["x"]],"safety":[{"name":"token limit","value":"y"}]}`,
		`{"headers":{"Accept":"x"},"more":{"headers":[["Accept","x"],["token"]]},"schema":{"required":["password","name"]}}`,
		`{"tools":[{"name":"auth","description":"d"}],"headers":["Accept: x"],"pair":["maxTokens","5"]}`,
	} {
		for _, place := range places[:2] {
			body := strings.ReplaceAll(place, "@", config)
			assert.Equal(t, body, string(secretjson.Hide(json.RawMessage(body))), "nothing is secret")
		}
	}
}

// What is taken out of a config goes back to its place.
func TestPairsComeBack(t *testing.T) {
	for _, config := range []string{
		`{"headers":[["Authorization","Bearer x"],["Accept","y"]],"n":1}`, `{"headers":[{"name":"Authorization","value":"x"}]}`,
		`{"header":{"name":"Authorization","value":"x"}}`, `{"headers":["Authorization: x"]}`,
	} {
		shown, secrets := secretjson.Split(json.RawMessage(config))
		assert.NotContains(t, string(shown), "x\"")
		whole, err := secretjson.Merge(shown, secrets)
		require.NoError(t, err)
		assert.JSONEq(t, config, string(whole))
	}
}

// Values that are too deep to be searched are not shown.
func TestWhatNobodyHasLookedAtIsASecret(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 200) + `{"apiKey":"sk"}` + strings.Repeat(`}`, 200)
	shown, secrets := secretjson.Split(json.RawMessage(deep))
	assert.NotContains(t, string(shown), "sk")
	assert.Contains(t, string(secrets), "sk")
	list := `{"a":` + strings.Repeat(`[`, 200) + `{"apiKey":"sk"}` + strings.Repeat(`]`, 200) + `}`
	shown, _ = secretjson.Split(json.RawMessage(list))
	assert.NotContains(t, string(shown), "sk")
}
