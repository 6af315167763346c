// Command textkit is a module of three tools for text, written with the Go PDK.
package main

import pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"

// The kit makes tables of the tools' types once, while the module initialises; with them every call reads and writes JSON quicker.
var _, _, _ = pdk.Warm(slugify), pdk.Warm(wordcount), pdk.Warm(streamWords)

//go:wasmexport slugify
func exportSlugify() int32 { return pdk.Tool(slugify) }

//go:wasmexport wordcount
func exportWordcount() int32 { return pdk.Tool(wordcount) }

//go:wasmexport stream_words
func exportStreamWords() int32 { return pdk.Tool(streamWords) }

//go:wasmexport genkit_describe
func describe() int32 {
	return pdk.Describe(pdk.Module{
		Name:        "textkit",
		Version:     "1.0.0",
		Description: "Small tools for text: slugs, counts and a word stream.",
		Tools: []pdk.ToolInfo{
			pdk.Info("slugify", "Turns a text into a slug for URLs and file names: lower-case letters and digits, everything else as one separator. Latin accents are dropped.", slugify),
			pdk.Info("wordcount", "Counts the words, lines and characters of a text.", wordcount),
			pdk.Info("stream_words", "Streams the words of a text one by one and returns how many there were.", streamWords),
		},
	})
}

func main() {}
