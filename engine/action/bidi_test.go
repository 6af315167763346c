package action_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
)

type greeting struct {
	Name string `json:"name"`
}

// newSum adds its inputs and streams the sums. Of some inputs it makes something else.
func newSum(t testing.TB) *action.BidiDef[greeting, int, string, int] {
	t.Helper()
	d, err := action.DefineBidi(action.Desc{Kind: action.Custom, Name: "sum"},
		func(ctx context.Context, init greeting, inputs iter.Seq2[int, error], send func(int) error) (string, error) {
			sum := 0
			for n, err := range inputs {
				switch {
				case err != nil:
					return "", err
				case n == 13:
					panic("ouch")
				case n == 14:
					<-ctx.Done()
					return "", ctx.Err()
				case n == 15:
					return "early", nil
				}
				sum += n
				if err := send(sum); err != nil {
					return "", err
				}
			}
			return init.Name, nil
		})
	require.NoError(t, err)
	return d
}

func TestInputsAndChunksFlowAtOnce(t *testing.T) {
	c, err := newSum(t).Connect(t.Context(), greeting{"Ada"})
	require.NoError(t, err)
	next, stop := iter.Pull2(c.Receive())
	defer stop()
	for _, step := range [][2]int{{1, 1}, {2, 3}, {3, 6}} { // each answer comes before the next input
		require.NoError(t, c.Send(t.Context(), step[0]))
		got, err, ok := next()
		require.True(t, ok)
		require.NoError(t, err)
		assert.Equal(t, step[1], got)
	}
	c.Close()
	c.Close()
	out, err := c.Output()
	require.NoError(t, err)
	assert.Equal(t, "Ada", out)
	_, _, ok := next()
	assert.False(t, ok)
}

func TestABidiActionIsDescribedAsSuch(t *testing.T) {
	own := map[string]json.RawMessage{"type": json.RawMessage(`"x"`)}
	b, err := action.NewBidi(action.Desc{Kind: action.Custom, Name: "b", Metadata: own, InitSchema: json.RawMessage(`{"type":"object"}`), StreamSchema: json.RawMessage(`{"type":"number"}`)}, nil)
	require.NoError(t, err)
	raw, err := json.Marshal(b.Desc())
	require.NoError(t, err)
	assert.JSONEq(t, `{"key":"/custom/b","type":"custom","name":"b","streamSchema":{"type":"number"},"initSchema":{"type":"object"},"metadata":{"type":"x","bidi":true}}`, string(raw))
	assert.NotContains(t, own, "bidi", "the caller's map is the caller's")
	var back action.Desc
	require.NoError(t, json.Unmarshal(raw, &back))
	assert.Equal(t, b.Desc(), back)
	for _, bad := range []action.Desc{
		{Kind: action.Custom, Name: "b", InitSchema: json.RawMessage(`{"type":1}`)},
		{Kind: action.Custom, Name: "b", StreamSchema: json.RawMessage(`{"type":1}`)},
		{Kind: action.Custom},
	} {
		_, err := action.NewBidi(bad, nil)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
}

func TestRunPlainlyABidiActionReadsOneInput(t *testing.T) {
	b, err := action.NewBidi(action.Desc{Kind: action.Custom, Name: "b", InputSchema: json.RawMessage(`{"type":"object"}`)},
		func(ctx context.Context, init json.RawMessage, next action.NextInput, emit action.Emit) (json.RawMessage, error) {
			var all []json.RawMessage
			for {
				in, more, err := next(ctx)
				if err != nil {
					return nil, err
				}
				if !more {
					return json.Marshal(map[string]any{"init": init, "inputs": all})
				}
				all = append(all, in)
				if err := emit(in); err != nil {
					return nil, err
				}
			}
		})
	require.NoError(t, err)
	var chunks []string
	out, err := b.RunJSON(t.Context(), json.RawMessage(`{"a":1}`), func(c json.RawMessage) error {
		chunks = append(chunks, string(c))
		return nil
	})
	require.NoError(t, err)
	assert.JSONEq(t, `{"init":null,"inputs":[{"a":1}]}`, string(out))
	assert.Equal(t, []string{`{"a":1}`}, chunks)
	out, err = b.RunJSON(t.Context(), nil, nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"init":null,"inputs":[{}]}`, string(out), "an input that is left out")
	_, err = b.RunJSON(t.Context(), json.RawMessage(`1`), nil)
	require.ErrorIs(t, err, action.ErrInvalidInput)
	name, err := newSum(t).Run(t.Context(), greeting{"Ada"}, 1)
	require.NoError(t, err)
	assert.Equal(t, "Ada", name)
}

func TestFourSchemasAreChecked(t *testing.T) {
	object := json.RawMessage(`{"type":"object","required":["ok"]}`)
	good, bad := json.RawMessage(`{"ok":true}`), json.RawMessage(`{}`)
	for name, c := range map[string]struct {
		init, in, chunk, out json.RawMessage
		ran                  bool
		sentinel, code       error
		text                 string
	}{
		"nothing is wrong":      {good, good, good, good, true, nil, nil, ""},
		"init":                  {bad, good, good, good, false, action.ErrInvalidInput, status.ErrInvalidArgument, "init of"},
		"an init that is asked": {nil, good, good, good, false, action.ErrInvalidInput, status.ErrInvalidArgument, "init of"},
		"an input":              {good, bad, good, good, true, action.ErrInvalidInput, status.ErrInvalidArgument, "input to"},
		"a chunk":               {good, good, bad, good, true, action.ErrInvalidOutput, status.ErrInternal, "chunk from"},
		"the output":            {good, good, good, bad, true, action.ErrInvalidOutput, status.ErrInternal, "output from"},
	} {
		t.Run(name, func(t *testing.T) {
			ran, ended := false, error(nil)
			b, err := action.NewBidi(action.Desc{Kind: action.Custom, Name: "b", InitSchema: object, InputSchema: object, StreamSchema: object, OutputSchema: object},
				func(ctx context.Context, _ json.RawMessage, next action.NextInput, emit action.Emit) (json.RawMessage, error) {
					ran = true
					_, _, inErr := next(ctx)
					chunkErr := emit(c.chunk)
					ended = ctx.Err()
					if inErr != nil || chunkErr != nil {
						assert.Error(t, ended, "what was refused ends the run's context")
					}
					return c.out, nil // whatever was refused
				})
			require.NoError(t, err)
			_, err = b.RunBidiJSON(t.Context(), c.init, action.OneInput(c.in), nil)
			assert.Equal(t, c.ran, ran)
			if c.code == nil {
				require.NoError(t, err)
				require.NoError(t, ended)
				return
			}
			require.ErrorIs(t, err, c.sentinel)
			require.ErrorIs(t, err, c.code)
			assert.Contains(t, err.Error(), c.text)
			assert.True(t, status.Convert(err).Public())
		})
	}
}

func TestSendTellsClosedFromCompleted(t *testing.T) {
	d := newSum(t)
	c, err := d.Connect(t.Context(), greeting{})
	require.NoError(t, err)
	require.NoError(t, c.Send(t.Context(), 14)) // it stays
	c.Close()
	err = c.Send(t.Context(), 1)
	require.ErrorIs(t, err, action.ErrConnectionClosed)
	require.NotErrorIs(t, err, action.ErrActionCompleted)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)

	other, err := d.Connect(t.Context(), greeting{})
	require.NoError(t, err)
	require.NoError(t, other.Send(t.Context(), 15))
	out, err := other.Output()
	require.NoError(t, err)
	assert.Equal(t, "early", out)
	other.Close()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 { // completion counts also where the caller's context has ended
		err = other.Send(gone, 1)
		require.ErrorIs(t, err, action.ErrActionCompleted)
		require.NotErrorIs(t, err, action.ErrConnectionClosed)
	}
}

func TestNeitherSideOutrunsTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		sent := 0
		reads := make(chan struct{})
		b, err := action.NewBidi(action.Desc{Kind: action.Custom, Name: "b"},
			func(ctx context.Context, _ json.RawMessage, next action.NextInput, emit action.Emit) (json.RawMessage, error) {
				for range 10 {
					if err := emit(json.RawMessage(`1`)); err != nil {
						return nil, err
					}
					sent++
				}
				for range reads {
					if _, _, err := next(ctx); err != nil {
						return nil, err
					}
				}
				return json.RawMessage(`"end"`), nil
			})
		require.NoError(t, err)
		c := action.Connect[int, string, int](ctx, b, nil)
		synctest.Wait()
		assert.Equal(t, 1, sent, "one chunk waits")
		received := 0
		for range c.Receive() {
			if received++; received == 10 {
				break
			}
		}
		require.NoError(t, c.Send(ctx, 1)) // one input waits
		second := make(chan error, 1)
		go func() { second <- c.Send(ctx, 2) }()
		synctest.Wait()
		assert.Empty(t, second)
		reads <- struct{}{}
		require.NoError(t, <-second)
		blocked := make(chan error, 1)
		go func() { blocked <- c.Send(ctx, 3) }()
		synctest.Wait()
		c.Close() // lets go whoever waits to send
		require.ErrorIs(t, <-blocked, action.ErrConnectionClosed)
		close(reads)
		out, err := c.Output()
		require.NoError(t, err)
		assert.Equal(t, "end", out)
	})
}

func TestAConnectionEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, err := newSum(t).Connect(ctx, greeting{})
	require.NoError(t, err)
	require.NoError(t, c.Send(ctx, 14))
	cancel()
	_, err = c.Output()
	require.ErrorIs(t, err, context.Canceled)
	<-c.Done()
	var last error
	for _, err := range c.Receive() {
		last = err
	}
	require.ErrorIs(t, last, context.Canceled, "the error of the run comes last")
}

func TestAPanicEndsTheConnectionAlone(t *testing.T) {
	c, err := newSum(t).Connect(t.Context(), greeting{})
	require.NoError(t, err)
	require.NoError(t, c.Send(t.Context(), 13))
	_, err = c.Output()
	require.ErrorIs(t, err, status.ErrInternal)
	assert.Contains(t, err.Error(), "ouch")
	assert.False(t, status.Convert(err).Public())

	foreign := action.Connect[int, int, int](t.Context(), wild{newSum(t)}, nil)
	_, err = foreign.Output()
	require.ErrorIs(t, err, status.ErrInternal)
}

// wild is a Bidi that is not guarded.
type wild struct{ action.Action }

func (wild) RunBidiJSON(context.Context, json.RawMessage, action.NextInput, action.Emit) (json.RawMessage, error) {
	panic("wild")
}

// What the function left behind can neither send nor read.
func TestNothingPassesAfterTheEnd(t *testing.T) {
	var late action.Emit
	var more action.NextInput
	b, err := action.NewBidi(action.Desc{Kind: action.Custom, Name: "b"},
		func(_ context.Context, _ json.RawMessage, next action.NextInput, emit action.Emit) (json.RawMessage, error) {
			late, more = emit, next
			return json.RawMessage(`1`), nil
		})
	require.NoError(t, err)
	var chunks []string
	_, err = b.RunJSON(t.Context(), nil, func(c json.RawMessage) error {
		chunks = append(chunks, string(c))
		return nil
	})
	require.NoError(t, err)
	require.ErrorIs(t, late(json.RawMessage(`1`)), status.ErrFailedPrecondition)
	_, _, err = more(t.Context())
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.Empty(t, chunks)
}

func TestTheReadersErrorReachesTheFunction(t *testing.T) {
	gone := errors.New("gone")
	_, err := newSum(t).RunBidiJSON(t.Context(), json.RawMessage(`{"name":""}`), action.OneInput(json.RawMessage(`1`)), func(json.RawMessage) error { return gone })
	require.ErrorIs(t, err, gone)
	_, err = newSum(t).RunBidiJSON(t.Context(), json.RawMessage(`{"name":""}`), func(context.Context) (json.RawMessage, bool, error) { return nil, false, gone }, nil)
	require.ErrorIs(t, err, gone)
}

func TestOneSpanForAConnection(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	ctx := telemetry.WithBodies(telemetry.WithTracerProvider(t.Context(), sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))))
	attributes := func(i int) map[string]string {
		all := map[string]string{}
		for _, kv := range spans.Ended()[i].Attributes() {
			all[string(kv.Key)] = kv.Value.String()
		}
		return all
	}
	c, err := newSum(t).Connect(ctx, greeting{"Ada"})
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, c.Send(ctx, 1))
		for range c.Receive() {
			break
		}
	}
	assert.Empty(t, spans.Ended())
	c.Close()
	_, err = c.Output()
	require.NoError(t, err)
	require.Len(t, spans.Ended(), 1)
	got := attributes(0)
	assert.Equal(t, "/custom/sum", got["genkit:key"])
	assert.Equal(t, `{"name":"Ada"}`, got["genkit:init"])
	assert.Equal(t, `"Ada"`, got["genkit:output"])
	assert.NotContains(t, slices.Collect(keys(got)), "genkit:input", "a stream is no input")
	_, err = newSum(t).Run(ctx, greeting{"Ada"}, 7)
	require.NoError(t, err)
	assert.Equal(t, `7`, attributes(1)["genkit:input"])
}

func keys(m map[string]string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
