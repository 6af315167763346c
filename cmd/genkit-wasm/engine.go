package main

import (
	"bytes"
	"strings"

	"github.com/spf13/pflag"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

// engineFlags name the engines of scripts.
type engineFlags struct{ engines []string }

func (f *engineFlags) addEngines(flags *pflag.FlagSet) {
	which := "this program has one"
	if builtinEngine == nil {
		which = "this program was built without one; \"make build\" makes a program that has it"
	}
	flags.StringArrayVar(&f.engines, "engine", nil, "the engine of scripts, `javascript=FILE`: "+script.EngineFile+" of the Go module "+script.EngineModule+" "+script.EngineVersion+" ("+which+")")
}

const maxEngine = 64 << 20

// javascript returns the file of the JavaScript engine: that of --engine, else the one that the program was built
// with; nil for none.
func (f *engineFlags) javascript() ([]byte, error) {
	file := ""
	for _, text := range f.engines {
		language, path, found := strings.Cut(text, "=")
		if !found || path == "" {
			return nil, usagef("--engine %q: want javascript=FILE", text)
		}
		if language != string(script.JavaScript) {
			return nil, usagef("--engine %q: there is no engine for %q; want javascript=FILE", text, language)
		}
		file = path
	}
	if file == "" {
		return builtinEngine, nil
	}
	content, err := readFile(file, maxEngine)
	if err != nil {
		return nil, usagef("--engine: %w", err)
	}
	if _, err := script.Engine(bytes.Clone(content)); err != nil {
		return nil, usagef("--engine: %w", err)
	}
	return content, nil
}
