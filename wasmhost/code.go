package wasmhost

import (
	"context"
	_ "embed"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

// Code that a model has written runs in a guest that no tenant has uploaded: a script of the host's, which evaluates
// what its input holds. It is a module like others, with the tenant's limits, slots, memory and bill, and with no grant.

//go:embed code.js
var codeScript []byte

// codeModule is how the module is called in the bill and in logs.
const codeModule = "genkit-code"

const codeDescriptor = `{"abi":"genkit/1","name":"` + codeModule + `","middleware":[{"name":"run","export":"` + script.CallExport + `","hooks":["generate"]}]}`

// interpreter runs code for a tenant. It is a value of the tenant's provider.
type interpreter struct {
	host   *Host
	tenant string
}

// Scope names the tenant, and tells it from one of the same name that was there before.
func (i *interpreter) Scope() (string, error) {
	id, err := i.host.TenantID(i.tenant)
	return i.tenant + "/" + id, err
}

// Run evaluates code. The request is {"code", "tools", "seed"}: the body of an async function, or an async function itself,
// the names of the functions in its object tools, and a number from which Math.random goes on. It answers {"result"?,
// "error"?, "console"}: the result as the text of its JSON, or what the code threw, and lines.
//
// What the code asks of its tools comes through next, as {"calls": [{"tool", "input"}]}, with inputs as the text of their
// JSON; the answer is {"outcomes": [{"output"} or {"error": {"code", "message"}}]}. The guest waits meanwhile. It may do so 64 times.
//
// It fails as the call of a tool does: RESOURCE_EXHAUSTED where a limit is met, INTERNAL where the code can't go on.
func (i *interpreter) Run(ctx context.Context, request json.RawMessage, next func(context.Context, json.RawMessage) (json.RawMessage, error)) (json.RawMessage, error) {
	t, err := i.host.tenant(i.tenant)
	if err != nil {
		return nil, err
	}
	l, err := t.code.of(ctx, func() (*loaded, error) { // nothing of it runs before it is called
		return i.host.prepare(share.WithPlace(ctx, t.place(ctx)), t, Upload{
			Name: codeModule, Language: script.JavaScript, Wasm: codeScript, Descriptor: []byte(codeDescriptor), lazy: true,
		})
	})
	if err != nil {
		return nil, err
	}
	g := l.guests[0]
	input, err := marshal(hookInput{Hook: abi.HookGenerate, Request: request})
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "run code: %w", err)
	}
	// The code may ask for the context of its call. The caller's is none of its business, but its tools get it.
	hidden := ctx
	if action.HasContext(ctx) {
		hidden = action.WithContext(ctx, json.RawMessage("{}"))
	}
	res, err := g.once(hidden, sandbox.Call{Export: g.export, Input: g.input(input), Next: func(inner context.Context, asked []byte) (json.RawMessage, error) {
		if action.HasContext(ctx) {
			inner = action.WithContext(inner, action.Context(ctx))
		}
		return next(inner, asked)
	}})
	if err != nil {
		return nil, err
	}
	if res.Interrupted {
		return nil, status.Publicf(status.Internal, "the code interrupted; only its tools can")
	}
	return res.Output, nil
}
