package pdk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
	"github.com/genkit-wasm/genkit-wasm/pdk/go/pdktest"
)

type greeting struct {
	Name string `json:"name"`
}

func greet(in greeting) (map[string]string, error) {
	switch in.Name {
	case "":
		return nil, pdk.Errorf(pdk.InvalidArgument, "name is empty")
	case "nobody":
		return nil, fmt.Errorf("look up: %w", &pdk.Error{Code: pdk.NotFound, Message: "no such person", Details: []int{1}})
	case "plain":
		return nil, errors.New("plain text")
	case "panic":
		panic("boom")
	case "odd":
		return nil, &pdk.Error{Code: pdk.Internal, Message: "odd", Details: func() {}}
	case "wait":
		return nil, pdk.Interrupt(map[string]any{"reason": "ask"})
	case "badwait":
		return nil, pdk.Interrupt("a string")
	}
	return map[string]string{"text": "hello <" + in.Name + ">"}, nil
}

func TestTool(t *testing.T) {
	for _, c := range []struct {
		name, input   string
		code          int32
		output, error string
	}{
		{"result, without HTML escaping", `{"name":"é"}`, 0, `{"text":"hello <é>"}`, ""},
		{"coded error", `{"name":""}`, 1, "", `{"code":"INVALID_ARGUMENT","message":"name is empty"}`},
		{"wrapped error keeps code and details", `{"name":"nobody"}`, 1, "", `{"code":"NOT_FOUND","message":"no such person","details":[1]}`},
		{"plain error is its text", `{"name":"plain"}`, 1, "", "plain text"},
		{"panic fails the call", `{"name":"panic"}`, 1, "", `{"code":"INTERNAL","message":"panic: boom"}`},
		{"details without a JSON form are dropped", `{"name":"odd"}`, 1, "", `{"code":"INTERNAL","message":"odd"}`},
		{"input that does not decode", `{"name":1}`, 1, "", `INVALID_ARGUMENT`},
		{"refused interrupt is an error", `{"name":"badwait"}`, 1, "", `"INVALID_ARGUMENT","message":"interrupt:`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := pdktest.Call(func() int32 { return pdk.Tool(greet) }, c.input, pdktest.Options{})
			if r.Code != c.code || r.Output != c.output || !strings.Contains(r.Error, c.error) || (c.error == "") != (r.Error == "") {
				t.Errorf("input %s: got %+v", c.input, r)
			}
		})
	}
}

func TestInterruptEndsTheCallWithoutOutput(t *testing.T) {
	r := pdktest.Call(func() int32 { return pdk.Tool(greet) }, `{"name":"wait"}`, pdktest.Options{})
	if !r.Interrupted || r.Interrupt != `{"reason":"ask"}` || r.Code != 0 || r.Output != "" || r.Error != "" {
		t.Errorf("got %+v", r)
	}
}

func TestTextToolEmitAndContext(t *testing.T) {
	tool := func() int32 {
		return pdk.TextTool(func(s string) (string, error) {
			var who struct{ User string }
			if err := pdk.Context(&who); err != nil {
				return "", err
			}
			if err := pdk.Emit([]string{who.User}); err != nil {
				return "", err
			}
			return strings.ToUpper(s), nil
		})
	}
	r := pdktest.Call(tool, "héllo", pdktest.Options{Context: json.RawMessage(`{"user":"ann"}`)})
	if r.Output != "HÉLLO" || !reflect.DeepEqual(r.Chunks, []string{`["ann"]`}) {
		t.Errorf("got %+v", r)
	}
}

func TestLogHandler(t *testing.T) {
	r := pdktest.Call(func() int32 {
		log := slog.New(pdk.NewLogHandler()).With("a", 1).WithGroup("g").With("b", "x y")
		log.Info("one", "c", 2)
		log.Error("two", slog.Group("h", "d", ""))
		log.Log(t.Context(), slog.LevelDebug-4, "three")
		return 0
	}, "", pdktest.Options{})
	want := []pdktest.Line{
		{Level: 2, Message: `one a=1 g.b="x y" g.c=2`},
		{Level: 4, Message: `two a=1 g.b="x y" g.h.d=""`},
		{Level: 0, Message: `three a=1 g.b="x y"`},
	}
	if !reflect.DeepEqual(r.Logs, want) {
		t.Errorf("got %q, want %q", r.Logs, want)
	}
}

type base struct {
	ID int64 `json:"id,string"`
}

type node struct {
	Name     string `json:"name"`
	Children []node `json:"children,omitempty"`
}

type everything struct {
	base
	Text   string            `json:"text" description:"a \"text\" <here>"`
	Color  string            `json:"color,omitempty" enum:"red,green"`
	Size   *uint8            `json:"size" minimum:"1" maximum:"9"`
	Level  int               `json:"level" enum:"1,2"`
	Ratio  float64           `json:"ratio"`
	Flags  []bool            `json:"flags"`
	Pair   [2]string         `json:"pair"`
	Labels map[string]string `json:"labels"`
	Data   []byte            `json:"data"`
	When   time.Time         `json:"when"`
	Any    any               `json:"any"`
	Tree   *node             `json:"tree,omitzero"`
	Skip   string            `json:"-"`
	Bare   bool
	hidden bool
}

func TestSchema(t *testing.T) {
	_ = everything{}.hidden
	const want = `{"type":"object","properties":{` +
		`"id":{"type":"string"},` +
		`"text":{"type":"string","description":"a \"text\" <here>"},` +
		`"color":{"type":"string","enum":["red","green"]},` +
		`"size":{"type":["integer","null"],"minimum":1,"maximum":9},` +
		`"level":{"type":"integer","enum":[1,2]},` +
		`"ratio":{"type":"number"},` +
		`"flags":{"type":"array","items":{"type":"boolean"}},` +
		`"pair":{"type":"array","items":{"type":"string"},"minItems":2,"maxItems":2},` +
		`"labels":{"type":"object","additionalProperties":{"type":"string"}},` +
		`"data":{"type":"string","contentEncoding":"base64"},` +
		`"when":{"type":"string","format":"date-time"},` +
		`"any":{},` +
		`"tree":{"type":["object","null"],"properties":{"name":{"type":"string"},"children":{"type":"array","items":{"$ref":"#/$defs/node"}}},"required":["name"],"additionalProperties":false},` +
		`"Bare":{"type":"boolean"}},` +
		`"required":["id","text","size","level","ratio","flags","pair","labels","data","when","any","Bare"],` +
		`"additionalProperties":false,` +
		`"$defs":{"node":{"type":"object","properties":{"name":{"type":"string"},"children":{"type":"array","items":{"$ref":"#/$defs/node"}}},"required":["name"],"additionalProperties":false}}}`
	if got := string(pdk.Schema[everything]()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDescribe(t *testing.T) {
	r := pdktest.Call(func() int32 {
		return pdk.Describe(pdk.Module{Name: "m", Version: "1.0.0", Tools: []pdk.ToolInfo{
			pdk.Info("greet", "Greets.", greet), pdk.TextInfo("upper", "Shouts."),
		}})
	}, "", pdktest.Options{})
	const want = `{"abi":"genkit/1","name":"m","version":"1.0.0","tools":[` +
		`{"name":"greet","description":"Greets.","inputSchema":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"],"additionalProperties":false},` +
		`"outputSchema":{"type":["object","null"],"additionalProperties":{"type":"string"}}},` +
		`{"name":"upper","description":"Shouts.","io":"text"}]}`
	if r.Output != want {
		t.Errorf("got  %s\nwant %s", r.Output, want)
	}
}

func TestSchemaPanicsWithoutAJSONForm(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic for a channel")
		}
	}()
	pdk.Schema[chan int]()
}
