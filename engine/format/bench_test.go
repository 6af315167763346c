package format_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// rowsText is n records of about 100 bytes, written loosely or not.
func rowsText(n int, loose bool) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"id": %d, "name": "record number %d", "tags": ["a", "b\n"], "price": %d.10, "ok": true, "of": null},`+"\n", i, i, i)
	}
	text := "[" + strings.TrimSuffix(b.String(), ",\n") + "]"
	if loose {
		text = "Here is what you asked for:\n```json\n// records\n" + strings.ReplaceAll(text[:len(text)-1], `"name"`, "name") + ",]\n```\nAnything else?"
	}
	return text
}

func BenchmarkExtract(b *testing.B) {
	for name, loose := range map[string]bool{"strict": false, "loose": true} {
		for _, n := range []int{10, 1000} {
			text := rowsText(n, loose)
			b.Run(fmt.Sprintf("%s/%dKB", name, len(text)>>10), func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				for b.Loop() {
					if _, ok := format.Extract(text); !ok {
						b.Fatal("nothing found")
					}
				}
			})
		}
	}
}

func BenchmarkComplete(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		text := rowsText(n, false)
		text = text[:len(text)-30]
		b.Run(fmt.Sprintf("%dKB", len(text)>>10), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := format.Complete(text); !ok {
					b.Fatal("nothing found")
				}
			}
		})
	}
}

// BenchmarkStream reads a whole answer in chunks of 20 bytes. Twice the text should
// take twice the time and memory; json's takes four times as much.
func BenchmarkStream(b *testing.B) {
	for _, name := range []string{"text", "jsonl", "array", "json"} {
		for _, n := range []int{100, 200, 400} {
			text := rowsText(n, false)
			if name == "jsonl" {
				text = strings.ReplaceAll(text[1:], "},", "}")
			}
			var chunks []*model.Chunk
			for len(text) > 0 {
				size := min(20, len(text))
				chunks = append(chunks, &model.Chunk{Content: []content.Part{content.NewTextPart(text[:size])}})
				text = text[size:]
			}
			b.Run(fmt.Sprintf("%s/%dKB", name, len(chunks)*20>>10), func(b *testing.B) {
				b.SetBytes(int64(len(chunks) * 20))
				b.ReportAllocs()
				for b.Loop() {
					s := format.NewStream(handler(b, name, ""))
					for _, c := range chunks {
						if _, err := s.Next(b.Context(), c); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}
