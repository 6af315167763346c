package tooltest_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/tooltest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/intercept"
)

// asker asks its host for each [capability, request] of its input and returns the answers, or the errors' codes. Nobody
// answers but the case: the real host refuses all.
func asker(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
	var asks [][2]json.RawMessage
	if err := json.Unmarshal(in, &asks); err != nil {
		return nil, err
	}
	i := intercept.For(ctx, intercept.Call{Kind: "tool", Name: "m/t", Input: in})
	out := []json.RawMessage{}
	for _, ask := range asks {
		var c abi.Capability
		if err := json.Unmarshal(ask[0], &c); err != nil {
			return nil, err
		}
		value, err := i.Ask(ctx, c, ask[1], func(context.Context) (json.RawMessage, error) {
			return nil, status.Publicf(status.PermissionDenied, "not granted")
		})
		if err != nil {
			value, _ = json.Marshal(status.Of(err).String())
		}
		if value == nil {
			value = json.RawMessage("null")
		}
		out = append(out, value)
	}
	return json.Marshal(out)
}

func TestCasesAnswerInThePlaceOfTheHost(t *testing.T) {
	one := []tooltest.Tool{{Name: "t", Run: fake(asker)}}
	for name, test := range map[string]struct {
		text    string
		got     string // empty: as wanted
		missing []string
		unasked []string
	}{
		"an answer to a URL": {text: `{input: [[http, {url: "https://a.example/x?q=1"}]], host: [{http: {method: GET, url: "https://a.example/*"}, answer: {body: {n: 1}}}],
			want: [{status: 200, headers: {}, body: '{"n":1}'}]}`},
		"all of it": {text: `{input: [[http, {url: u, method: POST, headers: {a: b, c: d}, body: '{"x": 1.0}'}]], host: [{http: {method: POST, headers: {a: b}, body: {x: 1}}, answer: {status: 404, headers: {h: v}, body: gone}}],
			want: [{status: 404, headers: {h: v}, body: gone}]}`},
		"an error":                    {text: `{input: [[http, {url: u}], [run, {key: /tool/x/y}]], host: [{http: , error: UNAVAILABLE}, {run: {key: "/tool/*"}, error: {code: NOT_FOUND, message: none}}], want: [UNAVAILABLE, NOT_FOUND]}`},
		"each in its turn, and twice": {text: `{input: [[run, {key: k}], [run, {key: k}], [run, {key: k}]], host: [{run: {key: k}, answer: 1}, {run: {key: k}, answer: 2, times: 2}], want: [1, 2, 2]}`},
		"another method": {
			text:    `{input: [[http, {url: u}]], host: [{http: {method: POST, url: u}, optional: true}], want: [FAILED_PRECONDITION]}`,
			missing: []string{"- http: {\"url\":\"u\"}\n  answer: {\"status\": 200, \"headers\": {}, \"body\": \"\"}"},
		},
		"another input": {
			text:    `{input: [[run, {key: /tool/o/x, input: 2}]], host: [{run: {key: /tool/o/x, input: 1}}], want: [FAILED_PRECONDITION]}`,
			missing: []string{"- run: {\"key\":\"/tool/o/x\",\"input\":2}\n  answer: null"}, unasked: []string{`run {"key":"/tool/o/x","input":1}, asked 0 of 1 times`},
		},
		"once too often": {text: `{input: [[now, ], [now, ]], host: [{now: , answer: "2026"}], want: ["2026", FAILED_PRECONDITION]}`, missing: []string{"- now: null\n  answer: null"}},
		"nothing asked":  {text: `{input: [], host: [{generate: {model: "a/*"}, times: 2}], want: []}`, unasked: []string{`generate {"model":"a/*"}, asked 0 of 2 times`}},
		"values stay real where no case names them":  {text: `{input: [[kv_get, {key: a}]], host: [{http: , optional: true}], want: [PERMISSION_DENIED]}`, missing: []string{"- kv_get: {\"key\":\"a\"}\n  answer: null"}},
		"the module's own actions stay real":         {text: `{input: [[run, {key: /tool/m/other}]], host: [{http: , optional: true}], want: [PERMISSION_DENIED]}`, missing: []string{"- run: {\"key\":\"/tool/m/other\"}\n  answer: null"}},
		"without answers the real host is asked":     {text: `{input: [[http, {url: u}]], want: [PERMISSION_DENIED]}`},
		"and told of where the case fails therefore": {text: `{input: [[http, {url: u}]], want: [1]}`, got: `["PERMISSION_DENIED"]`, missing: []string{"- http: {\"url\":\"u\"}\n  answer: {\"status\": 200, \"headers\": {}, \"body\": \"\"}"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := run(t, one, "cases: ["+test.text+"]")
			assert.Equal(t, test.got, r.Cases[0].Got)
			assert.Equal(t, test.missing, r.Cases[0].Missing)
			assert.Equal(t, test.unasked, r.Cases[0].Unasked)
			assert.Equal(t, test.got == "" && test.missing == nil && test.unasked == nil, r.Cases[0].OK)
			for _, text := range r.Cases[0].Missing { // it can be pasted
				_, err := tooltest.Parse([]byte("cases:\n- want: 1\n  host:\n  " + string(json.RawMessage(indented(text)))))
				require.NoError(t, err, text)
			}
		})
	}
}

// indented is an item of a list below a member.
func indented(text string) string {
	out := ""
	for _, c := range text {
		out += string(c)
		if c == '\n' {
			out += "  "
		}
	}
	return out
}

func TestURLsArePatterns(t *testing.T) {
	one := []tooltest.Tool{{Name: "t", Run: fake(asker)}}
	for _, test := range []struct {
		pattern, url string
		ok           bool
	}{
		{"https://a/b", "https://a/b", true},
		{"https://a/b", "https://a/bc", false},
		{"*", "x", true},
		{"*", "", true},
		{"a*", "ba", false},
		{"*a", "ab", false},
		{"a*b*c", "a-b-c", true},
		{"a*b*c", "a-c-b", false},
		{"ab*ba", "aba", false},
		{"a**b", "ab", true},
	} {
		r, _ := run(t, one, `cases: [{input: [[http, {url: "`+test.url+`"}]], host: [{http: {url: "`+test.pattern+`"}, optional: true, answer: {}}], want: [{status: 200, headers: {}, body: ""}]}]`)
		assert.Equal(t, test.ok, r.Cases[0].OK, "%v", test)
	}
}

func TestAnswersSayWhatIsWrongWithThem(t *testing.T) {
	for text, says := range map[string]string{
		"{}":                                   "host: answer 1: want one of http, kv_get",
		"{http: , run: }":                      "want one of http, kv_get",
		"{http: 5}":                            "http: want an object",
		"{run: , answer: 1, error: NOT_FOUND}": "want one of answer and error",
		"{run: , error: NONE}":                 `the code is "NONE"`,
		"{run: , error: {status: 5}}":          "error: want a status",
		"{run: , times: -1}":                   "times is -1",
		"{http: , answer: {code: 5}}":          "answer: ",
		"{http: , answer: {status: 5}}":        "the status is 5",
		"{emit: }":                             "is not known here",
	} {
		_, err := tooltest.Parse([]byte("cases: [{want: 1, host: [" + text + "]}]"))
		if assert.Error(t, err, text) {
			assert.Contains(t, err.Error(), says)
		}
	}
}

// Extism's http_request is answered as an http request is.
func TestCasesAnswerExtismsRequests(t *testing.T) {
	one := []tooltest.Tool{{Name: "t", Run: fake(func(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
		i := intercept.For(ctx, intercept.Call{})
		f, err := i.Fetch(ctx, []byte(`{"url":"u","method":"POST"}`), []byte("hi"), nil)
		if err != nil {
			return nil, err
		}
		return json.Marshal([]any{f.Status, f.Headers, string(f.Body)})
	})}}
	r, _ := run(t, one, `cases: [{host: [{http: {url: u, method: POST, body: hi}, answer: {status: 201, headers: {a: b}, body: done}}], want: [201, {a: b}, done]},
		{host: [{http: , answer: {bodyBase64: aGk=}}], want: [200, {}, hi]}, {host: [{http: {url: v}}], wantError: FAILED_PRECONDITION}]`)
	assert.Equal(t, []bool{true, true, false}, []bool{r.Cases[0].OK, r.Cases[1].OK, r.Cases[2].OK}, "%+v", r.Cases)
	assert.Contains(t, r.Cases[2].Missing[0], `"body":"hi"`)
}

func TestACaseIsAddedToAFile(t *testing.T) {
	c := tooltest.Case{
		Name: "it's: new", Tool: "t", Input: json.RawMessage(`{"a":[1,"é # x"]}`), Want: json.RawMessage("null"),
		Host: []tooltest.Fake{{Run: json.RawMessage(`{"key":"k"}`), Answer: json.RawMessage("1")}},
	}
	for _, old := range []string{"", "# mine\n", "grant: [kv]\n", "cases:\n  - want: 1\n", "cases:\n  - {want: 1} # the first\n\n", "cases:\n- want: 1\n"} {
		text, err := tooltest.Append([]byte(old), c)
		require.NoError(t, err, old)
		assert.Contains(t, string(text), old[:max(0, len(old)-2)])
		file, err := tooltest.Parse(text)
		require.NoError(t, err, "%s", text)
		assert.Equal(t, c, file.Cases[len(file.Cases)-1])
	}
	for _, old := range []string{"cases: [{want: 1}]\n", "cases:\n  - want: 1\ngrant: [kv]\n"} {
		_, err := tooltest.Append([]byte(old), c)
		if assert.Error(t, err, old) {
			assert.Contains(t, err.Error(), "put it in by hand")
		}
	}
}
