package openai_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/retry"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// assertNoKey looks for the test's key in everything that an error can show.
func assertNoKey(t *testing.T, err error) {
	t.Helper()
	e := status.Convert(err)
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v", e, e), string(e.Details), toJSON(t, status.ToWire(err, true))} {
		assert.NotContains(t, text, testKey)
		assert.NotContains(t, text, testKey[:12])
	}
}

func TestHTTPErrors(t *testing.T) {
	quota := `{"error":{"message":"Rate limit reached for gpt-4o","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`
	cases := []struct {
		name    string
		code    int
		header  map[string]string
		body    string
		want    status.Code
		message string
		wait    time.Duration
	}{
		{name: "bad request", code: 400, body: `{"error":{"message":"Invalid 'temperature'","type":"invalid_request_error","param":"temperature","code":null}}`, want: status.InvalidArgument, message: "openai: HTTP 400: Invalid 'temperature'"},
		{name: "a wrong key, echoed", code: 401, body: `{"error":{"message":"Incorrect API key provided: ` + testKey + `.","type":"invalid_request_error","code":"invalid_api_key"}}`, want: status.Unauthenticated, message: "openai: HTTP 401: Incorrect API key provided: [hidden]."},
		{name: "forbidden", code: 403, body: `{"error":{"message":"Country not supported","type":"request_forbidden"}}`, want: status.PermissionDenied, message: "Country not supported"},
		{name: "no such model", code: 404, body: `{"error":{"message":"The model 'x' does not exist","code":"model_not_found"}}`, want: status.NotFound, message: "The model 'x' does not exist"},
		{name: "too large, by its type", code: 413, body: `{"error":{"message":"too large","type":"invalid_request_error"}}`, want: status.InvalidArgument, message: "too large"},
		{name: "rate limit in seconds", code: 429, header: map[string]string{"Retry-After": "7"}, body: quota, want: status.ResourceExhausted, message: "Rate limit reached", wait: 7 * time.Second},
		{name: "rate limit in milliseconds", code: 429, header: map[string]string{"Retry-After": "7", "Retry-After-Ms": "120.5"}, body: quota, want: status.ResourceExhausted, message: "Rate limit reached", wait: 120500 * time.Microsecond},
		{name: "server error", code: 500, body: `{"error":{"message":"The server had an error","type":"server_error"}}`, want: status.Internal, message: "The server had an error"},
		{name: "unavailable", code: 503, body: `{"error":{"message":"overloaded","code":503}}`, header: map[string]string{"Retry-After": "1.5"}, want: status.Unavailable, message: "overloaded", wait: 1500 * time.Millisecond},
		{name: "overloaded", code: 529, body: `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, want: status.Internal, message: "Overloaded"},
		{name: "a gateway's page", code: 502, header: map[string]string{"Content-Type": "text/html; charset=utf-8"}, body: "<html>secret host 10.0.0.7</html>", want: status.Internal, message: "openai: HTTP 502: the body is text/html, not an error of the API"},
		{name: "nothing at all", code: 504, body: "", want: status.DeadlineExceeded, message: "HTTP 504"},
		{name: "fields at the top", code: 422, body: `{"object":"error","message":"bad","type":"invalid_request_error"}`, want: status.InvalidArgument, message: "bad"},
		{name: "text instead of an object", code: 400, body: `{"error":"model not loaded"}`, want: status.InvalidArgument, message: "model not loaded"},
		{name: "a list around it", code: 400, body: `[{"error":{"code":400,"message":"listed"}}]`, want: status.InvalidArgument, message: "listed"},
		{name: "control characters", code: 400, body: `{"error":{"message":"a\u0000\u001b[31mb\r\nc\u202ed"}}`, want: status.InvalidArgument, message: "openai: HTTP 400: a[31mb  cd"},
		{name: "a message without end", code: 400, body: `{"error":{"message":"` + strings.Repeat("é", 5000) + `"}}`, want: status.InvalidArgument, message: "é…"},
		{name: "a body without end", code: 500, body: strings.Repeat("x", 1<<20), want: status.Internal, message: "not an error of the API"},
		{name: "formatting verbs", code: 400, body: `{"error":{"message":"100%s %d"}}`, want: status.InvalidArgument, message: "100%s %d"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			for _, streaming := range []bool{false, true} {
				s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					for k, v := range tc.header {
						w.Header().Set(k, v)
					}
					w.WriteHeader(tc.code)
					_, _ = w.Write([]byte(tc.body))
				})
				_, _, err := generate(t.Context(), newModel(t, s), hello(), streaming)
				require.Error(t, err)
				e := status.Convert(err)
				assert.Equal(t, tc.want, e.Code)
				assert.True(t, e.Public())
				assert.Contains(t, e.Message, tc.message)
				assert.Less(t, len(e.Message), 1200)
				assert.Equal(t, tc.wait, e.RetryAfter)
				var details struct{ HTTPStatus int }
				require.NoError(t, json.Unmarshal(e.Details, &details))
				assert.Equal(t, tc.code, details.HTTPStatus)
				assertNoKey(t, err)
			}
		})
	}
}

func TestErrorBodiesKeepTheirSentence(t *testing.T) {
	for body, want := range map[string]string{
		`{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","foo"],"msg":"Extra inputs are not permitted","input":true}]},"type":"invalid_request_error"}`: "body.foo: Extra inputs are not permitted",
		`{"detail":[{"loc":["body","messages",0],"msg":"a"},{"msg":"b"}]}`:                   "body.messages.0: a; b",
		`{"detail":"Not authenticated"}`:                                                     "Not authenticated",
		`{"object":"error","message":"{\"detail\":[{\"msg\":\"too long\"}]}","code":"1000"}`: "too long",
		`{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"no such tool\"}}","provider_name":"Groq"}}}`: "Provider returned error: no such tool",
		`{"error":{"message":["x","y"]}}`:                                 "x; y",
		`{"error":"e","message":"m"}`:                                     "e",
		`{"error":true,"message":"m"}`:                                    "m",
		`{"error":{"type":"t"},"message":"m"}`:                            "m",
		`{"msg":"m"}`:                                                     "m",
		`{"errors":[{"message":"first"}]}`:                                "first",
		`{"error":{"message":{"a":{"b":"deep"}}}}`:                        "not an error of the API",
		`{"error":{"message":"{not json}"}}`:                              "{not json}",
		strings.Repeat(`{"error":`, 30) + `"x"` + strings.Repeat("}", 30): "not an error of the API",
	} {
		_, _, err := generate(t.Context(), newModel(t, serve(t, document(422, body))), hello(), false)
		require.ErrorIs(t, err, status.ErrInvalidArgument, body)
		assert.Contains(t, status.ToWire(err, false).Message, "HTTP 422: "+strings.Replace(want, "not an error", "the body is application/json, not an error", 1), body)
	}
}

func TestStatusesThatTheTableLacks(t *testing.T) {
	for httpStatus, want := range map[int]status.Code{402: status.FailedPrecondition, 405: status.InvalidArgument, 413: status.InvalidArgument, 418: status.InvalidArgument, 422: status.InvalidArgument, 451: status.InvalidArgument, 529: status.Internal} {
		_, _, err := generate(t.Context(), newModel(t, serve(t, document(httpStatus, `{"error":{"message":"x"}}`))), hello(), false)
		assert.Equal(t, want, status.Of(err), httpStatus)
	}
}

// Errors that come after the server has said 200, in every form that servers use. None
// that is the client's fault may be tried again.
func TestErrorsInsideAnAnswer(t *testing.T) {
	const object = `{"error":{"message":"too many tokens","type":"invalid_request_error","code":400}}`
	for name, c := range map[string]struct {
		text    string // the server's stream
		bare    bool   // it is an answer to a request without a stream, too
		want    status.Code
		message string
	}{
		"data":                                {text: data(pieceHi, object), want: status.InvalidArgument, message: "too many tokens"},
		"an error line":                       {text: "error: " + object + "\n\n", want: status.InvalidArgument, message: "too many tokens"},
		"an error line after data":            {text: "data: " + pieceHi + "\n\nerror: " + object, want: status.InvalidArgument, message: "too many tokens"},
		"an error line without wrapping":      {text: `error: {"message":"slow down","code":429}` + "\n\n", want: status.ResourceExhausted, message: "slow down"},
		"an error line of words":              {text: "error: out of memory\n\n", want: status.Unknown, message: "out of memory"},
		"an error event":                      {text: "event: error\ndata: {\"message\":\"overloaded\",\"code\":503}\n\n", want: status.Unavailable, message: "overloaded"},
		"an error event, named last":          {text: "data: {\"message\":\"bad\",\"type\":\"invalid_request_error\"}\nevent: error\n\n", want: status.InvalidArgument, message: "bad"},
		"an error event of Anthropic":         {text: "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n", want: status.Unavailable, message: "Overloaded"},
		"fields at the top":                   {text: data(`{"object":"error","message":"no such model","type":"NotFoundError","code":404}`), want: status.NotFound, message: "no such model"},
		"fields at the top, code a text":      {text: data(`{"object":"error","message":"bad role","code":"400"}`), want: status.InvalidArgument, message: "bad role"},
		"a document":                          {text: object, bare: true, want: status.InvalidArgument, message: "too many tokens"},
		"a document over several lines":       {text: "{\n  \"error\": {\n    \"code\": 400,\n\n    \"message\": \"too many tokens\"\n  }\n}\n", bare: true, want: status.InvalidArgument, message: "too many tokens"},
		"a document after data":               {text: "data: " + pieceHi + "\n\n" + object, want: status.InvalidArgument, message: "too many tokens"},
		"a list, Google's status":             {text: `[{"error":{"code":400,"message":"bad schema","status":"INVALID_ARGUMENT"}}]`, bare: true, want: status.InvalidArgument, message: "bad schema"},
		"Google's status alone":               {text: `{"error":{"message":"quota","status":"RESOURCE_EXHAUSTED"}}`, bare: true, want: status.ResourceExhausted, message: "quota"},
		"a detail":                            {text: `{"detail":"Input should be a valid string"}`, bare: true, want: status.Unknown, message: "Input should be a valid string"},
		"a code without a row":                {text: `{"error":{"code":422,"message":"unprocessable"}}`, bare: true, want: status.InvalidArgument, message: "unprocessable"},
		"nothing that is known":               {text: `{"error":{"message":"odd","code":"zz","type":"zz"}}`, bare: true, want: status.Unknown, message: "odd"},
		"a number beside a generic type":      {text: `{"error":{"message":"bad image","type":"api_error","code":400}}`, bare: true, want: status.InvalidArgument, message: "bad image"},
		"the same of a server's own":          {text: `{"error":{"message":"bad image","type":"server_error","code":"400"}}`, bare: true, want: status.InvalidArgument, message: "bad image"},
		"a status that is a number":           {text: `{"error":{"message":"no model","type":"api_error","status":404}}`, bare: true, want: status.NotFound, message: "no model"},
		"a number behind a code's name":       {text: `{"error":{"message":"busy","type":"api_error","code":"odd","status_code":503}}`, bare: true, want: status.Unavailable, message: "busy"},
		"a client's type, a limit's number":   {text: `{"error":{"message":"slow","type":"invalid_request_error","code":429}}`, bare: true, want: status.ResourceExhausted, message: "slow"},
		"a client's type, a server's number":  {text: `{"error":{"message":"bad","type":"invalid_request_error","code":500}}`, bare: true, want: status.InvalidArgument, message: "bad"},
		"a specific type, any number":         {text: `{"error":{"message":"slow","type":"rate_limit_error","code":400}}`, bare: true, want: status.ResourceExhausted, message: "slow"},
		"a number outside, a key's error":     {text: `{"message":"no","type":"api_error","code":401}`, bare: true, want: status.Unauthenticated, message: "no"},
		"a generic type alone":                {text: `{"error":{"message":"oops","type":"api_error","code":"x"}}`, bare: true, want: status.Internal, message: "oops"},
		"a number that is no status":          {text: `{"error":{"message":"oops","type":"server_error","code":1302}}`, bare: true, want: status.Internal, message: "oops"},
		"Google's internal, a number":         {text: `{"error":{"message":"bad","status":"INTERNAL","code":400}}`, bare: true, want: status.InvalidArgument, message: "bad"},
		"a list of errors":                    {text: `{"errors":[{"message":"nope","code":400},{"message":"no","code":500}]}`, bare: true, want: status.InvalidArgument, message: "nope; no"},
		"errors that are no list":             {text: `{"errors":"nope","code":400}`, bare: true, want: status.InvalidArgument, message: "nope"},
		"Text Generation Inference":           {text: `{"error":"Input validation error","error_type":"validation"}`, bare: true, want: status.InvalidArgument, message: "Input validation error"},
		"MiniMax, login":                      {text: `{"choices":null,"base_resp":{"status_code":1004,"status_msg":"login fail"}}`, bare: true, want: status.Unauthenticated, message: "login fail"},
		"MiniMax, rate":                       {text: `{"id":"x","choices":[],"base_resp":{"status_code":1002,"status_msg":"rate limit"}}`, bare: true, want: status.ResourceExhausted, message: "rate limit"},
		"MiniMax, a number that is not known": {text: `{"base_resp":{"status_code":9999}}`, bare: true, want: status.Unknown, message: "status code 9999"},
		"an echoed key":                       {text: `{"error":{"message":"key ` + testKey + `","code":401}}`, bare: true, want: status.Unauthenticated, message: "key [hidden]"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, streaming := range []bool{true, false} {
				if !streaming && !c.bare {
					continue
				}
				s := serve(t, stream(c.text))
				if !streaming {
					s = serve(t, document(200, c.text))
				}
				m := newModel(t, s)
				f, err := retry.New(retry.Options{})
				require.NoError(t, err)
				hooks, err := f.New(t.Context(), json.RawMessage(`{"maxRetries":2,"initialDelayMs":0,"noJitter":true}`))
				require.NoError(t, err)
				var send model.Send
				if streaming {
					send = func(*model.Chunk) error { return nil }
				}
				_, err = hooks.Model(t.Context(), &middleware.ModelCall{Request: hello(), Send: send, Model: m}, func(ctx context.Context, call *middleware.ModelCall) (*model.Response, error) {
					return m.Generate(ctx, call.Request, call.Send)
				})
				require.Error(t, err)
				assert.Equal(t, c.want, status.Of(err), "%v", err)
				assert.Contains(t, status.ToWire(err, false).Message, c.message)
				assertNoKey(t, err)
				again := c.want == status.ResourceExhausted || c.want == status.Unavailable || c.want == status.Internal
				assert.Equal(t, again, s.calls() > 1, "retried")
			}
		})
	}
}

func TestTextInPlaceOfADocumentKeepsItsSentence(t *testing.T) {
	for body, want := range map[string]string{
		"upstream says: model not loaded\n":      "openai: the answer is text: upstream says: model not loaded",
		"502 Bad Gateway, key " + testKey:        "openai: the answer is text: 502 Bad Gateway, key [hidden]",
		"[ERROR] no model":                       "openai: the answer is text: [ERROR] no model",
		"<html>secret host 10.0.0.7</html>":      "openai: the answer is text: a web page, not the API's: is the base URL right?",
		strings.Repeat("no end of words ", 9999): "…",
	} {
		_, _, err := generate(t.Context(), newModel(t, serve(t, document(200, body))), hello(), false)
		require.Error(t, err)
		assert.Equal(t, status.Unknown, status.Of(err), "not tried again: %s", want)
		assert.Contains(t, status.ToWire(err, false).Message, want)
		assert.NotContains(t, err.Error(), "10.0.0.7")
		assertNoKey(t, err)
	}
	// A framework refuses in plain text what it can't read.
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "messages[0].role: unknown variant", http.StatusUnprocessableEntity)
	})
	_, _, err := generate(t.Context(), newModel(t, s), hello(), false)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Contains(t, status.ToWire(err, false).Message, "HTTP 422: messages[0].role: unknown variant")
}

func TestAnErrorOfMiniMaxBesideAChoiceIsTold(t *testing.T) {
	resp, _, err := generate(t.Context(), newModel(t, serve(t, document(200, `{"choices":[{"message":`+asks(wireCall("1", "f", "{}"))+`,"finish_reason":"stop"}],"base_resp":{"status_code":1027,"status_msg":"output sensitive"}}`))), hello(), false)
	require.NoError(t, err)
	assert.Equal(t, model.FinishOther, resp.FinishReason)
	assert.Equal(t, `output sensitive; the answer was not finished; tool calls left out: "f"`, resp.FinishMessage)
	assert.Empty(t, resp.ToolRequests())
}

func TestAnErrorOfTheChoiceEndsAStream(t *testing.T) {
	s := serve(t, stream(`data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":null,"error":{"message":"lost","code":502}}]}`+"\n\n"))
	resp, _, err := generate(t.Context(), newModel(t, s), hello(), true)
	require.NoError(t, err, "no [DONE] and no finish reason follow")
	assert.Equal(t, "Hi", resp.Text())
	assert.Equal(t, model.FinishOther, resp.FinishReason)
	assert.Equal(t, "lost", resp.FinishMessage)
}

func TestADocumentInPlaceOfAStreamIsRead(t *testing.T) {
	s := serve(t, stream(plain)) // as text/event-stream, over several lines
	resp, chunks, err := generate(t.Context(), newModel(t, s), hello(), true)
	require.NoError(t, err)
	assert.Equal(t, "Hello there.", resp.Text())
	assertChunksAddUp(t, chunks, resp)
}

func TestHeaderValuesAreHidden(t *testing.T) {
	secret := "tok-0123456789-secret"
	headers := http.Header{"X-Gateway": {secret}, "Authorization": {"Token  " + secret + "-two"}, "X-Short": {"abc"}}
	echo := `{"error":{"message":"denied for ` + secret + ` and ` + secret + `-two and abc","type":"` + secret + `","code":"` + secret + `-two"}}`
	for name, answer := range map[string]http.HandlerFunc{
		"status": document(403, echo), "body": document(200, echo), "stream": stream(data(echo)), "choice": document(200, `{"choices":[{"message":{"content":""},"finish_reason":"stop","error":{"message":"`+secret+`-two"}}]}`),
	} {
		for _, streaming := range []bool{false, true} {
			m := newModel(t, serve(t, answer), func(c *openai.Config) { c.Headers, c.APIKey = headers, "" })
			resp, _, err := generate(t.Context(), m, hello(), streaming)
			if name == "choice" {
				require.NoError(t, err)
				assert.Equal(t, "[hidden]", resp.FinishMessage)
				continue
			}
			if name == "stream" && !streaming {
				continue
			}
			require.Error(t, err)
			e := status.Convert(err)
			assert.Contains(t, e.Message, "denied for [hidden] and [hidden] and abc", name)
			assert.NotContains(t, err.Error()+string(e.Details), "0123456789", name)
		}
	}
	broken := roundTrip(func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("proxy said %s", secret) })
	p := newProvider(t, openai.Config{Headers: headers, HTTPClient: &http.Client{Transport: broken}})
	_, _, err := generate(t.Context(), resolve(t, p, "m"), hello(), false)
	require.ErrorIs(t, err, status.ErrUnavailable)
	assert.NotContains(t, err.Error(), "0123456789")
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "5": 5 * time.Second, "0.25": 250 * time.Millisecond, "-3": 0, "NaN": 0, "soon": 0,
		"Fri, 21 Aug 2026 12:01:30 GMT": 90 * time.Second, "Fri, 21 Aug 2026 11:00:00 GMT": 0,
		"1e300": 24 * time.Hour, "Fri, 21 Aug 2099 11:00:00 GMT": 24 * time.Hour,
	} {
		assert.Equal(t, want, openai.RetryAfter(http.Header{"Retry-After": {value}}, now), value)
	}
	assert.Equal(t, 2*time.Second, openai.RetryAfter(http.Header{"Retry-After-Ms": {"x"}, "Retry-After": {"2"}}, now))
}

func TestAnswerOverTheLimit(t *testing.T) {
	s := serve(t, document(200, plain))
	for limit, want := range map[int64]status.Code{int64(len(plain)): status.OK, int64(len(plain)) - 1: status.ResourceExhausted, 1: status.ResourceExhausted} {
		_, _, err := generate(t.Context(), newModel(t, s, func(c *openai.Config) { c.MaxResponseBytes = limit }), hello(), false)
		assert.Equal(t, want, status.Of(err), "limit %d", limit)
	}
}

func TestServerThatCanNotBeReached(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	p := newProvider(t, openai.Config{BaseURL: s.URL, APIKey: testKey})
	_, _, err := generate(t.Context(), resolve(t, p, "m"), hello(), false)
	require.ErrorIs(t, err, status.ErrUnavailable)
	assert.Equal(t, "openai: ask: the model server at "+s.URL+" can't be reached: it refuses connections; is it running?", status.ToWire(err, false).Message)
	assertNoKey(t, err)
	_, err = p.Models(t.Context())
	require.ErrorIs(t, err, status.ErrUnavailable)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = generate(ctx, resolve(t, p, "m"), hello(), false)
	require.ErrorIs(t, err, status.ErrCancelled)
}

func TestAnswerThatIsCutShort(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(plain[:100]))
	})
	_, _, err := generate(t.Context(), newModel(t, s), hello(), false)
	require.ErrorIs(t, err, status.ErrUnavailable)
}

func TestRedirectsStayOnTheServer(t *testing.T) {
	other := serve(t, document(200, plain))
	home := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away/chat/completions":
			http.Redirect(w, r, other.URL+"/chat/completions", http.StatusTemporaryRedirect)
		case "/get/chat/completions":
			http.Redirect(w, r, "/here", http.StatusFound)
		case "/loop/chat/completions":
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		case "/moved/chat/completions":
			http.Redirect(w, r, "/here", http.StatusPermanentRedirect)
		default:
			document(200, plain)(w, r)
		}
	})
	for path, want := range map[string]status.Code{"/away": status.FailedPrecondition, "/get": status.FailedPrecondition, "/loop": status.FailedPrecondition, "/moved": status.OK} {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		p := newProvider(t, openai.Config{BaseURL: home.URL + path, APIKey: testKey, Headers: http.Header{"X-Api-Key": {testKey}}, HTTPClient: client})
		resp, _, err := generate(t.Context(), resolve(t, p, "m"), hello(), false)
		assert.Equal(t, want, status.Of(err), path)
		assert.Nil(t, client.CheckRedirect, "the caller's client is not changed")
		if want == status.OK {
			assert.Equal(t, "Hello there.", resp.Text())
			assert.Equal(t, home.body(home.calls()-2), home.body(home.calls()-1))
		}
	}
	assert.Zero(t, other.calls(), "neither key nor prompt left")
}
