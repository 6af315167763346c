package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
)

func Example() {
	_ = os.Setenv("MENU_KEY", "s3cret")
	defer os.Unsetenv("MENU_KEY")
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	addr, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- run(ctx, slog.New(slog.DiscardHandler), flowserver.RunConfig{Addr: "127.0.0.1:0", Listening: func(a net.Addr) { addr <- a }})
	}()
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+(<-addr).String()+"/flows/menu", strings.NewReader(`{"data":"pirate"}`))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "s3cret")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = io.Copy(os.Stdout, resp.Body)
	_ = resp.Body.Close()
	stop()
	fmt.Println(<-ended)
	// Output:
	// data: {"message":"pirate soup"}
	//
	// data: {"message":"pirate fish"}
	//
	// data: {"result":"Enjoy!"}
	//
	// <nil>
}
