//go:build peers

package talk

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"

	"github.com/firebase/genkit/go/ai"
	"github.com/firebase/genkit/go/core"
	"github.com/firebase/genkit/go/genkit"
)

// GenkitGo runs a conversation through Genkit's Go SDK.
func GenkitGo(ctx context.Context, c *Conversation) (*Observation, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g := genkit.Init(ctx)
	o, rec := &Observation{}, &recorder{}
	if err := defineGenkitModel(g, c, o); err != nil {
		return nil, err
	}
	defineGenkitTools(g, rec)
	opts := &ai.GenerateActionOptions{}
	if err := json.Unmarshal(c.Options, opts); err != nil {
		o.Status, o.Message = "UNREADABLE", err.Error()
		return o, nil
	}
	opts.Model = ModelName
	var cb ai.ModelStreamCallback
	if !c.Silent {
		cb = func(_ context.Context, chunk *ai.ModelResponseChunk) error {
			o.Chunks = append(o.Chunks, plain(chunk))
			return nil
		}
	}
	resp, err := genkit.GenerateWithRequest(ctx, g, opts, nil, cb)
	o.Runs, o.Status = rec.runs, genkitStatus(err)
	if err != nil {
		o.Message = err.Error()
		return o, nil
	}
	o.Response = plain(resp)
	if opts.Output != nil {
		var v any
		if resp.Output(&v) == nil {
			o.Output = plain(v)
		}
	}
	return o, nil
}

// genkitStatus is the status of the outermost error that has one.
func genkitStatus(err error) string {
	if err == nil {
		return "OK"
	}
	if e, ok := errors.AsType[*core.GenkitError](err); ok {
		if e.Status == core.INTERNAL {
			return "INTERNAL" // the SDK's spelling is "INTERNAL_SERVER_ERROR"
		}
		return string(e.Status)
	}
	return "INTERNAL" // how the wire shows an error without a status
}

func defineGenkitModel(g *genkit.Genkit, c *Conversation, o *Observation) error {
	supports := &ai.ModelSupports{}
	if err := json.Unmarshal(c.supports(), supports); err != nil {
		return err
	}
	var calls atomic.Int64
	genkit.DefineModel(g, ModelName, &ai.ModelOptions{Supports: supports}, func(ctx context.Context, req *ai.ModelRequest, send ai.ModelStreamCallback) (*ai.ModelResponse, error) {
		o.Requests = append(o.Requests, plain(req))
		n := int(calls.Add(1)) - 1
		if n >= len(c.Script) {
			return nil, core.NewError(core.OUT_OF_RANGE, "the script is over")
		}
		turn := c.Script[n]
		for _, raw := range turn.Chunks {
			chunk := &ai.ModelResponseChunk{}
			if err := json.Unmarshal(raw, chunk); err != nil {
				return nil, err
			}
			if send == nil {
				continue
			}
			if err := send(ctx, chunk); err != nil {
				return nil, err
			}
		}
		if turn.Error != "" {
			return nil, core.NewError(core.StatusName(turn.Status), "%s", turn.Error)
		}
		resp := &ai.ModelResponse{}
		return resp, json.Unmarshal(turn.Response, resp)
	})
	return nil
}

func defineGenkitTools(g *genkit.Genkit, rec *recorder) {
	genkit.DefineTool(g, "add", "Adds.", func(_ *ai.ToolContext, in pair) (int, error) {
		rec.note("add", in)
		return in.A + in.B, nil
	})
	genkit.DefineTool(g, "math/mul", "Multiplies.", func(_ *ai.ToolContext, in pair) (int, error) {
		rec.note("mul", in)
		return in.A * in.B, nil
	})
	genkit.DefineTool(g, "greet", "Greets.", func(_ *ai.ToolContext, in person) (greeting, error) {
		rec.note("greet", in)
		return greeting{"hello " + in.Name}, nil
	})
	genkit.DefineTool(g, "fail", "Fails.", func(*ai.ToolContext, nothing) (string, error) {
		return "", errors.New("the disk is full")
	})
	genkit.DefineTool(g, "denied", "Is denied.", func(*ai.ToolContext, nothing) (string, error) {
		return "", core.NewError(core.PERMISSION_DENIED, "not you")
	})
	genkit.DefineTool(g, "ask", "Asks.", func(ctx *ai.ToolContext, in question) (string, error) {
		rec.note("ask", in)
		if ctx.IsResumed() && in.Q != "twice" {
			raw, err := json.Marshal(ctx.Resumed)
			return "answer: " + string(raw), err
		}
		return "", ctx.Interrupt(&ai.InterruptOptions{Metadata: map[string]any{"question": in.Q}})
	})
	genkit.DefineTool(g, "bare", "Asks without a word.", func(ctx *ai.ToolContext, _ nothing) (string, error) {
		return "", ctx.Interrupt(nil)
	})
	genkit.DefineTool(g, "big", "Returns at most ten.", func(_ *ai.ToolContext, in number) (bounded, error) {
		return bounded(in), nil
	})
	genkit.DefineTool(g, "zero", "Returns zero.", func(*ai.ToolContext, nothing) (int, error) { return 0, nil })
	genkit.DefineTool(g, "void", "Returns nothing.", func(*ai.ToolContext, nothing) (any, error) { return nil, nil })
	genkit.DefineTool(g, "slow", "Is slow.", func(*ai.ToolContext, nothing) (string, error) {
		time.Sleep(lag)
		return "slow", nil
	})
	genkit.DefineTool(g, "fast", "Is fast.", func(*ai.ToolContext, nothing) (string, error) { return "fast", nil })
	genkit.DefineMultipartTool(g, "pic", "Shows.", func(*ai.ToolContext, nothing) (*ai.MultipartToolResponse, error) {
		return &ai.MultipartToolResponse{
			Output: "seen", Content: []*ai.Part{ai.NewMediaPart("image/png", "data:image/png;base64,AA==")}, Metadata: map[string]any{"k": "v"},
		}, nil
	})
}
