package cache_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/cache"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// bench asks a counted model through one factory.
type bench struct {
	t       *testing.T
	factory middleware.Factory
	models  map[string]model.Model
	calls   atomic.Int32
	answer  func(n int, req *model.Request, send model.Send) (*model.Response, error)
}

func newBench(t *testing.T, o cache.Options) *bench {
	t.Helper()
	b := &bench{t: t, models: map[string]model.Model{}}
	var err error
	b.factory, err = cache.New(o)
	require.NoError(t, err)
	b.answer = func(n int, _ *model.Request, _ model.Send) (*model.Response, error) {
		return &model.Response{Message: new(content.NewModelTextMessage("answer " + strconv.Itoa(n))), Usage: &model.Usage{InputTokens: 5}}, nil
	}
	for _, name := range []string{"m", "other"} {
		b.models[name], err = model.New(name, model.Info{}, func(_ context.Context, req *model.Request, send model.Send) (*model.Response, error) {
			return b.answer(int(b.calls.Add(1)), req, send)
		})
		require.NoError(t, err)
	}
	return b
}

func (b *bench) ask(ctx context.Context, name, config, request string, send model.Send) (*model.Response, error) {
	hooks, err := b.factory.New(ctx, json.RawMessage(config))
	require.NoError(b.t, err)
	req := &model.Request{}
	require.NoError(b.t, json.Unmarshal([]byte(request), req))
	return hooks.Model(ctx, &middleware.ModelCall{Request: req, Send: send, Model: b.models[name]}, func(ctx context.Context, call *middleware.ModelCall) (*model.Response, error) {
		return b.models[name].Generate(ctx, call.Request, call.Send)
	})
}

func hi(config string) string {
	return `{"messages":[{"role":"user","content":[{"text":"hi"}]}],"config":` + config + `}`
}

func TestWhatIsTheSameRequest(t *testing.T) {
	for name, c := range map[string]struct {
		first, second string
		model         string
		hit           bool
	}{
		"the same":                     {hi(`{"a":1}`), hi(`{"a":1}`), "m", true},
		"in another order":             {hi(`{"a":1,"b":{"c":2,"d":3}}`), hi(`{ "b": {"d":3,"c":2}, "a":1 }`), "m", true},
		"with another key":             {hi(`{"a":1,"apiKey":"x"}`), hi(`{"apiKey":"y","a":1}`), "m", true},
		"with a key and without":       {hi(`{"apiKey":"x"}`), `{"messages":[{"role":"user","content":[{"text":"hi"}]}]}`, "m", true},
		"another model":                {hi(`{}`), hi(`{}`), "other", false},
		"another config":               {hi(`{"a":1}`), hi(`{"a":2}`), "m", false},
		"another number of that value": {hi(`{"a":1}`), hi(`{"a":1.0}`), "m", false},
		"big numbers that differ":      {hi(`{"a":9007199254740993}`), hi(`{"a":9007199254740992}`), "m", false},
		"another message":              {hi(`{}`), strings.Replace(hi(`{}`), "hi", "ho", 1), "m", false},
		"tools":                        {hi(`{}`), strings.Replace(hi(`{}`), `{"messages"`, `{"tools":[{"name":"t","description":""}],"messages"`, 1), "m", false},
		"an unknown field":             {hi(`{}`), strings.Replace(hi(`{}`), `{"messages"`, `{"x":1,"messages"`, 1), "m", false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, cache.Options{})
			first, err := b.ask(t.Context(), "m", ``, c.first, nil)
			require.NoError(t, err)
			second, err := b.ask(t.Context(), c.model, ``, c.second, nil)
			require.NoError(t, err)
			assert.Equal(t, c.hit, first.Text() == second.Text())
			if c.hit {
				assert.Equal(t, &model.Usage{Custom: map[string]float64{"cacheHits": 1}}, second.Usage)
				second.Message.Content[0] = content.NewTextPart("changed")
				third, err := b.ask(t.Context(), c.model, ``, c.second, nil)
				require.NoError(t, err)
				assert.Equal(t, first.Text(), third.Text(), "each gets a copy of its own")
			}
		})
	}
}

func TestCallersAreSeparate(t *testing.T) {
	b := newBench(t, cache.Options{})
	for _, c := range []struct {
		auth string
		want string
	}{{`{"auth":{"uid":"a"}}`, "answer 1"}, {`{"auth":{"uid":"b"}}`, "answer 2"}, {`{"auth":{"uid":"a"},"more":1}`, "answer 1"}, {`{}`, "answer 3"}} {
		resp, err := b.ask(action.WithContext(t.Context(), json.RawMessage(c.auth)), "m", ``, hi(`{}`), nil)
		require.NoError(t, err)
		assert.Equal(t, c.want, resp.Text(), c.auth)
	}
	b = newBench(t, cache.Options{Namespace: func(context.Context) string { return "all" }})
	for range 2 {
		resp, err := b.ask(action.WithContext(t.Context(), json.RawMessage(`{"auth":`+strconv.Itoa(int(b.calls.Load()))+`}`)), "m", ``, hi(`{}`), nil)
		require.NoError(t, err)
		assert.Equal(t, "answer 1", resp.Text())
	}
}

func TestWhatIsKept(t *testing.T) {
	asks := func() *content.Message {
		return &content.Message{Role: content.RoleModel, Content: []content.Part{{ToolRequest: &content.ToolRequest{Name: "t"}}}}
	}
	for name, c := range map[string]struct {
		config string
		resp   *model.Response
		err    error
		calls  int32
	}{
		"an answer":                           {``, &model.Response{Message: new(content.NewModelTextMessage("x")), FinishReason: model.FinishStop}, nil, 1},
		"one that was cut":                    {``, &model.Response{Message: new(content.NewModelTextMessage("x")), FinishReason: model.FinishLength}, nil, 1},
		"not an error":                        {``, nil, status.Errorf(status.Unavailable, "x"), 2},
		"nor a blocked one":                   {``, &model.Response{Message: new(content.NewModelTextMessage("x")), FinishReason: model.FinishBlocked}, nil, 2},
		"nor one of unknown kind":             {``, &model.Response{Message: new(content.NewModelTextMessage("x")), FinishReason: model.FinishOther}, nil, 2},
		"nor one without a message":           {``, &model.Response{}, nil, 2},
		"nor an operation":                    {``, &model.Response{Message: new(content.NewModelTextMessage("x")), Operation: json.RawMessage(`{"id":"1"}`)}, nil, 2},
		"nor a tool request":                  {``, &model.Response{Message: asks()}, nil, 2},
		"unless the caller wants it":          {`{"cacheToolRequests":true}`, &model.Response{Message: asks()}, nil, 1},
		"nor one that is bigger than the lot": {``, &model.Response{Message: new(content.NewModelTextMessage(strings.Repeat("x", 3000)))}, nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, cache.Options{MaxBytes: 2000})
			b.answer = func(int, *model.Request, model.Send) (*model.Response, error) { return c.resp, c.err }
			for range 2 {
				_, err := b.ask(t.Context(), "m", c.config, hi(`{}`), nil)
				assert.Equal(t, status.Of(c.err), status.Of(err))
			}
			assert.Equal(t, c.calls, b.calls.Load())
		})
	}
}

func TestAHitReplaysTheChunks(t *testing.T) {
	b := newBench(t, cache.Options{})
	b.answer = func(_ int, _ *model.Request, send model.Send) (*model.Response, error) {
		for _, word := range []string{"one ", "two"} {
			if send != nil {
				if err := send(&model.Chunk{Content: []content.Part{content.NewTextPart(word)}, Custom: json.RawMessage(`{"n":1.50}`)}); err != nil {
					return nil, err
				}
			}
		}
		return &model.Response{Message: new(content.NewModelTextMessage("one two"))}, nil
	}
	stream := func(request string) (chunks []string) {
		resp, err := b.ask(t.Context(), "m", ``, request, func(c *model.Chunk) error {
			chunks = append(chunks, c.Text()+string(c.Custom))
			return nil
		})
		require.NoError(t, err)
		assert.Equal(t, "one two", resp.Text())
		return chunks
	}
	want := []string{`one {"n":1.50}`, `two{"n":1.50}`}
	assert.Equal(t, want, stream(hi(`{}`)))
	assert.Equal(t, want, stream(hi(`{}`)))
	assert.EqualValues(t, 1, b.calls.Load())

	_, err := b.ask(t.Context(), "m", ``, hi(`{"a":1}`), nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"one two"}, stream(hi(`{"a":1}`)), "what was not streamed comes as one chunk")
	assert.EqualValues(t, 2, b.calls.Load())

	gone := errors.New("gone")
	_, err = b.ask(t.Context(), "m", ``, hi(`{}`), func(*model.Chunk) error { return gone })
	require.ErrorIs(t, err, gone)
}

func TestAnswersGrowOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, cache.Options{TTL: time.Hour})
		for _, step := range []struct {
			wait   time.Duration
			config string
			want   string
		}{
			{0, ``, "answer 1"},
			{59 * time.Minute, ``, "answer 1"},
			{time.Minute, ``, "answer 2"},
			{time.Minute, `{"ttlMs":120000}`, "answer 2"},
			{time.Minute, `{"ttlMs":120000}`, "answer 3"},
			{59 * time.Minute, `{"ttlMs":86400000}`, "answer 3"},
			{time.Minute, `{"ttlMs":86400000}`, "answer 4"},
		} {
			time.Sleep(step.wait) // of the bubble's clock
			resp, err := b.ask(t.Context(), "m", step.config, hi(`{}`), nil)
			require.NoError(t, err)
			assert.Equal(t, step.want, resp.Text())
		}
	})
}

func TestTheOldestGoFirst(t *testing.T) {
	b := newBench(t, cache.Options{MaxEntries: 2})
	for i, c := range []struct {
		n     string
		calls int32
	}{{"1", 1}, {"2", 2}, {"1", 2}, {"3", 3}, {"1", 3}, {"2", 4}, {"3", 5}} {
		_, err := b.ask(t.Context(), "m", ``, hi(`{"n":`+c.n+`}`), nil)
		require.NoError(t, err)
		assert.Equal(t, c.calls, b.calls.Load(), "step %d", i)
	}
}

func TestEqualCallsWaitForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, cache.Options{})
		inner := b.answer
		b.answer = func(n int, req *model.Request, send model.Send) (*model.Response, error) {
			time.Sleep(time.Second)
			return inner(n, req, send)
		}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				resp, err := b.ask(t.Context(), "m", ``, hi(`{}`), nil)
				assert.NoError(t, err)
				assert.Equal(t, "answer 1", resp.Text())
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, b.calls.Load())
	})
}

func TestAFailureIsNobodyElses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, cache.Options{})
		inner := b.answer
		b.answer = func(n int, req *model.Request, send model.Send) (*model.Response, error) {
			time.Sleep(time.Second)
			if strings.Contains(string(req.Config), "bad") {
				return nil, status.Errorf(status.Unauthenticated, "bad key")
			}
			return inner(n, req, send)
		}
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := b.ask(t.Context(), "m", ``, hi(`{"apiKey":"bad"}`), nil)
			assert.ErrorIs(t, err, status.ErrUnauthenticated)
		})
		synctest.Wait()
		for range 5 {
			wg.Go(func() {
				_, err := b.ask(t.Context(), "m", ``, hi(`{"apiKey":"good"}`), nil)
				assert.NoError(t, err)
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := b.ask(ctx, "m", ``, hi(`{"apiKey":"good"}`), nil)
		assert.ErrorIs(t, err, status.ErrDeadlineExceeded, "a caller who waits may leave")
		wg.Wait()
		assert.Equal(t, 2*time.Second, time.Since(start), "those who waited ask side by side")
	})
}

// A call that used the cache twice waited for itself, and equal calls with it.
func TestACallNeverWaitsForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, cache.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		hooks, err := b.factory.New(ctx, nil)
		require.NoError(t, err)
		call := &middleware.ModelCall{Request: &model.Request{}, Model: b.models["m"]}
		last := func(ctx context.Context, call *middleware.ModelCall) (*model.Response, error) {
			return b.models["m"].Generate(ctx, call.Request, nil)
		}
		resp, err := hooks.Model(ctx, call, func(ctx context.Context, call *middleware.ModelCall) (*model.Response, error) {
			return hooks.Model(ctx, call, last)
		})
		require.NoError(t, err)
		assert.Equal(t, "answer 1", resp.Text())
		resp, err = hooks.Model(ctx, call, last)
		require.NoError(t, err)
		assert.Equal(t, "answer 1", resp.Text(), "what the outer one got is kept")
		assert.EqualValues(t, 1, b.calls.Load())
	})
}

// Two calls that each lead to what the other asks for would wait for each other.
func TestCallsWithinCallsDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, cache.Options{})
		inner := b.answer
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		hooks, err := b.factory.New(ctx, nil)
		require.NoError(t, err)
		last := func(_ context.Context, call *middleware.ModelCall) (*model.Response, error) {
			return inner(int(b.calls.Add(1)), call.Request, nil)
		}
		var wg sync.WaitGroup
		for _, names := range [][2]string{{"m", "other"}, {"other", "m"}} {
			wg.Go(func() {
				_, err := hooks.Model(ctx, &middleware.ModelCall{Request: &model.Request{}, Model: b.models[names[0]]}, func(ctx context.Context, call *middleware.ModelCall) (*model.Response, error) {
					time.Sleep(time.Millisecond) // of the bubble's clock: both are under way
					return hooks.Model(ctx, &middleware.ModelCall{Request: call.Request, Model: b.models[names[1]]}, last)
				})
				assert.NoError(t, err)
			})
		}
		wg.Wait()
	})
}

func TestACallThatTakesTooLongIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, cache.Options{Wait: 10 * time.Second})
		inner := b.answer
		b.answer = func(n int, req *model.Request, send model.Send) (*model.Response, error) {
			if n == 1 {
				time.Sleep(time.Hour) // of the bubble's clock
			}
			return inner(n, req, send)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := b.ask(t.Context(), "m", ``, hi(`{}`), nil)
			assert.NoError(t, err)
		})
		synctest.Wait()
		for i, wait := range []time.Duration{10 * time.Second, 0} {
			began := time.Now()
			resp, err := b.ask(t.Context(), "m", ``, hi(`{}`), nil)
			require.NoError(t, err)
			assert.Equal(t, "answer "+strconv.Itoa(i+2), resp.Text())
			assert.Equal(t, wait, time.Since(began))
		}
		wg.Wait()
	})
}

func TestAPanicLeavesNobodyWaiting(t *testing.T) {
	b := newBench(t, cache.Options{})
	hooks, err := b.factory.New(t.Context(), nil)
	require.NoError(t, err)
	call := &middleware.ModelCall{Request: &model.Request{}, Model: b.models["m"]}
	assert.Panics(t, func() {
		_, _ = hooks.Model(t.Context(), call, func(context.Context, *middleware.ModelCall) (*model.Response, error) { panic("x") })
	})
	_, err = b.ask(t.Context(), "m", ``, `{"messages":[]}`, nil)
	require.NoError(t, err)
}

func TestAStoreIsHammered(t *testing.T) {
	b := newBench(t, cache.Options{MaxEntries: 4, MaxBytes: 1000})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				_, err := b.ask(t.Context(), "m", ``, hi(`{"n":`+strconv.Itoa((i+j)%7)+`}`), func(*model.Chunk) error { return nil })
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
}
