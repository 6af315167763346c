package durable_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable/durabletest"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func memory(t *testing.T, c durable.MemoryConfig) *durable.Memory {
	t.Helper()
	m := durable.NewMemory(c)
	t.Cleanup(m.Close)
	return m
}

func TestMemoryIsAManager(t *testing.T) {
	durabletest.Run(t, func(t *testing.T) durable.Manager { return memory(t, durable.MemoryConfig{}) })
}

var done = durable.Event{Kind: durable.Done, Value: json.RawMessage(`1`)}

func TestStreamsGoWhenTheirTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory(t, durable.MemoryConfig{TTL: time.Minute})
		for i := range 3 {
			w, err := m.Open(t.Context(), fmt.Sprint(i))
			require.NoError(t, err)
			require.NoError(t, w.Write(t.Context(), json.RawMessage(`1`)))
			if i < 2 {
				require.NoError(t, w.End(t.Context(), done))
			}
			time.Sleep(40 * time.Second)
		}
		// It is 2:00; the first ended at 0:00 and went at 1:00, the second ended
		// at 0:40 and went at 1:40.
		synctest.Wait()
		assert.Equal(t, 1, m.Len(), "without anybody asking")
		time.Sleep(time.Hour)
		_, err := m.Subscribe(t.Context(), "2")
		require.NoError(t, err, "a stream that goes on is never too old")
		_, err = m.Subscribe(t.Context(), "1")
		require.ErrorIs(t, err, status.ErrNotFound)
		m.Close()
		synctest.Wait()
	})
}

func TestAReaderKeepsAStreamWhoseTimeIsOver(t *testing.T) {
	m := memory(t, durable.MemoryConfig{MaxStreams: 1})
	w, err := m.Open(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, w.Write(t.Context(), json.RawMessage(`1`)))
	r, err := m.Subscribe(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, w.End(t.Context(), done))
	_, err = m.Open(t.Context(), "b") // takes the place of a
	require.NoError(t, err)
	_, err = m.Subscribe(t.Context(), "a")
	require.ErrorIs(t, err, status.ErrNotFound)
	events, err := r.Next(t.Context())
	require.NoError(t, err)
	assert.Len(t, events, 2)
}

func TestThereIsRoomForSoManyStreams(t *testing.T) {
	m := memory(t, durable.MemoryConfig{MaxStreams: 2})
	first, err := m.Open(t.Context(), "1")
	require.NoError(t, err)
	_, err = m.Open(t.Context(), "2")
	require.NoError(t, err)
	_, err = m.Open(t.Context(), "3")
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Positive(t, status.Convert(err).RetryAfter)
	require.NoError(t, first.End(t.Context(), done))
	_, err = m.Open(t.Context(), "3")
	require.NoError(t, err, "one that has ended makes room")
	assert.Equal(t, 2, m.Len())
}

func TestAStreamIsBounded(t *testing.T) {
	m := memory(t, durable.MemoryConfig{MaxStreamBytes: 1000})
	w, err := m.Open(t.Context(), "k")
	require.NoError(t, err)
	big := json.RawMessage(`"` + strings.Repeat("x", 700) + `"`)
	require.NoError(t, w.Write(t.Context(), big))
	require.ErrorIs(t, w.Write(t.Context(), big), status.ErrResourceExhausted)
	require.ErrorIs(t, w.End(t.Context(), durable.Event{Kind: durable.Done, Value: big}), status.ErrResourceExhausted)
	require.NoError(t, w.End(t.Context(), durable.Event{Kind: durable.Failed, Value: big}), "a failure fits")
}

func TestAllStreamsAreBounded(t *testing.T) {
	m := memory(t, durable.MemoryConfig{MaxBytes: 2000})
	big := json.RawMessage(`"` + strings.Repeat("x", 700) + `"`)
	var writers []durable.Writer
	for _, key := range []string{"a", "b", "c"} {
		w, err := m.Open(t.Context(), key)
		require.NoError(t, err)
		writers = append(writers, w)
	}
	require.NoError(t, writers[0].Write(t.Context(), big))
	require.NoError(t, writers[1].Write(t.Context(), big))
	require.ErrorIs(t, writers[2].Write(t.Context(), big), status.ErrResourceExhausted)
	require.NoError(t, writers[0].End(t.Context(), done))
	require.NoError(t, writers[2].Write(t.Context(), big), "the one that has ended makes room")
	_, err := m.Subscribe(t.Context(), "a")
	require.ErrorIs(t, err, status.ErrNotFound)
	assert.LessOrEqual(t, m.Bytes(), int64(2000))
	require.NoError(t, writers[1].End(t.Context(), done))
	require.NoError(t, writers[2].End(t.Context(), done))
	m.Close()
	assert.Zero(t, m.Bytes(), "nothing is counted twice or forgotten")
	assert.Zero(t, m.Len())
}

func TestClosedMemoryTakesNoStreams(t *testing.T) {
	m := durable.NewMemory(durable.MemoryConfig{})
	w, err := m.Open(t.Context(), "a")
	require.NoError(t, err)
	m.Close()
	_, err = m.Open(t.Context(), "b")
	require.ErrorIs(t, err, status.ErrUnavailable)
	require.NoError(t, w.Write(t.Context(), json.RawMessage(`1`)), "what goes on goes on")
	require.NoError(t, w.End(t.Context(), done))
	assert.Zero(t, m.Len())
}
