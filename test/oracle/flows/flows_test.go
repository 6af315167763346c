//go:build peers

package flows_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/firebase/genkit/go/core"
	"github.com/firebase/genkit/go/core/api"
	"github.com/firebase/genkit/go/core/x/streaming"
	"github.com/firebase/genkit/go/genkit"

	"github.com/genkit-wasm/genkit-wasm/engine/client"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func handler(t *testing.T, a api.Action, opts ...genkit.HandlerOption) (url string, own client.Option) {
	t.Helper()
	srv := httptest.NewServer(genkit.Handler(a, opts...))
	t.Cleanup(srv.Close)
	return srv.URL, client.WithHTTPClient(srv.Client())
}

// TestOurClientOnGenkitGo runs, streams, resumes and fails flows of Genkit's Go SDK.
func TestOurClientOnGenkitGo(t *testing.T) {
	ctx := t.Context()
	g := genkit.Init(ctx)
	streamy := genkit.DefineStreamingFlow(g, "streamy", func(ctx context.Context, n int, send core.StreamCallback[string]) (string, error) {
		for i := range n {
			if err := send(ctx, fmt.Sprint("é", i)); err != nil {
				return "", err
			}
		}
		if n == 13 {
			return "", core.NewError(core.ABORTED, "unlucky")
		}
		return fmt.Sprint("done ", n), nil
	})
	url, own := handler(t, streamy, genkit.WithStreamManager(streaming.NewInMemoryStreamManager()))
	out, err := client.RunFlow[int, string](ctx, url, 2, own)
	if err != nil || out != "done 2" {
		t.Fatalf("%q, %v", out, err)
	}
	if _, err = client.RunFlow[int, string](ctx, url, 13, own); !errors.Is(err, status.ErrAborted) {
		t.Errorf("plain text: %v", err)
	}
	collect := func(n int, opts ...client.Option) (got string, err error) {
		for e, err := range client.StreamFlow[int, string, string](ctx, url, n, append(opts, own)...) {
			if err != nil {
				return got, err
			}
			got += e.Chunk + e.Output + ";"
		}
		return got, nil
	}
	id := ""
	const want = "é0;é1;done 2;"
	if got, err := collect(2, client.OnStreamID(func(s string) { id = s })); got != want || err != nil || id == "" {
		t.Errorf("%q, %q, %v", got, id, err)
	}
	if got, err := collect(0, client.WithStreamID(id)); got != want || err != nil {
		t.Errorf("resumed: %q, %v", got, err)
	}
	if _, err := collect(0, client.WithStreamID("x")); !errors.Is(err, status.ErrNotFound) {
		t.Errorf("an unknown stream: %v", err)
	}
	if got, err := collect(13); !errors.Is(err, status.ErrAborted) {
		t.Errorf("an error frame: %q, %v", got, err)
	}
}
