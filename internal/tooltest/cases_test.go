package tooltest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCasesAreReadAsTheyStand(t *testing.T) {
	got, err := Parse([]byte(`
grant: [kv, clock]
cases:
  - name: numbers keep their digits, and ${HOME} is text
    tool: a
    input: {n: 12345678901234567890, f: 0.10, t: "${HOME}", yes: true, none: ~, list: [1, "1"]}
    want: null
  - {tool: b, wantError: NOT_FOUND, context: {auth: {uid: ann}}}
  - {wantInterrupt: {why: 1}}
`))
	require.NoError(t, err)
	assert.Equal(t, []string{"kv", "clock"}, got.Grant)
	require.Len(t, got.Cases, 3)
	assert.Equal(t, `{"n":12345678901234567890,"f":0.10,"t":"${HOME}","yes":true,"none":null,"list":[1,"1"]}`, string(got.Cases[0].Input))
	assert.Equal(t, "null", string(got.Cases[0].Want))
	assert.Equal(t, "case 2", got.Cases[1].Name)
	assert.JSONEq(t, `{"auth":{"uid":"ann"}}`, string(got.Cases[1].Context))
	assert.JSONEq(t, `{"why":1}`, string(got.Cases[2].WantInterrupt))
	assert.Nil(t, got.Cases[2].Want)

	for _, empty := range []string{"", "# nothing\n"} {
		got, err := Parse([]byte(empty))
		require.NoError(t, err)
		assert.Empty(t, got.Cases)
	}
}

func TestCasesSayWhatIsWrongWithThem(t *testing.T) {
	for text, says := range map[string]string{
		"cases: [":                  "not YAML",
		"- 1":                       "",
		"cases: []\n---\ncases: []": "more than one document",
		"case: []":                  `"case"`,
		"cases: [{tool: a}]":        "case 1 (case 1): want one of want, wantError and wantInterrupt",
		"cases: [{want: 1, wantError: NOT_FOUND}]":                      "want one of",
		"cases: [{name: x, wantError: not_found}]":                      `case 1 (x): wantError is "not_found", want a status`,
		"cases: [{wantError: OK}]":                                      "want a status",
		"cases: [{want: 1, context: 5}]":                                "context: want an object",
		"cases: [{want: 1, wants: 1}]":                                  `"cases.wants" is not known here`,
		"cases: [{want: 1, want: 2}]":                                   "the same key twice",
		"a: &x [1]\nb: *x":                                              "aliases and anchors are not read",
		"cases: [{want: .inf}]":                                         "no number of JSON",
		"cases: " + strings.Repeat("[", 100) + strings.Repeat("]", 100): "more than 32 levels",
		"cases: [" + strings.Repeat("{want: 1},", maxCases+1) + "]":     "10001 cases, more than 10000",
	} {
		_, err := Parse([]byte(text))
		if assert.Error(t, err, text[:min(len(text), 80)]) {
			assert.Contains(t, err.Error(), says)
		}
	}
}

// FuzzCases holds the reader of cases to ending with cases that are whole or with an error.
func FuzzCases(f *testing.F) {
	f.Add([]byte("cases:\n  - {name: a, tool: b, input: {x: 1}, want: {y: [2]}}\n"))
	f.Add([]byte("grant: [kv]\ncases: [{wantError: NOT_FOUND}]"))
	f.Add([]byte("a: &x [*x]"))
	f.Add([]byte("\"\\x\": !!float 1e"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := Parse(raw)
		if err != nil {
			return
		}
		for _, c := range got.Cases {
			assert.NotEmpty(t, c.Name)
			assert.NoError(t, c.check())
			for _, text := range []json.RawMessage{c.Input, c.Want, c.Context, c.WantInterrupt} {
				assert.True(t, text == nil || json.Valid(text), "%q", text)
			}
		}
	})
}
