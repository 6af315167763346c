package codemode_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/codemode"
)

func TestSchemasBecomeTypes(t *testing.T) {
	for schema, want := range map[string]string{
		``:                           `unknown`,
		`true`:                       `unknown`,
		`{}`:                         `unknown`,
		`{"type":"string"}`:          `string`,
		`{"type":"integer"}`:         `number`,
		`{"type":"array"}`:           `Array<unknown>`,
		`{"const":"a\"b"}`:           `"a\"b"`,
		`{"enum":["a",1,null]}`:      `"a" | 1 | null`,
		`{"type":["string","null"]}`: `(string | null)`,
		`{"type":"object"}`:          `Record<string, unknown>`,
		`{"type":"object","additionalProperties":false}`:             `{}`,
		`{"type":"object","additionalProperties":{"type":"number"}}`: `Record<string, number>`,
		`{"type":"object","properties":{"b":{"type":"string","description":"the */ end"},"a-b":{"type":"array","items":{"type":"number"}}},"required":["b"]}`: `{ "a-b"?: Array<number>; b: string; /* the * / end */ }`,
		`{"properties":{"__proto__":{"type":"boolean"},"class":{"type":"null"}}}`:                                                                             `{ __proto__?: boolean; class?: null; }`,
		`{"anyOf":[{"type":"string"},{"$ref":"#/$defs/n"}],"$defs":{"n":{"type":"number"}}}`:                                                                  `(string | number)`,
		`{"allOf":[{"properties":{"a":{"type":"string"}}},{"properties":{"b":{"type":"string"}}}]}`:                                                           `({ a?: string; } & { b?: string; })`,
		`{"$ref":"#/$defs/gone"}`:        `unknown`,
		`{"$ref":"http://example.com"}`:  `unknown`,
		`{"const":12345678901234567890}`: `12345678901234567890`,
	} {
		assert.Equal(t, want, codemode.TypeOf(json.RawMessage(schema)), schema)
	}
	loop := codemode.TypeOf(json.RawMessage(`{"$defs":{"a":{"properties":{"l":{"$ref":"#/$defs/a"},"r":{"$ref":"#/$defs/a"}}}},"$ref":"#/$defs/a"}`))
	assert.Less(t, len(loop), 5<<10)
	assert.Equal(t, "unknown", codemode.TypeOf(json.RawMessage(`{"enum":["`+strings.Repeat("x", 5<<10)+`"]}`)))
	deep := strings.Repeat(`{"items":`, 400) + `{}` + strings.Repeat(`}`, 400)
	assert.NotEmpty(t, codemode.TypeOf(json.RawMessage(deep)))
}
