package retry_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/retry"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// hook makes the model hook of a config, without jitter unless random is given.
func hook(t *testing.T, config string, o retry.Options) func(context.Context, *middleware.ModelCall, middleware.ModelFunc) (*model.Response, error) {
	t.Helper()
	f, err := retry.New(o)
	require.NoError(t, err)
	hooks, err := f.New(t.Context(), json.RawMessage(config))
	require.NoError(t, err)
	assert.Nil(t, hooks.Tool)
	assert.Nil(t, hooks.Generate)
	return hooks.Model
}

func unavailable() error { return status.Publicf(status.Unavailable, "later") }

func TestWhatIsRetriedAndHowLongItWaits(t *testing.T) {
	plain := errors.New("plain")
	for name, c := range map[string]struct {
		config string
		err    error
		calls  int
		waited time.Duration
	}{
		"by default three times, each wait twice the last": {`{"noJitter":true}`, unavailable(), 4, 7 * time.Second},
		"deadline exceeded":          {`{"noJitter":true,"maxRetries":1}`, status.ErrDeadlineExceeded, 2, time.Second},
		"resource exhausted":         {`{"noJitter":true,"maxRetries":1}`, status.Errorf(status.ResourceExhausted, "x"), 2, time.Second},
		"aborted":                    {`{"noJitter":true,"maxRetries":1}`, status.Errorf(status.Aborted, "x"), 2, time.Second},
		"internal":                   {`{"noJitter":true,"maxRetries":1}`, status.Errorf(status.Internal, "x"), 2, time.Second},
		"an invalid argument is not": {`{"noJitter":true}`, status.Errorf(status.InvalidArgument, "x"), 1, 0},
		"not found is not":           {`{"noJitter":true}`, status.Errorf(status.NotFound, "x"), 1, 0},
		"what the caller lists":      {`{"noJitter":true,"statuses":["NOT_FOUND"],"maxRetries":1}`, status.Errorf(status.NotFound, "x"), 2, time.Second},
		"and nothing else":           {`{"noJitter":true,"statuses":["NOT_FOUND"]}`, unavailable(), 1, 0},
		"an error without a status, whatever is listed": {`{"noJitter":true,"statuses":["NOT_FOUND"],"maxRetries":1}`, plain, 2, time.Second},
		"no retries":                                   {`{"maxRetries":0}`, unavailable(), 1, 0},
		"a cancellation is not, though listed":         {`{"noJitter":true,"statuses":["CANCELLED"]}`, status.Errorf(status.Cancelled, "x"), 1, 0},
		"nor the context's":                            {`{"noJitter":true}`, context.Canceled, 1, 0},
		"an interrupt is not":                          {`{"noJitter":true}`, tool.Interrupt(nil), 1, 0},
		"nor what a middleware says is final":          {`{"noJitter":true}`, status.Errorf(status.Unavailable, "x").WithCause(middleware.ErrFinal), 1, 0},
		"the wait has a cap":                           {`{"noJitter":true,"maxRetries":4,"maxDelayMs":1500}`, unavailable(), 5, 5500 * time.Millisecond},
		"delay and factor":                             {`{"noJitter":true,"maxRetries":2,"initialDelayMs":100,"backoffFactor":3}`, unavailable(), 3, 400 * time.Millisecond},
		"jitter grows by the same powers":              {`{"maxRetries":2}`, unavailable(), 3, 4500 * time.Millisecond},
		"a longer wait that the provider asks for":     {`{"noJitter":true,"maxRetries":1}`, status.Errorf(status.Unavailable, "x").WithRetryAfter(30 * time.Second), 2, 30 * time.Second},
		"a shorter one does not shorten ours":          {`{"noJitter":true,"maxRetries":1}`, status.Errorf(status.Unavailable, "x").WithRetryAfter(time.Millisecond), 2, time.Second},
		"one that is longer than the cap is not begun": {`{"noJitter":true}`, status.Errorf(status.Unavailable, "x").WithRetryAfter(61 * time.Second), 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, told, start := 0, 0, time.Now()
				call := hook(t, c.config, retry.Options{
					Random: func() float64 { return 0.5 },
					OnError: func(_ context.Context, err error, attempt int) {
						told++
						assert.Equal(t, told, attempt)
						assert.Equal(t, c.err, err)
					},
				})
				_, err := call(t.Context(), &middleware.ModelCall{Request: &model.Request{}}, func(context.Context, *middleware.ModelCall) (*model.Response, error) {
					calls++
					return nil, c.err
				})
				assert.Equal(t, c.err, err, "the last error, as it was")
				assert.Equal(t, c.calls, calls)
				assert.Equal(t, c.calls-1, told)
				assert.Equal(t, c.waited, time.Since(start))
			})
		})
	}
}

func TestASuccessEndsTheRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		resp, err := hook(t, ``, retry.Options{})(t.Context(), &middleware.ModelCall{Request: &model.Request{}}, func(context.Context, *middleware.ModelCall) (*model.Response, error) {
			if calls++; calls < 3 {
				return nil, unavailable()
			}
			return &model.Response{Message: new(content.NewModelTextMessage("at last"))}, nil
		})
		require.NoError(t, err)
		assert.Equal(t, "at last", resp.Text())
		assert.Equal(t, 3, calls)
	})
}

func TestTheEndOfTheContextEndsTheWait(t *testing.T) {
	fails := func(context.Context, *middleware.ModelCall) (*model.Response, error) { return nil, unavailable() }
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		time.AfterFunc(100*time.Millisecond, cancel)
		_, err := hook(t, `{"noJitter":true}`, retry.Options{})(ctx, &middleware.ModelCall{Request: &model.Request{}}, fails)
		require.ErrorIs(t, err, status.ErrUnavailable)
		assert.Equal(t, 100*time.Millisecond, time.Since(start))
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := hook(t, `{"noJitter":true}`, retry.Options{})(ctx, &middleware.ModelCall{Request: &model.Request{}}, fails)
		require.ErrorIs(t, err, status.ErrUnavailable)
		assert.Zero(t, time.Since(start), "a wait past the deadline is not begun")
	})
}

func TestNothingIsRetriedAfterTheReaderSawSomething(t *testing.T) {
	for name, c := range map[string]struct {
		chunk *model.Chunk
		calls int
	}{
		"a chunk with content":       {&model.Chunk{Content: []content.Part{content.NewTextPart("On")}}, 1},
		"a chunk with custom data":   {&model.Chunk{Custom: json.RawMessage(`1`)}, 1},
		"a chunk that shows nothing": {&model.Chunk{}, 4},
		"no chunk":                   {nil, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				send := func(*model.Chunk) error { return nil }
				_, err := hook(t, ``, retry.Options{})(t.Context(), &middleware.ModelCall{Request: &model.Request{}, Send: send}, func(_ context.Context, call *middleware.ModelCall) (*model.Response, error) {
					calls++
					if c.chunk != nil {
						require.NoError(t, call.Send(c.chunk))
					}
					return nil, unavailable()
				})
				require.ErrorIs(t, err, status.ErrUnavailable)
				assert.Equal(t, c.calls, calls)
			})
		})
	}
}

func TestConfigsAreChecked(t *testing.T) {
	f, err := retry.New(retry.Options{})
	require.NoError(t, err)
	assert.Equal(t, "retry", f.Desc().Name)
	assert.Contains(t, string(f.Desc().ConfigSchema), `"RESOURCE_EXHAUSTED"`)
	for name, config := range map[string]string{
		"a negative count":  `{"maxRetries":-1}`,
		"a fraction":        `{"maxRetries":1.5}`,
		"an unknown status": `{"statuses":["SAD"]}`,
		"a factor below 1":  `{"backoffFactor":0.5}`,
		"an unknown field":  `{"retries":1}`,
	} {
		_, err := f.New(t.Context(), json.RawMessage(config))
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
}
