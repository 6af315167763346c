//go:build peers

package talk

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// Ours runs a conversation through this engine.
func Ours(ctx context.Context, c *Conversation) (*Observation, error) {
	eng, err := engine.New(ctx, engine.Config{})
	if err != nil {
		return nil, err
	}
	o, rec := &Observation{}, &recorder{}
	if err := defineOurs(eng, c, o, rec); err != nil {
		return nil, err
	}
	opts := &model.GenerateOptions{}
	if err := json.Unmarshal(c.Options, opts); err != nil {
		return nil, err
	}
	opts.Model = ModelName
	var send model.Send
	if !c.Silent {
		send = func(chunk *model.Chunk) error { o.Chunks = append(o.Chunks, plain(chunk)); return nil }
	}
	resp, err := generate.Run(ctx, eng.Registry(), opts, send)
	o.Runs, o.Status = rec.runs, status.Of(err).String()
	if err != nil {
		o.Message = err.Error()
		return o, eng.Close(ctx)
	}
	o.Response = plain(resp)
	if resp.Parsed != nil {
		o.Output = decode(resp.Parsed)
	}
	return o, eng.Close(ctx)
}

func defineOurs(eng *engine.Engine, c *Conversation, o *Observation, rec *recorder) error {
	var info model.Info
	if err := json.Unmarshal(c.supports(), &info.Supports); err != nil {
		return err
	}
	var calls atomic.Int64
	engine.DefineModel(eng, ModelName, info, func(_ context.Context, req *model.Request, send model.Send) (*model.Response, error) {
		o.Requests = append(o.Requests, plain(req))
		n := int(calls.Add(1)) - 1
		if n >= len(c.Script) {
			return nil, status.Errorf(status.OutOfRange, "the script is over")
		}
		turn := c.Script[n]
		for _, raw := range turn.Chunks {
			chunk := &model.Chunk{}
			if err := json.Unmarshal(raw, chunk); err != nil {
				return nil, err
			}
			if send == nil {
				continue
			}
			if err := send(chunk); err != nil {
				return nil, err
			}
		}
		if turn.Error != "" {
			code, _ := status.Parse(turn.Status)
			return nil, status.Publicf(code, "%s", turn.Error)
		}
		resp := &model.Response{}
		return resp, json.Unmarshal(turn.Response, resp)
	})

	defineOurTools(eng, rec)
	return nil
}

func defineOurTools(eng *engine.Engine, rec *recorder) {
	engine.DefineTool(eng, "add", "Adds.", func(_ context.Context, in pair) (int, error) {
		rec.note("add", in)
		return in.A + in.B, nil
	})
	engine.DefineTool(eng, "math/mul", "Multiplies.", func(_ context.Context, in pair) (int, error) {
		rec.note("mul", in)
		return in.A * in.B, nil
	})
	engine.DefineTool(eng, "greet", "Greets.", func(_ context.Context, in person) (greeting, error) {
		rec.note("greet", in)
		return greeting{"hello " + in.Name}, nil
	})
	engine.DefineTool(eng, "fail", "Fails.", func(context.Context, nothing) (string, error) {
		return "", errors.New("the disk is full")
	})
	engine.DefineTool(eng, "denied", "Is denied.", func(context.Context, nothing) (string, error) {
		return "", status.Publicf(status.PermissionDenied, "not you")
	})
	engine.DefineTool(eng, "ask", "Asks.", func(ctx context.Context, in question) (string, error) {
		rec.note("ask", in)
		if answer, resumed := tool.Resumed(ctx); resumed && in.Q != "twice" {
			return "answer: " + string(answer), nil
		}
		raw, err := json.Marshal(map[string]any{"question": in.Q})
		if err != nil {
			return "", err
		}
		return "", tool.Interrupt(raw)
	})
	engine.DefineTool(eng, "bare", "Asks without a word.", func(context.Context, nothing) (string, error) {
		return "", tool.Interrupt(nil)
	})
	engine.DefineTool(eng, "big", "Returns at most ten.", func(_ context.Context, in number) (bounded, error) {
		return bounded(in), nil
	})
	engine.DefineTool(eng, "zero", "Returns zero.", func(context.Context, nothing) (int, error) { return 0, nil })
	engine.DefineTool(eng, "void", "Returns nothing.", func(context.Context, nothing) (any, error) { return nil, nil })
	engine.DefineTool(eng, "slow", "Is slow.", func(context.Context, nothing) (string, error) {
		time.Sleep(lag)
		return "slow", nil
	})
	engine.DefineTool(eng, "fast", "Is fast.", func(context.Context, nothing) (string, error) { return "fast", nil })
	pic, err := tool.NewMultipart("pic", "Shows.", func(context.Context, nothing) (*tool.Result, error) {
		return &tool.Result{
			Output:   "seen",
			Content:  []content.Part{{Media: &content.Media{URL: "data:image/png;base64,AA==", ContentType: "image/png"}}},
			Metadata: content.Metadata{"k": json.RawMessage(`"v"`)},
		}, nil
	})
	if err == nil {
		err = eng.Register(pic)
	}
	if err != nil {
		panic(err) // the name is a constant of this file
	}
}
