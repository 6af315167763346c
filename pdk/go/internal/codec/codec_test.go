package codec_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/genkit-wasm/genkit-wasm/pdk/go/internal/codec"
)

// agree decodes data in both ways, and encodes what comes out of it.
func agree(t *testing.T, s species, data []byte) {
	t.Helper()
	got, want, gotErr, wantErr := s.decode(data)
	if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) || reflect.TypeOf(gotErr) != reflect.TypeOf(wantErr) {
		t.Fatalf("decode %s from %q: got error %v, want %v", s.name, data, gotErr, wantErr)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("decode %s from %q:\ngot  %#v\nwant %#v", s.name, data, got, want)
	}
	if wantErr == nil {
		agreeOn(t, s, want)
	}
}

func agreeOn(t *testing.T, s species, v any) {
	t.Helper()
	got, want, gotErr, wantErr := s.encode(v)
	if string(got) != string(want) || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
		t.Fatalf("encode %s %#v:\ngot  %s, %v\nwant %s, %v", s.name, v, got, gotErr, want, wantErr)
	}
}

// Values are parts of larger pieces of memory, of which nobody may notice anything.
func TestValuesDoNotShareMemory(t *testing.T) {
	const input = `{"name":"r","left":{"name":"l"},"children":[{"name":"\u0061","children":[{"name":"b"},{"name":"c"}]},{"name":"d","children":[{"name":"e"}]}]}`
	var want tree
	if err := json.Unmarshal([]byte(input), &want); err != nil {
		t.Fatal(err)
	}
	var all []tree
	for range 200 {
		var v tree
		if err := codec.Decode([]byte(input), &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
		_ = append(v.Children, tree{Name: "more"})
		_ = append(v.Children[0].Children, tree{Name: "more"})
		var broken tree
		if codec.Decode([]byte(input[:len(input)-9]), &broken) == nil || broken.Name != "" {
			t.Fatalf("got %+v", broken)
		}
	}
	for _, v := range all {
		if !reflect.DeepEqual(v, want) {
			t.Fatalf("got  %+v\nwant %+v", v, want)
		}
	}
}

var texts = []string{
	``, ` `, `{}`, `[]`, `null`, `true`, `0`, `-0`, `""`, `"a"`, `{"a":1}`, `[1,2]`, `{"a":1}x`, `{"a":1,}`, `[1,]`, `{,}`, `{"a"}`, `{"a":}`, `nul`, `tru`, `-`, `01`, `1.`,
	`1e`, `1e5`, `1E+2`, `1e400`, `-1.5e-3`, `123456789012345678901234567890`, `9223372036854775807`, `-9223372036854775808`, `18446744073709551615`, `300`, `256`, `-129`, `0.1`,
	`0.30000000000000004`, `1e-7`, `123456789.125`, `"\u0041\n\"\\\/\b\f\r\t"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\udc00x"`, `"\ud83d\u0041"`, `"\u12"`, `"\x"`, `"é日本"`, "\"\xff\"", "\"\xed\xa0\x80\"",
	"\"a\x01\"", `"0123456789abcdef"`, `"0123456\"789"`, `"` + strings.Repeat("é", 9) + `"`, `"unfinished`, `"unfinished\`, `"<>&` + "\u2028\u2029" + `"`, `"AQID"`, `"AQI="`, `"AQI"`, `"2026-11-30T21:00:00Z"`,
	`{"name":"x","count":3,"ratio":1.5,"Ready":true,"-":"d","a<b>&c":"o","Ä":"u"}`, `{"NAME":"x"}`, `{"name":"x","name":"y"}`, `{"name":"x","Name":"y"}`, `{"ä":"u"}`, `{"nam\u0065":"x"}`, `{"name":null}`,
	`{"other":{"x":[1,{"y":null}]},"name":"x"}`, `{"ſ":1}`, `{"ſku":"x"}`, `{"key":"1","KEY":"2","Key":"3"}`, `{"K":1}`, `{"unknown\ud83d":1}`, "{\"\xff\":1}", `{"":1}`, `{"key" : "a" , "s" :1 }`,
	` { "id" : "o1" , "lines" : [ { "sku" : "a" , "quantity" : 2 , "price" : 9.99 } , { } ] } `, `{"id":1}`, `{"lines":{}}`, `{"lines":[{"sku":"a"},{"quantity":"x"}]}`, `{"a":"1","b":"2"}`, `{"a":"1","b":"300"}`,
	`{"a":1,"b":2}`, `{"a":" 1"}`, `{"a":null}`, `{"a":"null"}`, `{"a":"\"q\"","b":"3","C":"true","D":"1.5"}`, `{"name":"r","left":{"name":"l","children":[]},"children":[{"name":"c"}],"byName":{"x":{}}}`,
	`{"id":1,"ID":"x","Name":"n","deep":"d","other":3}`, `{"own":1,"ID":"x"}`, `{"in":{"id":4,"ID":"s"},"id":5}`, `{"A":1,"B":"x","C":["a",null],"D":{"k":"v"},"E":"(w)","F":{"(a)":1},"G":[1],"M":{"Text":"x"},"N":{"Text":"x"},"O":{"Text":"x"}}`,
	`{"A":"bad"}`, `{"C":["good","bad"]}`, `{"E":1}`, `{"F":"x"}`, `{"F":null,"A":3}`, `{"K":1}`, `{"K":null}`, `{"L":"x"}`, `{"J":{"a":[1,"x",null,true,{"b":1e3}]}}`, `{"Q":{}}`, `{"A":null,"B":null,"C":null,"D":null,"E":null,"H":null}`,
	`{"a":"2026-11-30T21:00:00Z","b":[],"c":[],"d":{},"e":{},"f":0,"g":null,"i":[1,2,3],"j":[0],"k":{},"m":"x","n":true,"o":1.0,"p":[ 1 ],"r":-0}`, `{"o":"1"}`, `{"o":"x"}`, `{"o":""}`, `{"o":1e5,"p":null}`,
	`{"A":"AQID","B":"AQI=","C":[1,2,3,4],"D":7,"E":[1, {"a" : 2},null],"F":{"x": [ ],"y":null},"G":12.50,"H":[1,2],"I":null,"J":"j","K":["k"],"L":{"b":"2","a":"1"},"M":["AQ==",null],"O":[[[1]],[],null]}`,
	`{"A":[1,2]}`, `{"A":"A\nQ=="}`, `{"A":"\u0041Q=="}`, `{"B":[1,2]}`, `{"P":{"a":{"b":[1,"x"]}},"Q":{"1":"x"},"R":{},"S":[{},{"x":1}],"T":{"a":1,"b":null},"U":"AQ==","V":3,"W":[1,2]}`, `{"a":1,"a":2}`, `{"a":{"b":1},"a":{"c":2}}`,
	strings.Repeat("[", 150) + strings.Repeat("]", 150), strings.Repeat("[", 300) + strings.Repeat("]", 300), strings.Repeat(`{"left":`, 300) + "null" + strings.Repeat("}", 300), strings.Repeat("[", 10001),
	`[{"id":"1"},null,{"id":"2","note":"n","any":[{}]}]`, `[1,2,3,4]`, `[1,"x"]`, `[1,2`, `{"a":"b","c":"d"}`, `{"a":"b","c":1}`, `{"b":"x","a":"y","a":"z"}`, `{"\u0061":"b"}`, `{"when":"2026-11-30T21:00:00.5+01:00"}`, `{"when":"x"}`, `{"A":{"N":7}}`,
}

// Whatever an input is, result and error are those of encoding/json.
func TestDecodeAsStandard(t *testing.T) {
	for _, s := range zoo {
		for _, text := range texts {
			agree(t, s, []byte(text))
		}
	}
}

// What tools are called with every day does not end with encoding/json.
func TestOrdinaryInputsAreNotLeftToStandard(t *testing.T) {
	for _, c := range []struct {
		s     species
		input string
	}{
		{of[flat](), `{"name":"x","count":3,"ratio":1.5,"Ready":true,"-":"d","a<b>&c":"o","Ä":"ü\n"}`},
		{of[line](), `{"quantity":3,"sku":"x","unknown":[{"a":null}],"tags":null}`},
		{of[flat](), `{"name":null}`},
		{of[widths](), `{"a":-128,"B":32767,"C":-1,"D":99,"E":255,"F":1,"G":4294967295,"H":5,"I":6,"J":7,"K":1.25,"L":1e300,"M":0.1}`},
		{of[quotedNumbers](), `{"a":"-5","b":"255","c":"x","d":[1]}`},
		{of[order](), ` { "id" : "o1" , "customer":{"name":"n","address":{"street":"s","zip":"z"},"points":[1,2.5]},"lines" : [ { "sku" : "a" , "quantity" : 2 , "price" : 9.99, "tags":["a","b"] } , { } ],"labels":{"a":"b"},"extra":{"x":[1]},"note":"n","any":{"a":null},"when":"2026-11-30T21:00:00Z","raw":[1] } `},
		{of[tree](), `{"name":"r","left":{"name":"l","children":[]},"children":[{"name":"c","children":null}],"byName":{"x":{}}}`},
		{of[embeds](), `{"id":1,"ID":"x","deep":"d","other":3,"name2":"n"}`},
		{of[embedsTagged](), `{"in":{"ID":"s"},"id":5}`},
		{of[methods](), `{"A":"x","E":"(w)","I":3}`},
		{of[zeros](), `{"b":[],"c":[1],"d":{"a":1},"f":0,"g":null,"i":[1,2,3],"j":[0],"k":{},"m":"x","n":true,"o":1.0,"p":[ 1 ]}`},
		{of[bytesAndSuch](), `{"A":"AQID","G":12.50,"L":{"b":"2"},"F":{"x":[]},"T":{"a":1}}`},
	} {
		agree(t, c.s, []byte(c.input))
		if c.s.gave([]byte(c.input)) {
			t.Errorf("%s: the codec gave up on %s", c.s.name, c.input)
		}
	}
}

// Values that no input decodes to.
func TestEncodeAsStandard(t *testing.T) {
	cycle := &tree{Name: "c"}
	cycle.Left = cycle
	self := map[string]any{}
	self["self"] = self
	for _, f := range []float64{0, math.Copysign(0, -1), 1, -1, 0.1, 0.25, 1e-6, 9.999e-7, 1e21, 1e20, 999999999999999, 1e15, 1e16, 123456.7891, 0.0012, 0.00123, 5e-324, math.MaxFloat64, math.NaN(), math.Inf(1), math.Inf(-1), 1.0 / 3, 100.01, 4503599627370497.5, 1e9 + 0.5, 33554433, 16777217} {
		agreeOn(t, of[float64](), &f)
		narrow := float32(f)
		agreeOn(t, of[float32](), &narrow)
		agreeOn(t, of[any](), ptr[any](f))
	}
	for _, text := range []string{"", "\x00\x1f\x7f", "<>&\u2028\u2029", "\xff", "a\xc3", "é日本😀", `"\`, strings.Repeat("x", 17) + "\n", "\ufffd"} {
		agreeOn(t, of[string](), &text)
		agreeOn(t, of[map[string]string](), &map[string]string{text: text, "b": "", "a": ""})
		agreeOn(t, of[json.Number](), ptr(json.Number(text)))
		agreeOn(t, of[json.RawMessage](), ptr(json.RawMessage(text)))
		agreeOn(t, of[bytesAndSuch](), &bytesAndSuch{F: map[string]json.RawMessage{"x": json.RawMessage(text)}})
	}
	for _, number := range []string{"1", "-0.5e+10", "+1", "1 ", "01", ".5", "NaN", "1e"} {
		agreeOn(t, of[json.Number](), ptr(json.Number(number)))
	}
	agreeOn(t, of[*tree](), &cycle)
	agreeOn(t, of[map[string]any](), &self)
	agreeOn(t, of[methods](), &methods{I: -1})
	agreeOn(t, of[methods](), &methods{A: shout{"a"}, B: &shout{"b"}, C: []shout{{"c"}}, D: map[string]shout{"d": {"D"}}, J: shout{"j"}, K: onlyOut(1), L: time.Second, No: empty{1}})
	agreeOn(t, of[*methods](), ptr(&methods{A: shout{"a"}, G: [2]shout{{"g"}}, J: &shout{"j"}, M: struct{ shout }{shout{"m"}}}))
	for _, v := range []any{nil, 1, int64(2), uint8(3), "x", []string{"a"}, []any{1, nil, "x", []any(nil)}, map[string]any(nil), flat{Name: "f"}, &flat{}, (*flat)(nil), order{}, []byte{1}, json.RawMessage(`{"a": 1}`), json.Number("5"), time.Unix(0, 0).UTC(), func() {}, map[int]int{2: 1}, shout{"s"}, errTest} {
		agreeOn(t, of[any](), &v)
		agreeOn(t, of[order](), &order{Any: v})
		agreeOn(t, of[zeros](), &zeros{G: v})
		agreeOn(t, of[map[string]any](), &map[string]any{"v": v})
	}
	agreeOn(t, of[noForm](), &noForm{})
	agreeOn(t, of[noForm](), &noForm{F: func() {}})
	agreeOn(t, of[zeros](), &zeros{A: time.Unix(1, 0).UTC(), B: []int{}, E: map[string]int{}, H: [0]int{}, R: math.Copysign(0, -1)})
	agreeOn(t, of[embedsPointer](), &embedsPointer{Other: &Other{Name: "n"}})
}

var errTest = fmt.Errorf("an error")

func ptr[T any](v T) *T { return &v }

// Texts that encoding/json wrote, and what becomes of them by small changes, decode as they do there.
func TestChangedTextsDecodeAsStandard(t *testing.T) {
	for seed := range uint64(3000) {
		compare(t, seed, seed%3)
	}
}

func FuzzAsStandard(f *testing.F) {
	f.Add(uint64(1), uint64(2), []byte(`{"name":"x"}`))
	for i, text := range texts {
		f.Add(uint64(i), uint64(i), []byte(text))
	}
	f.Fuzz(func(t *testing.T, seed, changes uint64, data []byte) {
		agree(t, zoo[seed%uint64(len(zoo))], data)
		compare(t, seed, changes%8)
	})
}

func compare(t *testing.T, seed, changes uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, changes))
	s := zoo[r.IntN(len(zoo))]
	v := s.zero()
	fill(r, reflect.ValueOf(v).Elem(), 4)
	agreeOn(t, s, v)
	text, err := json.Marshal(v)
	if err != nil {
		return
	}
	for range changes {
		text = change(r, text)
	}
	agree(t, s, text)
}

var words = []string{"", "a", "name", "Name", "id", "x<y>&z", "é", "\u2028", "line\nbreak", `quo"te\`, "日本語の文字列です", "\x01", "a longer text without anything", "\xff", "12", "-0.5"}

// fill sets a value at random.
func fill(r *rand.Rand, v reflect.Value, depth int) {
	if v.Type() == reflect.TypeFor[json.RawMessage]() || v.Type() == reflect.TypeFor[json.Number]() {
		v.Set(reflect.ValueOf([]string{"1", "-2.5e3", `0`}[r.IntN(3)]).Convert(v.Type()))
		return
	}
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(r.Int64N(1<<32), r.Int64N(2)*500).UTC()))
		return
	}
	if depth == 0 || r.IntN(6) == 0 {
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.Uint64()) >> r.IntN(64))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.SetUint(r.Uint64() >> r.IntN(64))
	case reflect.Float32, reflect.Float64:
		v.SetFloat([]float64{float64(r.IntN(1000)), float64(r.IntN(100000)) / 100, r.NormFloat64(), math.Float64frombits(r.Uint64()), float64(r.Uint64())}[r.IntN(5)])
	case reflect.String:
		v.SetString(words[r.IntN(len(words))])
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem(), depth-1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(6), 6))
		fillAll(r, v, depth)
	case reflect.Array:
		fillAll(r, v, depth)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(4) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(r, key, 1)
			fill(r, value, depth-1)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(r, v.Field(i), depth)
			}
		}
	case reflect.Interface:
		if v.NumMethod() == 0 {
			inner := reflect.New([]reflect.Type{reflect.TypeFor[string](), reflect.TypeFor[float64](), reflect.TypeFor[[]any](), reflect.TypeFor[map[string]any](), reflect.TypeFor[flat](), reflect.TypeFor[int]()}[r.IntN(6)]).Elem()
			fill(r, inner, depth-1)
			v.Set(inner)
		}
	}
}

func fillAll(r *rand.Rand, v reflect.Value, depth int) {
	for i := range v.Len() {
		fill(r, v.Index(i), depth-1)
	}
}

var pieces = []string{`null`, `"x"`, `1`, `1.5`, `{}`, `[]`, ` `, "\n", `,`, `:`, `"`, `\`, `{"a":1}`, `\u0041`, `\ud800`, "\xff", `e5`, `00`, `-`, `true`, `"name":"y",`, "é", "K", "ſ"}

// change makes one small change to a text.
func change(r *rand.Rand, text []byte) []byte {
	if len(text) == 0 {
		return []byte(pieces[r.IntN(len(pieces))])
	}
	i := r.IntN(len(text))
	j := min(len(text), i+1+r.IntN(8))
	var with []byte
	switch r.IntN(6) {
	case 0: // removes a part
	case 1: // repeats one
		with = append(append(with, text[i:j]...), text[i:j]...)
	case 2:
		with = append([]byte(pieces[r.IntN(len(pieces))]), text[i:j]...)
	case 3:
		with = []byte(pieces[r.IntN(len(pieces))])
	case 4:
		with = []byte(strings.ToUpper(string(text[i:j])))
	default: // adds the value as a member or an element once more
		return []byte(strings.Replace(string(text), ",", ","+string(text[i:j])+",", 1))
	}
	return append(append(append([]byte{}, text[:i]...), with...), text[j:]...)
}
