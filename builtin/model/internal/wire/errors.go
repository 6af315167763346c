package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// MaxMessageText bounds a text from a server that goes into an error or a finish
// message.
const MaxMessageText = 1 << 10

// maxErrorBody bounds how much of an error's body is read.
const maxErrorBody = 64 << 10

// codes are the types and codes of errors that say more than a number does.
var codes = map[string]status.Code{
	"context_length_exceeded": status.InvalidArgument, "validation": status.InvalidArgument,
	"invalid_api_key": status.Unauthenticated, "authentication_error": status.Unauthenticated,
	"permission_error": status.PermissionDenied, "model_not_found": status.NotFound, "not_found_error": status.NotFound,
	"rate_limit_exceeded": status.ResourceExhausted, "rate_limit_error": status.ResourceExhausted,
	"insufficient_quota": status.ResourceExhausted, "tokens": status.ResourceExhausted, "requests": status.ResourceExhausted,
	"overloaded_error": status.Unavailable, "overloaded": status.Unavailable, "service_unavailable": status.Unavailable, "timeout": status.DeadlineExceeded,
}

// amazon are the types of errors of AWS, in lower case, which say more than the HTTP status
// that they come with; in a stream they come without one.
var amazon = map[string]status.Code{
	"throttlingexception": status.ResourceExhausted, "toomanyrequestsexception": status.ResourceExhausted, "servicequotaexceededexception": status.ResourceExhausted,
	"validationexception": status.InvalidArgument, "accessdeniedexception": status.PermissionDenied, "unrecognizedclientexception": status.Unauthenticated,
	"expiredtokenexception": status.Unauthenticated, "resourcenotfoundexception": status.NotFound, "modeltimeoutexception": status.DeadlineExceeded,
	"modelnotreadyexception": status.Unavailable, "serviceunavailableexception": status.Unavailable, "modelerrorexception": status.Internal,
	"internalserverexception": status.Internal, "modelstreamerrorexception": status.Internal,
}

// generic are those that servers give to every error of a kind: a number says more.
var generic = map[string]status.Code{
	"invalid_request_error": status.InvalidArgument,
	"server_error":          status.Internal, "api_error": status.Internal, "internal_server_error": status.Internal,
	"internal_error": status.Internal, "error": status.Unknown, "internal": status.Internal, "unknown": status.Unknown,
}

// statusCodes are those of MiniMax, which stand in base_resp.
var statusCodes = map[string]status.Code{
	"1001": status.DeadlineExceeded, "1002": status.ResourceExhausted, "1004": status.Unauthenticated, "1008": status.FailedPrecondition,
	"1013": status.Internal, "1024": status.Internal, "1026": status.InvalidArgument, "1027": status.InvalidArgument,
	"1039": status.ResourceExhausted, "1041": status.ResourceExhausted, "1042": status.InvalidArgument,
	"2013": status.InvalidArgument, "2049": status.Unauthenticated, "2056": status.ResourceExhausted,
}

// status returns the status code of an error that came without an HTTP status: a specific
// name, else the HTTP status that it holds as a number, else a generic name. An error without
// any of them is UNKNOWN, which is not retried.
func (e Failure) status() status.Code {
	if e.Type == baseResp {
		return Or(statusCodes[e.Code], status.Unknown)
	}
	names := []string{e.Code, e.Type, e.Status}
	for _, name := range names {
		if c, ok := amazon[strings.ToLower(name)]; ok {
			return c
		}
		if _, vague := generic[strings.ToLower(name)]; vague {
			continue
		}
		if c, ok := codes[name]; ok {
			return c
		}
		if c, ok := status.Parse(name); ok && c != status.OK {
			return c
		}
	}
	numbered := fromHTTP(e.HTTP)
	for _, name := range names {
		c, vague := generic[strings.ToLower(name)]
		ofClient := c == status.InvalidArgument
		if vague && (numbered == status.Unknown || (ofClient && e.HTTP >= http.StatusInternalServerError)) {
			return c
		}
	}
	return numbered
}

// fromHTTP is the code of an HTTP status. A status from 400 to 499 that is not in the
// table is the client's error: another try would fail alike.
func fromHTTP(n int) status.Code {
	switch {
	case n < 300 || n > 599:
		return status.Unknown
	case n == http.StatusPaymentRequired:
		return status.FailedPrecondition
	}
	code := status.FromHTTP(n)
	if code == status.Unknown && n >= 400 && n < 500 {
		return status.InvalidArgument
	}
	return code
}

// errorDetails is Details of an error that the server reported.
type errorDetails struct {
	HTTPStatus int    `json:"httpStatus,omitempty"`
	Type       string `json:"type,omitempty"`
	Code       string `json:"code,omitempty"`
	RequestID  string `json:"requestId,omitempty"` // by which the server's people find it
}

// HTTPError turns an answer that is no success into an error. The server's own
// message is shown, cleaned; a body that is not the API's JSON, such as a proxy's
// page, is not. The body is returned too, as far as it was read.
func (s *Server) HTTPError(resp *http.Response, key string) (body []byte, err error) {
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return nil, status.Publicf(status.FailedPrecondition, "the server redirects to another place (HTTP %d): the base URL must be the final one", resp.StatusCode)
	}
	body, _ = io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what could be read may do
	e, ok := FailureOf(body)
	code := fromHTTP(resp.StatusCode)
	if status.FromHTTP(resp.StatusCode) == status.Unknown { // the body may know better
		if own := e.status(); own != status.Unknown {
			code = own
		}
	}
	if kind, _, _ := strings.Cut(resp.Header.Get("X-Amzn-Errortype"), ":"); kind != "" {
		e.Type = kind
		code = Or(amazon[strings.ToLower(kind)], code)
	}
	contentType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch text := strings.TrimSpace(string(body)); {
	case ok:
	case contentType == "text/plain" && text != "" && !LooksJSON(body) && !isPage(body):
		e.Message = text // a server's own framework refuses what it can't read
	default:
		e.Message = "the body is " + Or(Clip(contentType, 64), "of no known type") + ", not an error of the API"
	}
	if code == status.Unauthenticated && key == "" {
		e.Message += " (no API key is set: " + Or(s.KeyVariable, "Config.APIKey") + " or the request's config.apiKey)"
	}
	e.RequestID = Or(RequestID(resp.Header), e.RequestID)
	wait := Or(RetryAfter(resp.Header, time.Now()), e.RetryAfter)
	return body, s.Failure(code, "HTTP "+strconv.Itoa(resp.StatusCode), resp.StatusCode, e, key).WithRetryAfter(wait)
}

// FailureOf finds the error object; some servers put its fields at the top, and some
// wrap everything in a list.
func FailureOf(body []byte) (Failure, bool) {
	var list []json.RawMessage
	if json.Unmarshal(body, &list) == nil && len(list) > 0 {
		body = list[0]
	}
	var outer struct {
		Error json.RawMessage `json:"error"`
		Base  json.RawMessage `json:"base_resp"`
		// Errors is a list in other servers' place of error; the first counts.
		Errors []json.RawMessage `json:"errors"`
	}
	var broken *json.UnmarshalTypeError // errors may be something else, which says nothing
	if err := json.Unmarshal(body, &outer); err != nil && (!errors.As(err, &broken) || broken.Field == "") {
		return Failure{}, false
	}
	if refused := readBaseResp(outer.Base); refused != nil {
		return *refused, true
	}
	e := ReadFailure(body)
	if own := ReadFailure(outer.Error); own.Message != "" || (!IsNull(outer.Error) && e.Message == "") {
		own.Code, own.Type, own.Status, own.HTTP = Or(own.Code, e.Code), Or(own.Type, e.Type), Or(own.Status, e.Status), Or(own.HTTP, e.HTTP)
		own.RequestID = Or(own.RequestID, e.RequestID)
		e = own
	}
	if len(outer.Errors) > 0 {
		first := ReadFailure(outer.Errors[0])
		e.Code, e.Type, e.Status, e.HTTP = Or(e.Code, first.Code), Or(e.Type, first.Type), Or(e.Status, first.Status), Or(e.HTTP, first.HTTP)
	}
	return e, e.Message != ""
}

// BodyError is an error that a server reports in an answer that began well: the body
// that holds it, in any form that [FailureOf] knows.
func (s *Server) BodyError(body json.RawMessage, key string) error {
	e, _ := FailureOf(body)
	return s.Failure(e.status(), "the answer is an error", 0, e, key).WithRetryAfter(e.RetryAfter)
}

// IsFailure reports whether a document or an event says of itself that it is an error: by a
// field error, by its object or, where it has no choices, by MiniMax's base_resp. An error
// that says nothing ("", false, {}) counts only where it is all there is.
func IsFailure(raw json.RawMessage) bool {
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		return false
	}
	e, has := all["error"]
	switch {
	case has && !SaysNothing(e), has && !IsNull(e) && len(all) == 1, String(all["object"]) == "error":
		return true
	}
	return FailedBase(all["base_resp"]) && SaysNothing(all["choices"])
}

// FailedBase reports whether a base_resp of MiniMax is that of an error.
func FailedBase(raw json.RawMessage) bool { return readBaseResp(raw) != nil }

// SaysNothing reports whether a value is absent, null, false, 0, "", empty, or an object or
// list of such values.
func SaysNothing(raw json.RawMessage) bool { return saysNothing(raw, 0) }

func saysNothing(raw json.RawMessage, depth int) bool {
	switch text := strings.TrimSpace(string(raw)); {
	case text == "", text == "null", text == "false", text == "0", text == `""`, text == "{}", text == "[]":
		return true
	case depth == maxSentenceDepth:
		return false
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) == nil {
		for _, value := range object {
			if !saysNothing(value, depth+1) {
				return false
			}
		}
		return true
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return false
	}
	for _, value := range list {
		if !saysNothing(value, depth+1) {
			return false
		}
	}
	return true
}

// RequestID is the server's name of a request, as the answer's headers tell it.
func RequestID(h http.Header) string {
	return Clip(Or(h.Get("Request-Id"), Or(h.Get("X-Request-Id"), h.Get("X-Amzn-Requestid"))), maxRequestID)
}

const maxRequestID = 128

// EventError is an error that an event reports by its name: JSON, or words.
func (s *Server) EventError(data []byte, key string) error {
	if json.Valid(data) {
		return s.BodyError(data, key)
	}
	return s.Failure(status.Unknown, "the answer is an error", 0, Failure{Message: string(data)}, key)
}

// LooksJSON reports whether a text that is no JSON was meant to be: it is empty, or begins like
// an object, a list or a string. "[ERROR] no model" is text.
func LooksJSON(raw []byte) bool {
	text := bytes.TrimSpace(raw)
	if len(text) == 0 || text[0] == '{' || text[0] == '"' {
		return true
	}
	letter := len(text) > 1 && (text[1]|0x20) >= 'a' && (text[1]|0x20) <= 'z'
	return text[0] == '[' && !letter
}

// isPage reports whether a text is HTML or XML, such as a proxy's page.
func isPage(raw []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(raw), []byte("<")) }

// TextError is the error of an answer that is text in place of JSON: UNKNOWN, because what it
// says may be the client's fault. The text is shown, unless it is a page.
func (s *Server) TextError(text []byte, key string) error {
	e := Failure{Message: string(text)}
	if isPage(text) {
		e.Message = "a web page, not the API's: is the base URL right?"
	}
	return s.Failure(status.Unknown, "the answer is text", 0, e, key)
}

// EndError is the error of a stream that ended before its answer did: the text that stood in
// it beside its events, as some servers say what went wrong, else that it was cut off.
func (s *Server) EndError(stream Frames, key string) error {
	if stray := stream.Stray(); len(stray) > 0 {
		return s.TextError(stray, key)
	}
	return ErrEarlyEnd()
}

// Failure is an error of a code that shows what the server said, and in its details the
// HTTP status, where it is one, and the server's type and code of the error.
func (s *Server) Failure(code status.Code, what string, httpStatus int, e Failure, key string) *status.Error {
	text := s.Clean(e.Message, key, MaxMessageText)
	if text == "" {
		text = "no reason given"
	}
	return status.Publicf(code, "%s: %s: %s", s.Name, what, text).
		WithDetails(errorDetails{HTTPStatus: httpStatus, Type: s.Clean(e.Type, key, 64), Code: s.Clean(e.Code, key, 64), RequestID: s.Clean(e.RequestID, key, maxRequestID)})
}

// Clean makes a server's text fit to be shown: on one line, without the keys that
// it may echo, and short. The keys go first, so that no part of one survives.
func (s *Server) Clean(text, key string, limit int) string {
	const shortest = 4 // below it a text says nothing, and would be found everywhere
	text = OneLine(text)
	for _, secret := range s.secrets(key) {
		if len(secret) >= shortest {
			text = strings.ReplaceAll(text, secret, "[hidden]")
		}
	}
	return Clip(text, limit)
}

// secrets are the keys and the values of the configured headers, longest first, so
// that none is found within another. Of a value such as "Bearer sk-…" the words count
// too, but short ones, which name a scheme.
func (s *Server) secrets(key string) []string {
	const shortestWord = 8
	secrets := []string{key, s.APIKey}
	for _, values := range s.Headers {
		for _, value := range values {
			value = OneLine(value)
			secrets = append(secrets, value)
			for word := range strings.FieldsSeq(value) {
				if len(word) >= shortestWord {
					secrets = append(secrets, word)
				}
			}
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	return secrets
}

// NetworkError says why no answer came: the caller's context first, then the
// limits of this package, then the network.
func (s *Server) NetworkError(ctx context.Context, what, key string, err error) error {
	var own *status.Error
	switch {
	case ctx.Err() != nil:
		return status.Errorf(status.Of(ctx.Err()), "%s: %s: %w", s.Name, what, ctx.Err())
	case errors.As(err, &own):
		return own
	case errors.Is(err, io.ErrUnexpectedEOF):
		return ErrEarlyEnd().WithCause(err)
	}
	var wrapped *url.Error // its text repeats the URL
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	code := status.Unavailable
	if wrapped != nil && wrapped.Timeout() {
		code = status.DeadlineExceeded
	}
	// The URL holds neither user nor query; it is what an operator has to look at.
	return status.Publicf(code, "%s: %s: the model server at %s can't be reached: %s", s.Name, what, s.BaseURL, networkReason(err)).
		WithCause(errors.New(s.Clean(err.Error(), key, MaxMessageText)))
}

// networkReason describes a fault of a connection, without addresses.
func networkReason(err error) string {
	var unknownHost *net.DNSError
	var certificate *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case errors.As(err, &unknownHost):
		return "its host is not known"
	case errors.As(err, &certificate):
		return "its certificate is not trusted"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "it refuses connections; is it running?"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		return "it closed the connection"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "it does not answer in time"
	}
	return "the network failed"
}

// ErrEarlyEnd is the error of an answer that was cut off: UNAVAILABLE.
func ErrEarlyEnd() *status.Error {
	return status.Publicf(status.Unavailable, "the server's answer ended early")
}

// maxRetryAfter is the longest wait that a server can ask for.
const maxRetryAfter = 24 * time.Hour

// RetryAfter reads how long a server asks to wait: retry-after-ms, or Retry-After
// in seconds or as a date. 0 when it says nothing.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	var wait time.Duration
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil {
		wait = duration(ms, time.Millisecond)
	} else if s, err := strconv.ParseFloat(h.Get("Retry-After"), 64); err == nil {
		wait = duration(s, time.Second)
	} else if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// duration is 0 for what is not a number of at least 0.
func duration(n float64, unit time.Duration) time.Duration {
	if math.IsNaN(n) || n <= 0 {
		return 0
	}
	if n > float64(maxRetryAfter/unit) {
		return maxRetryAfter
	}
	return time.Duration(n * float64(unit))
}
