package usage

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Kind is what was called.
type Kind string

// The kinds of calls. Guests of modules have further ones: the kind of their action, such as
// "embedder", and "module-model" for the guest behind a model.
const (
	Tool       Kind = "tool"
	Middleware Kind = "middleware" // of a module
	Format     Kind = "format"     // of a module
	Model      Kind = "model"
	Flow       Kind = "flow"
	// Refused is of no call: its events say how often calls were refused before they ran.
	Refused Kind = "refused"
)

// ofModule reports whether calls of the kind are those of a module's guests.
func (k Kind) ofModule() bool { return k != Model && k != Flow && k != Refused }

// Event is what one call has used: the data of a CloudEvent. Of what a call has not, the field
// is zero and absent in JSON. One of the kind [Refused] stands for the calls of a tenant that were
// refused for the same reason in about a minute.
type Event struct {
	// ID is no other event's. It and Time are the CloudEvent's, not in its data.
	ID   string    `json:"-"`
	Time time.Time `json:"-"` // of the end

	Tenant   string `json:"tenant"`
	TenantID string `json:"tenantId,omitempty"` // tells the tenant from others of its name
	Kind     Kind   `json:"kind"`
	Name     string `json:"name"` // of the tool, "textkit/slugify", the model or the flow; of refusals the reason
	// Module, Revision and Digest are of the module that was called.
	Module   string `json:"module,omitempty"`
	Revision int    `json:"revision,omitempty"`
	Digest   string `json:"digest,omitempty"` // "sha256:…"
	// Caller is who called, where the server asks: "key:" and the key's id, or an issuer and
	// its subject. It is never a secret.
	Caller string      `json:"caller,omitempty"`
	Code   status.Code `json:"code"` // "OK", or why it failed
	Fuel   int64       `json:"fuel,omitempty"`
	// QueuedNS is the time before a guest began to run, WallNS the rest, in nanoseconds.
	QueuedNS time.Duration `json:"queuedNs,omitempty"`
	WallNS   time.Duration `json:"wallNs"`
	// PeakMemoryBytes is the most memory that the guest had.
	PeakMemoryBytes int64 `json:"peakMemoryBytes,omitempty"`
	// EgressBytes are those of the bodies that a guest has sent and received by HTTP.
	EgressBytes int64 `json:"egressBytes,omitempty"`
	InputBytes  int64 `json:"inputBytes,omitempty"`
	OutputBytes int64 `json:"outputBytes,omitempty"`
	// InputTokens, of which CachedTokens were cached by the provider, OutputTokens and Tokens,
	// the total, are what a model reported. Capped is set where that was more than the request
	// can have caused, and was counted as that.
	InputTokens  int64 `json:"inputTokens,omitempty"`
	CachedTokens int64 `json:"cachedTokens,omitempty"`
	OutputTokens int64 `json:"outputTokens,omitempty"`
	Tokens       int64 `json:"tokens,omitempty"`
	Capped       bool  `json:"capped,omitempty"`
	// Estimated is set where the call ended before the model reported its tokens.
	Estimated bool `json:"estimated,omitempty"`
	// Priced says of a model's call whether its cost is known; absent for other calls. Where
	// it is not, the model has no price, or answered and did not say what it used.
	Priced *bool `json:"priced,omitempty"`
	// Cost is what a model's call cost, in Currency.
	Cost     *Money `json:"cost,omitempty"`
	Currency string `json:"currency,omitempty"`
	// Count is how many calls were refused, Since when the first of them was; absent for other kinds.
	Count int64     `json:"count,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

// eventType begins the type of the CloudEvents: "com.github.genkit-wasm.call.tool".
const eventType = "com.github.genkit-wasm.call."

const (
	timeForm      = "2006-01-02T15:04:05.000000Z" // of UTC
	maxEventBytes = 32 << 10
	maxText       = 512 // bytes of each text of an event
)

// cut makes a text what an event may carry: valid UTF-8, and not too long.
func cut(text string) string {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	if len(text) <= maxText {
		return text
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// appendEvent appends a CloudEvent 1.0 in JSON, on one line.
func appendEvent(b []byte, e *Event) []byte {
	b = append(b, `{"specversion":"1.0","id":`...)
	b = appendText(b, e.ID)
	b = append(b, `,"source":`...)
	b = appendText(b, "/v1/tenants/"+e.Tenant)
	b = append(b, `,"type":`...)
	b = appendText(b, eventType+string(e.Kind))
	b = append(b, `,"subject":`...)
	b = appendText(b, e.Name)
	b = append(b, `,"time":"`...)
	b = e.Time.UTC().AppendFormat(b, timeForm)
	b = append(b, `","datacontenttype":"application/json","data":{"tenant":`...)
	b = appendText(b, e.Tenant)
	text := func(name, value string) {
		if value != "" {
			b = append(append(append(b, `,"`...), name...), `":`...)
			b = appendText(b, value)
		}
	}
	number := func(name string, n int64, always bool) {
		if n != 0 || always {
			b = append(append(append(b, `,"`...), name...), `":`...)
			b = strconv.AppendInt(b, n, 10)
		}
	}
	text("tenantId", e.TenantID)
	text("kind", string(e.Kind))
	text("name", e.Name)
	text("module", e.Module)
	number("revision", int64(e.Revision), false)
	text("digest", e.Digest)
	text("caller", e.Caller)
	text("code", e.Code.String())
	number("fuel", e.Fuel, false)
	number("queuedNs", int64(e.QueuedNS), false)
	number("wallNs", int64(e.WallNS), true)
	number("peakMemoryBytes", e.PeakMemoryBytes, false)
	number("egressBytes", e.EgressBytes, false)
	number("inputBytes", e.InputBytes, false)
	number("outputBytes", e.OutputBytes, false)
	number("inputTokens", e.InputTokens, false)
	number("cachedTokens", e.CachedTokens, false)
	number("outputTokens", e.OutputTokens, false)
	number("tokens", e.Tokens, false)
	if e.Capped {
		b = append(b, `,"capped":true`...)
	}
	if e.Estimated {
		b = append(b, `,"estimated":true`...)
	}
	if e.Priced != nil {
		b = strconv.AppendBool(append(b, `,"priced":`...), *e.Priced)
	}
	if e.Cost != nil {
		text("cost", e.Cost.String())
		text("currency", e.Currency)
	}
	number("count", e.Count, false)
	if !e.Since.IsZero() {
		text("since", e.Since.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano))
	}
	return append(b, "}}"...)
}

// appendText appends a JSON string. Names are mostly plain, which is told from others at a glance.
func appendText(b []byte, text string) []byte {
	text = cut(text)
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			raw, err := json.Marshal(text)
			if err != nil {
				return append(b, `""`...)
			}
			return append(b, raw...)
		}
	}
	b = append(b, '"')
	b = append(b, text...)
	return append(b, '"')
}

// Decode reads an event as sinks get it: a CloudEvent in JSON. It fails with INVALID_ARGUMENT for what is
// none of this package's. Members that are not known are passed over.
func Decode(raw []byte) (Event, error) {
	var e struct {
		SpecVersion string    `json:"specversion"`
		ID          string    `json:"id"`
		Type        string    `json:"type"`
		Time        time.Time `json:"time"`
		Data        *Event    `json:"data"`
	}
	if len(raw) > maxEventBytes {
		return Event{}, status.Errorf(status.InvalidArgument, "usage: an event of %d bytes exceeds the limit of %d", len(raw), maxEventBytes)
	}
	if err := schema.Decode(raw, &e, schema.IgnoreUnknown); err != nil {
		return Event{}, status.Errorf(status.InvalidArgument, "usage: event: %w", err)
	}
	if e.SpecVersion != "1.0" || e.ID == "" || e.Data == nil || e.Type != eventType+string(e.Data.Kind) {
		return Event{}, status.Errorf(status.InvalidArgument, "usage: it is no event of a call")
	}
	e.Data.ID, e.Data.Time = e.ID, e.Time
	return *e.Data, nil
}
