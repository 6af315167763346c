package yamljson_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/yamljson"
)

func read(text string, expand func(string) (string, error)) (string, error) {
	top, err := yamljson.Read([]byte(text))
	if err != nil || top == nil {
		return "", err
	}
	raw, err := yamljson.JSON(top, expand)
	return string(raw), err
}

func TestWhatJSONCanSayIsRead(t *testing.T) {
	for text, want := range map[string]string{
		"":            "",
		"# nothing\n": "",
		"a":           `"a"`,
		"{n: 12345678901234567890, f: 0.10, e: 1.5e3}":     `{"n":12345678901234567890,"f":0.10,"e":1.5e3}`,
		`{t: "1", yes: True, no: false, none: ~, also: }`:  `{"t":"1","yes":true,"no":false,"none":null,"also":null}`,
		"- [1, {a: b}]\n- |\n  two\n  lines\n- 2001-01-01": `[[1,{"a":"b"}],"two\nlines\n","2001-01-01"]`,
		"{a: 1, a: 2}": `{"a":1,"a":2}`,
		"1: x":         `{"1":"x"}`,
	} {
		got, err := read(text, nil)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
}

func TestTextsAreExpandedAndNamesAreNot(t *testing.T) {
	upper := func(text string) (string, error) { return strings.ToUpper(text) + `"`, nil }
	got, err := read("{a: [x, 1, true], b: ~}", upper)
	require.NoError(t, err)
	assert.Equal(t, `{"a":["X\"",1,true],"b":null}`, got)
	missing := errors.New("not set")
	_, err = read("[a, [b]]", func(text string) (string, error) {
		if text == "b" {
			return "", missing
		}
		return text, nil
	})
	assert.ErrorIs(t, err, missing)
}

func TestTheRestIsRefused(t *testing.T) {
	for text, says := range map[string]string{
		"a: [":             "not YAML",
		"*a":               "not YAML",
		"a\n---\nb":        "more than one document",
		"a: &x [1]\nb: *x": "aliases and anchors are not read",
		"\n- .inf":         `line 2: ".inf" is no number of JSON`,
		"a: 0x10":          "no number of JSON",
		"{a: [.nan]}":      "no number of JSON",
		strings.Repeat("[", 34) + strings.Repeat("]", 34): "more than 32 levels",
	} {
		_, err := read(text, nil)
		assert.ErrorContains(t, err, says, text)
	}
	_, err := read(strings.Repeat("[", 33)+strings.Repeat("]", 33), nil)
	assert.NoError(t, err)
}

// Whatever a file holds, it is JSON or refused.
func FuzzRead(f *testing.F) {
	for _, text := range []string{"a: [b, {c: 1}]", "a: &b c\nd: *b", "? [a]\n: b", "--- !!binary x", "%YAML 1.1\n---\n", "\"\\x\": !!float 1e"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got, err := read(string(raw), nil); err == nil && got != "" && !json.Valid([]byte(got)) {
			t.Fatalf("%q became %q", raw, got)
		}
	})
}
