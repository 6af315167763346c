package pdk_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
	"github.com/genkit-wasm/genkit-wasm/pdk/go/pdktest"
)

// asked is a request to a capability.
type asked struct{ name, request string }

// within runs work in a call whose capabilities answer with replies, by name, and returns the
// requests.
func within(t *testing.T, replies map[string]string, work func()) (requests []asked) {
	t.Helper()
	pdktest.Call(func() int32 { work(); return 0 }, "", pdktest.Options{Capability: func(name string, request []byte) []byte {
		requests = append(requests, asked{name, string(request)})
		return []byte(replies[name])
	}})
	return requests
}

func requested(t *testing.T, got []asked, name, want string) {
	t.Helper()
	if len(got) != 1 || got[0] != (asked{name, want}) {
		t.Errorf("got %q, want %s %s", got, name, want)
	}
}

func TestHTTPSendsBytesAndReadsTextOrBytes(t *testing.T) {
	for reply, want := range map[string]pdk.HTTPResponse{
		`{"ok":{"status":404,"headers":{"a":"b"},"body":"not <here>"}}`: {Status: 404, Headers: map[string]string{"a": "b"}, Body: []byte("not <here>")},
		`{"ok":{"status":200,"bodyBase64":"/wA="}}`:                     {Status: 200, Body: []byte{0xff, 0}},
		`{"ok":{"status":204}}`:                                         {Status: 204, Body: []byte{}},
	} {
		got := within(t, map[string]string{"http": reply}, func() {
			resp, err := pdk.HTTP(pdk.HTTPRequest{Method: "POST", URL: "https://a.example/?x=1&y=<2>", Headers: map[string]string{"K": "{{secret:K}}"}, Body: []byte{0xfe}})
			if err != nil || !reflect.DeepEqual(*resp, want) {
				t.Errorf("%s: got %+v, %v", reply, resp, err)
			}
		})
		requested(t, got, "http", `{"method":"POST","url":"https://a.example/?x=1&y=<2>","headers":{"K":"{{secret:K}}"},"bodyBase64":"/g=="}`)
	}
	got := within(t, map[string]string{"http": `{"ok":{"status":200}}`}, func() { _, _ = pdk.HTTP(pdk.HTTPRequest{URL: "https://a.example"}) })
	requested(t, got, "http", `{"url":"https://a.example"}`)
}

func TestRefusalsAreErrorsWithTheirCodes(t *testing.T) {
	const refusal = `{"error":{"code":"PERMISSION_DENIED","message":"no","details":{"n":1}}}`
	replies := map[string]string{"http": refusal, "kv_get": refusal, "kv_set": refusal, "kv_delete": refusal, "kv_list": refusal, "now": refusal, "run": refusal, "generate": refusal}
	for name, ask := range map[string]func() error{
		"http":      func() error { _, err := pdk.HTTP(pdk.HTTPRequest{}); return err },
		"kv_get":    func() error { _, err := pdk.KVGet("k", new(int)); return err },
		"kv_set":    func() error { return pdk.KVSet("k", 1, pdk.KVOptions{}) },
		"kv_delete": func() error { return pdk.KVDelete("k") },
		"kv_list":   func() error { _, _, err := pdk.KVList("", "", 0); return err },
		"now":       func() error { _, err := pdk.Now(); return err },
		"run":       func() error { return pdk.Run("/tool/a/b", nil, nil) },
		"generate":  func() error { return pdk.Generate(nil, nil) },
	} {
		got := within(t, replies, func() {
			var e *pdk.Error
			if err := ask(); !errors.As(err, &e) || e.Code != pdk.PermissionDenied || e.Message != "no" || e.Error() != "PERMISSION_DENIED: no" {
				t.Errorf("%s: got %v", name, err)
			}
		})
		if len(got) != 1 || got[0].name != name {
			t.Errorf("%s: asked %q", name, got)
		}
	}
	// A host that is not ours may answer anything.
	for _, reply := range []string{"", "{", "[]", `{"ok":`, `{}`, `{"ok":"text"}`} {
		within(t, map[string]string{"kv_get": reply}, func() {
			if found, err := pdk.KVGet("k", new(int)); err == nil {
				t.Errorf("reply %q: found %v and no error", reply, found)
			}
		})
	}
	if r := pdktest.Call(func() int32 { return pdk.Fail(pdk.KVDelete("k")) }, "", pdktest.Options{}); !strings.Contains(r.Error, "PERMISSION_DENIED") {
		t.Errorf("a capability that the test does not name is refused: %+v", r)
	}
}

func TestValuesAreKept(t *testing.T) {
	for reply, want := range map[string]struct {
		found bool
		value int
	}{`{"ok":7}`: {true, 7}, `{"ok":null}`: {false, 1}} {
		value := 1
		got := within(t, map[string]string{"kv_get": reply}, func() {
			found, err := pdk.KVGet(`a"<b`, &value)
			if err != nil || found != want.found || value != want.value {
				t.Errorf("%s: got %v, %d, %v", reply, found, value, err)
			}
		})
		requested(t, got, "kv_get", `{"key":"a\"<b"}`)
	}
	for want, o := range map[string]pdk.KVOptions{
		`{"key":"k","value":{"a":1}}`:                  {},
		`{"key":"k","ttlSeconds":2,"value":{"a":1}}`:   {TTL: 1001 * time.Millisecond},
		`{"if":null,"key":"k","value":{"a":1}}`:        {Conditional: true},
		`{"if":[1],"key":"k","value":{"a":1}}`:         {Conditional: true, If: []int{1}},
		`{"key":"k","ttlSeconds":60,"value":{"a":1}}`:  {TTL: time.Minute, If: "not conditional"},
		`{"key":"k","ttlSeconds":1,"value":{"a":1}}`:   {TTL: 1},
		`{"if":0,"key":"k","ttlSeconds":5,"value":{}}`: {}, // replaced below
	} {
		value := map[string]int{"a": 1}
		if strings.HasPrefix(want, `{"if":0`) {
			value, o = map[string]int{}, pdk.KVOptions{TTL: 5 * time.Second, Conditional: true, If: 0}
		}
		got := within(t, map[string]string{"kv_set": `{"ok":null}`}, func() {
			if err := pdk.KVSet("k", value, o); err != nil {
				t.Error(err)
			}
		})
		requested(t, got, "kv_set", want)
	}
	got := within(t, nil, func() {
		if err := pdk.KVSet("k", func() {}, pdk.KVOptions{}); err == nil {
			t.Error("a function was kept")
		}
	})
	if len(got) != 0 {
		t.Errorf("asked %q", got)
	}
	got = within(t, map[string]string{"kv_list": `{"ok":{"keys":["a","b"],"cursor":"c"}}`}, func() {
		if keys, next, err := pdk.KVList("a", "b", 2); err != nil || !reflect.DeepEqual(keys, []string{"a", "b"}) || next != "c" {
			t.Errorf("got %v %q %v", keys, next, err)
		}
	})
	requested(t, got, "kv_list", `{"cursor":"b","limit":2,"prefix":"a"}`)
	got = within(t, map[string]string{"kv_list": `{"ok":{"keys":[]}}`}, func() { _, _, _ = pdk.KVList("", "", 0) })
	requested(t, got, "kv_list", `{"cursor":"","prefix":""}`)
}

func TestNowRunAndGenerate(t *testing.T) {
	got := within(t, map[string]string{"now": `{"ok":"2026-01-02T03:04:05.000000006Z"}`}, func() {
		if now, err := pdk.Now(); err != nil || !now.Equal(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)) {
			t.Errorf("got %v, %v", now, err)
		}
	})
	requested(t, got, "now", `null`)
	got = within(t, map[string]string{"run": `{"ok":{"sum":3}}`}, func() {
		var out struct{ Sum int }
		if err := pdk.Run("/tool/calc/add", map[string]int{"a": 1}, &out); err != nil || out.Sum != 3 {
			t.Errorf("got %+v, %v", out, err)
		}
	})
	requested(t, got, "run", `{"input":{"a":1},"key":"/tool/calc/add"}`)
	got = within(t, map[string]string{"generate": `{"ok":{"message":{"role":"model","content":[{"text":"a"},{"media":{}},{"text":"b"}]}}}`}, func() {
		var resp pdk.ModelResponse
		if err := pdk.Generate(map[string]any{"model": "m"}, &resp); err != nil || resp.Message.Text() != "ab" {
			t.Errorf("got %+v, %v", resp, err)
		}
	})
	requested(t, got, "generate", `{"model":"m"}`)
}

func TestARestartedToolReadsItsAnswer(t *testing.T) {
	for reply, want := range map[string]struct {
		again bool
		ok    bool
	}{
		`{"ok":null}`:                       {},
		`{"ok":{"resumed":true}}`:           {again: true, ok: true},
		`{"ok":{"resumed":{"Yes":true}}}`:   {again: true, ok: true},
		`{"ok":{"resumed":{"Yes":false}}}`:  {again: true},
		`{"ok":{"resumed":{"Yes":"maybe"}}`: {},
	} {
		within(t, map[string]string{"resumed": reply}, func() {
			answer := struct{ Yes bool }{Yes: strings.Contains(reply, `"resumed":true}`)}
			again, err := pdk.Resumed(&answer)
			if again != want.again || answer.Yes != want.ok || (err != nil) != strings.Contains(reply, "maybe") {
				t.Errorf("%s: got %v %+v %v", reply, again, answer, err)
			}
		})
	}
	within(t, map[string]string{"resumed": `{"ok":{"resumed":true}}`}, func() {
		var yes bool
		if again, err := pdk.Resumed(&yes); !again || err != nil || !yes {
			t.Errorf("an answer without words was not decoded: %v %v %v", again, yes, err)
		}
		if again, err := pdk.Resumed(nil); !again || err != nil {
			t.Errorf("got %v, %v", again, err)
		}
	})
	within(t, map[string]string{"resumed": `{"ok":{"resumed":"a text"}}`}, func() {
		if again, err := pdk.Resumed(new(int)); !again || err == nil {
			t.Errorf("an answer of another type: %v, %v", again, err)
		}
	})
}

func TestAHookChangesARequestAndLosesNothing(t *testing.T) {
	hook := func() int32 {
		return pdk.Middleware(func(h *pdk.Hook[struct{ Suffix string }]) (any, error) {
			if h.Kind != pdk.HookModel || h.Model != "m" {
				t.Errorf("got %+v", h)
			}
			var req pdk.ModelRequest
			if err := json.Unmarshal(h.Request, &req); err != nil {
				return nil, err
			}
			part := req.Messages[0].Content[0]
			text, ok := part.Text()
			if !ok {
				return nil, errors.New("no text")
			}
			changed, err := part.WithText(text + h.Config.Suffix)
			if err != nil {
				return nil, err
			}
			if old, _ := part.Text(); old != text {
				t.Error("the part itself was changed")
			}
			req.Messages[0].Content[0] = changed
			var resp pdk.ModelResponse
			return &resp, h.Next(req, &resp)
		})
	}
	const input = `{"hook":"model","model":"m","config":{"Suffix":"<!>"},"request":{"messages":[{"role":"user","content":[{"text":"hi","custom":{"n":1.0}}]}],"config":{"t":0.10}}}`
	var sent string
	reply := `{"ok":{"finishReason":"stop","latencyMs":1.50}}`
	call := func() pdktest.Result {
		return pdktest.Call(hook, input, pdktest.Options{Capability: func(name string, request []byte) []byte {
			sent = name + string(request)
			return []byte(reply)
		}})
	}
	r := call()
	if r.Output != `{"finishReason":"stop","latencyMs":1.50}` || sent != `next{"messages":[{"role":"user","content":[{"custom":{"n":1.0},"text":"hi<!>"}]}],"config":{"t":0.10}}` {
		t.Errorf("got %+v, sent %s", r, sent)
	}
	reply = `{"error":{"code":"UNAVAILABLE","message":"down","details":[1]}}`
	if r = call(); r.Error != `{"code":"UNAVAILABLE","message":"down","details":[1]}` || r.Code != 1 {
		t.Errorf("an error of the model reaches the caller whole: %+v", r)
	}
	if _, ok := (pdk.Part{"text": json.RawMessage(`7`)}).Text(); ok {
		t.Error("a number was taken for text")
	}
	if _, ok := (pdk.Part{"media": json.RawMessage(`{}`)}).Text(); ok {
		t.Error("media was taken for text")
	}
}

func TestAFormatAnswersEachOperation(t *testing.T) {
	full := pdk.Format{
		Instructions: func(schema json.RawMessage) (string, error) { return "as " + string(schema), nil },
		Parse:        func(_ json.RawMessage, m pdk.Message) (any, error) { return len(m.Text()), nil },
		ParseChunk: func(_ json.RawMessage, text, delta string) (any, error) {
			if delta == "" {
				return nil, nil //nolint:nilnil // nothing new
			}
			return []string{text, delta}, nil
		},
	}
	for input, want := range map[string]string{
		`{"op":"instructions","schema":{"a":1}}`:                                            `"as {\"a\":1}"`,
		`{"op":"instructions","schema":null}`:                                               `"as null"`,
		`{"op":"parse","message":{"role":"model","content":[{"text":"abc"},{"text":"d"}]}}`: `4`,
		`{"op":"parseChunk","text":"ab","delta":"b"}`:                                       `["ab","b"]`,
		`{"op":"parseChunk","text":"ab","delta":""}`:                                        `null`,
		`{"op":"later"}`: `null`,
	} {
		if r := pdktest.Call(func() int32 { return pdk.ServeFormat(full) }, input, pdktest.Options{}); r.Output != want || r.Code != 0 {
			t.Errorf("%s: got %+v", input, r)
		}
		if r := pdktest.Call(func() int32 { return pdk.ServeFormat(pdk.Format{}) }, input, pdktest.Options{}); r.Output != `null` || r.Code != 0 {
			t.Errorf("%s without functions: got %+v", input, r)
		}
	}
}

func TestInputOutputAndWhatDoesNotEncode(t *testing.T) {
	r := pdktest.Call(func() int32 {
		in := pdk.Input()
		in[0] = 'X' // a copy
		if string(pdk.Input()) != "raw" {
			t.Error("Input is not a copy")
		}
		out := []byte("first")
		pdk.Output(out)
		out[0] = 'X'
		return 0
	}, "raw", pdktest.Options{})
	if r.Output != "first" {
		t.Errorf("got %+v", r)
	}
	_ = pdk.Warm(greet)
	_ = pdk.Warm(func(int) (int, error) { t.Error("Warm ran the tool"); return 0, nil })
	for name, tool := range map[string]func() int32{
		"a chunk":     func() int32 { return pdk.Fail(pdk.Emit(func() {})) },
		"an answer":   func() int32 { return pdk.Tool(func(any) (any, error) { return func() {}, nil }) },
		"metadata":    func() int32 { return pdk.Fail(pdk.Interrupt(func() {})) },
		"a module":    func() int32 { return pdk.Describe(pdk.Module{Requests: map[string]any{"f": func() {}}}) },
		"a request":   func() int32 { return pdk.Fail(pdk.Run("k", func() {}, nil)) },
		"a hook's":    func() int32 { return pdk.Fail((&pdk.Hook[int]{}).Next(func() {}, nil)) },
		"bad context": func() int32 { return pdk.Fail(pdk.Context(new(int))) },
	} {
		if r := pdktest.Call(tool, "{}", pdktest.Options{}); r.Code != 1 || r.Error == "" || r.Output != "" || r.Interrupted || r.Chunks != nil {
			t.Errorf("%s: got %+v", name, r)
		}
	}
}

func TestLevelsAndAttributesOfTheLog(t *testing.T) {
	r := pdktest.Call(func() int32 {
		log := slog.New(pdk.NewLogHandler()).WithGroup("")
		log.Warn("w", "k", "a=b", slog.Attr{}, "n", nil) //nolint:sloglint // both forms, and an empty one
		log.Debug("d", slog.Group("", slog.Int("in", 1)), slog.Group("none"))
		pdk.Log(pdk.LevelTrace, "t")
		return 0
	}, "", pdktest.Options{})
	want := []pdktest.Line{{Level: 3, Message: `w k="a=b" n=<nil>`}, {Level: 1, Message: `d in=1`}, {Level: 0, Message: `t`}}
	if !reflect.DeepEqual(r.Logs, want) {
		t.Errorf("got %q, want %q", r.Logs, want)
	}
}
