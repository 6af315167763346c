package pdktest_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
	"github.com/genkit-wasm/genkit-wasm/pdk/go/internal/host"
	"github.com/genkit-wasm/genkit-wasm/pdk/go/pdktest"
)

func TestWhatATestLeavesOut(t *testing.T) {
	for name, c := range map[string]struct {
		do   func() error
		want string // of the error; "" for none
	}{
		"a capability is refused": {func() error { return pdk.KVDelete("k") }, `PERMISSION_DENIED: capability "kv_delete" is not granted`},
		"nothing was resumed":     {func() error { _, err := pdk.Resumed(nil); return err }, `PERMISSION_DENIED: capability "resumed" is not granted`},
		"there is no context":     {func() error { return pdk.Context(&struct{}{}) }, ""},
	} {
		r := pdktest.Call(func() int32 {
			if err := c.do(); err != nil {
				return pdk.Fail(err)
			}
			return 0
		}, "", pdktest.Options{})
		var said pdk.Error
		if c.want != "" {
			if err := json.Unmarshal([]byte(r.Error), &said); err != nil {
				t.Errorf("%s: %v in %s", name, err, r.Error)
			}
		}
		if (r.Code == 0) != (c.want == "") || c.want != "" && said.Error() != c.want {
			t.Errorf("%s: got %+v", name, r)
		}
	}
}

func TestTheHostRefusesWhatTheRealOneRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		ask  func([]byte) []byte
		body string
		want string
	}{
		"a chunk that is no JSON":        {host.Emit, `{"a":`, "INVALID_ARGUMENT"},
		"a chunk":                        {host.Emit, `{"a":1}`, `{"ok":null}`},
		"an interrupt with a text":       {host.Interrupt, `"why"`, "INVALID_ARGUMENT"},
		"an interrupt with a list":       {host.Interrupt, `[1]`, "INVALID_ARGUMENT"},
		"an interrupt that is no JSON":   {host.Interrupt, `{`, "INVALID_ARGUMENT"},
		"an interrupt without a word":    {host.Interrupt, `null`, `{"ok":null}`},
		"an interrupt that says what is": {host.Interrupt, `{"a":1}`, `{"ok":null}`},
	} {
		var reply string
		r := pdktest.Call(func() int32 { reply = string(c.ask([]byte(c.body))); return 7 }, "", pdktest.Options{})
		if !strings.Contains(reply, c.want) || r.Code != 7 {
			t.Errorf("%s: got %s and %+v", name, reply, r)
		}
		if took := len(r.Chunks) > 0 || r.Interrupted; took != (c.want == `{"ok":null}`) {
			t.Errorf("%s: got %+v", name, r)
		}
	}
}

func TestCallsAreApart(t *testing.T) {
	var inner pdktest.Result
	outer := pdktest.Call(func() int32 {
		pdk.Output([]byte("1"))
		pdk.Log(pdk.LevelWarn, "before")
		inner = pdktest.Call(func() int32 {
			pdk.Output(pdk.Input())
			pdk.Log(pdk.LevelInfo, "within")
			return 0
		}, "in", pdktest.Options{})
		pdk.Log(pdk.LevelError, "after "+string(pdk.Input()))
		return 0
	}, "out", pdktest.Options{})
	if want := (pdktest.Result{Output: "in", Logs: []pdktest.Line{{Level: 2, Message: "within"}}}); !reflect.DeepEqual(inner, want) {
		t.Errorf("inner: got %+v", inner)
	}
	want := pdktest.Result{Output: "1", Logs: []pdktest.Line{{Level: 3, Message: "before"}, {Level: 4, Message: "after out"}}}
	if !reflect.DeepEqual(outer, want) {
		t.Errorf("outer: got %+v", outer)
	}

	// A tool that panics takes its host along.
	func() {
		defer func() { _ = recover() }()
		pdktest.Call(func() int32 { pdk.Output([]byte("gone")); panic("boom") }, "x", pdktest.Options{})
	}()
	if r := pdktest.Call(func() int32 { pdk.Output(pdk.Input()); return 0 }, "y", pdktest.Options{}); r.Output != "y" {
		t.Errorf("after a panic: got %+v", r)
	}
}

func TestBytesAreCopied(t *testing.T) {
	mine := []byte("abc")
	r := pdktest.Call(func() int32 {
		pdk.Output(mine)
		copy(mine, "xyz")
		copy(pdk.Input(), "xyz")
		if string(pdk.Input()) != "in" {
			return 1
		}
		return 0
	}, "in", pdktest.Options{})
	if r.Code != 0 || r.Output != "abc" {
		t.Errorf("got %+v", r)
	}
}
