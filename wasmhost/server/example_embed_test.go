package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	quotas "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// customers is what an application knows of its customers already: it stands for a table of its database.
type customers map[string]struct {
	session string // a token of the application's own
	plan    quotas.Quota
}

// Authenticate implements [access.Authenticator]: the application's sessions are the identities.
func (c customers) Authenticate(_ context.Context, given access.Credentials) (*access.Identity, error) {
	for name, customer := range c {
		if given.Token == customer.session { // a real one compares hashes
			return &access.Identity{Subject: "app:" + name, Scopes: access.Scopes{Tenants: map[string]access.Scope{name: access.Invoke}}}, nil
		}
	}
	return nil, status.Publicf(status.Unauthenticated, "the session is not known")
}

// tenants are the host's, from the same table. [wasmhost.Host.SetTenant] follows what changes there later.
func (c customers) tenants() map[string]wasmhost.TenantConfig {
	all := map[string]wasmhost.TenantConfig{}
	for name, customer := range c {
		all[name] = wasmhost.TenantConfig{Quota: customer.plan}
	}
	return all
}

// bills implements [usage.Sink]: events go to the application's own billing.
type bills chan usage.Event

func (b bills) Send(_ context.Context, events []json.RawMessage) error {
	for _, raw := range events {
		e, err := usage.Decode(raw)
		if err != nil {
			return err
		}
		b <- e
	}
	return nil
}

// An application with users, customers and billing of its own brings all three, and uses nothing of the
// server's: no API keys, no stored tenants, no files.
func Example_ownIdentities() {
	ctx := context.Background()
	app := customers{
		"acme":   {session: "acme's session", plan: quotas.Quota{Concurrency: 4}},
		"globex": {session: "globex's session"},
	}
	billing := make(bills, 16)
	book, err := usage.Open(usage.Config{Sinks: []usage.Target{{Name: "billing", Sink: billing, InMemory: true}}})
	if err != nil {
		panic(err)
	}
	defer func() { _ = book.Close() }()
	host, err := wasmhost.New(ctx, wasmhost.Config{Tenants: app.tenants(), Usage: book})
	if err != nil {
		panic(err)
	}
	defer func() { _ = host.Close(ctx) }()
	wasm, err := os.ReadFile("../../examples/calc/calc.wasm")
	if err != nil {
		panic(err)
	}
	registries := map[string]*registry.Registry{}
	for name := range app {
		if _, err := host.Load(ctx, name, wasmhost.Upload{Wasm: wasm}); err != nil {
			panic(err)
		}
		registries[name] = registry.New(nil)
		if err := registries[name].AddProvider(host.Provider(name)); err != nil {
			panic(err)
		}
	}
	srv, err := server.New(server.Config{
		Host: host, Auth: app, Usage: book,
		Registry: func(name string) (*registry.Registry, error) { return registries[name], nil },
	})
	if err != nil {
		panic(err)
	}

	web := httptest.NewServer(srv.Handler())
	defer web.Close()
	for _, session := range []string{"acme's session", "globex's session", "nobody's"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, web.URL+"/v1/tenants/acme/tools/calc/add", strings.NewReader(`{"input":{"a":40,"b":2}}`))
		if err != nil {
			panic(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+session)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			panic(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			fmt.Println(resp.StatusCode, string(bytes.TrimSpace(body)))
		} else {
			fmt.Println(resp.StatusCode)
		}
	}
	e := <-billing
	fmt.Println(e.Tenant, e.Name, e.Code, "by", e.Caller)
	// Output:
	// 200 {"result":{"sum":42}}
	// 404
	// 401
	// acme calc/add OK by app:acme
}
