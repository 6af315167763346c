package wire

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Failure is a server's error object. On the wire Code is a string, a number or null;
// Status is Google's name of it.
type Failure struct {
	Message string
	Type    string
	Code    string
	Status  string
	// HTTP is an HTTP status among the error's numbers, 0 where there is none.
	HTTP int
	// RequestID is the server's name of the request.
	RequestID string
	// RetryAfter is how long the server asks to wait, as Google's RetryInfo says it.
	RetryAfter time.Duration
}

// ReadFailure reads {message, type, code}, or a bare string.
func ReadFailure(raw json.RawMessage) Failure {
	var fields struct {
		Type     json.RawMessage `json:"type"`
		Kind     json.RawMessage `json:"error_type"`
		Code     json.RawMessage `json:"code"`
		Status   json.RawMessage `json:"status"`
		HTTP     json.RawMessage `json:"status_code"`
		Metadata json.RawMessage `json:"metadata"`
		Request  json.RawMessage `json:"request_id"`
		Details  json.RawMessage `json:"details"`
	}
	e := Failure{Message: sentence(raw, 0)}
	if json.Unmarshal(raw, &fields) != nil {
		return e
	}
	e.Type, e.Code, e.Status = Or(String(fields.Type), String(fields.Kind)), String(fields.Code), String(fields.Status)
	for _, raw := range []json.RawMessage{fields.Code, fields.Status, fields.HTTP} {
		if n, err := strconv.Atoi(TextOf(raw)); err == nil && n >= 300 && n <= 599 && e.HTTP == 0 {
			e.HTTP = n
		}
	}
	if n, ok := Number(fields.Code); ok {
		e.Code = n.String()
	}
	if n, ok := Number(fields.Status); ok && e.Code == "" {
		e.Code = n.String()
	}
	e.RequestID = Clip(String(fields.Request), maxRequestID)
	var details []struct {
		RetryDelay string `json:"retryDelay"`
	}
	_ = json.Unmarshal(fields.Details, &details) // others write something else there
	for _, d := range details {
		if wait, err := time.ParseDuration(d.RetryDelay); err == nil {
			e.RetryAfter = min(max(wait, 0), maxRetryAfter)
		}
	}
	// OpenRouter quotes the server behind it.
	var metadata struct {
		Raw json.RawMessage `json:"raw"`
	}
	_ = json.Unmarshal(fields.Metadata, &metadata) // others write something else there
	if inner := sentence(metadata.Raw, 0); inner != "" && inner != e.Message {
		e.Message = strings.TrimPrefix(e.Message+": "+inner, ": ")
	}
	return e
}

// baseResp is the type of an error of MiniMax.
const baseResp = "base_resp"

// readBaseResp reads MiniMax's {"status_code":1004,"status_msg":"login fail"}; nil is none, or
// a success, of which the code is 0.
func readBaseResp(raw json.RawMessage) *Failure {
	var base struct {
		Code json.RawMessage `json:"status_code"`
		Text json.RawMessage `json:"status_msg"`
	}
	if json.Unmarshal(raw, &base) != nil || SaysNothing(base.Code) || String(base.Code) == "0" {
		return nil
	}
	return &Failure{Message: Or(String(base.Text), "status code "+TextOf(base.Code)), Type: baseResp, Code: TextOf(base.Code)}
}

const (
	// maxSentenceDepth bounds how deep a server's sentence may lie in its error.
	maxSentenceDepth = 6
	// maxSentences bounds how many of a list are shown.
	maxSentences = 3
)

// sentenceFields are where servers write what is wrong, in the order of preference.
var sentenceFields = []string{"message", "Message", "msg", "detail", "details", "error", "errors", "error_msg", "error_description", "status_msg", "reason", "title"}

// sentence finds the message of a server's error: a string, JSON in a string, or that of an
// object or a list which holds it, such as FastAPI's
// {"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}.
func sentence(raw json.RawMessage, depth int) string {
	if IsNull(raw) || depth > maxSentenceDepth {
		return ""
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if inner := json.RawMessage(strings.TrimSpace(text)); len(inner) > 0 && (inner[0] == '{' || inner[0] == '[') {
			return Or(sentence(inner, depth+1), text)
		}
		return text
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		var all []string
		for _, item := range list[:min(len(list), maxSentences)] {
			if s := sentence(item, depth+1); s != "" {
				all = append(all, s)
			}
		}
		return strings.Join(all, "; ")
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil {
		return ""
	}
	for _, name := range sentenceFields {
		if s := sentence(object[name], depth+1); s != "" {
			return strings.TrimPrefix(place(object["loc"])+": "+s, ": ")
		}
	}
	return ""
}

// place writes a location such as ["body", "messages", 0] with dots.
func place(raw json.RawMessage) string {
	var steps []json.RawMessage
	_ = json.Unmarshal(raw, &steps) // no list is no place
	var names []string
	for _, step := range steps[:min(len(steps), maxSentenceDepth)] {
		n, _ := Number(step)
		names = append(names, Or(String(step), n.String()))
	}
	return strings.Join(names, ".")
}
