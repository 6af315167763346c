package usage_test

import (
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	export "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// strictCollector is a collector that reads requests with OpenTelemetry's own messages, and takes nothing that they don't know.
type strictCollector struct {
	*httptest.Server
	reject int64 // of each request

	mu      sync.Mutex // guards records
	records []*logs.LogRecord
}

func newStrictCollector(t *testing.T, reject int64) *strictCollector {
	t.Helper()
	r := &strictCollector{reject: reject}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		assert.NoError(t, err)
		var request export.ExportLogsServiceRequest
		if err := protojson.Unmarshal(body, &request); !assert.NoError(t, err, string(body)) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		for _, resource := range request.GetResourceLogs() {
			assert.Equal(t, "genkit-wasm", attributes(resource.GetResource().GetAttributes())["service.name"].GetStringValue())
			for _, scope := range resource.GetScopeLogs() {
				r.records = append(r.records, scope.GetLogRecords()...)
			}
		}
		r.mu.Unlock()
		answer := &export.ExportLogsServiceResponse{}
		if r.reject > 0 {
			answer.PartialSuccess = &export.ExportLogsPartialSuccess{RejectedLogRecords: r.reject, ErrorMessage: "too old"}
		}
		raw, err := protojson.Marshal(answer)
		assert.NoError(t, err)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(raw)
	}))
	t.Cleanup(r.Close)
	return r
}

func attributes(list []*common.KeyValue) map[string]*common.AnyValue {
	all := map[string]*common.AnyValue{}
	for _, a := range list {
		all[a.GetKey()] = a.GetValue()
	}
	return all
}

// whole is an event in which each field is set, to the largest number that it may have.
func whole(t *testing.T) usage.Event {
	t.Helper()
	yes, cost := true, usage.MaxMoney
	e := usage.Event{Time: at("2028-02-29T23:59:59.999999Z"), Kind: usage.Model, Code: status.DeadlineExceeded, Priced: &yes, Cost: &cost, Since: at("2028-02-29T23:59:00Z")}
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.IsZero() {
			switch f.Kind() {
			case reflect.String:
				f.SetString("é\x00\"\U0001F600" + v.Type().Field(i).Name)
			case reflect.Int, reflect.Int64:
				f.SetInt(math.MaxInt64)
			case reflect.Bool:
				f.SetBool(true)
			default:
				require.Fail(t, "give the field a value", v.Type().Field(i).Name)
			}
		}
	}
	return e
}

// Events come to a collector as its own messages have them: each text, each number, to the last of its digits.
func TestACollectorReadsWhatIsSent(t *testing.T) {
	r := newStrictCollector(t, 0)
	sink, err := usage.NewHTTP(usage.HTTPConfig{URL: r.URL, OTLP: true})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, sink.Close()) })
	book, err := usage.Open(usage.Config{Sinks: []usage.Target{{Name: "otlp", Sink: sink}}})
	require.NoError(t, err)
	e := whole(t)
	book.Count(e)
	book.Count(usage.Event{Tenant: "acme", Kind: usage.Tool, Name: "calc/add"})
	book.Refuse("acme", "1", status.Publicf(status.ResourceExhausted, "no").WithDetails(map[string]string{"budget": "tokensPerDay"}))
	require.NoError(t, book.Close()) // which sends what waits

	r.mu.Lock()
	defer r.mu.Unlock()
	require.Len(t, r.records, 3)
	byKind := map[string]*logs.LogRecord{}
	ids := map[string]bool{}
	for _, record := range r.records {
		byKind[record.GetEventName()] = record
		ids[attributes(record.GetAttributes())["cloudevents.event_id"].GetStringValue()] = true
		assert.Equal(t, logs.SeverityNumber_SEVERITY_NUMBER_INFO, record.GetSeverityNumber())
	}
	assert.Len(t, ids, 3, "each has an ID of its own")
	const kind = "com.github.genkit-wasm.call."
	model := byKind[kind+"model"]
	require.NotNil(t, model)
	assert.Equal(t, e.Time, time.Unix(0, int64(model.GetTimeUnixNano())).UTC()) //nolint:gosec // a time of this century
	got := attributes(model.GetAttributes())
	for name, want := range map[string]int64{"inputTokens": math.MaxInt64, "fuel": math.MaxInt64, "egressBytes": math.MaxInt64, "revision": math.MaxInt64, "count": math.MaxInt64} {
		assert.Equal(t, want, got["genkit_wasm.usage."+name].GetIntValue(), name)
	}
	assert.Equal(t, usage.MaxMoney.String(), got["genkit_wasm.usage.cost"].GetStringValue())
	assert.Equal(t, "DEADLINE_EXCEEDED", got["genkit_wasm.usage.code"].GetStringValue())
	assert.True(t, got["genkit_wasm.usage.priced"].GetBoolValue())
	assert.Equal(t, e.Tenant, got["genkit_wasm.usage.tenant"].GetStringValue())
	members := reflect.TypeFor[usage.Event]().NumField() - 2 // ID and Time are not in the data
	data := 0
	for name := range got {
		if len(name) > len("genkit_wasm.usage.") && name[:len("genkit_wasm.usage.")] == "genkit_wasm.usage." {
			data++
		}
	}
	assert.Equal(t, members, data, "no member of an event is left out")
	refused := attributes(byKind[kind+"refused"].GetAttributes())
	assert.Equal(t, "budget.tokensPerDay", refused["genkit_wasm.usage.name"].GetStringValue())
	assert.EqualValues(t, 1, refused["genkit_wasm.usage.count"].GetIntValue())
}

// What a collector rejects, in its own words, is counted as refused.
func TestACollectorsRejectionIsRead(t *testing.T) {
	r := newStrictCollector(t, 2)
	sink, err := usage.NewHTTP(usage.HTTPConfig{URL: r.URL, OTLP: true})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, sink.Close()) })
	book, err := usage.Open(usage.Config{Sinks: []usage.Target{{Name: "otlp", Sink: sink}}})
	require.NoError(t, err)
	countTools(book, 0, 5)
	require.NoError(t, book.Close())
	report := book.Sinks()[0]
	assert.EqualValues(t, 2, report.Refused)
	assert.EqualValues(t, 3, report.Delivered)
}
