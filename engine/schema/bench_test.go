package schema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// orderSchema is a typical input schema of a tool: nested objects, lists, strings with limits,
// numbers, enums, a reference.
const orderSchema = `{
	"type":"object","additionalProperties":false,"required":["id","customer","items"],
	"properties":{
		"id":{"type":"string","pattern":"^ord-[0-9]+$"},
		"customer":{"type":"object","required":["name","email"],"additionalProperties":false,"properties":{
			"name":{"type":"string","minLength":1,"maxLength":80},
			"email":{"type":"string","maxLength":120},
			"tier":{"enum":["free","pro","enterprise"]},
			"address":{"$ref":"#/$defs/address"}}},
		"items":{"type":"array","minItems":1,"items":{"type":"object","required":["sku","quantity"],"additionalProperties":false,"properties":{
			"sku":{"type":"string","minLength":3},
			"quantity":{"type":"integer","minimum":1,"maximum":1000},
			"price":{"type":"number","exclusiveMinimum":0},
			"tags":{"type":"array","items":{"type":"string"},"maxItems":10},
			"gift":{"type":["boolean","null"]}}}},
		"note":{"type":"string","maxLength":2000}},
	"$defs":{"address":{"type":"object","required":["city"],"properties":{
		"street":{"type":"string"},"city":{"type":"string"},"country":{"type":"string","minLength":2,"maxLength":2},"zip":{"type":"string"}}}}}`

type order struct {
	ID       string `json:"id"`
	Customer struct {
		Name    string `json:"name"`
		Email   string `json:"email"`
		Tier    string `json:"tier"`
		Address struct {
			Street  string `json:"street"`
			City    string `json:"city"`
			Country string `json:"country"`
			Zip     string `json:"zip"`
		} `json:"address"`
	} `json:"customer"`
	Items []struct {
		SKU      string   `json:"sku"`
		Quantity int      `json:"quantity"`
		Price    float64  `json:"price"`
		Tags     []string `json:"tags"`
		Gift     *bool    `json:"gift"`
	} `json:"items"`
	Note string `json:"note"`
}

// orderOf makes an order of about size bytes.
func orderOf(size int) json.RawMessage {
	if size < 200 {
		return json.RawMessage(`{"id":"ord-7","customer":{"name":"Ada","email":"a@b.c"},"items":[{"sku":"abc","quantity":2}]}`)
	}
	var b strings.Builder
	b.WriteString(`{"id":"ord-48151623","customer":{"name":"Ada Lovelace","email":"ada@example.com","tier":"pro","address":{"street":"12 St James's Square","city":"London","country":"GB","zip":"SW1Y 4JH"}},"note":"Please leave it with the neighbour when nobody opens; ring \"twice\".","items":[`)
	for i := 0; b.Len() < size-100; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"sku":"sku-%05d","quantity":%d,"price":%d.%02d,"tags":["fragile","blue","summer"],"gift":%t}`, i, 1+i%99, 10+i%90, i%100, i%3 == 0)
	}
	b.WriteString(`]}`)
	return json.RawMessage(b.String())
}

// tokens counts tokens and checks nothing: the floor under any reading.
func tokens(raw []byte) (n int) {
	for i := 0; i < len(raw); {
		switch c := raw[i]; {
		case c == '"':
			for i++; i < len(raw) && raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
			i++
			n++
		case c <= ' ', c == ',', c == ':':
			i++
		case c == '{', c == '}', c == '[', c == ']':
			i++
			n++
		default:
			for i < len(raw) && raw[i] > ' ' && raw[i] != ',' && raw[i] != '}' && raw[i] != ']' {
				i++
			}
			n++
		}
	}
	return n
}

// BenchmarkValidate is the table of docs/schema.md. All of it is one run.
func BenchmarkValidate(b *testing.B) {
	ours, err := schema.Compile(json.RawMessage(orderSchema))
	require.NoError(b, err)
	require.True(b, ours.Fast())
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(orderSchema))
	require.NoError(b, err)
	c := jsonschema.NewCompiler()
	require.NoError(b, c.AddResource("mem://order", doc))
	theirs := c.MustCompile("mem://order")
	for _, size := range []struct {
		name string
		raw  json.RawMessage
	}{{"100B", orderOf(100)}, {"1KB", orderOf(1 << 10)}, {"64KB", orderOf(64 << 10)}} {
		for _, way := range []struct {
			name string
			run  func() error
		}{
			{"ours", func() error { return ours.Validate(size.raw) }},
			{"check_only", func() error { return schema.Check(size.raw) }},
			{"santhosh", func() error {
				v, err := jsonschema.UnmarshalJSON(bytes.NewReader(size.raw))
				if err != nil {
					return err
				}
				return theirs.Validate(v)
			}},
			{"unmarshal_any", func() error { var v any; return json.Unmarshal(size.raw, &v) }},
			{"unmarshal_struct", func() error { var v order; return json.Unmarshal(size.raw, &v) }},
			{"token_scan", func() error {
				if tokens(size.raw) == 0 {
					return schema.ErrSyntax
				}
				return nil
			}},
			{"json_valid", func() error {
				if !json.Valid(size.raw) {
					return schema.ErrSyntax
				}
				return nil
			}},
		} {
			b.Run("size="+size.name+"/way="+way.name, func(b *testing.B) {
				b.SetBytes(int64(len(size.raw)))
				b.ReportAllocs()
				for b.Loop() {
					if err := way.run(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
