package negotiation_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/negotiation"
)

func TestAStreamIsAskedForInTwoWays(t *testing.T) {
	for _, c := range []struct {
		query  string
		accept []string
		want   bool
	}{
		{},
		{accept: []string{"*/*"}},
		{accept: []string{"text/*"}},
		{accept: []string{"application/json"}},
		{accept: []string{"text/event-stream"}, want: true},
		{accept: []string{"application/json, Text/Event-Stream ; charset=utf-8"}, want: true},
		{accept: []string{"application/json", "text/event-stream;q=0.1"}, want: true},
		{accept: []string{"text/event-stream;q=0"}},
		{accept: []string{"text/event-stream; charset=utf-8; Q = 0.0, application/json"}},
		{accept: []string{"text/event-stream;q=much"}, want: true},
		{accept: []string{"text/event-streams"}},
		{query: "stream=true", want: true},
		{query: "%73tream=1", want: true},
		{query: "stream=true", accept: []string{"text/event-stream;q=0"}, want: true},
		{query: "stream=false", accept: []string{"text/event-stream"}, want: true},
		{query: "streams=true"},
		{query: "a=stream"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/?"+c.query, http.NoBody)
		r.Header["Accept"] = c.accept
		got, err := negotiation.Stream(r)
		require.NoError(t, err)
		assert.Equal(t, c.want, got, "%+v", c)
	}
	_, err := negotiation.Stream(httptest.NewRequest(http.MethodPost, "/?stream=maybe", http.NoBody))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestHeartbeatsAreOfWholeSeconds(t *testing.T) {
	for query, want := range map[string]time.Duration{"": 0, "a=b": 0, "heartbeat=1": time.Second, "heartbeat=60": time.Minute} {
		got, err := negotiation.Heartbeat(httptest.NewRequest(http.MethodPost, "/?"+query, http.NoBody))
		require.NoError(t, err)
		assert.Equal(t, want, got, query)
	}
	for _, query := range []string{"heartbeat=", "heartbeat=0", "heartbeat=61", "heartbeat=-1", "heartbeat=1.5", "heartbeat=1s"} {
		_, err := negotiation.Heartbeat(httptest.NewRequest(http.MethodPost, "/?"+query, http.NoBody))
		require.ErrorIs(t, err, status.ErrInvalidArgument, query)
	}
}

func TestAnEncodedBodyIsRefused(t *testing.T) {
	for _, codings := range [][]string{nil, {""}, {"identity"}, {"Identity"}} {
		require.NoError(t, negotiation.Plain(http.Header{"Content-Encoding": codings}))
	}
	for _, codings := range [][]string{{"gzip"}, {"identity", "gzip"}, {"identity, br"}, {" "}, {strings.Repeat("x", 1000)}} {
		err := negotiation.Plain(http.Header{"Content-Encoding": codings})
		require.ErrorIs(t, err, status.ErrInvalidArgument)
		assert.True(t, status.Convert(err).Public())
		assert.Less(t, len(err.Error()), 250)
	}
}
