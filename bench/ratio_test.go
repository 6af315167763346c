package bench_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkRatio calls the tools in turns, a few calls each, and reports for each the
// shortest turn, divided by the shortest of the Go function: what else the machine does
// makes a turn longer, never shorter, so this holds on a busy machine, where BenchmarkAdd
// does not. The flat type is two numbers beside one long text; the nested one is an order,
// which is decoded and encoded whole.
func BenchmarkRatio(b *testing.B) {
	flat := tools(b, []variant{
		{"native_go", nativeTool},
		{"c_genkit_v1", wasmTool("../examples/calc/calc.wasm", "", false)},
		{"c_extism", wasmTool("guests/calc-extism.wasm", "", true)},
		{"go_genkit_v1", wasmTool(kitGuest, "", true)},
		{"go_encoding_json", wasmAction(kitGuest, "", "add_standard", described("add_standard", inputSchema, outputSchema))},
		{"go_extism", wasmTool("guests/gocalc", "extism", true)},
		{"sdk_c_fresh", sdkFresh("guests/calc-extism.wasm", "")},
	})
	nested := tools(b, []variant{
		{"native_go", func(b *testing.B) caller { return nativeAction(b, orderSchema, orderSchema, totalJSON) }},
		{"go_genkit_v1", wasmAction(kitGuest, "", "total", described("total", orderSchema, orderSchema))},
		{"go_encoding_json", wasmAction(kitGuest, "", "total_standard", described("total_standard", orderSchema, orderSchema))},
	})
	ratioSizes := []int{100, 1 << 10, 100 << 10, 1 << 20}
	for _, size := range ratioSizes[:few(len(ratioSizes), 2)] {
		name := map[int]string{100: "100B", 1 << 10: "1KB", 100 << 10: "100KB", 1 << 20: "1MB"}[size]
		b.Run("size="+name, func(b *testing.B) {
			b.Run("type=flat", func(b *testing.B) { flat.ratio(b, request(size), checkSum) })
			b.Run("type=nested", func(b *testing.B) { nested.ratio(b, orderJSON(size), checkTotal) })
		})
	}
}

// variant is a way to a tool.
type variant struct {
	name string
	make func(b *testing.B) caller
}

// compared are tools that do the same.
type compared struct {
	variants []variant
	calls    []caller
}

func tools(b *testing.B, variants []variant) compared {
	b.Helper()
	c := compared{variants: variants}
	for _, v := range variants {
		c.calls = append(c.calls, v.make(b))
	}
	return c
}

func (c compared) ratio(b *testing.B, in []byte, check func(b *testing.B, out []byte)) {
	b.Helper()
	best := make([]time.Duration, len(c.calls))
	turn := max(1, 20_000/(len(in)+500))
	for _, call := range c.calls {
		check(b, call(b, in))
	}
	for b.Loop() {
		for i, call := range c.calls {
			start := time.Now()
			for range turn {
				call(b, in)
			}
			if took := time.Since(start) / time.Duration(turn); best[i] == 0 || took < best[i] {
				best[i] = took
			}
		}
	}
	for i, v := range c.variants {
		b.ReportMetric(float64(best[i])/float64(best[0]), v.name+"-x")
	}
	b.ReportMetric(float64(best[0].Nanoseconds())/1000, "native-µs")
}

// order is the nested type; the guest has the same.
type order struct {
	ID       string   `json:"id"`
	Customer customer `json:"customer"`
	Items    []item   `json:"items"`
	Note     *string  `json:"note,omitempty"`
	Paid     bool     `json:"paid"`
	Total    float64  `json:"total"`
}

type customer struct {
	Name    string `json:"name"`
	Address struct {
		Street string `json:"street"`
		City   string `json:"city"`
	} `json:"address"`
}

type item struct {
	SKU      string   `json:"sku"`
	Quantity int      `json:"quantity"`
	Price    float64  `json:"price"`
	Tags     []string `json:"tags,omitempty"`
}

const orderSchema = `{"type":"object","properties":{"id":{"type":"string"},
"customer":{"type":"object","properties":{"name":{"type":"string"},
"address":{"type":"object","properties":{"street":{"type":"string"},"city":{"type":"string"}},"required":["street","city"],"additionalProperties":false}},
"required":["name","address"],"additionalProperties":false},
"items":{"type":"array","items":{"type":"object","properties":{"sku":{"type":"string"},"quantity":{"type":"integer"},"price":{"type":"number"},
"tags":{"type":"array","items":{"type":"string"}}},"required":["sku","quantity","price"],"additionalProperties":false}},
"note":{"type":"string"},"paid":{"type":"boolean"},"total":{"type":"number"}},"required":["id","customer","items","paid","total"],"additionalProperties":false}`

// orderJSON is an order of at least size bytes, and of at least one item.
func orderJSON(size int) []byte {
	head := `{"id":"o-2026-11-30","customer":{"name":"Zoë \"Zed\" Ångström","address":{"street":"1 Long Street\nSecond door","city":"Bern"}},"items":[`
	tail := `],"note":"leave it at the door","paid":true,"total":0}`
	one := `{"sku":"A-1001","quantity":2,"price":19.95,"tags":["new","sale"]}`
	items := max(1, (size-len(head)-len(tail))/(len(one)+1))
	return []byte(head + strings.Repeat(","+one, items)[1:] + tail)
}

func totalJSON(in []byte) ([]byte, error) {
	var o order
	if err := json.Unmarshal(in, &o); err != nil {
		return nil, err
	}
	for _, i := range o.Items {
		o.Total += float64(i.Quantity) * i.Price
	}
	return json.Marshal(o)
}

func checkTotal(b *testing.B, out []byte) {
	b.Helper()
	var got order
	require.NoError(b, json.Unmarshal(out, &got), "%s", out)
	require.InEpsilon(b, float64(len(got.Items))*39.9, got.Total, 1e-6)
}
