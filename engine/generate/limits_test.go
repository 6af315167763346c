package generate_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// Hooks within hooks multiply: two that each ask 64 times would make 4,096 calls.
func TestHooksWithinHooksShareOneAllowance(t *testing.T) {
	reg := newRegistry(t)
	var calls atomic.Int64
	register(t, reg)(model.New("m", model.Info{}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		calls.Add(1)
		return &model.Response{Message: new(content.NewModelTextMessage("x")), FinishReason: model.FinishStop}, nil
	}))
	opts := &model.GenerateOptions{Model: "m", Messages: []content.Message{content.NewUserTextMessage("x")}}
	many := &middleware.Hooks{Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (resp *model.Response, err error) {
		for range 64 {
			if resp, err = next(ctx, call); err != nil {
				return nil, err
			}
		}
		return resp, nil
	}}
	use(t, reg, opts, "a", many)
	use(t, reg, opts, "b", many)
	_, err := generate.Run(t.Context(), reg, opts, nil, generate.WithLimits(allowance.Limits{ModelCalls: 100}))
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Contains(t, err.Error(), "100 model calls")
	assert.Equal(t, int64(100), calls.Load())

	calls.Store(0)
	reg.SetValue(generate.LimitsKind, generate.LimitsName, allowance.Limits{ModelCalls: 7})
	_, err = generate.Run(t.Context(), reg, opts, nil)
	require.ErrorIs(t, err, status.ErrResourceExhausted, "those of the registry")
	assert.Equal(t, int64(7), calls.Load())
}

// Once the calls were used up, hooks that tried again were refused at once, and so went on
// without an end: three of 1,000 tries make 10⁹.
func TestHooksThatNeverGiveUpAreEnded(t *testing.T) {
	reg := newRegistry(t)
	register(t, reg)(model.New("m", model.Info{}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		return nil, status.Publicf(status.Unavailable, "not now")
	}))
	opts := &model.GenerateOptions{Model: "m", Messages: []content.Message{content.NewUserTextMessage("x")}}
	var asked, final atomic.Int64
	stubborn := &middleware.Hooks{Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (resp *model.Response, err error) {
		for range 1000 {
			if asked.Add(1); ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if resp, err = next(ctx, call); errors.Is(err, middleware.ErrFinal) {
				final.Add(1)
			}
		}
		return resp, err
	}}
	for _, name := range []string{"a", "b", "c"} {
		use(t, reg, opts, name, stubborn)
	}
	_, err := generate.Run(t.Context(), reg, opts, nil, generate.WithLimits(allowance.Limits{ModelCalls: 100}))
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.ErrorContains(t, err, "100 model calls")
	assert.Less(t, asked.Load(), int64(1000))
	assert.Positive(t, final.Load(), "they are told that it is of no use")
	assert.NoError(t, t.Context().Err())
}

// A tool that generates with itself would go on for ever.
func TestGenerateWithinGenerateCountsOnTheOuterOne(t *testing.T) {
	reg := newRegistry(t)
	var runs atomic.Int64
	register(t, reg)(model.New("m", model.Info{Supports: model.Supports{Tools: true}}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		return &model.Response{Message: &content.Message{Role: content.RoleModel, Content: []content.Part{{ToolRequest: &content.ToolRequest{Name: "again", Ref: "1", Input: json.RawMessage(`{}`)}}}}}, nil
	}))
	opts := &model.GenerateOptions{Model: "m", Messages: []content.Message{content.NewUserTextMessage("x")}, Tools: []string{"again"}}
	register(t, reg)(tool.New("again", "", func(ctx context.Context, _ struct{}) (string, error) {
		runs.Add(1)
		resp, err := generate.Run(ctx, reg, opts, nil, generate.WithLimits(allowance.Limits{Generates: 1_000_000}))
		if err != nil {
			return "", err
		}
		return resp.Text(), nil
	}))
	_, err := generate.Run(t.Context(), reg, opts, nil, generate.WithLimits(allowance.Limits{Generates: 5}))
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Contains(t, err.Error(), "5 generate calls")
	assert.Equal(t, int64(5), runs.Load())

	runs.Store(0)
	_, err = generate.Run(t.Context(), reg, opts, nil, generate.WithLimits(allowance.Limits{ToolRuns: 3}))
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Equal(t, int64(3), runs.Load())
}

func TestARoleIsOneOfGenkitsToTheLetter(t *testing.T) {
	reg := newRegistry(t)
	register(t, reg)(model.New("m", model.Info{}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		return &model.Response{Message: new(content.NewModelTextMessage("x")), FinishReason: model.FinishStop}, nil
	}))
	for _, role := range []content.Role{"developer", "System", "system ", "", "assistant"} {
		_, err := generate.Run(t.Context(), reg, &model.GenerateOptions{Model: "m", Messages: []content.Message{{Role: role, Content: []content.Part{content.NewTextPart("x")}}}}, nil)
		require.ErrorIs(t, err, status.ErrInvalidArgument, "%q", role)
	}
	for _, role := range content.Roles() {
		_, err := generate.Run(t.Context(), reg, &model.GenerateOptions{Model: "m", Messages: []content.Message{{Role: role, Content: []content.Part{content.NewTextPart("x")}}, content.NewUserTextMessage("x")}}, nil)
		require.NoError(t, err, "%q", role)
	}
}
