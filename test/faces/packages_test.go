//go:build unix

package faces_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/jsengine/jsenginetest"
	"github.com/genkit-wasm/genkit-wasm/internal/peer"
)

// TestSchemasOfNPMPackages packs, bundles and runs scripts that declare their tools by the schemas of zod and TypeBox, as
// npm has them.
func TestSchemasOfNPMPackages(t *testing.T) {
	modules := nodeModules(t)
	if _, err := os.Stat(filepath.Join(modules, "zod4")); err != nil {
		peer.Missing(t, "zod and TypeBox are not installed: run make faces")
	}
	bin := binary(t, "../../cmd/genkit-wasm")
	engine := filepath.Join(t.TempDir(), "qjs.wasm")
	require.NoError(t, os.WriteFile(engine, jsenginetest.File(t), 0o600))
	const object = `{"type":"object","properties":{"city":{"type":"string","minLength":2},"days":{"type":"integer","minimum":1,"maximum":9}},"required":["city"]`
	for name, c := range map[string]struct {
		folder, dependency, source, schema string
	}{
		"zod": {"zod4", "zod", `import { z } from "zod";
const input = z.object({ city: z.string().min(2), days: z.int().min(1).max(9).optional() });
const check = (value: unknown) => input.parse(value).city;`, object + "}"},
		"zod by namespace": {"zod4", "zod", `import * as z from "zod";
const input = z.strictObject({ city: z.string().min(2), days: z.int().min(1).max(9).optional() });
const check = (value: unknown) => input.parse(value).city;`, object + `,"additionalProperties":false}`},
		"zod mini": {"zod4", "zod", `import * as z from "zod/mini";
const schema = z.object({ city: z.string().check(z.minLength(2)), days: z.optional(z.int().check(z.minimum(1), z.maximum(9))) });
const input = z.toJSONSchema(schema, { io: "input" });
const check = (value: unknown) => schema.parse(value).city;`, object + "}"},
		"TypeBox 0.34": {"@sinclair/typebox", "@sinclair/typebox", `import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
const input = Type.Object({ city: Type.String({ minLength: 2 }), days: Type.Optional(Type.Integer({ minimum: 1, maximum: 9 })) });
const check = (value: unknown) => Value.Parse(input, value).city;`, object + "}"},
		"TypeBox 1": {"typebox", "typebox", `import Type from "typebox";
import { Value } from "typebox/value";
const input = Type.Object({ city: Type.String({ minLength: 2 }), days: Type.Optional(Type.Integer({ minimum: 1, maximum: 9 })) });
const check = (value: unknown) => Value.Parse(input, value).city;`, object + "}"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put := func(name, content string) {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
			}
			put("package.json", `{"name":"weather","dependencies":{"`+c.dependency+`":"*"}}`)
			put("tool.ts", `import { tool } from "genkit";
`+c.source+`
tool({ name: "weather", description: "x", input, run: (value) => ({ city: check(value) }) });
`)
			home := filepath.Join(dir, "node_modules", filepath.FromSlash(c.dependency))
			require.NoError(t, os.CopyFS(home, os.DirFS(filepath.Join(modules, filepath.FromSlash(c.folder)))))
			run := func(args ...string) string {
				cmd := exec.CommandContext(t.Context(), bin, append(args, "--engine", "javascript="+engine)...)
				cmd.Stderr = t.Output()
				out, err := cmd.Output()
				require.NoError(t, err)
				return string(out)
			}
			var found struct {
				Descriptor struct {
					Tools []struct {
						InputSchema json.RawMessage `json:"inputSchema"`
					} `json:"tools"`
				} `json:"descriptor"`
			}
			require.NoError(t, json.Unmarshal([]byte(run("inspect", dir, "-o", "json")), &found))
			require.Len(t, found.Descriptor.Tools, 1)
			assert.JSONEq(t, c.schema, string(found.Descriptor.Tools[0].InputSchema))
			assert.Equal(t, `{"city":"Rome"}`+"\n", run("run", dir, "--input", `{"city":"Rome","days":3}`))
		})
	}
}
