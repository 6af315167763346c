// Command multipart has a tool that gives the model a picture beside its output.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/genkit-wasm/genkit-wasm/builtin"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

type page struct {
	URL string `json:"url"`
}

func main() {
	if err := run(context.Background()); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("multipart", slog.Any("error", err))
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	eng, err := engine.New(ctx, engine.Config{Plugins: builtin.All(), DefaultModel: "test/scripted"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close(ctx)) }()
	engine.DefineMultipartTool(eng, "screenshot", "Takes a picture of a page.", func(_ context.Context, in page) (*tool.Result, error) {
		picture := content.Part{Media: &content.Media{URL: "data:image/png;base64,iVBORw0KGgo=", ContentType: "image/png"}}
		return &tool.Result{
			Output:   map[string]string{"title": "The page at " + in.URL},
			Content:  []content.Part{picture},
			Metadata: content.Metadata{"cached": content.True()},
		}, nil
	})
	script := json.RawMessage(`{"script": [
		{"message": {"content": [{"toolRequest": {"name": "screenshot", "ref": "1", "input": {"url": "a.test"}}}]}},
		{"message": {"content": [{"text": "It shows a cat."}]}}]}`)
	resp, err := engine.Generate(ctx, eng, engine.WithPrompt("What does a.test show?"), engine.WithTools(engine.ToolName("screenshot")), engine.WithConfig(script))
	if err != nil {
		return err
	}
	part := resp.Request.Messages[2].Content[0]
	fmt.Println(string(part.ToolResponse.Output), part.ToolResponse.Content[0].Media.ContentType, string(part.Metadata["cached"]))
	fmt.Println(resp.Text())
	return nil
}
