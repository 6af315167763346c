// Command flowserver serves a flow the way a product would: callers have keys, pages of
// one origin may call, streams can be resumed, and the end is graceful.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/contextprovider"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	listening := func(a net.Addr) { log.Info("listening", slog.String("addr", a.String())) }
	if err := run(ctx, log, flowserver.RunConfig{Listening: listening}); err != nil {
		log.Error("flowserver", slog.Any("error", err))
		os.Exit(1)
	}
}

// run serves POST /flows/menu until ctx ends.
func run(ctx context.Context, log *slog.Logger, c flowserver.RunConfig) error {
	eng, err := engine.New(ctx, engine.Config{})
	if err != nil {
		return err
	}
	engine.DefineStreamingFlow(eng, "menu", func(_ context.Context, theme string, send func(string) error) (string, error) {
		for _, dish := range []string{"soup", "fish"} {
			if err := send(fmt.Sprintf("%s %s", theme, dish)); err != nil {
				return "", err
			}
		}
		return "Enjoy!", nil
	})
	streams := durable.NewMemory(durable.MemoryConfig{})
	defer streams.Close()
	srv, err := flowserver.New(flowserver.Config{
		Prepare: eng.Context, Streams: streams, Logger: log,
		Context: []contextprovider.Provider{contextprovider.APIKey(os.Getenv("MENU_KEY"))},
		CORS:    &flowserver.CORS{Origins: []string{"https://app.example.com"}},
	})
	if err != nil {
		return err
	}
	return srv.Run(ctx, c, srv.Registry("/flows/", eng.Registry()))
}
