package prompt_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// TestAHostileTemplateIsHeld renders what would take for ever, or overflow the stack,
// or fill the memory. Each fails with RESOURCE_EXHAUSTED and says what was too much.
func TestAHostileTemplateIsHeld(t *testing.T) {
	loops := strings.Repeat("{{#each @root.list}}", 8) + "x" + strings.Repeat("{{/each}}", 8)
	doubling := `{{#*inline "a"}}` + strings.Repeat("0123456789", 100) + `{{/inline}}`
	for i := range 12 {
		doubling += fmt.Sprintf(`{{#*inline "%c"}}`, 'b'+i) + strings.Repeat(fmt.Sprintf("{{> %c}}", 'a'+i), 10) + `{{/inline}}`
	}
	inlines := strings.Repeat(`{{#*inline "i"}}{{/inline}}`, 5000)
	var params, options strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&params, " p%d", i)
		fmt.Fprintf(&options, " p%d=1", i)
	}
	for name, c := range map[string]struct {
		source, want string
		partials     map[string]string
	}{
		"texts that are compared":              {"{{#each list}}{{#each @root.list}}{{#ifEquals @root.long @root.long2}}{{/ifEquals}}{{/each}}{{/each}}", "too much work", nil},
		"texts as contexts":                    {"{{#each list}}{{#each @root.list}}{{#with @root.long}}{{#with @root.long2}}{{/with}}{{/with}}{{/each}}{{/each}}", "too much work", nil},
		"many inline partials":                 {inlines + "{{#each list}}{{#each @root.list}}{{#> none}}{{/none}}{{/each}}{{/each}}", "too much work", nil},
		"many names of parameters":             {"{{#each list as |" + params.String() + "|}}{{#each @root.list}}{{x}}{{/each}}{{/each}}", "too much work", nil},
		"many steps up":                        {"{{#each list}}{{#each @root.list}}{{" + strings.Repeat("../", 10000) + "x}}{{/each}}{{/each}}", "too much work", nil},
		"many options of a partial":            {"{{#each list}}{{#each @root.list}}{{> some" + options.String() + "}}{{/each}}{{/each}}", "too much work", map[string]string{"some": ""}},
		"a partial that includes itself":       {"{{> self}}", "include itself?): the limit is 64", map[string]string{"self": "x{{> self}}"}},
		"partials that include each other":     {"{{> a}}", "include itself", map[string]string{"a": "{{> b}}", "b": "{{> a}}"}},
		"a partial that includes itself twice": {"{{> self}}", "include itself", map[string]string{"self": "{{> self}}{{> self}}"}},
		"a dynamic partial":                    {`{{> (lookup names 0)}}`, "include itself", map[string]string{"self": `{{> (lookup @root.names 0)}}`}},
		"an inline partial":                    {`{{#*inline "i"}}{{> i}}{{/inline}}{{> i}}`, "include itself", nil},
		"a block of a partial":                 {`{{#> self}}{{> @partial-block}}{{/self}}`, "", map[string]string{"self": `{{#> self}}{{> @partial-block}}{{/self}}`}},
		"loops in loops":                       {loops, "too much work", nil},
		"partials that double":                 {doubling + "{{> m}}", "", nil},
		"long text in a loop":                  {"{{#each list}}{{#each @root.list}}{{@root.long}}{{/each}}{{/each}}", "too long", nil},
		"JSON in a condition":                  {"{{#each list}}{{#each @root.list}}{{#if (json @root.long)}}{{/if}}{{/each}}{{/each}}", "too much work", nil},
		"a count of characters in a loop":      {"{{#each list}}{{#each @root.list}}{{@root.long.length}}{{/each}}{{/each}}", "too much work", nil},
		"messages without end":                 {`{{#each list}}{{#each @root.list}}{{role "user"}}x{{role "model"}}y{{/each}}{{/each}}`, "too many messages", nil},
		"media in a loop":                      {`{{#each list}}{{#each @root.list}}{{media url=@root.long}}{{/each}}{{/each}}`, "too", nil},
	} {
		t.Run(name, func(t *testing.T) {
			reg := registry.New(nil)
			for name, source := range c.partials {
				require.NoError(t, prompt.DefinePartial(reg, name, source))
			}
			p := load(t, reg, "p", c.source)
			input, err := json.Marshal(map[string]any{"list": make([]int, 1000), "names": []string{"self"}, "long": strings.Repeat("x", 1<<16), "long2": strings.Repeat("x", 1<<16)})
			require.NoError(t, err)
			_, err = p.Render(t.Context(), input, nil)
			require.ErrorIs(t, err, status.ErrResourceExhausted)
			assert.ErrorContains(t, err, c.want)
			assert.True(t, status.Convert(err).Public())
		})
	}
}

func TestATreeMayBeRenderedByAPartialThatIncludesItself(t *testing.T) {
	reg := registry.New(nil)
	require.NoError(t, prompt.DefinePartial(reg, "tree", "({{name}}{{#each below}}{{> tree}}{{/each}})"))
	p := load(t, reg, "p", "{{> tree}}")
	assert.Contains(t, messages(t, p, `{"name":"a","below":[{"name":"b","below":[{"name":"c"}]},{"name":"d"}]}`), `"(a(b(c))(d))"`)
}

func TestARenderingEndsWithItsContext(t *testing.T) {
	reg := registry.New(nil)
	ctx, cancel := context.WithCancel(t.Context())
	require.NoError(t, prompt.DefineHelper(reg, "stop", func(context.Context, *prompt.Call) (any, error) { cancel(); return nil, nil }))
	p := load(t, reg, "p", "{{stop}}{{#each list}}{{#each @root.list}}x{{/each}}{{/each}}")
	input, err := json.Marshal(map[string]any{"list": make([]int, 1000)})
	require.NoError(t, err)
	_, err = p.Render(ctx, input, nil)
	require.ErrorIs(t, err, status.ErrCancelled)
}

func TestAHostileInputIsRefused(t *testing.T) {
	reg := registry.New(nil)
	p := load(t, reg, "p", "{{#each this}}{{this}}{{/each}}")
	for name, input := range map[string]string{
		"nested too deep": strings.Repeat("[", 100000),
		"no JSON":         `{"a":`,
		"two values":      `{}{}`,
		"a long number":   strings.Repeat("9", 5000),
	} {
		_, err := p.Render(t.Context(), json.RawMessage(input), nil)
		require.ErrorIs(t, err, action.ErrInvalidInput, name)
	}
	assert.Contains(t, messages(t, p, `{"a":"\ud800","b":"\u0000"}`), "\uFFFD\\u0000")
}

func TestAHostileFrontMatterIsHeld(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 10), ","))
	}
	for name, c := range map[string]struct{ head, want string }{
		"aliases that multiply":      {bomb, "too many values, the limit is 10000"},
		"an alias of itself":         {"a: &a [*a]", ""},
		"nesting":                    {"a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "nested"},
		"length":                     {"a: " + strings.Repeat("x", 100<<10), "bytes"},
		"a list":                     {"- a\n- b", "p:2: the front matter is no mapping"},
		"a text":                     {"hello", "no mapping"},
		"a key that stands twice":    {"model: a\nconfig: {}\nmodel: b", `p:4: "model" stands twice`},
		"a key that is a list":       {"? [a]\n: b", "a key is no text"},
		"no YAML":                    {"model: a\ntools: [a\nb: c", "p:"},
		"a tag":                      {"model: !!python/object x", "tag"},
		"binary":                     {"model: !!binary aGk=", "tag"},
		"infinity":                   {"config: {a: .inf}", "no number"},
		"tools that are no list":     {"model: m\ntools: a", "p:3: tools: want a list of names"},
		"tools that are no names":    {"tools: [{name: a}]", "want a list of names"},
		"a config that is a list":    {"config: [1]", "config: want names and values"},
		"a choice there is not":      {"toolChoice: maybe", "toolChoice: want auto"},
		"turns that are no number":   {"maxTurns: many", "maxTurns: want a number"},
		"a flag that is a word":      {"returnToolRequests: yes", "want true or false"},
		"middleware without a name":  {"use:\n  - config: {}", "use: want"},
		"middleware that is no list": {"use: retry", "use: want"},
		"an input that is a text":    {"input: string", "input: want"},
		"an enum without values":     {"output:\n  schema:\n    a: string\n    b(enum): x", "p:5: output schema: field b(enum): an enum wants"},
		"a field without a type":     {"input:\n  schema:\n    a:\n", "p:4: input schema: field a: has no type"},
		"a type that is a list":      {"input:\n  schema:\n    a: [string]", "want a type or fields"},
		"brackets there are not":     {"input:\n  schema:\n    a(set): string", "(set)"},
		"a field described twice":    {"input:\n  schema:\n    a: string\n    a?: string", "described twice"},
		"JSON Schema that is broken": {"output:\n  schema:\n    type: object\n    required: 1", "p:3: schema"},
		"a schema that is a number":  {"output:\n  schema: 12", "want a type or fields"},
	} {
		_, err := prompt.Load(registry.New(nil), "p", "---\n"+c.head+"\n---\nbody")
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
		assert.ErrorContains(t, err, c.want, name)
		assert.Less(t, len(err.Error()), 500, name)
	}
}
