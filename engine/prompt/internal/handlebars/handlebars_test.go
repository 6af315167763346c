package handlebars_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/handlebars"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
)

func TestMistakesAreToldWithTheirLine(t *testing.T) {
	for template, want := range map[string]string{
		"a\n{{#if x}}":          "line 2: {{#if}} is never closed",
		"{{/if}}":               "line 1: {{/if}} closes nothing",
		"{{else}}":              "line 1: {{else}} closes nothing",
		"{{#a}}\n{{/b}}":        "line 2: {{/b}} does not match {{#a}} of line 1",
		"{{#a}}{{else}}\n{{^}}": "line 2: a second else in {{#a}}",
		"\n\n{{a":               "line 3: the tag has no end",
		"{{a b c=}}":            "line 1: want a name",
		"{{a 'x}}":              "line 1: a text has no end",
		"{{! a":                 "line 1: the comment has no end",
		"{{!-- a }}":            "line 1: the comment has no end",
		"{{a b=1 c}}":           "line 1: a parameter behind name=value",
		"{{a.b c}}":             `line 1: "a.b" can't be a helper's name`,
		"{{a..b}}":              "line 1: ",
		"{{a/../b}}":            "line 1: invalid path",
		"{{#if a b}}{{/if}}":    "line 1: if takes 1 parameters, got 2",
		"{{> a b c}}":           "line 1: a partial takes one parameter, got 2",
		"{{*x}}":                "line 1: decorators",
		"{{#*x \"y\"}}{{/x}}":   "line 1: decorators",
		"{{{a}}":                "line 1: want \"}}\"",
		"{{{{a}}}}":             "line 1: {{{{a}}}} is never closed",
		"{{(a)}}":               "line 1: want a name",
		"{{a (b}}":              "line 1: want \")\"",
		"{{#a as |b}}{{/a}}":    "line 1: want names between",
		"{{}}":                  "line 1: want a name",
	} {
		_, err := handlebars.Parse(template)
		assert.ErrorContains(t, err, want, "%q", template)
	}
	for name, deep := range map[string]string{
		"expressions": "{{a " + strings.Repeat("(a ", 100) + strings.Repeat(")", 100) + "}}",
		"else chains": "{{#if a}}" + strings.Repeat("{{else if a}}", 100) + "{{/if}}",
	} {
		_, err := handlebars.Parse(deep)
		var limit *handlebars.LimitError
		require.ErrorAs(t, err, &limit, name)
	}
}

// FuzzTemplate parses and renders whatever is given, with itself as a partial. Text
// without marks stays without.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{
		"{{#each a as |b c|}}{{b}}{{~else~}}{{^}}{{/each}}", `\{{a}} \\{{b}} {{{c}}} {{&d}}`, "{{> self}}", "{{#> self}}{{> @partial-block}}{{/self}}",
		`{{#*inline "x"}}{{../a}}{{/inline}}{{> x b=1}}`, "{{{{raw}}}} {{x}} {{{{/raw}}}}", "  {{!-- a --}}  \n  {{#if a}}\n  {{/if}}\n", `{{lookup (lookup . "a") 0}}`,
		"{{json this indent=99999999}}", "{{#with a as |x|}}{{#with x as |y|}}{{x.y}}{{/with}}{{/with}}", "{{~}}", "{{else if", "{{#if", "{{a.[b\\]]}}",
	} {
		f.Add(s, `{"a":[1,{"b":"x"}],"b":{"c":null}}`)
	}
	f.Fuzz(func(t *testing.T, template, data string) {
		tpl, err := handlebars.Parse(template)
		if err != nil {
			return
		}
		v, err := value.Decode(json.RawMessage(data))
		if err != nil {
			v = data
		}
		env := handlebars.Env{Partial: func(name string) *handlebars.Template {
			if name == "self" {
				return tpl
			}
			return nil
		}}
		pieces, err := tpl.Render(context.Background(), env, v)
		if err != nil {
			return
		}
		for _, p := range pieces {
			if p.Kind != handlebars.Text && !strings.Contains(template, "role") && !strings.Contains(template, "history") &&
				!strings.Contains(template, "media") && !strings.Contains(template, "section") {
				t.Fatalf("%q made a mark of %q", template, p.Value)
			}
		}
	})
}
