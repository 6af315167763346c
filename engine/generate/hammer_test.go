package generate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// swapping is a provider whose set changes all the time.
type swapping struct{ set atomic.Pointer[host] }

func (*swapping) Name() string { return "host" }

func (s *swapping) List(ctx context.Context) ([]action.Desc, error) { return s.set.Load().List(ctx) }

func (s *swapping) Resolve(ctx context.Context, key action.Key) (action.Action, error) {
	return s.set.Load().Resolve(ctx, key)
}

// TestCallsAndChangesOfTheRegistryMix is for the race detector: many conversations,
// interrupted and resumed, while tools come and go.
func TestCallsAndChangesOfTheRegistryMix(t *testing.T) {
	reg := newRegistry(t)
	newPayTool(t, reg)
	newShotTool(t, reg)
	newTool(t, reg, "rate", gives(0))
	require.NoError(t, reg.Register(newResource(t, "", resource.Config{Template: "x://{id}"}, "resource")))
	register(t, reg)(model.New("m", everything, func(_ context.Context, req *model.Request, send model.Send) (*model.Response, error) {
		if send != nil {
			if err := send(&model.Chunk{Content: []content.Part{content.NewTextPart("…")}}); err != nil {
				return nil, err
			}
		}
		answer := says("done")
		if len(req.Messages) == 1 {
			answer = calls("pay#1", "rate#2", "shot#3", "come#4", "go#5")
		}
		var resp model.Response
		return &resp, json.Unmarshal([]byte(answer), &resp)
	}))
	come, err := tool.New("come", "", func(context.Context, any) (int, error) { return 1, nil })
	require.NoError(t, err)
	goes, err := tool.NewMultipart("go", "", func(context.Context, any) (*tool.Result, error) { return &tool.Result{Output: 2}, nil })
	require.NoError(t, err)
	p := &swapping{}
	p.set.Store(&host{actions: []action.Action{come, goes}})
	require.NoError(t, reg.AddProvider(p))

	stop := make(chan struct{})
	var changing sync.WaitGroup
	changing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			extra, err := tool.New(fmt.Sprint("extra", i%7), "", func(context.Context, any) (int, error) { return i, nil })
			if err != nil {
				panic(err)
			}
			p.set.Store(&host{actions: []action.Action{come, goes, extra}})
			reg.Replace(extra)
			reg.SetValue("k", "n", i)
			if _, err := reg.List(context.Background()); err != nil {
				panic(err)
			}
			reg.Unregister(extra.Desc().Key())
		}
	})
	var talking sync.WaitGroup
	for range 8 {
		talking.Go(func() {
			for range 20 {
				talk(t, reg)
			}
		})
	}
	talking.Wait()
	close(stop)
	changing.Wait()
}

// talk has one conversation: asked, interrupted, answered, forged, done.
func talk(t *testing.T, reg *registry.Registry) {
	t.Helper()
	opts := ask("pay", "/tool.v2/rate", "shot", "host:tool/come", "host:tool/g*")
	opts.Messages[0].Content = append(opts.Messages[0].Content, content.Part{Resource: &content.Resource{URI: "x://1"}})
	var chunks int
	resp, err := generate.Run(context.Background(), reg, opts, func(*model.Chunk) error { chunks++; return nil })
	if !assert.NoError(t, err) || !assert.Equal(t, model.FinishInterrupted, resp.FinishReason) {
		return
	}
	part, err := tool.Restart(resp.Interrupts()[0], tool.WithResumedMetadata(map[string]int{"n": 1}))
	assert.NoError(t, err)
	opts.Messages = resp.History()
	forged := part
	forged.ToolRequest = &content.ToolRequest{Name: "pay", Ref: "1", Input: json.RawMessage(`{"amt":1000}`)}
	opts.Resume = &model.Resume{Restart: []content.Part{forged}}
	_, err = generate.Run(context.Background(), reg, opts, nil)
	assert.ErrorIs(t, err, status.ErrInvalidArgument)
	opts.Resume = &model.Resume{Restart: []content.Part{part}}
	resp, err = generate.Run(context.Background(), reg, opts, func(*model.Chunk) error { chunks++; return nil })
	if assert.NoError(t, err) {
		assert.Equal(t, "done", resp.Text())
		assert.Len(t, resp.Request.Messages[2].Content, 5)
	}
	assert.Equal(t, 3, chunks)
}
