package handlebars_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/handlebars"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
)

// recorded is a template with what handlebars.js makes of it. test/oracle/js/handlebars.mjs
// writes want and error.
type recorded struct {
	Template string            `json:"template"`
	Data     json.RawMessage   `json:"data,omitempty"`     // of the first case, where it is left out
	Partials map[string]string `json:"partials,omitempty"` // likewise
	Want     *string           `json:"want,omitempty"`
	Error    string            `json:"error,omitempty"`
}

// TestAsHandlebarsJS compares renderings with those that handlebars.js 4.7.10 was
// recorded to make.
func TestAsHandlebarsJS(t *testing.T) {
	file := "testdata/js.json"
	if other := os.Getenv("HANDLEBARS_CASES"); other != "" {
		file = other
	}
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	var cases []recorded
	require.NoError(t, json.Unmarshal(raw, &cases))
	for _, c := range cases {
		if c.Data == nil {
			c.Data, c.Partials = cases[0].Data, cases[0].Partials
		}
		got, err := c.render()
		switch {
		case c.Error != "" && err == nil:
			t.Errorf("%q\n rendered %q\n JS fails: %s", c.Template, got, c.Error)
		case c.Error == "" && err != nil:
			t.Errorf("%q\n failed: %v\n JS: %q", c.Template, err, *c.Want)
		case c.Error == "" && got != *c.Want:
			t.Errorf("%q\n got  %q\n want %q", c.Template, got, *c.Want)
		}
	}
	t.Logf("%d templates", len(cases))
}

func (c *recorded) render() (string, error) {
	data, err := value.Decode(c.Data)
	if err != nil {
		return "", err
	}
	partials := map[string]*handlebars.Template{}
	for name, source := range c.Partials {
		if partials[name], err = handlebars.Parse(source); err != nil {
			return "", err
		}
	}
	auth, _ := value.Decode(json.RawMessage(`{"email":"a@b"}`))
	env := handlebars.Env{
		Partial: func(name string) *handlebars.Template { return partials[name] },
		Helper:  func(name string) handlebars.Helper { return helpers[name] },
		Data:    func(name string) (any, bool) { return auth, name == "auth" },
	}
	t, err := handlebars.Parse(c.Template)
	if err != nil {
		return "", err
	}
	pieces, err := t.Render(context.Background(), env, data)
	return (&handlebars.Fragment{Pieces: pieces}).String(), err
}

var helpers = map[string]handlebars.Helper{
	"shout": func(_ context.Context, c *handlebars.Call) (any, error) {
		if len(c.Args) == 0 {
			return "UNDEFINED!", nil
		}
		switch c.Args[0].(type) {
		case nil:
			return "NULL!", nil
		case value.Undefined:
			return "UNDEFINED!", nil
		}
		return strings.ToUpper(value.Text(c.Args[0])) + "!", nil
	},
	"wrap": func(_ context.Context, c *handlebars.Call) (any, error) {
		body, err := c.Block(c.This)
		if err != nil {
			return nil, err
		}
		inverse, err := c.Inverse(c.This)
		if err != nil {
			return nil, err
		}
		with, _ := c.Hash.Get("with")
		return "<" + value.Text(with) + body.String() + "|" + inverse.String() + ">", nil
	},
}
