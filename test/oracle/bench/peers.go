//go:build peers

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cloudwego/eino/components/model"
	"github.com/cloudwego/eino/components/tool"
	"github.com/cloudwego/eino/components/tool/utils"
	"github.com/cloudwego/eino/compose"
	"github.com/cloudwego/eino/flow/agent/react"
	"github.com/cloudwego/eino/schema"
	"github.com/firebase/genkit/go/ai"
	"github.com/firebase/genkit/go/genkit"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	ourmodel "github.com/genkit-wasm/genkit-wasm/engine/model"
)

// A call asks a model that wants the tool add(2, 3), runs the tool and asks the
// model again, which answers. Every peer does just that.
type call func(ctx context.Context) error

type pair struct {
	A int `json:"a"`
	B int `json:"b"`
}

type sum struct {
	Sum int `json:"sum"`
}

const answer = "sum is 5"

var errAnswer = errors.New("the call did not end with the model's answer")

func add(in pair) sum { return sum{in.A + in.B} }

// peers are the measured programs, by name; each function sets one up.
var peers = map[string]func(ctx context.Context) (call, error){
	"ours": func(ctx context.Context) (call, error) { return ours(ctx, engine.Config{}) },
	"ours-untraced": func(ctx context.Context) (call, error) {
		return ours(ctx, engine.Config{TracerProvider: noop.NewTracerProvider()})
	},
	"ours-recording": func(ctx context.Context) (call, error) {
		return ours(ctx, engine.Config{TracerProvider: sdktrace.NewTracerProvider()})
	},
	"genkit-go": genkitGo,
	"genkit-go-unsampled": func(ctx context.Context) (call, error) {
		otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())))
		return genkitGo(ctx)
	},
	"eino": eino,
}

func ours(ctx context.Context, c engine.Config) (call, error) {
	eng, err := engine.New(ctx, c)
	if err != nil {
		return nil, err
	}
	engine.DefineTool(eng, "add", "Adds two numbers.", func(_ context.Context, in pair) (sum, error) { return add(in), nil })
	info := ourmodel.Info{Supports: ourmodel.Supports{Multiturn: true, Tools: true}}
	engine.DefineModel(eng, "test/adder", info, func(_ context.Context, req *ourmodel.Request, _ ourmodel.Send) (*ourmodel.Response, error) {
		if len(req.Messages) > 1 {
			message := content.NewModelTextMessage(answer)
			return &ourmodel.Response{Message: &message, FinishReason: ourmodel.FinishStop}, nil
		}
		request := content.Part{ToolRequest: &content.ToolRequest{Name: "add", Ref: "1", Input: json.RawMessage(`{"a":2,"b":3}`)}}
		message := content.Message{Role: content.RoleModel, Content: []content.Part{request}}
		return &ourmodel.Response{Message: &message, FinishReason: ourmodel.FinishStop}, nil
	})
	return func(ctx context.Context) error {
		text, err := engine.GenerateText(ctx, eng, engine.WithModelName("test/adder"), engine.WithPrompt("what is 2 + 3?"), engine.WithTools(engine.ToolName("add")))
		if err == nil && text != answer {
			err = errAnswer
		}
		return err
	}, nil
}

func genkitGo(ctx context.Context) (call, error) {
	g := genkit.Init(ctx)
	adder := genkit.DefineTool(g, "add", "Adds two numbers.", func(_ *ai.ToolContext, in pair) (sum, error) { return add(in), nil })
	opts := &ai.ModelOptions{Supports: &ai.ModelSupports{Multiturn: true, Tools: true}}
	genkit.DefineModel(g, "test/adder", opts, func(_ context.Context, req *ai.ModelRequest, _ ai.ModelStreamCallback) (*ai.ModelResponse, error) {
		if len(req.Messages) > 1 {
			return &ai.ModelResponse{Message: ai.NewModelTextMessage(answer), FinishReason: ai.FinishReasonStop}, nil
		}
		request := ai.NewToolRequestPart(&ai.ToolRequest{Name: "add", Ref: "1", Input: map[string]any{"a": 2, "b": 3}})
		return &ai.ModelResponse{Message: ai.NewModelMessage(request), FinishReason: ai.FinishReasonStop}, nil
	})
	return func(ctx context.Context) error {
		text, err := genkit.GenerateText(ctx, g, ai.WithModelName("test/adder"), ai.WithPrompt("what is 2 + 3?"), ai.WithTools(adder))
		if err == nil && text != answer {
			err = errAnswer
		}
		return err
	}, nil
}

// adder is eino's form of the model.
type adder struct{}

func (adder) Generate(_ context.Context, in []*schema.Message, _ ...model.Option) (*schema.Message, error) {
	if len(in) > 1 {
		return schema.AssistantMessage(answer, nil), nil
	}
	return schema.AssistantMessage("", []schema.ToolCall{{ID: "1", Function: schema.FunctionCall{Name: "add", Arguments: `{"a":2,"b":3}`}}}), nil
}

func (adder) Stream(context.Context, []*schema.Message, ...model.Option) (*schema.StreamReader[*schema.Message], error) {
	return nil, errors.ErrUnsupported
}

func (a adder) WithTools([]*schema.ToolInfo) (model.ToolCallingChatModel, error) { return a, nil }

func eino(ctx context.Context) (call, error) {
	t, err := utils.InferTool("add", "Adds two numbers.", func(_ context.Context, in pair) (sum, error) { return add(in), nil })
	if err != nil {
		return nil, err
	}
	agent, err := react.NewAgent(ctx, &react.AgentConfig{
		ToolCallingModel: adder{}, ToolsConfig: compose.ToolsNodeConfig{Tools: []tool.BaseTool{t}},
	})
	if err != nil {
		return nil, fmt.Errorf("eino: %w", err)
	}
	return func(ctx context.Context) error {
		message, err := agent.Generate(ctx, []*schema.Message{schema.UserMessage("what is 2 + 3?")})
		if err == nil && message.Content != answer {
			err = errAnswer
		}
		return err
	}, nil
}
