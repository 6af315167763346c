package openai_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const (
	pieceHi   = `{"choices":[{"index":0,"delta":{"content":"Hi"}}]}`
	pieceStop = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
)

func TestStreamsOfEveryShape(t *testing.T) {
	cases := []struct {
		name, text string
		code       status.Code
		message    string
	}{
		{name: "as recorded", text: data(pieceHi, pieceStop)},
		{name: "CRLF", text: strings.ReplaceAll(data(pieceHi, pieceStop), "\n", "\r\n")},
		{name: "CR", text: strings.ReplaceAll(data(pieceHi, pieceStop), "\n", "\r")},
		{name: "comments, other fields and a byte order mark", text: "\uFEFF: OPENROUTER PROCESSING\n\nevent: message\nid: 1\nretry: 10\ndata:" + pieceHi + "\n\n:\n\n" + data(pieceStop)},
		{name: "data over several lines", text: "data: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"Hi\"},\ndata:\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"},
		{name: "no [DONE] behind a finish reason", text: "data: " + pieceHi + "\n\ndata: " + pieceStop + "\n\n"},
		{name: "no empty line at the end", text: "data: " + pieceHi + "\n\ndata: " + pieceStop},
		{name: "[DONE] without an empty line", text: "data: " + pieceHi + "\n\ndata: " + pieceStop + "\n\ndata: [DONE]"},
		{name: "[DONE] without a finish reason", text: data(pieceHi)},
		{name: "what follows [DONE] is not read", text: data(pieceHi, pieceStop) + "data: garbage\n\n"},
		{name: "empty events", text: "data:\n\ndata\n\n" + data(pieceHi, pieceStop)},

		{name: "nothing", text: "", code: status.Unavailable, message: "ended early"},
		{name: "no [DONE] and no finish reason", text: "data: " + pieceHi + "\n\n", code: status.Unavailable, message: "ended early"},
		{name: "cut in an event", text: "data: " + pieceHi + "\n\ndata: {\"choices\":[{\"ind", code: status.Unavailable, message: "ended early"},
		{name: "cut in an event behind a finish reason", text: "data: " + pieceStop + "\n\ndata: {\"usa", code: status.Unavailable, message: "ended early"},
		{name: "garbage", text: data(pieceHi, `{"choices":[}`), code: status.Internal, message: "not valid JSON"},
		{name: "text that is not UTF-8", text: data("{\"choices\":[],\"x\":\"\xff\"}"), code: status.Internal, message: "UTF-8"},
		{name: "another form", text: data(`{"choices":{"a":1}}`), code: status.Internal, message: "form"},
		{name: "deep nesting", text: data(strings.Repeat("[", 5000)), code: status.Internal, message: "nested"},
		{name: "a page", text: "<html>\n<body>bad gateway</body>\n</html>\n", code: status.Unknown, message: "a web page"},
		{name: "words", text: "Error: context length exceeded\n", code: status.Unknown, message: "the answer is text: Error: context length exceeded"},
		{name: "words over lines, without an end", text: "upstream says:\nout of memory", code: status.Unknown, message: "upstream says: out of memory"},
		{name: "words behind data", text: "data: " + pieceHi + "\n\nError: out of memory\n\n", code: status.Unknown, message: "Error: out of memory"},
		{name: "words before [DONE]", text: "no model loaded\n\n" + data(), code: status.Unknown, message: "no model loaded"},
		{name: "words as data", text: "data: error: something bad\n\n", code: status.Unknown, message: "error: something bad"},
		{name: "words as data, in brackets", text: "data: [ERROR] no model", code: status.Unknown, message: "[ERROR] no model"},
		{name: "an error line of words without an end", text: "error: out of memory", code: status.Unknown, message: "out of memory"},
		{name: "words that echo the key", text: "bad key " + testKey + "\n", code: status.Unknown, message: "bad key [hidden]"},
		{name: "words without end", text: strings.Repeat("words and\n", 5<<10), code: status.Unknown, message: "…"},
		{name: "words beside an answer", text: "warming up\n\n" + data(pieceHi, pieceStop)},
		{name: "cut in the name of a field", text: "data: " + pieceHi + "\n\ndat", code: status.Unavailable, message: "ended early"},
		{name: "a good piece with an empty error", text: data(strings.Replace(pieceHi, "{", `{"error":{},`, 1), strings.Replace(pieceStop, "{", `{"error":{"message":null,"code":0,"details":[]},`, 1))},
		{name: "a good piece with an error that is no object", text: data(strings.Replace(pieceHi, "{", `{"error":"",`, 1), strings.Replace(pieceHi, "Hi", "", 1), strings.Replace(pieceStop, "{", `{"error":false,`, 1), `{"error":{},"choices":[],"usage":{"total_tokens":1}}`)},
		{name: "good pieces whose calls are no list", text: data(strings.Replace(pieceHi, `"content"`, `"tool_calls":"","content"`, 1), strings.Replace(pieceStop, `"delta":{`, `"delta":{"tool_calls":{}`, 1))},
		{name: "calls of another form", text: data(`{"choices":[{"delta":{"tool_calls":{"a":1}}}]}`), code: status.Internal, message: "form"},
		{name: "a good piece of MiniMax", text: data(strings.Replace(pieceHi, "{", `{"base_resp":{"status_code":0,"status_msg":""},`, 1), pieceStop)},
		{name: "only [DONE]", text: data(), code: status.Internal, message: "no choices"},
		{name: "a huge line", text: "data: " + strings.Repeat("x", 70<<10), code: status.ResourceExhausted, message: "65536 bytes"},
		{name: "a huge event of many lines", text: strings.Repeat("data: xxxxxxxxxxxxxxx\n", 5<<10), code: status.ResourceExhausted, message: "65536 bytes"},
		{name: "a huge comment", text: ": " + strings.Repeat("x", 70<<10), code: status.ResourceExhausted, message: "65536 bytes"},
		{name: "more in all than the limit", text: strings.Repeat("data: "+pieceHi+"\n\n", 4<<10), code: status.ResourceExhausted, message: "131072 bytes"},
		{name: "an error object with an HTTP code", text: data(pieceHi, `{"error":{"code":429,"message":"slow down"}}`), code: status.ResourceExhausted, message: "slow down"},
		{name: "an error object with a code's name", text: data(`{"error":{"code":"context_length_exceeded","type":"invalid_request_error","message":"too long"}}`), code: status.InvalidArgument, message: "too long"},
		{name: "an error object with a type", text: data(`{"error":{"type":"overloaded_error","message":"busy","code":null}}`), code: status.Unavailable, message: "busy"},
		{name: "an error that is text", text: data(`{"error":"llama runner died"}`), code: status.Unknown, message: "llama runner died"},
		{name: "an error that says nothing", text: data(`{"error":{}}`), code: status.Unknown, message: "no reason given"},
		{name: "an error that echoes the key", text: data(`{"error":{"message":"bad ` + testKey + `","code":"` + testKey + `"}}`), code: status.Unknown, message: "bad [hidden]"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			s := serve(t, stream(tc.text))
			m := newModel(t, s, func(c *openai.Config) { c.MaxChunkBytes, c.MaxResponseBytes = 64<<10, 128<<10 })
			resp, chunks, err := generate(t.Context(), m, hello(), true)
			if tc.code != status.OK {
				require.Error(t, err)
				assert.Nil(t, resp)
				assert.Equal(t, tc.code, status.Of(err), "%v", err)
				assert.Contains(t, status.ToWire(err, false).Message, tc.message)
				assert.Less(t, len(err.Error()), 1200)
				assertNoKey(t, err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "Hi", resp.Text())
			assertChunksAddUp(t, chunks, resp)
		})
	}
}

func TestConnectionThatBreaksInAStream(t *testing.T) {
	for _, before := range []string{"", "data: " + pieceHi + "\n\n", "data: " + pieceHi + "\n\ndata: {\"ch"} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, before)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		_, _, err := generate(t.Context(), newModel(t, s), hello(), true)
		require.ErrorIs(t, err, status.ErrUnavailable)
	}
}

// hang streams one piece and then waits for the client to go.
func hang(gone chan<- struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "data: "+pieceHi+"\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}
}

func TestReaderThatLeavesEndsTheRequest(t *testing.T) {
	gone := make(chan struct{})
	leave := errors.New("reader left")
	_, err := newModel(t, serve(t, hang(gone))).Generate(t.Context(), hello(), func(*model.Chunk) error { return leave })
	require.ErrorIs(t, err, leave)
	<-gone
}

func TestCallerWhoCancelsEndsTheRequest(t *testing.T) {
	gone := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := newModel(t, serve(t, hang(gone))).Generate(ctx, hello(), func(*model.Chunk) error {
		cancel()
		return nil
	})
	require.ErrorIs(t, err, status.ErrCancelled)
	require.ErrorIs(t, err, context.Canceled)
	<-gone
}

func TestDeadlineEndsTheRequest(t *testing.T) {
	for _, streaming := range []bool{false, true} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, _, err := generate(ctx, newModel(t, serve(t, hang(make(chan struct{})))), hello(), streaming)
		cancel()
		require.ErrorIs(t, err, status.ErrDeadlineExceeded) // and the server's end waits for its handler's
	}
}

// watched notes whether a body was read to its end before it was closed: only then
// does net/http use the connection again.
type watched struct {
	io.Reader
	ended, closed bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.ended = w.ended || errors.Is(err, io.EOF)
	return n, err
}

func (w *watched) Close() error {
	w.closed = true
	return nil
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestBodiesAreClosedAndADoneStreamFreesItsConnection(t *testing.T) {
	for _, tc := range []struct {
		code      int
		text      string
		wantError bool
	}{{200, data(pieceHi, pieceStop), false}, {200, data("{"), true}, {500, "x", true}, {302, "x", true}} {
		body := &watched{Reader: strings.NewReader(tc.text)}
		transport := roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: tc.code, Body: body, Header: http.Header{}}, nil
		})
		p := newProvider(t, openai.Config{HTTPClient: &http.Client{Transport: transport}})
		_, _, err := generate(t.Context(), resolve(t, p, "m"), hello(), true)
		assert.Equal(t, tc.wantError, err != nil, tc.text)
		assert.True(t, body.closed, tc.text)
		assert.True(t, body.ended || tc.wantError, tc.text)
	}
}

func TestServerThatStaysAfterDoneIsNotWaitedFor(t *testing.T) {
	gone := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, data(pieceHi, pieceStop))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	resp, _, err := generate(t.Context(), newModel(t, s), hello(), true)
	require.NoError(t, err)
	assert.Equal(t, "Hi", resp.Text())
	<-gone
}

func TestAServerThatRefusesStreamOptionsIsAskedWithout(t *testing.T) {
	for httpStatus, body := range map[int]string{
		422: `{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","stream_options","include_usage"],"msg":"Extra inputs are not permitted"}]},"type":"invalid_request_error"}`,
		400: `{"error":{"message":"Unrecognized request argument supplied: stream_options"}}`,
	} {
		s := serve(t, nil)
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			raw, _ := io.ReadAll(r.Body)
			s.mu.Lock()
			s.bodies = append(s.bodies, string(raw))
			s.mu.Unlock()
			if strings.Contains(string(raw), "stream_options") {
				document(httpStatus, body)(w, r)
				return
			}
			stream(data(pieceHi, pieceStop))(w, r)
		})
		m := newModel(t, s)
		for want := range 2 { // the second call knows
			resp, _, err := generate(t.Context(), m, hello(), true)
			require.NoError(t, err)
			assert.Equal(t, "Hi", resp.Text())
			assert.Equal(t, 2+want, s.calls())
		}
		assert.Equal(t, strings.Replace(s.body(0), `,"stream_options":{"include_usage":true}`, "", 1), s.body(1))
		assert.NotContains(t, s.body(2), "stream_options")
	}
	for _, body := range []string{`{"error":{"message":"bad temperature"}}`, `{"error":{"message":"stream_options"}}`} {
		s := serve(t, document(422, body))
		_, _, err := generate(t.Context(), newModel(t, s), hello(), true)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
		assert.LessOrEqual(t, s.calls(), 2, "asked without once, and not again")
	}
	// an error that quotes what a caller wrote ends nobody's counting
	s := serve(t, nil)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.bodies = append(s.bodies, string(raw))
		s.mu.Unlock()
		if strings.Contains(string(raw), "no such stream_options") {
			document(400, `{"error":{"message":"user: no such stream_options"}}`)(w, r)
			return
		}
		stream(data(pieceHi, pieceStop))(w, r)
	})
	m := newModel(t, s)
	_, _, err := generate(t.Context(), m, request(t, `{"messages":[{"role":"user","content":[{"text":"x"}]}],"config":{"user":"no such stream_options"}}`), true)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, _, err = generate(t.Context(), m, hello(), true)
	require.NoError(t, err)
	assert.Contains(t, s.body(s.calls()-1), `"stream_options":{"include_usage":true}`)

	s = serve(t, document(422, `{"object":"error","message":{"detail":[{"loc":["body","stream_options"],"msg":"no"}]}}`))
	_, _, err = generate(t.Context(), newModel(t, s), hello(), false)
	require.ErrorContains(t, err, "body.stream_options: no")
	assert.Equal(t, 1, s.calls())
}

func TestAWholeMessageInAStreamIsNotDoubled(t *testing.T) {
	const call = `"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{}"}}]`
	for name, c := range map[string]struct {
		pieces []string
		text   string
		calls  int
	}{
		"at the end":              {[]string{`{"delta":{"content":"Hel"}}`, `{"delta":{"content":"lo"}}`, `{"message":{"content":"Hello"},"finish_reason":"stop"}`}, "Hello", 0},
		"beside an empty delta":   {[]string{`{"delta":{"content":"Hello"}}`, `{"delta":{},"message":{"content":"Hello"},"finish_reason":"stop"}`}, "Hello", 0},
		"with more than was said": {[]string{`{"delta":{"content":"Hel"}}`, `{"message":{"content":"Hello"},"finish_reason":"stop"}`}, "Hello", 0},
		"trimmed":                 {[]string{`{"delta":{"content":" Hello"}}`, `{"message":{"content":"Hello"},"finish_reason":"stop"}`}, " Hello", 0},
		"with its calls":          {[]string{`{"delta":{"content":"a",` + call + `}}`, `{"message":{"content":"a",` + call + `},"finish_reason":"tool_calls"}`}, "a", 1},
		"with calls that are new": {[]string{`{"delta":{"content":"a"}}`, `{"message":{"content":"a",` + call + `},"finish_reason":"tool_calls"}`}, "a", 1},
		"alone":                   {[]string{`{"message":{"content":"Hello",` + call + `},"finish_reason":"stop"}`}, "Hello", 1},
		"as the name of pieces":   {[]string{`{"message":{"content":"Ha"}}`, `{"message":{"content":"Ha"}}`, `{"message":{"content":"!"},"finish_reason":"stop"}`}, "HaHa!", 0},
		"pieces, then the whole":  {[]string{`{"message":{"content":"Ha"}}`, `{"message":{"content":"!"}}`, `{"message":{"content":"Ha!"},"finish_reason":"stop"}`}, "Ha!", 0},
	} {
		var pieces []string
		for _, p := range c.pieces {
			pieces = append(pieces, `{"choices":[`+p+`]}`)
		}
		resp, chunks, err := generate(t.Context(), newModel(t, serve(t, stream(data(pieces...)))), hello(), true)
		require.NoError(t, err, name)
		assert.Equal(t, c.text, resp.Text(), name)
		assert.Len(t, resp.ToolRequests(), c.calls, name)
		assertChunksAddUp(t, chunks, resp)
	}
}

func TestParallelCallsOfOneIndexAreToldApart(t *testing.T) {
	for name, c := range map[string]struct {
		pieces []string // of the one call of each chunk, all of index 0
		want   string
	}{
		"two functions":            {[]string{`"function":{"name":"f","arguments":"{\"a\":1}"}`, `"function":{"name":"g","arguments":"{\"b\":2}"}`}, `f {"a":1}; g {"b":2}`},
		"one function twice":       {[]string{`"function":{"name":"f","arguments":"{\"a\":1}"}`, `"function":{"name":"f","arguments":"{\"a\":2}"}`}, `f {"a":1}; f {"a":2}`},
		"in fragments":             {[]string{`"function":{"name":"f","arguments":"{\"a\""}`, `"function":{"arguments":":{\"x\":"}`, `"function":{"arguments":"\"}\"}"}`, `"function":{"arguments":"}"}`, `"function":{"name":"f","arguments":""}`, `"function":{"arguments":"{}"}`}, `f {"a":{"x":"}"}}; f {}`},
		"the name in every piece":  {[]string{`"function":{"name":"f","arguments":"{\"a\""}`, `"function":{"name":"f","arguments":":1}"}`, `"function":{"name":"f","arguments":""}`}, `f {"a":1}`},
		"an object as a fragment":  {[]string{`"function":{"name":"f","arguments":"{\"a\":"}`, `"function":{"arguments":"{"}`, `"function":{"arguments":"}}"}`}, `f {"a":{}}`},
		"an id that comes late":    {[]string{`"function":{"name":"f","arguments":"{\"a\":"}`, `"id":"x","function":{"arguments":"1}"}`}, `f {"a":1}`},
		"the same id on each":      {[]string{`"id":"x","function":{"name":"f","arguments":"{"}`, `"id":"x","function":{"name":"f","arguments":"}"}`}, `f {}`},
		"no arguments, then other": {[]string{`"function":{"name":"f"}`, `"function":{"name":"g","arguments":"{}"}`}, `f {}; g {}`},
	} {
		var pieces []string
		for _, p := range c.pieces {
			pieces = append(pieces, `{"choices":[{"delta":{"tool_calls":[{"index":0,`+p+`}]}}]}`)
		}
		resp, _, err := generate(t.Context(), newModel(t, serve(t, stream(data(append(pieces, pieceStop)...)))), hello(), true)
		require.NoError(t, err, name)
		var got []string
		refs := map[string]bool{}
		for _, p := range resp.ToolRequests() {
			got = append(got, p.ToolRequest.Name+" "+string(p.ToolRequest.Input))
			assert.False(t, refs[p.ToolRequest.Ref], name)
			refs[p.ToolRequest.Ref] = true
		}
		assert.Equal(t, c.want, strings.Join(got, "; "), name)
	}
}

// Each case is the tool_calls of the deltas of one stream, as some server sends or has sent
// them, and the calls that come of it; "told" are those that the model is told of instead.
func TestPiecesOfCallsFindTheirCall(t *testing.T) {
	piece := func(head, name, arguments string) string {
		if name != "" {
			name = `"name":"` + name + `",`
		}
		if head != "" {
			head += ","
		}
		return `{` + head + `"function":{` + name + `"arguments":` + toJSON(t, arguments) + `}}`
	}
	for name, c := range map[string]struct {
		pieces []string
		want   string
	}{
		"vLLM: a new id in each delta": {[]string{
			piece(`"index":0,"id":"r1"`, "wipe", ""), piece(`"index":0,"id":"r2"`, "", `{"path":`), piece(`"index":0,"id":"r3"`, "", `"/a"}`),
		}, `wipe {"path":"/a"}`},
		"the same, two calls": {[]string{
			piece(`"index":0,"id":"r1"`, "wipe", `{"n":`), piece(`"index":0,"id":"r2"`, "", `1}`), piece(`"index":1,"id":"r3"`, "wipe", `{"n"`), piece(`"index":1,"id":"r4"`, "", `:2}`),
		}, `wipe {"n":1}; wipe {"n":2}`},
		"vLLM's harmony: a new id and the name in each delta": {[]string{
			piece(`"index":0,"id":"r1"`, "wipe", ""), piece(`"index":0,"id":"r2"`, "wipe", `{"path":`), piece(`"index":0,"id":"r3"`, "wipe", `"/a"}`), piece(`"index":0,"id":"r4"`, "wipe", ""),
		}, `wipe {"path":"/a"}`},
		"a new id and an empty name": {[]string{
			piece(`"index":0,"id":"r1"`, "wipe", ""), `{"index":0,"id":"r2","function":{"name":"","arguments":"{\"n\":1}"}}`,
		}, `wipe {"n":1}`},
		"two indexes with one id": {[]string{piece(`"index":0,"id":"x"`, "wipe", `{"n":1}`) + "," + piece(`"index":1,"id":"x"`, "wipe", `{"n":2}`)}, `wipe {"n":1}; wipe {"n":2}`},
		"two functions with one id": {[]string{
			piece(`"index":0,"id":"x"`, "wipe", `{"n":1`), piece(`"index":1,"id":"x"`, "send", `{"to":`), piece(`"index":0,"id":"x"`, "", `}`), piece(`"index":1,"id":"x"`, "", `"b"}`),
		}, `wipe {"n":1}; send {"to":"b"}`},
		"one index and one id, two calls":   {[]string{piece(`"index":0,"id":"x"`, "wipe", `{"n":1}`), piece(`"index":0,"id":"x"`, "wipe", `{"n":2}`)}, `wipe {"n":1}; wipe {"n":2}`},
		"the same call once more":           {[]string{piece(`"index":0,"id":"x"`, "wipe", `{"n":1}`), piece(`"index":0,"id":"x"`, "wipe", `{"n":1}`)}, `wipe {"n":1}`},
		"Gemini: one index and two ids":     {[]string{piece(`"index":0,"id":"a"`, "wipe", `{"n":1}`), piece(`"index":0,"id":"b"`, "wipe", `{"n":2}`), piece(`"index":0,"id":"c"`, "wipe", `{}`)}, `wipe {"n":1}; wipe {"n":2}; wipe {}`},
		"one index, ids tell the pieces":    {[]string{piece(`"index":0,"id":"a"`, "wipe", `{"n":1`), piece(`"index":0,"id":"b"`, "send", `{"to":`), piece(`"index":0,"id":"a"`, "", `}`), piece(`"index":0,"id":"b"`, "", `"x"}`)}, `wipe {"n":1}; send {"to":"x"}`},
		"one index, two ids, no arguments":  {[]string{piece(`"index":0,"id":"a"`, "wipe", ``), piece(`"index":0,"id":"b"`, "list", ``)}, `wipe {}; list {}`},
		"ids alone":                         {[]string{piece(`"id":"a"`, "wipe", `{"n":`), piece(`"id":"a"`, "", `1}`), piece(`"id":"b"`, "wipe", ``), piece(`"id":"b"`, "", `{"n":2}`)}, `wipe {"n":1}; wipe {"n":2}`},
		"ids alone, no arguments":           {[]string{piece(`"id":"a"`, "wipe", ``), piece(`"id":"b"`, "wipe", ``)}, `wipe {}; wipe {}`},
		"new ids alone":                     {[]string{piece(`"id":"a"`, "wipe", ``), piece(`"id":"b"`, "", `{"n":`), piece(`"id":"c"`, "", `1}`)}, `wipe {"n":1}`},
		"neither index nor id":              {[]string{piece(``, "wipe", `{"n":`), piece(``, "", `1}`), piece(``, "wipe", `{"n":2}`), piece(``, "list", ``)}, `wipe {"n":1}; wipe {"n":2}; list {}`},
		"neither, and the name in each":     {[]string{piece(``, "wipe", ``), piece(``, "wipe", `{"n":`), piece(``, "wipe", `1}`)}, `wipe {"n":1}`},
		"an index that counts pieces":       {[]string{piece(`"index":0,"id":"x"`, "wipe", ``), piece(`"index":1,"id":"x"`, "", `{"n":`), piece(`"index":2,"id":"x"`, "", `1}`)}, `wipe {"n":1}`},
		"an index that comes late":          {[]string{piece(``, "wipe", ``), piece(`"index":0`, "", `{"n":1}`)}, `wipe {"n":1}`},
		"a name in pieces":                  {[]string{piece(`"index":0,"id":"x"`, "w", ``), piece(`"index":0`, "ip", ``), piece(`"index":0`, "e", `{"n":1}`)}, `wipe {"n":1}`},
		"a name that comes late":            {[]string{piece(`"index":0,"id":"x"`, "", `{"n":`), piece(`"index":0`, "wipe", `1}`)}, `wipe {"n":1}`},
		"an index in a string, ids numbers": {[]string{piece(`"index":"0","id":7`, "wipe", `{"n":1}`), piece(`"index":"1","id":8`, "wipe", `{"n":2}`)}, `wipe {"n":1}; wipe {"n":2}`},
		"no function":                       {[]string{piece(`"index":0,"id":"x"`, "wipe", `{"n":1}`), `{"index":0,"function":null}`, `{"index":0}`}, `wipe {"n":1}`},
		// What can't be told apart is not executed.
		"arguments of no function":                      {[]string{piece(`"index":0,"id":"a"`, "wipe", ``), piece(`"index":1,"id":"b"`, "", `{"to":"x"}`)}, ``},
		"the end of one call or the next without any":   {[]string{piece(`"index":0,"id":"a"`, "wipe", `{"n":1}`), piece(`"index":0,"id":"b"`, "wipe", ``)}, `wipe {"n":1}`},
		"arguments so far, again and again":             {[]string{piece(`"index":0,"id":"a"`, "wipe", `{"n":1`), piece(`"index":0,"id":"a"`, "wipe", `{"n":1,"path":"/"}`)}, `told wipe`},
		"an open object, then another id and an object": {[]string{piece(`"index":0,"id":"a"`, "wipe", `{"path":"/`), piece(`"index":0,"id":"b"`, "wipe", `{"n":1}`)}, `told wipe`},
	} {
		var pieces []string
		for _, p := range c.pieces {
			pieces = append(pieces, `{"choices":[{"index":0,"delta":{"tool_calls":[`+p+`]}}]}`)
		}
		assert.Equal(t, c.want, callsOf(t, append(pieces, pieceStop)...), name)
	}
}

// callsOf shows the calls of a stream.
func callsOf(t *testing.T, pieces ...string) string {
	t.Helper()
	req := request(t, `{"messages":[{"role":"user","content":[{"text":"q"}]}],"tools":[{"name":"wipe","description":""},{"name":"send","description":""},{"name":"list","description":""}]}`)
	resp, _, err := generate(t.Context(), newModel(t, serve(t, stream(data(pieces...)))), req, true)
	require.NoError(t, err)
	var got []string
	refs := map[string]bool{}
	for _, p := range model.UniqueRefs(resp.Message).Content { // as the engine makes them
		if p.ToolRequest == nil {
			continue
		}
		refs[p.ToolRequest.Ref] = true
		if p.Metadata.Truthy(content.MalformedInput) {
			got = append(got, "told "+p.ToolRequest.Name)
			continue
		}
		got = append(got, p.ToolRequest.Name+" "+string(p.ToolRequest.Input))
	}
	assert.Len(t, refs, len(got), "each has a ref of its own")
	return strings.Join(got, "; ")
}

func TestAWholeMessageCompletesTheCallsOfItsPieces(t *testing.T) {
	delta := func(calls string) string { return `{"choices":[{"index":0,"delta":{"tool_calls":[` + calls + `]}}]}` }
	whole := func(calls string) string {
		return `{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[` + calls + `]},"finish_reason":"tool_calls"}]}`
	}
	for name, c := range map[string]struct{ pieces, whole, want string }{
		"it has the arguments":                {wireCall("a", "wipe", ``), wireCall("a", "wipe", `{"n":1}`), `wipe {"n":1}`},
		"it has the rest of the arguments":    {wireCall("a", "wipe", `{"n":`), wireCall("a", "wipe", `{ "n": 1 }`), `wipe { "n": 1 }`},
		"it has the arguments, no ids":        {`{"index":0,"function":{"name":"wipe"}}`, `{"function":{"name":"wipe","arguments":"{\"n\":1}"}}`, `wipe {"n":1}`},
		"it has another id":                   {wireCall("a", "wipe", ``), wireCall("b", "wipe", `{"n":1}`), `wipe {"n":1}`},
		"another id, other spaces":            {wireCall("a", "wipe", `{"n":1}`), wireCall("b", "wipe", `{"n": 1}`), `wipe {"n":1}`},
		"it has more calls":                   {wireCall("a", "wipe", `{"n":1}`), wireCall("a", "wipe", `{"n":1}`) + "," + wireCall("b", "wipe", `{"n":2}`), `wipe {"n":1}; wipe {"n":2}`},
		"it has only another":                 {wireCall("a", "wipe", `{"n":1}`), wireCall("b", "send", `{"to":"x"}`), `wipe {"n":1}; send {"to":"x"}`},
		"it has them in another order":        {wireCall("", "wipe", `{"n":1}`) + "," + wireCall("", "send", `{"to":"x"}`), wireCall("", "send", `{"to":"x"}`) + "," + wireCall("", "wipe", `{"n":1}`), `wipe {"n":1}; send {"to":"x"}`},
		"it lacks the arguments":              {wireCall("a", "wipe", `{"n":1}`), wireCall("a", "wipe", ``), `wipe {"n":1}`},
		"the two contradict each other":       {wireCall("a", "wipe", `{"n":1}`), wireCall("a", "wipe", `{"n":2}`), `told wipe`},
		"one id for two calls, in both":       {wireCall("a", "wipe", `{"n":1}`) + "," + wireCall("a", "wipe", `{"n":2}`), wireCall("a", "wipe", `{"n":1}`) + "," + wireCall("a", "wipe", `{"n":2}`), `wipe {"n":1}; wipe {"n":2}`},
		"deltas had a call without arguments": {wireCall("a", "wipe", ``) + "," + wireCall("b", "list", ``), wireCall("a", "wipe", `{"n":1}`) + "," + wireCall("b", "list", `{}`), `wipe {"n":1}; list {}`},
	} {
		assert.Equal(t, c.want, callsOf(t, delta(c.pieces), whole(c.whole)), name)
	}
	assert.Equal(t, `wipe {"n":1}`, callsOf(t, `{"choices":[{"message":{"tool_calls":[{"index":0,"id":"a","function":{"name":"wipe","arguments":""}}]}}]}`,
		`{"choices":[{"message":{"tool_calls":[{"index":0,"function":{"arguments":"{\"n\":1}"}}]}}]}`, pieceStop), "a server that calls its pieces so")
}

func TestAHostileStreamIsReadInLinearTime(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct{ first, again string }{
		"fields of a call":  {`{"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{}"},"e":{"a":"` + big + `"}}]}`, `{"tool_calls":[{"index":0,"e":{"b":1}}]}`},
		"reasoning details": {`{"reasoning_details":[{"type":"t","index":0,"text":"` + big + `"}]}`, `{"reasoning_details":[{"type":"t","index":0,"text":"y"}]}`},
		"extra content":     {`{"extra_content":{"g":{"a":"` + big + `"}}}`, `{"extra_content":{"g":{"b":1}}}`},
		"arguments":         {`{"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{\"a\":\"` + big + `\"}"}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":" "}}]}`},
		"messages":          {`{"content":"` + big + `"}`, ""},
		"whole calls":       {`{"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{\"a\":\"` + big + `\"}"}}]}`, "call"},
	} {
		pieces := []string{`{"choices":[{"delta":` + c.first + `}]}`}
		for range 10000 {
			piece := `{"delta":` + c.again + `}`
			switch c.again {
			case "call":
				piece = `{"message":{"tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}`
			case "":
				piece = `{"message":{"content":"z"},"finish_reason":"stop"}`
			}
			pieces = append(pieces, `{"choices":[`+piece+`]}`)
		}
		s := serve(t, stream(data(append(pieces, pieceStop)...)))
		begin := time.Now()
		_, _, err := generate(t.Context(), newModel(t, s), hello(), true)
		require.NoError(t, err, name)
		assert.Less(t, time.Since(begin), 20*time.Second, name) // 10 GB would take minutes
	}
}

func TestToolCallsOfAnAnswerAreBounded(t *testing.T) {
	var calls []string
	for i := range 257 {
		calls = append(calls, wireCall(strconv.Itoa(i), "f", "{}"))
	}
	for n, want := range map[int]status.Code{256: status.OK, 257: status.ResourceExhausted} {
		_, _, err := generate(t.Context(), newModel(t, serve(t, turns([2]string{asks(strings.Join(calls[:n], ",")), "tool_calls"}))), hello(), false)
		assert.Equal(t, want, status.Of(err), n)
	}
}
