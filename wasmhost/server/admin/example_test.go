package admin_test

import (
	"context"
	"fmt"

	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
)

// A tenant is made and suspended while its host runs.
func Example() {
	ctx := context.Background()
	tenants, err := admin.Open(ctx, admin.Config{Store: admin.NewMemory()}) // or OpenDir's
	if err != nil {
		panic(err)
	}
	host, err := tenants.Start(ctx, wasmhost.Config{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = host.Close(ctx) }()
	defer tenants.Close()

	settings, err := admin.ParseSettings([]byte(`{"displayName":"Acme","quota":{"concurrency":4}}`))
	if err != nil {
		panic(err)
	}
	acme, err := tenants.Create(ctx, "acme", settings, "")
	if err != nil {
		panic(err)
	}
	fmt.Println(acme.State, host.Tenants())

	if _, err := tenants.Suspend(ctx, "acme", acme.Revision); err != nil {
		panic(err)
	}
	_, _, err = host.BeginRun(ctx, "acme")
	fmt.Println(err)
	// Output:
	// active [acme default]
	// PERMISSION_DENIED: the tenant is suspended
}
