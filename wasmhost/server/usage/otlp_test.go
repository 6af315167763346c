package usage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// collector is a collector of OpenTelemetry that is told what to answer.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	answer string
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{answer: `{}`}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
		assert.Equal(t, "/v1/logs", r.URL.Path)
		assert.Equal(t, "Bearer x", r.Header.Get("Authorization"))
		c.mu.Lock()
		defer c.mu.Unlock()
		c.bodies = append(c.bodies, string(body))
		_, _ = io.WriteString(w, c.answer)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) sink(t *testing.T, path string) *usage.HTTP {
	t.Helper()
	s, err := usage.NewHTTP(usage.HTTPConfig{URL: c.URL + path, OTLP: true, Header: map[string]string{"Authorization": "Bearer x"}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

// The form was held against the messages of opentelemetry-proto (ExportLogsServiceRequest), read as JSON with no
// member that is not known.
func TestEventsAreLogRecords(t *testing.T) {
	c := newCollector(t)
	cost, yes := usage.Money(1_250_000), true
	e := usage.Event{
		ID: "x-1", Time: at("2030-01-31T12:00:00.5Z"), Tenant: "acme", TenantID: "1", Kind: usage.Model, Name: "a \"b\"", Code: status.DeadlineExceeded,
		WallNS: 7, InputTokens: 1200, OutputTokens: 3, Tokens: 1203, Priced: &yes, Cost: &cost, Currency: "USD",
	}
	for _, path := range []string{"", "/", "/v1/logs"} {
		require.NoError(t, c.sink(t, path).Send(t.Context(), []json.RawMessage{usage.AppendEvent(nil, &e)}))
	}
	const text, number = `{"key":%q,"value":{"stringValue":%s}}`, `{"key":%q,"value":{"intValue":%q}}`
	attributes := ""
	for _, a := range []string{
		fmt.Sprintf(text, "cloudevents.event_id", `"x-1"`), fmt.Sprintf(text, "cloudevents.event_source", `"/v1/tenants/acme"`), fmt.Sprintf(text, "cloudevents.event_spec_version", `"1.0"`),
		fmt.Sprintf(text, "cloudevents.event_subject", `"a \"b\""`), fmt.Sprintf(text, "cloudevents.event_type", `"com.github.genkit-wasm.call.model"`),
		fmt.Sprintf(text, "genkit_wasm.usage.code", `"DEADLINE_EXCEEDED"`), fmt.Sprintf(text, "genkit_wasm.usage.cost", `"1.25"`), fmt.Sprintf(text, "genkit_wasm.usage.currency", `"USD"`),
		fmt.Sprintf(number, "genkit_wasm.usage.inputTokens", "1200"), fmt.Sprintf(text, "genkit_wasm.usage.kind", `"model"`), fmt.Sprintf(text, "genkit_wasm.usage.name", `"a \"b\""`),
		fmt.Sprintf(number, "genkit_wasm.usage.outputTokens", "3"), `{"key":"genkit_wasm.usage.priced","value":{"boolValue":true}}`, fmt.Sprintf(text, "genkit_wasm.usage.tenant", `"acme"`),
		fmt.Sprintf(text, "genkit_wasm.usage.tenantId", `"1"`), fmt.Sprintf(number, "genkit_wasm.usage.tokens", "1203"), fmt.Sprintf(number, "genkit_wasm.usage.wallNs", "7"),
	} {
		attributes += "," + a
	}
	require.Len(t, c.bodies, 3)
	for _, body := range c.bodies {
		assert.JSONEq(t, `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"genkit-wasm"}}]},"scopeLogs":[{
			"scope":{"name":"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"},"logRecords":[{"timeUnixNano":"1896091200500000000","severityNumber":9,"severityText":"INFO",
			"eventName":"com.github.genkit-wasm.call.model","body":{"stringValue":"a \"b\""},"attributes":[`+attributes[1:]+`]}]}]}]}`, body)
	}
}

// What a collector has rejected of a request that it has taken is counted, and comes no more.
func TestRejectedRecordsAreCounted(t *testing.T) {
	raw := usage.AppendEvent(nil, &usage.Event{ID: "x-1", Time: at("2030-01-31T12:00:00Z"), Tenant: "acme", Kind: usage.Tool, Name: "calc/add"})
	for answer, refused := range map[string]int{
		`{}`: 0, ``: 0, `{"partialSuccess":{}}`: 0, `{"partialSuccess":{"errorMessage":"mind this"}}`: 0, `{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too old"}}`: 3,
		`{"partialSuccess":{"rejectedLogRecords":2}}`: 2, `{"partialSuccess":{"rejectedLogRecords":"-1"}}`: 0, `<html>`: 0,
	} {
		c := newCollector(t)
		c.answer = answer
		err := c.sink(t, "").Send(t.Context(), []json.RawMessage{raw, raw, raw, raw})
		if refused == 0 {
			require.NoError(t, err, answer)
			continue
		}
		r, ok := errors.AsType[*usage.RefusedError](err)
		require.True(t, ok, answer)
		assert.Equal(t, refused, r.Events, answer)
	}
	for rejects, want := range map[int]int64{3: 3, 99: 10} {
		synctest.Test(t, func(t *testing.T) {
			s := &rejecting{events: rejects}
			b := open(t, usage.Config{Sinks: []usage.Target{{Name: "otlp", Sink: s}}})
			countTools(b, 0, 10)
			require.NoError(t, b.Close())
			r := b.Sinks()[0]
			assert.Equal(t, want, r.Refused)
			assert.Equal(t, 10-want, r.Delivered)
			assert.Equal(t, 1, s.sent, "they are sent once")
		})
	}
}

// rejecting takes events but for some.
type rejecting struct{ events, sent int }

func (s *rejecting) Send(context.Context, []json.RawMessage) error {
	s.sent++
	return &usage.RefusedError{Err: errors.New("too old"), Events: s.events}
}
