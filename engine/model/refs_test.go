package model_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// talk reads messages: those of the user are "u", those of the model "m a#1 b", those of tools
// "t a#1 b", where a and b are tools and what follows # is the ref.
func talk(text string) (messages []content.Message) {
	for line := range strings.SplitSeq(text, ";") {
		fields := strings.Fields(line)
		m := content.Message{Role: map[string]content.Role{"u": content.RoleUser, "m": content.RoleModel, "t": content.RoleTool}[fields[0]]}
		for i, field := range fields[1:] {
			name, ref, _ := strings.Cut(field, "#")
			part := content.Part{ToolRequest: &content.ToolRequest{Name: name, Ref: ref, Input: json.RawMessage(strconv.Itoa(i))}}
			if m.Role == content.RoleTool {
				part = content.Part{ToolResponse: &content.ToolResponse{Name: name, Ref: ref, Output: json.RawMessage(strconv.Itoa(i))}}
			}
			m.Content = append(m.Content, part)
		}
		messages = append(messages, m)
	}
	return messages
}

// told is the inverse of talk.
func told(messages []content.Message) string {
	var lines []string
	for _, m := range messages {
		line := map[content.Role]string{content.RoleUser: "u", content.RoleModel: "m", content.RoleTool: "t"}[m.Role]
		for _, p := range m.Content {
			name, ref := "", ""
			if p.ToolRequest != nil {
				name, ref = p.ToolRequest.Name, p.ToolRequest.Ref
			} else {
				name, ref = p.ToolResponse.Name, p.ToolResponse.Ref
			}
			line += strings.TrimSuffix(" "+name+"#"+ref, "#")
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, ";")
}

func TestRefsAreUniqueInAConversation(t *testing.T) {
	for name, c := range map[string]struct{ in, paired, named string }{
		"unique ones stay":                       {"u;m a#1 b#2;t a#1 b#2;m a#3;t a#3", "", ""},
		"one ref in two turns":                   {"u;m a#1;t a#1;m a#1;t a#1;u;m a#1;t a#1", "u;m a#1;t a#1;m a#1_2;t a#1_2;u;m a#1_3;t a#1_3", ""},
		"one ref in a turn and the next":         {"u;m a#1 a#1;t a#1 a#1;m a#1;t a#1", "u;m a#1 a#1_2;t a#1 a#1_2;m a#1_3;t a#1_3", ""},
		"the name is another's own":              {"u;m a#1;t a#1;m a#1;t a#1;m a#1_2;t a#1_2", "u;m a#1;t a#1;m a#1_3;t a#1_3;m a#1_2;t a#1_2", ""},
		"two tools of one ref, answers reversed": {"u;m a#1 b#1;t b#1;t a#1", "u;m a#1 b#1_2;t b#1_2;t a#1", ""},
		"no refs":                                {"u;m a a;t a a", "", "u;m a#a a#a_2;t a#a a#a_2"},
		"no refs, in turns":                      {"u;m a b;t b a;m a;t a", "", "u;m a#a b#b;t b#b a#a;m a#a_2;t a#a_2"},
		"no refs, one message for each answer":   {"u;m a a;t a;t a", "", "u;m a#a a#a_2;t a#a;t a#a_2"},
		"a ref that is a tool's name":            {"u;m a;t a;m b#a;t b#a", "", "u;m a#a_2;t a#a_2;m b#a;t b#a"},
		"answers without refs":                   {"u;m a#1 a#2;t a a", "u;m a#1 a#2;t a#1 a#2", ""},
		"one answer without, one with":           {"u;m a#1 a#2;t a;t a#1", "u;m a#1 a#2;t a#2;t a#1", ""},
		"answers with refs to requests without":  {"u;m a a;t a#x a#y", "", "u;m a#a a#a_2;t a#a a#a_2"},
		"a tool by another name":                 {"u;m a#1;t a#1;m a#1;t b#1", "u;m a#1;t a#1;m a#1_2;t b#1_2", ""},
		"a request that was never answered":      {"u;m a#1;u;m a#1;t a#1", "u;m a#1;u;m a#1_2;t a#1_2", ""},
		"text between request and answer":        {"u;m a#1;t a#1;m a#1;m;u;t a#1", "u;m a#1;t a#1;m a#1_2;m;u;t a#1_2", ""},
		"an answer to nothing":                   {"u;t a#1 b;m a#1;t a#1", "", ""},
		"more answers than requests":             {"u;m a#1;t a#1;m a#1;t a#1 a#1", "u;m a#1;t a#1;m a#1_2;t a#1_2 a#1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.paired == "" {
				c.paired = c.in
			}
			if c.named == "" {
				c.named = c.paired
			}
			messages := talk(c.in)
			assert.Equal(t, c.paired, told(model.PairRefs(messages)))
			assert.Equal(t, c.in, told(messages), "the caller's stay as they are")
			named := func(tool, ref string) string {
				if ref == "" {
					return tool
				}
				return ref
			}
			assert.Equal(t, c.named, told(model.NamedRefs(messages, named)))
			assert.Equal(t, c.named, told(model.NamedRefs(model.PairRefs(messages), named)), "the engine, then a provider")
			assert.Equal(t, c.paired, told(model.PairRefs(model.PairRefs(messages))), "again")
		})
	}
}

// What an API refuses in an id is replaced, and what becomes equal is told apart.
func TestNamesOfRefsAreUnique(t *testing.T) {
	fit := func(_, ref string) string { return strings.ReplaceAll(ref, ":", "_") }
	assert.Equal(t, "u;m a#x_2 a#x_0 a#x_1;t a#x_2 a#x_0 a#x_1", told(model.NamedRefs(talk("u;m a#x:2 a#x_0 a#x:1;t a#x:2 a#x_0 a#x:1"), fit)))
	assert.Equal(t, "u;m a#x_0_2 a#x_0;t a#x_0_2 a#x_0", told(model.NamedRefs(talk("u;m a#x:0 a#x_0;t a#x:0 a#x_0"), fit)))
}

func TestManyEqualRefsAreNamedInLinearTime(t *testing.T) {
	begin := time.Now()
	messages := talk("u" + strings.Repeat(";m a#1;t a#1", 20000))
	assert.Equal(t, "1_20000", model.PairRefs(messages)[40000].Content[0].ToolResponse.Ref)
	assert.Less(t, time.Since(begin), 5*time.Second)
}
