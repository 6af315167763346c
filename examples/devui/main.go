// Command devui is an app to look at in Genkit's Dev UI: flows, a Wasm tool, a model that
// answers from a script, and an evaluator. From the root of the repository:
//
//	npx genkit-cli@1.43.0 start -- go run ./examples/devui
//	npx genkit-cli@1.43.0 flow:run sum '{"a":40,"b":2}' -- go run ./examples/devui
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"syscall"

	"github.com/genkit-wasm/genkit-wasm/builtin"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/reflection"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/devexport"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	file := "examples/calc/calc.wasm"
	if len(os.Args) > 1 {
		file = os.Args[1]
	}
	if err := run(ctx, file, reflection.Config{OnQuit: stop}); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("devui", slog.Any("error", err))
		os.Exit(1)
	}
}

// run serves the Dev UI until ctx ends.
func run(ctx context.Context, file string, config reflection.Config) (err error) {
	// Log lines, also those of guests, appear beside their trace.
	x := devexport.New(devexport.FromEnv(os.Getenv))
	defer func() { err = errors.Join(err, x.Close(context.WithoutCancel(ctx))) }()
	stderr := slog.NewTextHandler(os.Stderr, nil)
	config.Exporter, config.Logger = x, slog.New(stderr)
	log := slog.New(x.LogHandler(stderr))

	eng, err := engine.New(ctx, engine.Config{Name: "devui", Plugins: builtin.All(), DefaultModel: "test/scripted", Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close(context.WithoutCancel(ctx))) }()
	host, err := wasmhost.New(ctx, wasmhost.Config{Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close(context.WithoutCancel(ctx))) }()
	wasm, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := host.Load(ctx, wasmhost.DefaultTenant, wasmhost.Upload{Name: "calc", Wasm: wasm}); err != nil {
		return err
	}
	if err := eng.AddProvider(host.Provider(wasmhost.DefaultTenant)); err != nil {
		return err
	}
	defineFlows(eng, log)
	if err := eng.Register(exact()); err != nil {
		return err
	}
	srv, err := engine.Reflect(ctx, eng, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close(context.WithoutCancel(ctx))) }()
	if srv == nil {
		return errors.New("start me with genkit start, or set GENKIT_ENV=dev")
	}
	<-ctx.Done()
	return nil
}

type pair struct {
	A float64 `json:"a"`
	B float64 `json:"b"`
}

func defineFlows(eng *engine.Engine, log *slog.Logger) {
	engine.DefineFlow(eng, "sum", func(ctx context.Context, in pair) (string, error) {
		return flow.Run(ctx, "ask", func(ctx context.Context) (string, error) {
			script := json.RawMessage(fmt.Sprintf(`{"script": [
				{"message": {"role": "model", "content": [{"toolRequest": {"name": "add", "ref": "1", "input": {"a": %v, "b": %v}}}]}},
				{"message": {"role": "model", "content": [{"text": "The sum is %v."}]}}]}`, in.A, in.B, in.A+in.B))
			return engine.GenerateText(ctx, eng, engine.WithPrompt("Add them."), engine.WithTools(engine.ToolName("calc/add")), engine.WithConfig(script))
		})
	})
	engine.DefineStreamingFlow(eng, "count", func(_ context.Context, n int, send func(int) error) (string, error) {
		for i := range n {
			if err := send(i + 1); err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("counted to %d", n), nil
	})
	engine.DefineFlow(eng, "echo", func(ctx context.Context, in string) (string, error) {
		log.InfoContext(ctx, "echoing", slog.Int("bytes", len(in)))
		return in, nil
	})
	engine.DefineFlow(eng, "fail", func(context.Context, string) (string, error) {
		return "", status.Publicf(status.FailedPrecondition, "this flow always fails")
	})
	engine.DefineFlow(eng, "wait", func(ctx context.Context, _ string) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	})
}

// exact is an evaluator: it gives 1 where output and reference are the same.
func exact() action.Action {
	type point struct {
		TestCaseID string `json:"testCaseId"`
		Output     any    `json:"output"`
		Reference  any    `json:"reference"`
	}
	type evalRequest struct {
		Dataset []point `json:"dataset"`
	}
	type score struct {
		Score  int    `json:"score"`
		Status string `json:"status"`
	}
	type evalResponse struct {
		TestCaseID string `json:"testCaseId"`
		Evaluation score  `json:"evaluation"`
	}
	a, err := action.Define(action.Desc{
		Kind: action.Evaluator, Name: "devui/exact", Description: "Output and reference are the same.", InputSchema: json.RawMessage(`{"type":"object"}`),
		Metadata: map[string]json.RawMessage{"type": json.RawMessage(`"evaluator"`), "evaluator": json.RawMessage(
			`{"evaluatorIsBilled":false,"evaluatorDisplayName":"Exact","evaluatorDefinition":"Output and reference are the same."}`)},
	}, func(_ context.Context, in evalRequest, _ func(struct{}) error) ([]evalResponse, error) {
		out := make([]evalResponse, 0, len(in.Dataset))
		for _, p := range in.Dataset {
			r := evalResponse{TestCaseID: p.TestCaseID, Evaluation: score{Status: "FAIL"}}
			if reflect.DeepEqual(p.Output, p.Reference) {
				r.Evaluation = score{Score: 1, Status: "PASS"}
			}
			out = append(out, r)
		}
		return out, nil
	})
	if err != nil {
		panic(err) // the schemas are constants
	}
	return a
}
