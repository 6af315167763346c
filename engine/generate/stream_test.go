package generate_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

func TestChunksCarryGenkitsRolesAndIndices(t *testing.T) {
	for name, c := range map[string]struct {
		modelStreams bool
		tool         string
		want         []string
	}{
		"the model streams":         {true, "a", []string{"model 0 a()", `tool 1 a="A"`, "model 2 done"}},
		"the model does not stream": {false, "a", []string{`tool 0 a="A"`}},
		"a tool streams":            {true, "s", []string{"model 0 s()", "tool 1 s=1…", "tool 1 s=2…", `tool 1 s=3`, "model 2 done"}},
		"only the tool streams":     {false, "s", []string{"tool 0 s=1…", "tool 0 s=2…", "tool 0 s=3"}},
	} {
		t.Run(name, func(t *testing.T) {
			reg := newRegistry(t)
			m := newModel(t, reg, calls(c.tool), says("done"))
			m.stream = c.modelStreams
			newTool(t, reg, "a", gives("A"))
			newStreamingTool(t, reg, "s")
			send, got := collectChunks(t)
			_, err := generate.Run(t.Context(), reg, ask(c.tool), send)
			require.NoError(t, err)
			assert.Equal(t, c.want, *got)
		})
	}
}

// newStreamingTool registers a tool that emits 1 and 2 and returns 3.
func newStreamingTool(t *testing.T, reg *registry.Registry, name string) {
	t.Helper()
	register(t, reg)(tool.NewRaw(name, "", nil, nil, func(_ context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
		for _, n := range []string{"1", "2"} {
			if emit == nil {
				continue
			}
			if err := emit(json.RawMessage(n)); err != nil {
				return nil, err
			}
		}
		return json.RawMessage("3"), nil
	}))
}

func TestNobodyStreamsWithoutASend(t *testing.T) {
	reg := newRegistry(t)
	register(t, reg)(model.New("m", everything, func(_ context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
		assert.Nil(t, send)
		return &model.Response{Message: new(content.NewModelTextMessage("x"))}, nil
	}))
	run(t, reg, ask())
}

func TestAChunkOfTheModelIsNotChangedInPlace(t *testing.T) {
	reg := newRegistry(t)
	chunk := &model.Chunk{Role: "narrator", Index: 7, Content: []content.Part{content.NewTextPart("x")}}
	register(t, reg)(model.New("m", everything, func(_ context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
		return &model.Response{Message: new(content.NewModelTextMessage("x"))}, send(chunk)
	}))
	send, got := collectChunks(t)
	_, err := generate.Run(t.Context(), reg, ask(), send)
	require.NoError(t, err)
	assert.Equal(t, []string{"model 0 x"}, *got)
	assert.Equal(t, content.Role("narrator"), chunk.Role)
	assert.Equal(t, 7, chunk.Index)
}

func TestSendsNeverOverlap(t *testing.T) {
	reg := newRegistry(t)
	newModel(t, reg, calls("s", "s", "s", "s", "s", "s", "s", "s"), says("done")).stream = true
	newStreamingTool(t, reg, "s")
	var inside atomic.Int32
	sent := 0
	_, err := generate.Run(t.Context(), reg, ask("s"), func(*model.Chunk) error {
		assert.EqualValues(t, 1, inside.Add(1))
		sent++ // the race detector watches
		inside.Add(-1)
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, 1+16+1+1, sent)
}

func TestALateChunkIsRefused(t *testing.T) {
	reg := newRegistry(t)
	var lateModel model.Send
	var lateTool action.Emit
	turn := 0
	register(t, reg)(model.New("m", everything, func(_ context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
		turn++
		if turn == 1 {
			lateModel = send
			return decode[model.Response](t, json.RawMessage(calls("a"))), nil
		}
		require.Error(t, lateModel(&model.Chunk{}), "a chunk of an earlier turn")
		require.Error(t, lateTool(json.RawMessage("1")), "a chunk of a tool that has ended")
		return &model.Response{Message: new(content.NewModelTextMessage("x"))}, nil
	}))
	register(t, reg)(tool.NewRaw("a", "", nil, nil, func(_ context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
		lateTool = emit
		require.Error(t, lateModel(&model.Chunk{}), "a chunk of a model call that has ended")
		return nil, nil
	}))
	var kept model.Send
	ended := false
	_, err := generate.Run(t.Context(), reg, ask("a"), func(*model.Chunk) error {
		assert.False(t, ended)
		return nil
	})
	require.NoError(t, err)
	ended, kept = true, lateModel
	require.Error(t, kept(&model.Chunk{}))
}

func TestAReaderThatLeavesEndsTheCall(t *testing.T) {
	gone := errors.New("gone")
	reg := newRegistry(t)
	var cancelledIn error
	register(t, reg)(model.New("m", everything, func(ctx context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
		_ = send(&model.Chunk{}) // a model that does not look
		<-ctx.Done()
		cancelledIn = ctx.Err()
		return &model.Response{Message: new(content.NewModelTextMessage("x"))}, nil
	}))
	_, err := generate.Run(t.Context(), reg, ask(), func(*model.Chunk) error { return gone })
	require.ErrorIs(t, err, gone)
	require.Error(t, cancelledIn)

	newModelNamed(t, reg, "p", says("x")).stream = true
	opts := ask()
	opts.Model = "p"
	_, err = generate.Run(t.Context(), reg, opts, func(*model.Chunk) error { panic("reader") })
	require.ErrorIs(t, err, status.ErrInternal)
}

func newModelNamed(t *testing.T, reg *registry.Registry, name string, responses ...string) *fakeModel {
	t.Helper()
	f := &fakeModel{t: t, responses: responses}
	register(t, reg)(model.New(name, everything, f.generate))
	return f
}

func TestToolsRunSideBySideAndAnswerInOrder(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, calls("first#1", "second#2", "third#3"), says("done"))
	second, third := make(chan struct{}), make(chan struct{})
	newTool(t, reg, "first", func(context.Context) (any, error) { <-second; return "1", nil })
	newTool(t, reg, "second", func(context.Context) (any, error) { <-third; close(second); return "2", nil })
	newTool(t, reg, "third", func(context.Context) (any, error) { close(third); return "3", nil })
	run(t, reg, ask("third", "second", "first"))
	var refs []string
	for _, p := range m.request(t, 1).Messages[2].Content {
		refs = append(refs, p.ToolResponse.Ref)
	}
	assert.Equal(t, []string{"1", "2", "3"}, refs)
}

func TestParallelToolsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := newRegistry(t)
		var names []string
		for i := range 10 {
			names = append(names, "a#"+strconv.Itoa(i))
		}
		newModel(t, reg, calls(names...), says("done"))
		var running, most atomic.Int32
		newTool(t, reg, "a", func(context.Context) (any, error) {
			most.Store(max(most.Load(), running.Add(1))) // all have started before one goes on
			time.Sleep(time.Second)
			running.Add(-1)
			return nil, nil
		})
		start := time.Now()
		run(t, reg, ask("a"), generate.WithParallelTools(3))
		assert.EqualValues(t, 3, most.Load())
		assert.Equal(t, 4*time.Second, time.Since(start), "ten tools, three at a time")
	})
}

func TestTheFirstFailureEndsTheSiblings(t *testing.T) {
	reg := newRegistry(t)
	newModel(t, reg, calls("slow", "bad", "slow"))
	started := make(chan struct{}, 2)
	newTool(t, reg, "slow", func(ctx context.Context) (any, error) {
		started <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	newTool(t, reg, "bad", func(context.Context) (any, error) {
		<-started
		<-started
		return nil, status.Publicf(status.DataLoss, "broken")
	})
	err := runErr(t, reg, ask("slow", "bad"))
	require.ErrorIs(t, err, status.ErrDataLoss, "the cause, not the siblings' cancellation")
}

func TestCancellationReachesModelAndTools(t *testing.T) {
	wait := func(ctx context.Context) (any, error) { <-ctx.Done(); return nil, errors.New("gave up") }
	for name, c := range map[string]struct {
		prepare func(t *testing.T, reg *registry.Registry)
	}{
		"in the model": {func(t *testing.T, reg *registry.Registry) {
			register(t, reg)(model.New("m", everything, func(ctx context.Context, _ *model.Request, _ model.Send) (*model.Response, error) {
				_, err := wait(ctx)
				return nil, err
			}))
			newTool(t, reg, "a", gives(1))
		}},
		"in the tools": {func(t *testing.T, reg *registry.Registry) {
			newModel(t, reg, calls("a", "a", "a"))
			newTool(t, reg, "a", wait)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reg := newRegistry(t)
				c.prepare(t, reg)
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					synctest.Wait()
					cancel()
				}()
				_, err := generate.Run(ctx, reg, ask("a"), nil)
				require.ErrorIs(t, err, status.ErrCancelled)
				require.ErrorIs(t, err, context.Canceled)
				assert.True(t, status.Convert(err).Public())
			})
			synctest.Test(t, func(t *testing.T) {
				reg := newRegistry(t)
				c.prepare(t, reg)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := generate.Run(ctx, reg, ask("a"), nil)
				require.ErrorIs(t, err, status.ErrDeadlineExceeded)
			})
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := generate.Run(ctx, newRegistry(t), ask(), nil)
	require.ErrorIs(t, err, status.ErrCancelled)
}

func TestAFinishedAnswerBeatsACancellation(t *testing.T) {
	reg := newRegistry(t)
	ctx, cancel := context.WithCancel(t.Context())
	register(t, reg)(model.New("m", everything, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		cancel()
		return &model.Response{Message: new(content.NewModelTextMessage("in time"))}, nil
	}))
	resp, err := generate.Run(ctx, reg, ask(), nil)
	require.NoError(t, err)
	assert.Equal(t, "in time", resp.Text())
}
