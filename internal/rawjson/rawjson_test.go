package rawjson_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

type thing struct {
	Name string          `json:"name,omitempty"`
	Raw  json.RawMessage `json:"raw,omitempty"`
}

func TestUnknownFieldsAndDigitsSurvive(t *testing.T) {
	in := `{"name":"<b>&","raw":1.10,"z":12345678901234567890,"a":{"k":"</x>"}}`
	var v thing
	extra, err := rawjson.Unmarshal([]byte(in), &v)
	require.NoError(t, err)
	out, err := rawjson.Marshal(v, extra)
	require.NoError(t, err)
	assert.Equal(t, `{"name":"<b>&","raw":1.10,"a":{"k":"</x>"},"z":12345678901234567890}`, string(out))
}

func TestOnlyUnknownFields(t *testing.T) {
	var v thing
	extra, err := rawjson.Unmarshal([]byte(`{"q":null}`), &v)
	require.NoError(t, err)
	out, err := rawjson.Marshal(v, extra)
	require.NoError(t, err)
	assert.Equal(t, `{"q":null}`, string(out))
}

func TestRefusesWhatIsNotAnObject(t *testing.T) {
	for _, in := range []string{`[]`, `"x"`, `1`, ``, `{`} {
		var v thing
		_, err := rawjson.Unmarshal([]byte(in), &v)
		require.Error(t, err, in)
	}
	_, err := rawjson.Marshal(thing{}, map[string]json.RawMessage{"bad": json.RawMessage(`{`)})
	require.Error(t, err)
}

type omits struct {
	Text  string          `json:"text,omitempty"`
	Flag  bool            `json:"flag,omitempty"`
	Ptr   *thing          `json:"ptr,omitempty"`
	List  []int           `json:"list,omitzero"`
	Raw   json.RawMessage `json:"raw,omitempty"`
	Plain string          `json:"plain"`
}

func TestWhatTagsLeaveOutSurvives(t *testing.T) {
	in := `{"text":"","flag":false,"ptr":null,"list":null,"raw":null,"plain":""}`
	var v omits
	extra, err := rawjson.Unmarshal([]byte(in), &v)
	require.NoError(t, err)
	out, err := rawjson.Marshal(v, extra)
	require.NoError(t, err)
	assert.JSONEq(t, in, string(out))
	v.Text, v.Flag, v.List = "now", true, []int{}
	out, err = rawjson.Marshal(v, extra)
	require.NoError(t, err)
	assert.JSONEq(t, `{"text":"now","flag":true,"ptr":null,"list":[],"raw":null,"plain":""}`, string(out))
}

func TestNamesInAnotherCaseAreUnknown(t *testing.T) {
	in := `{"TEXT":"no","text":"yes","Plain":1,"ſlag":2}`
	var v omits
	extra, err := rawjson.Unmarshal([]byte(in), &v)
	require.NoError(t, err)
	assert.Equal(t, omits{Text: "yes"}, v)
	out, err := rawjson.Marshal(v, extra)
	require.NoError(t, err)
	assert.JSONEq(t, `{"TEXT":"no","text":"yes","Plain":1,"ſlag":2,"plain":""}`, string(out))
}
