// Command client streams a flow of a Genkit server of any kind: as it comes, and a second
// time from the beginning where the server keeps streams.
//
//	go run ./examples/client http://127.0.0.1:3400/flows/menu pirate
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/genkit-wasm/genkit-wasm/engine/client"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: client URL THEME")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Stdout, os.Args[1], os.Args[2], os.Getenv("MENU_KEY")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, url, theme, key string) error {
	id := ""
	auth := client.WithHeader("Authorization", key)
	for event, err := range client.StreamFlow[string, string, string](ctx, url, theme, auth, client.OnStreamID(func(s string) { id = s })) {
		if err != nil {
			return err // a *status.Error, with the code that the server named
		}
		if event.Done {
			fmt.Fprintln(w, "result:", event.Output)
		} else {
			fmt.Fprintln(w, "chunk:", event.Chunk)
		}
	}
	if id == "" {
		return nil
	}
	events := 0
	for _, err := range client.StreamFlow[string, string, string](ctx, url, "", auth, client.WithStreamID(id)) {
		if err != nil {
			return err
		}
		events++
	}
	fmt.Fprintln(w, "again:", events, "events")
	return nil
}
