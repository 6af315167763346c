package wasmhost_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// A module becomes a tool of a registry as soon as it is loaded.
func Example() {
	ctx := context.Background()
	host, err := wasmhost.New(ctx, wasmhost.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer host.Close(ctx)
	reg := registry.New(nil)
	if err := reg.AddProvider(host.Provider(wasmhost.DefaultTenant)); err != nil {
		fmt.Println(err)
		return
	}

	wasm, err := os.ReadFile("../examples/calc/calc.wasm")
	if err != nil {
		fmt.Println(err)
		return
	}
	rec, err := host.Load(ctx, wasmhost.DefaultTenant, wasmhost.Upload{Wasm: wasm, Policy: []byte(`{"limits":{"timeoutMs":200}}`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(rec.Name, rec.Version, rec.Actions)

	add, err := reg.Resolve(ctx, "add", action.Tool)
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := add.RunJSON(ctx, json.RawMessage(`{"a":0.1,"b":0.2}`), nil)
	fmt.Println(string(out), err)
	// Output:
	// calc 1.0.0 [/tool/calc/add /tool/calc/echo]
	// {"sum":0.3} <nil>
}

// A policy limits a module; a tenant's limits and the host's are never widened.
func ExampleHost_Load() {
	ctx := context.Background()
	host, err := wasmhost.New(ctx, wasmhost.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer host.Close(ctx)
	wasm, err := os.ReadFile("../pdk/conformance/c/conformance.wasm")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = host.Load(ctx, wasmhost.DefaultTenant, wasmhost.Upload{Wasm: wasm, Policy: []byte(`{"limits":{"timeoutMs":50}}`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	spin, err := host.Provider(wasmhost.DefaultTenant).Resolve(ctx, action.Key{Kind: action.Tool, Name: "conformance/spin"})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = spin.RunJSON(ctx, json.RawMessage(`{}`), nil)
	fmt.Println(err)
	// Output:
	// DEADLINE_EXCEEDED: the module ran past its time limit of 50ms
}

// A tenant has a quota, and a bill.
func ExampleHost_Usage() {
	ctx := context.Background()
	wasm, err := os.ReadFile("../examples/calc/calc.wasm")
	if err != nil {
		fmt.Println(err)
		return
	}
	host, err := wasmhost.New(ctx, wasmhost.Config{
		Tenants: map[string]wasmhost.TenantConfig{"acme": {Quota: tenants.Quota{Concurrency: 4, Queue: 16, FuelPerMinute: 1_000_000_000}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = host.Close(ctx) }()
	if _, err := host.Load(ctx, "acme", wasmhost.Upload{Wasm: wasm}); err != nil {
		fmt.Println(err)
		return
	}
	add, err := host.Provider("acme").Resolve(ctx, action.Key{Kind: action.Tool, Name: "calc/add"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		if _, err := add.RunJSON(ctx, json.RawMessage(`{"a":1,"b":2}`), nil); err != nil {
			fmt.Println(err)
			return
		}
	}
	usage, err := host.Usage("acme")
	fmt.Println(usage.Total.Calls, "calls,", usage.Total.Fuel > 0, err)
	// Output: 3 calls, true <nil>
}

// Tenants come and go while the host runs.
func ExampleHost_SetTenant() {
	ctx := context.Background()
	host, err := wasmhost.New(ctx, wasmhost.Config{})
	if err != nil {
		panic(err)
	}
	defer host.Close(ctx)
	if err := host.SetTenant(ctx, "acme", wasmhost.TenantConfig{Quota: tenants.Quota{Concurrency: 4}}); err != nil {
		panic(err)
	}
	fmt.Println(host.Tenants())
	if err := host.RemoveTenant(ctx, "acme"); err != nil {
		panic(err)
	}
	fmt.Println(host.Tenants())
	// Output:
	// [acme default]
	// [default]
}
