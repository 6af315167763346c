package usage

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// The form of OTLP 1.x over HTTP in JSON (opentelemetry-proto, collector/logs/v1): names in camelCase, numbers of
// 64 bits as texts. It is written by hand: OpenTelemetry's exporter takes records of its own pipeline alone, retries
// by itself, and does not tell what a collector has answered.

type (
	otlpLogs struct {
		ResourceLogs []otlpResourceLogs `json:"resourceLogs"`
	}
	otlpResourceLogs struct {
		Resource  otlpAttributes  `json:"resource"`
		ScopeLogs []otlpScopeLogs `json:"scopeLogs"`
	}
	otlpScopeLogs struct {
		Scope      otlpScope    `json:"scope"`
		LogRecords []otlpRecord `json:"logRecords"`
	}
	otlpScope struct {
		Name string `json:"name"`
	}
	otlpAttributes struct {
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpRecord struct {
		TimeUnixNano   string    `json:"timeUnixNano"`
		SeverityNumber int       `json:"severityNumber"`
		SeverityText   string    `json:"severityText"`
		EventName      string    `json:"eventName"`
		Body           otlpValue `json:"body"`
		otlpAttributes
	}
	otlpAttribute struct {
		Key   string    `json:"key"`
		Value otlpValue `json:"value"`
	}
	// otlpValue has one member.
	otlpValue struct {
		String *string `json:"stringValue,omitempty"`
		Int    string  `json:"intValue,omitempty"`
		Bool   *bool   `json:"boolValue,omitempty"`
	}
)

// severityInfo is INFO: a call is an event whatever became of it.
const severityInfo = 9

const (
	otlpService = "genkit-wasm"
	otlpLibrary = "github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	// otlpPrefix begins the attributes with the members of an event's data.
	otlpPrefix = "genkit_wasm.usage."
)

func otlpText(text string) otlpValue { return otlpValue{String: &text} }

// logsOf is the request of a collector that exports events as log records.
func logsOf(events []json.RawMessage) ([]byte, error) {
	records := make([]otlpRecord, 0, len(events))
	for _, raw := range events {
		r, err := recordOf(raw)
		if err != nil {
			return nil, &RefusedError{Err: err} // no event of this package
		}
		records = append(records, r)
	}
	body, err := rawjson.Encode(otlpLogs{[]otlpResourceLogs{{
		Resource:  otlpAttributes{[]otlpAttribute{{"service.name", otlpText(otlpService)}}},
		ScopeLogs: []otlpScopeLogs{{Scope: otlpScope{otlpLibrary}, LogRecords: records}},
	}}})
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode log records: %w", err)
	}
	return body, nil
}

// recordOf makes a log record of an event: its attributes are those of OpenTelemetry's conventions for
// CloudEvents, and the members of its data; its body is what was called.
func recordOf(raw json.RawMessage) (r otlpRecord, err error) {
	var e struct {
		SpecVersion string         `json:"specversion"`
		ID          string         `json:"id"`
		Source      string         `json:"source"`
		Type        string         `json:"type"`
		Subject     string         `json:"subject"`
		Time        time.Time      `json:"time"`
		Data        map[string]any `json:"data"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&e); err != nil {
		return r, fmt.Errorf("an event: %w", err)
	}
	r = otlpRecord{
		TimeUnixNano: strconv.FormatInt(e.Time.UnixNano(), 10), SeverityNumber: severityInfo, SeverityText: "INFO", EventName: e.Type, Body: otlpText(e.Subject),
	}
	for key, text := range map[string]string{"event_id": e.ID, "event_source": e.Source, "event_spec_version": e.SpecVersion, "event_subject": e.Subject, "event_type": e.Type} {
		r.Attributes = append(r.Attributes, otlpAttribute{"cloudevents." + key, otlpText(text)})
	}
	for _, name := range slices.Sorted(maps.Keys(e.Data)) {
		var v otlpValue
		switch value := e.Data[name].(type) {
		case string:
			v = otlpText(value)
		case json.Number:
			v.Int = value.String()
		case bool:
			v.Bool = &value
		default:
			continue
		}
		r.Attributes = append(r.Attributes, otlpAttribute{otlpPrefix + name, v})
	}
	slices.SortFunc(r.Attributes, func(a, b otlpAttribute) int { return cmp.Compare(a.Key, b.Key) })
	return r, nil
}

// partly reads how many records a collector has rejected although it has taken the request. They are not to be
// sent again.
func partly(answer []byte) error {
	var a struct {
		PartialSuccess struct {
			Rejected json.RawMessage `json:"rejectedLogRecords"` // a text, as all numbers of 64 bits; some send a number
		} `json:"partialSuccess"`
	}
	if json.Unmarshal(answer, &a) != nil {
		return nil // of another form: the status counts
	}
	n, err := strconv.Atoi(string(bytes.Trim(a.PartialSuccess.Rejected, `"`)))
	if err != nil || n <= 0 {
		return nil
	}
	return &RefusedError{Err: fmt.Errorf("it rejected %d log records", n), Events: n}
}
