package builtin_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/budget"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/cache"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/codemode"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/downloadmedia"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/fallback"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/filesystem"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/retry"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/skills"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/toolapproval"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/scripted"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// interpreter stands for what runs code, which the kit asks for nothing.
type interpreter struct{ codemode.Interpreter }

func (interpreter) Scope() (string, error) { return "kit", nil }

func TestMiddlewareKeepsTheContract(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	require.NoError(t, os.Mkdir("files", 0o700))
	quoted, err := json.Marshal("files")
	require.NoError(t, err)
	made := func(f middleware.Factory, err error) middleware.Factory {
		require.NoError(t, err)
		return f
	}
	for _, c := range []struct {
		factory middleware.Factory
		valid   string
		invalid []string
	}{
		{made(codemode.New(codemode.Options{})), `{"only":["kitTool"]}`, []string{`{"only":"kitTool"}`, `{"beside":1}`}},
		{made(budget.New(budget.Options{})), `{"maxTokens":1000}`, []string{`{"maxTokens":-1}`, `{"maxTokens":"many"}`, `[]`}},
		{made(cache.New(cache.Options{})), `{"ttlMs":1000}`, []string{`{"ttlMs":-1}`, `1`}},
		{made(downloadmedia.New(downloadmedia.Options{})), `{"maxBytes":1}`, []string{`{"maxBytes":0}`}},
		{made(fallback.New(fallback.Options{})), `{"models":[{"name":"kit/other"}]}`, []string{`{}`, `{"models":[]}`, `{"models":[{"name":"m"}],"statuses":["NOPE"]}`}},
		{made(filesystem.New(filesystem.Options{Roots: []string{"files"}})), `{"rootDirectory":` + string(quoted) + `}`, []string{`{}`, `{"rootDirectory":""}`}},
		{made(retry.New(retry.Options{})), `{"maxRetries":1}`, []string{`{"maxRetries":-1}`, `{"backoffFactor":0}`}},
		{made(skills.New(skills.Options{})), ``, []string{`{"skillPaths":"x"}`}},
		{made(toolapproval.New()), `{"approved":["kitTool"]}`, []string{`{"approved":{}}`}},
	} {
		t.Run(c.factory.Desc().Name, func(t *testing.T) {
			config := enginetest.MiddlewareConfig{Registry: registry.New(nil)}
			require.NoError(t, config.Registry.RegisterValue("interpreter", "javascript", interpreter{}))
			if c.valid != "" {
				config.Valid = json.RawMessage(c.valid)
			}
			for _, bad := range c.invalid {
				config.Invalid = append(config.Invalid, json.RawMessage(bad))
			}
			enginetest.TestMiddleware(t, c.factory, config)
		})
	}
}

func TestTheScriptedModelKeepsTheContract(t *testing.T) {
	m, err := scripted.New()
	require.NoError(t, err)
	enginetest.TestModel(t, m, enginetest.ModelConfig{})
}
