// Command driver tells, of each mutant of the meter, who notices that it is one. mutants_test.go builds it, with a table of
// mutants beside it, and reads what it prints: a JSON object for each.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/verify"
)

type rewrite func([]byte, *inspect.Module) ([]byte, verify.Claim, error)

type mutant struct {
	name    string
	rewrite rewrite
}

// sample is a module to try mutants with. Price is what its run costs, or -1.
type sample struct {
	File  string
	Price int64

	wasm     []byte
	module   *inspect.Module
	original []byte // the module as the meter rewrites it
}

type result struct {
	Name    string
	Changed int    // samples of which it makes something else
	Refused int    // by the verifier
	Priced  int    // samples that cost something else
	Reason  string // why the verifier refused the first
}

var roomy = inspect.Limits{CompileCost: 1 << 30, Locals: 1 << 20, Depth: 1 << 20, BodyBytes: 1 << 30, CodeBytes: 1 << 30, ModuleBytes: 1 << 30}

func main() {
	samples, err := load(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	out, all := json.NewEncoder(os.Stdout), len(os.Args) > 2
	for i, m := range mutants {
		r := result{Name: m.name}
		for k := range samples {
			if r.Refused > 0 && !all {
				break
			}
			s := &samples[k]
			wasm, err := try(m.rewrite, s)
			if i == 0 { // the first is none
				s.original = wasm
			}
			if bytes.Equal(wasm, s.original) && err == nil {
				if i > 0 {
					continue
				}
			} else {
				r.Changed++
			}
			if err != nil {
				r.Refused++
				if r.Reason == "" {
					r.Reason = filepath.Base(s.File) + ": " + err.Error()
				}
				continue
			}
			if s.Price >= 0 && (all || r.Priced == 0) && price(wasm) != s.Price {
				r.Priced++
			}
		}
		_ = out.Encode(r)
	}
}

func load(list string) ([]sample, error) {
	var samples []sample
	b, err := os.ReadFile(list)
	if err == nil {
		err = json.Unmarshal(b, &samples)
	}
	for i := range samples {
		if err == nil {
			samples[i].wasm, err = os.ReadFile(samples[i].File)
		}
		if err == nil {
			samples[i].module, err = inspect.Parse(samples[i].wasm, roomy)
		}
	}
	return samples, err
}

// try rewrites a sample and has it verified. A mutant that panics is as good as refused.
func try(f rewrite, s *sample) (wasm []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panicked: %v", r)
		}
	}()
	wasm, claim, err := f(s.wasm, s.module)
	if err != nil {
		return nil, err
	}
	m, err := inspect.Parse(wasm, roomy)
	if err != nil {
		return wasm, err
	}
	_, err = verify.Check(s.module, m, claim)
	return wasm, err
}

// price is the cost of a call of run, which ends by itself.
func price(wasm []byte) int64 {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(64))
	defer r.Close(ctx)
	ticks := uint32(0)
	_, err := r.NewHostModuleBuilder("env").NewFunctionBuilder().WithFunc(func(v uint32) uint32 { ticks++; return v*31 + ticks }).Export("tick").Instantiate(ctx)
	if err != nil {
		panic(err)
	}
	_, err = r.NewHostModuleBuilder("genkit:meter").NewFunctionBuilder().WithFunc(func() { panic("out of fuel") }).Export("yield").Instantiate(ctx)
	if err != nil {
		panic(err)
	}
	m, err := r.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return -2
	}
	const enough = 1 << 40
	fuel := m.ExportedGlobal("genkit:meter_/fuel").(api.MutableGlobal)
	fuel.Set(enough)
	_, _ = m.ExportedFunction("run").Call(ctx, 12, 34)
	return enough - int64(fuel.Get())
}
