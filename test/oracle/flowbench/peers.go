//go:build peers

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"

	"github.com/firebase/genkit/go/core"
	"github.com/firebase/genkit/go/genkit"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
)

// peers serve the same two flows until ctx ends.
var peers = map[string]func(ctx context.Context, l net.Listener) error{"ours": ours, "genkit-go": genkitGo}

func ours(ctx context.Context, l net.Listener) error {
	eng, err := engine.New(ctx, engine.Config{})
	if err != nil {
		return err
	}
	engine.DefineFlow(eng, "echo", func(_ context.Context, in string) (string, error) { return in, nil })
	engine.DefineStreamingFlow(eng, "stream", func(_ context.Context, in string, send func(string) error) (string, error) {
		for range 3 {
			if err := send(in); err != nil {
				return "", err
			}
		}
		return in, nil
	})
	srv, err := flowserver.New(flowserver.Config{Prepare: eng.Context})
	if err != nil {
		return err
	}
	return srv.Run(ctx, flowserver.RunConfig{Listener: l}, srv.Registry("/", eng.Registry()))
}

// genkitGo is genkit.Handler on a ServeMux, as its server plugin is used; the plugin's
// Start makes the same http.Server, with a listener of its own.
func genkitGo(ctx context.Context, l net.Listener) error {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	g := genkit.Init(ctx)
	echo := genkit.DefineFlow(g, "echo", func(_ context.Context, in string) (string, error) { return in, nil })
	stream := genkit.DefineStreamingFlow(g, "stream", func(ctx context.Context, in string, send core.StreamCallback[string]) (string, error) {
		for range 3 {
			if err := send(ctx, in); err != nil {
				return "", err
			}
		}
		return in, nil
	})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", genkit.Handler(echo))
	mux.HandleFunc("POST /stream", genkit.Handler(stream))
	srv := &http.Server{Handler: mux} //nolint:gosec // as the plugin makes it
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
