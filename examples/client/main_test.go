package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"

	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
)

func Example() {
	menu, err := flow.NewStreaming("menu", func(_ context.Context, theme string, send func(string) error) (string, error) {
		return "Enjoy!", send(theme + " soup")
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv, err := flowserver.New(flowserver.Config{Streams: durable.NewMemory(durable.MemoryConfig{})})
	if err != nil {
		fmt.Println(err)
		return
	}
	ts := httptest.NewServer(srv.Handler(flowserver.Flow{Action: menu}))
	defer ts.Close()
	if err := run(context.Background(), os.Stdout, ts.URL, "pirate", ""); err != nil {
		fmt.Println(err)
	}
	// Output:
	// chunk: pirate soup
	// result: Enjoy!
	// again: 2 events
}
