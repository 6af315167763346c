package content_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
)

func TestMessagesAnswerQuestionsAboutThemselves(t *testing.T) {
	var m content.Message
	require.NoError(t, json.Unmarshal([]byte(`{"role":"model","content":[
		{"text":"a"},{"media":{"url":"data:,x"}},{"text":"b"},{"reasoning":"hm"},
		{"toolRequest":{"name":"t"},"metadata":{"interrupt":{"q":1}}},
		{"toolRequest":{"name":"u"},"metadata":{"interrupt":false}}]}`), &m))
	assert.Equal(t, "ab", m.Text())
	assert.Len(t, m.ToolRequests(), 2)
	require.Len(t, m.Interrupts(), 1)
	assert.Equal(t, "t", m.Interrupts()[0].ToolRequest.Name)
	var none *content.Message
	assert.Empty(t, none.Text())
	assert.Empty(t, none.ToolRequests())
	assert.Empty(t, none.Interrupts())
}

func TestMetadataIsReadAsJavaScriptWould(t *testing.T) {
	for raw, want := range map[string]bool{
		`true`: true, `{}`: true, `[]`: true, `"x"`: true, `1`: true, `"false"`: true,
		`false`: false, `null`: false, `0`: false, `""`: false, ``: false,
	} {
		assert.Equal(t, want, content.Metadata{"k": json.RawMessage(raw)}.Truthy("k"), raw)
	}
	assert.False(t, content.Metadata(nil).Truthy("k"))
}

func TestMetadataIsCopiedBeforeItChanges(t *testing.T) {
	m := content.Metadata{"a": content.True()}
	with := m.With("b", content.True())
	assert.Len(t, m, 1)
	assert.Len(t, with, 2)
	assert.Len(t, with.Without("a"), 1)
	assert.Len(t, with, 2)
	assert.Len(t, content.Metadata(nil).With("a", content.True()), 1)
	assert.Empty(t, content.Metadata(nil).Without("a"))
}

func TestNilContentIsAnEmptyList(t *testing.T) {
	for _, v := range []any{content.Message{Role: "user"}, content.Document{}} {
		raw, err := json.Marshal(v)
		require.NoError(t, err)
		assert.Contains(t, string(raw), `"content":[]`)
	}
}

func TestForeignShapesAreErrors(t *testing.T) {
	for _, in := range []string{`[]`, `"x"`, `{"role":1}`, `{"content":{}}`, `{"content":["x"]}`, `{"content":[{"text":1}]}`, `{"metadata":[]}`} {
		var m content.Message
		require.Error(t, json.Unmarshal([]byte(in), &m), in)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"role":"user","content":[{"text":"hi","x":1.10}],"y":null}`))
	f.Add([]byte(`{"Role":"user","role":"model","content":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m content.Message
		if json.Unmarshal(raw, &m) != nil {
			return
		}
		out, err := json.Marshal(m)
		if err != nil {
			t.Fatalf("%q was read but can't be written: %v", raw, err)
		}
		var again content.Message
		if err := json.Unmarshal(out, &again); err != nil {
			t.Fatalf("%q became %q, which can't be read: %v", raw, out, err)
		}
	})
}
