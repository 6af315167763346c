package prompt_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// suite is one entry of a file of dotprompt's spec.
type suite struct {
	Name             string            `yaml:"name"`
	Template         string            `yaml:"template"`
	Data             data              `yaml:"data"`
	Schemas          map[string]any    `yaml:"schemas"`
	Partials         map[string]string `yaml:"partials"`
	ResolverPartials map[string]string `yaml:"resolverPartials"`
	Tests            []specCase        `yaml:"tests"`
}

type data struct {
	Input    any `yaml:"input"`
	Context  any `yaml:"context"`
	Messages any `yaml:"messages"`
}

type specCase struct {
	Desc    string         `yaml:"desc"`
	Data    data           `yaml:"data"`
	Options map[string]any `yaml:"options"`
	Expect  map[string]any `yaml:"expect"`
}

// TestTheSpecOfDotprompt runs every case of the spec that is there: twice, with the
// suite's other cases between, and from many goroutines at once.
func TestTheSpecOfDotprompt(t *testing.T) {
	root := filepath.Dir(enginetest.Spec(t, "dotprompt/metadata.yaml"))
	cases := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var suites []suite
		if err := yaml.Unmarshal(raw, &suites); err != nil {
			return err
		}
		for _, s := range suites {
			cases += len(s.Tests)
			t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml")+"/"+s.Name, func(t *testing.T) { s.run(t) })
		}
		return nil
	})
	require.NoError(t, err)
	assert.GreaterOrEqual(t, cases, 60, "the spec is there")
	t.Logf("%d cases", cases)
}

func (s *suite) run(t *testing.T) {
	reg := registry.New(nil)
	for name, schema := range s.Schemas {
		require.NoError(t, generate.RegisterSchema(reg, name, toJSON(t, schema)))
	}
	for _, partials := range []map[string]string{s.Partials, s.ResolverPartials} {
		for name, source := range partials {
			require.NoError(t, prompt.DefinePartial(reg, name, source))
		}
	}
	prompts := make([]*prompt.Prompt, len(s.Tests))
	for i, c := range s.Tests {
		options, _ := c.Options["input"].(map[string]any)
		var err error
		prompts[i], err = prompt.LoadWithDefault(reg, fmt.Sprintf("case%d", i), s.Template, toJSON(t, options["default"]))
		require.NoError(t, err)
	}
	for range 2 {
		for i, c := range s.Tests {
			s.check(t, prompts[i], &c)
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		for i, c := range s.Tests {
			wg.Go(func() { s.check(t, prompts[i], &c) })
		}
	}
	wg.Wait()
}

func (s *suite) check(t *testing.T, p *prompt.Prompt, c *specCase) {
	pick := func(own, suites any) any {
		if own != nil {
			return own
		}
		return suites
	}
	ctx := context.Background()
	if given := pick(c.Data.Context, s.Data.Context); given != nil {
		ctx = action.WithContext(ctx, toJSON(t, given))
	}
	over := &model.GenerateOptions{}
	if given := pick(c.Data.Messages, s.Data.Messages); given != nil {
		if !assert.NoError(t, json.Unmarshal(toJSON(t, given), &over.Messages)) {
			return
		}
	}
	input := toJSON(t, pick(c.Data.Input, s.Data.Input))
	if strings.Contains(string(p.Action().Desc().InputSchema), `{"type":"string"}`) && input == nil {
		input = json.RawMessage(`"x"`) // dotprompt does not check the input, Genkit does
	}
	opts, err := p.Render(ctx, input, over)
	if !assert.NoError(t, err, c.Desc) {
		return
	}
	if opts.Messages == nil {
		opts.Messages = []content.Message{}
	}
	assert.JSONEq(t, string(toJSON(t, c.Expect["messages"])), string(toJSON(t, opts.Messages)), c.Desc)

	var shown map[string]any
	if !assert.NoError(t, json.Unmarshal(p.Action().Desc().Metadata["prompt"], &shown)) {
		return
	}
	for _, genkits := range []string{"template", "name", "use", "tools"} { // not dotprompt's, or not asked for
		if _, wanted := c.Expect[genkits]; !wanted {
			delete(shown, genkits)
		}
	}
	want := map[string]any{"ext": map[string]any{}, "config": map[string]any{}, "metadata": map[string]any{}, "input": map[string]any{}}
	for key, v := range c.Expect {
		if key != "messages" {
			want[key] = v
		}
	}
	if c.Expect["raw"] == nil {
		delete(shown, "raw")
	}
	if _, wanted := c.Expect["input"]; !wanted { // given in the call, not expected everywhere
		if in, ok := shown["input"].(map[string]any); ok && c.Options != nil {
			delete(in, "default")
		}
	}
	assert.JSONEq(t, string(toJSON(t, want)), string(toJSON(t, shown)), c.Desc)
}

func toJSON(t *testing.T, v any) json.RawMessage {
	if v == nil {
		return nil
	}
	raw, err := json.Marshal(v)
	assert.NoError(t, err)
	return raw
}
