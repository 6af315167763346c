package recording_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/recording"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/intercept"
)

// steps is what a guest does, each told to who stands in between.
type steps []func(i intercept.Interceptor) string

func ask(c abi.Capability, request, answer string, err error) func(i intercept.Interceptor) string {
	return func(i intercept.Interceptor) string {
		value, got := i.Ask(context.Background(), c, []byte(request), func(context.Context) (json.RawMessage, error) { return json.RawMessage(answer), err })
		if got != nil {
			return string(abi.ErrorReply(got))
		}
		return string(abi.OKReply(value))
	}
}

func fetch(body string) func(i intercept.Interceptor) string {
	return func(i intercept.Interceptor) string {
		f, err := i.Fetch(context.Background(), []byte(`{"url":"u"}`), []byte("in\xff"), func(context.Context) (*intercept.Fetched, error) {
			return &intercept.Fetched{Status: 200, Headers: json.RawMessage(`{"a":"b"}`), Body: []byte(body)}, nil
		})
		if err != nil {
			return err.Error()
		}
		return string(f.Headers) + string(f.Body)
	}
}

func random(i intercept.Interceptor) string {
	p := make([]byte, 8)
	if err := i.Random(p); err != nil {
		return err.Error()
	}
	return string(p)
}

func clock(now int64) func(i intercept.Interceptor) string {
	return func(i intercept.Interceptor) string { return string(rune(i.Clock(1, now))) }
}

func chunk(text string) func(i intercept.Interceptor) string {
	return func(i intercept.Interceptor) string { i.Chunk(json.RawMessage(text)); return "" }
}

func line(text string) func(i intercept.Interceptor) string {
	return func(i intercept.Interceptor) string { i.Line(slog.LevelInfo, text); return "" }
}

// do does the steps and returns what the guest has got.
func (s steps) do(begin func(intercept.Call) intercept.Interceptor, o intercept.Outcome) (got []string) {
	i := begin(intercept.Call{})
	for _, step := range s {
		got = append(got, step(i))
	}
	i.End(o)
	return got
}

var (
	whole = steps{
		ask(abi.CapHTTP, `{"url":"<é\u2028>"}`, `{"status":200, "body":"<b>"}`, nil), ask(abi.CapKVGet, `{"key":"a"}`, "", nil), ask(abi.CapNow, "", `"2026"`, nil),
		ask(abi.CapRun, "not \xff JSON", "", status.Publicf(status.InvalidArgument, "not <JSON>")), ask(abi.CapRun, `{"base64":"aGk="}`, `{"base64":"aGk="}`, nil),
		ask(abi.CapRun, `1`, "", status.Errorf(status.Internal, "the password is x")),
		random, clock(7), random, chunk(`{"n":1}`), line("hello"), fetch("é\xff"),
	}
	end = intercept.Outcome{Output: []byte(` {"a": 1}`), Fuel: 5}
)

func record(t *testing.T, s steps, o intercept.Outcome) ([]string, *recording.Recording, []byte) {
	t.Helper()
	tape := recording.NewTape(&recording.Recording{Version: recording.Version, Start: recording.NewStart(), Module: recording.Module{Name: "m"}, Action: "/tool/m/t", Input: recording.Bytes(`{"x":1}`)})
	got := s.do(tape.Begin, o)
	raw, err := tape.Encode(json.RawMessage(`{"r":1}`))
	require.NoError(t, err)
	rec, err := recording.Parse(raw)
	require.NoError(t, err, "%s", raw)
	return got, rec, raw
}

func TestAGuestGetsWhatWasRecorded(t *testing.T) {
	got, rec, raw := record(t, whole, end)
	assert.NotContains(t, string(raw), "password", "what a guest was not shown is not recorded")
	player := recording.NewPlayer(rec, func() { t.Error("it is the same") })
	other := steps{ // the host would answer otherwise
		ask(abi.CapHTTP, `{"url":"<é\u2028>"}`, `1`, nil), ask(abi.CapKVGet, `{"key":"a"}`, "2", nil), ask(abi.CapNow, "", "3", nil), ask(abi.CapRun, "not \xff JSON", "4", nil),
		ask(abi.CapRun, `{"base64":"aGk="}`, "5", nil), ask(abi.CapRun, `1`, "6", nil), random, clock(8), random, chunk(`{"n":1}`), line("hello"), fetch("x"),
	}
	assert.Equal(t, got, other.do(player.Begin, end))
	diff, err := player.Difference()
	require.NoError(t, err)
	assert.Nil(t, diff)
}

func TestTheFirstDifferenceIsTold(t *testing.T) {
	_, rec, _ := record(t, whole, end)
	for name, test := range map[string]struct {
		steps steps
		end   intercept.Outcome
		event int
		says  string
	}{
		"another request":      {append(append(steps{}, whole[:1]...), ask(abi.CapKVGet, `{"key":"b"}`, "", nil)), end, 2, `{"ask":"kv_get","request":{"key":"b"}}`},
		"more random bytes":    {append(append(steps{}, whole[:6]...), func(i intercept.Interceptor) string { _ = i.Random(make([]byte, 9)); return "" }), end, 7, `{"random":9 bytes}`},
		"another chunk":        {append(append(steps{}, whole[:9]...), chunk(`{"n":2}`)), end, 10, `{"chunk":{"n":2}}`},
		"another line":         {append(append(steps{}, whole[:10]...), line("bye")), end, 11, "bye"},
		"one request too many": {append(append(steps{}, whole...), random), end, 13, `{"random":8 bytes}`},
		"one too few":          {whole[:11], end, 12, "the end"},
		"another output":       {whole, intercept.Outcome{Output: []byte(`{"a":1}`), Fuel: 5}, 0, `"output":{"a":1}`},
		"other fuel":           {whole, intercept.Outcome{Output: end.Output, Fuel: 6}, 0, `"fuel":6`},
		"an error":             {whole, intercept.Outcome{Err: status.Publicf(status.NotFound, "no"), Fuel: 5}, 0, `"NOT_FOUND"`},
		"an interrupt":         {whole, intercept.Outcome{Interrupted: true, Fuel: 5}, 0, `"interrupt":true`},
	} {
		t.Run(name, func(t *testing.T) {
			ended := false
			player := recording.NewPlayer(rec, func() { ended = true })
			test.steps.do(player.Begin, test.end)
			diff, err := player.Difference()
			require.NoError(t, err)
			require.NotNil(t, diff)
			assert.Equal(t, test.event, diff.Event)
			assert.Contains(t, diff.Replayed, test.says)
			assert.NotEqual(t, diff.Recorded, diff.Replayed)
			assert.Equal(t, test.event != 0 && name != "one too few", ended, "the call is ended at once")
		})
	}
	player := recording.NewPlayer(rec, func() {})
	i := player.Begin(intercept.Call{})
	assert.Nil(t, player.Begin(intercept.Call{}), "what the call runs in its turn is not it")
	ask(abi.CapNow, "x", "", nil)(i)
	assert.Contains(t, whole[0](i), "another way", "nothing is answered after a difference")
	_, err := player.Difference()
	require.ErrorIs(t, err, recording.ErrNoGuest)
}

func TestARecordingIsBounded(t *testing.T) {
	tape := recording.NewTape(&recording.Recording{Version: recording.Version, Start: recording.NewStart()})
	_, err := tape.Encode(json.RawMessage(`{"r":1}`))
	require.ErrorIs(t, err, recording.ErrNoGuest)
	i := tape.Begin(intercept.Call{})
	assert.Nil(t, tape.Begin(intercept.Call{}))
	for range 3 {
		assert.Equal(t, "\"x\"", strings.TrimSuffix(strings.TrimPrefix(ask(abi.CapRun, strings.Repeat("1", recording.MaxBytes/2), `"x"`, nil)(i), `{"ok":`), "}"), "the call goes on")
	}
	i.End(intercept.Outcome{})
	_, err = tape.Encode(json.RawMessage(`{"r":1}`))
	require.ErrorIs(t, err, recording.ErrTooLong)
}

func TestStartsAreAlike(t *testing.T) {
	s := recording.NewStart()
	var got [2][32]byte
	for i := range got {
		src := s.Sources()
		require.NoError(t, src.Random(got[i][:]))
		assert.Equal(t, s.Time.UnixNano(), src.Clock(0, 5))
		assert.Equal(t, int64(1e9), src.Clock(1, 5))
	}
	assert.Equal(t, got[0], got[1])
	assert.NotEqual(t, s.Seed, recording.NewStart().Seed)
}

func TestWhatIsNoRecordingIsRefused(t *testing.T) {
	seed := `"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`
	for text, says := range map[string]string{
		"[]": "not a recording", `{"recording":2}`: "form 2", `{"recording":1}`: "start.seed", `{"recording":1,"x":1}`: "not known",
		`{"recording":1,"start":{"seed":` + seed + `,"time":"2026-01-01T00:00:00Z"},"events":[{}]}`: "event 1 says nothing",
	} {
		_, err := recording.Parse([]byte(text))
		if assert.Error(t, err, text) {
			assert.Contains(t, err.Error(), says)
		}
	}
}

// FuzzBytes holds the form of bytes in JSON to giving back what was written.
func FuzzBytes(f *testing.F) {
	for _, seed := range []string{"", "null", `{"a":1}`, `{ "a":1}`, `{"base64":"aGk="}`, `{"base64":""}`, "\xff", `"<>&\u2028 "`, "1.0", `{"a":1,"a":2}`, `{"b":"\u003c"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		rec := &recording.Recording{Version: recording.Version, Start: recording.NewStart()}
		tape := recording.NewTape(rec)
		i := tape.Begin(intercept.Call{})
		ask(abi.CapRun, string(raw), string(raw), nil)(i)
		i.End(intercept.Outcome{Output: raw})
		text, err := tape.Encode(json.RawMessage(`{"r":1}`))
		require.NoError(t, err)
		back, err := recording.Parse(text)
		require.NoError(t, err, "%s", text)
		want := string(raw)
		assert.Equal(t, want, string(back.Events[0].Request))
		assert.Equal(t, want, string(back.Ended.Output))
		if want == "" {
			want = "null"
		}
		assert.Equal(t, want, string(back.Events[0].Answer))
	})
}

func TestARecordingBecomesACase(t *testing.T) {
	_, rec, _ := record(t, steps{ask(abi.CapHTTP, `{"url":"u"}`, `{"status":200}`, nil), random, ask(abi.CapRun, `{"key":"k"}`, "", status.Publicf(status.NotFound, "no"))}, end)
	c, err := rec.Case("")
	require.NoError(t, err)
	raw, err := json.Marshal(c)
	require.NoError(t, err)
	assert.JSONEq(t, `{"name":"recorded t","tool":"t","input":{"x":1},"want":{"r":1},"host":[{"http":{"url":"u"},"answer":{"status":200}},{"run":{"key":"k"},"error":{"code":"NOT_FOUND","message":"no"}}]}`, string(raw))
	for _, o := range []intercept.Outcome{{Err: status.Publicf(status.NotFound, "no")}, {Interrupted: true}} {
		_, rec, _ := record(t, nil, o)
		c, err := rec.Case("mine")
		require.NoError(t, err)
		assert.Equal(t, "mine", c.Name)
		assert.Nil(t, c.Want)
		assert.Equal(t, o.Err != nil, c.WantError == "NOT_FOUND")
		assert.Equal(t, o.Interrupted, string(c.WantInterrupt) == "true")
	}
	_, rec, _ = record(t, steps{fetch("x")}, end)
	c, err = rec.Case("")
	require.NoError(t, err)
	assert.JSONEq(t, `{"status":200,"headers":{"a":"b"},"body":"x"}`, string(c.Host[0].Answer))
	_, rec, _ = record(t, steps{ask(abi.CapRun, "\xff", "", nil)}, end)
	_, err = rec.Case("")
	require.Error(t, err, "a case is text")
}
