package codec_test

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/genkit-wasm/genkit-wasm/pdk/go/internal/codec"
)

type progress struct {
	Done  int               `json:"done"`
	Of    map[string]string `json:"of,omitempty"`
	When  time.Time         `json:"when"`
	Notes []any             `json:"notes"`
}

type stranger struct {
	Name string `json:"name"`
}

var _ = codec.Learn[progress]()

// Whatever the type is, learnt or not, the text and the error are those of encoding/json.
func TestAnyAsStandard(t *testing.T) {
	for _, v := range []any{
		nil, "a<b>é", 1.5, true, json.RawMessage(`{"a": 1}`), json.RawMessage(`{`),
		map[string]any{"b": []any{1, "x"}, "a": nil},
		map[string]int{"z": 1, "a": 2},
		progress{3, map[string]string{"b": "c", "a": ""}, time.Unix(1, 2).UTC(), []any{math.Inf(1)}},
		progress{Notes: []any{progress{}, stranger{"n"}}},
		&progress{Done: 1},
		stranger{"x"},
		&stranger{},
		[]stranger{{"\xff"}},
		math.NaN(), make(chan int),
	} {
		got, gotErr := codec.Any(v)
		want, wantErr := codec.Standard(v)
		if string(got) != string(want) || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Errorf("%#v: %s %v, want %s %v", v, got, gotErr, want, wantErr)
		}
	}
}

func TestDecodeAnyAsStandard(t *testing.T) {
	into := []func() any{
		func() any { return new(progress) },
		func() any { return &progress{Done: 7, Of: map[string]string{"kept": "1"}, Notes: []any{"old"}} }, // it is merged into
		func() any { return &stranger{Name: "kept"} }, func() any { return new(any) }, func() any { return new(string) },
		func() any { return (*progress)(nil) }, func() any { return progress{} }, func() any { return nil },
	}
	for _, text := range []string{`{"done":1,"of":{"a":"b"},"notes":[1,null]}`, `{"DONE":2,"done":3}`, `{"done":"x"}`, `{"name":"n"}`, `null`, `"s"`, `{`, ``} {
		for i, fresh := range into {
			got, want := fresh(), fresh()
			gotErr, wantErr := codec.DecodeAny([]byte(text), got), json.Unmarshal([]byte(text), want)
			if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) || !reflect.DeepEqual(got, want) {
				t.Errorf("%d from %s: %#v %v, want %#v %v", i, text, got, gotErr, want, wantErr)
			}
		}
	}
}

// Memory is used again once it is given back, and not before.
func TestReleasedMemoryIsUsedAgain(t *testing.T) {
	first, _ := codec.Any("first")
	second, _ := codec.Any("second")
	if string(first) != `"first"` || string(second) != `"second"` {
		t.Fatalf("%s %s", first, second)
	}
	codec.Release(first)
	third, _ := codec.Any("third")
	if &third[0] != &first[:1][0] || string(second) != `"second"` {
		t.Errorf("%s %s %s", first, second, third)
	}
	codec.Ready()
	if fourth, _ := codec.Any("fourth"); string(third) != `"third"` || string(fourth) != `"fourth"` || cap(fourth) < 4<<10 {
		t.Errorf("%s %s %d", third, fourth, cap(fourth))
	}
}
