package model_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// noted returns a message that holds the note in its own metadata, then in that of a part
// of each kind.
func noted(t *testing.T, key string) *content.Message {
	t.Helper()
	m := &content.Message{Role: content.RoleModel, Content: []content.Part{
		content.NewTextPart("x"),
		content.NewReasoningPart("y", nil),
		{ToolRequest: &content.ToolRequest{Name: "pay"}},
		{ToolResponse: &content.ToolResponse{Name: "pay"}},
	}}
	note := content.Metadata{key: json.RawMessage(`"PAID"`)}
	m.Metadata = maps.Clone(note)
	for i := range m.Content {
		m.Content[i].Metadata = maps.Clone(note)
	}
	return m
}

func kept(m *content.Message) (where []string) {
	if len(m.Metadata) > 0 {
		where = append(where, "message")
	}
	for i, name := range []string{"text", "reasoning", "toolRequest", "toolResponse"} {
		if len(m.Content[i].Metadata) > 0 {
			where = append(where, name)
		}
	}
	return where
}

func TestWhatAModelMayNote(t *testing.T) {
	all := []string{"message", "text", "reasoning", "toolRequest", "toolResponse"}
	for _, c := range []struct {
		keys []string
		kept []string
	}{
		{[]string{
			"interrupt", "resolvedInterrupt", "resumed", "replacedInput", "pendingOutput", "pendingContent", "pendingMetadata",
			"source", "preamble", "purpose", "pending", "resource", "generate", "interruptResponse",
		}, nil},
		{[]string{"malformedInput", "thoughtSignature", "signature", "chatCompletions", "acme/state", "acme.state", "acme:state"}, all},
		{[]string{"toolApproved", "approved", "confidence", "", "PendingOutput"}, []string{"message", "text", "reasoning"}},
	} {
		for _, key := range c.keys {
			m := noted(t, key)
			assert.Equal(t, c.kept, kept(model.Admit(m)), "message with %q", key)
			assert.Equal(t, all, kept(m), "what was given is not changed")
			chunk := &model.Chunk{Content: m.Content}
			got := model.AdmitChunk(chunk)
			assert.Equal(t, slices.DeleteFunc(slices.Clone(c.kept), func(s string) bool { return s == "message" }),
				kept(&content.Message{Content: got.Content}), "chunk with %q", key)
		}
	}
	assert.Nil(t, model.Admit(nil))
	plain := noted(t, "acme/state")
	assert.Same(t, plain, model.Admit(plain), "nothing is copied when nothing is taken away")
}

func TestNotesOfTheLoopPassThroughWhatStandsAroundIt(t *testing.T) {
	made := noted(t, "interrupt")
	same := noted(t, "interrupt")
	assert.Len(t, kept(model.AdmitBut(same, []*content.Message{made})), 5)
	same.Content[2].ToolRequest = &content.ToolRequest{Name: "pay", Input: json.RawMessage("1")}
	same.Metadata["interrupt"] = json.RawMessage("2")
	assert.Equal(t, []string{"text", "reasoning", "toolResponse"}, kept(model.AdmitBut(same, []*content.Message{made})))
}

// A key that one of the engine's rooms reads from messages and parts is one that a model
// may not write, unless it is written for the model's sake.
func TestEveryKeyThatTheEngineReadsIsReserved(t *testing.T) {
	read := regexp.MustCompile(`(\w+|\(\))\.Metadata(?:\.Truthy\(|\[)("?)(\w+)"?`)
	found := 0
	for _, room := range []string{"content", "format", "generate", "prompt", "resource", "session", "tool"} {
		files, err := filepath.Glob("../" + room + "/*.go")
		require.NoError(t, err)
		require.NotEmpty(t, files, room)
		var text strings.Builder
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				raw, err := os.ReadFile(file)
				require.NoError(t, err)
				text.Write(raw)
			}
		}
		for _, m := range read.FindAllStringSubmatch(text.String(), -1) {
			key := m[3]
			if m[1] == "()" || m[1] == "d" || m[1] == "desc" || m[1] == "cfg" || key == "key" || key == "content" {
				continue // of descriptions; a parameter; content.MalformedInput, which models write
			}
			if m[2] == "" {
				value := regexp.MustCompile(`\b` + key + `\s*=\s*"(\w+)"`).FindStringSubmatch(text.String())
				require.NotNil(t, value, "no constant %s in %s", key, room)
				key = value[1]
			}
			found++
			assert.Empty(t, kept(model.Admit(noted(t, key))), "%s reads metadata.%s, which a model may write", room, key)
		}
	}
	assert.Greater(t, found, 10)
}
