package server_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
)

// watchedLog is a log of changes whose entries also go to the application, which keeps them with its own.
type watchedLog struct {
	*audit.Log // keeps them on the disk, in a chain of hashes
	entries    chan audit.Entry
}

// Append implements [audit.Keeper].
func (w watchedLog) Append(e audit.Entry) (audit.Entry, error) {
	e, err := w.Log.Append(e)
	if err == nil {
		w.entries <- e // a real one hands it to a queue, and does not wait
	}
	return e, err
}

// An application sees each change of its server as it is made.
func Example_ownAuditLog() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	kept, err := audit.Open(dir, audit.Config{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = kept.Close() }()
	host, err := wasmhost.New(ctx, wasmhost.Config{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = host.Close(ctx) }()
	changes := watchedLog{kept, make(chan audit.Entry, 16)}
	srv, err := server.New(server.Config{
		Host: host, Audit: changes, Registry: func(string) (*registry.Registry, error) { return registry.New(nil), nil },
	})
	if err != nil {
		panic(err)
	}
	wasm, err := os.ReadFile("../../examples/calc/calc.wasm")
	if err != nil {
		panic(err)
	}

	req := httptest.NewRequestWithContext(ctx, http.MethodPut, "/v1/tenants/default/modules/calc", bytes.NewReader(wasm))
	req.Header.Set("Content-Type", "application/wasm")
	answer := httptest.NewRecorder()
	srv.Handler().ServeHTTP(answer, req)
	fmt.Println(answer.Code)
	for range 2 {
		e := <-changes.entries
		fmt.Println(e.Seq, e.What, e.On, e.Result)
	}
	// Output:
	// 201
	// 1 putModule /v1/tenants/default/modules/calc begun
	// 2 putModule /v1/tenants/default/modules/calc 201
}
