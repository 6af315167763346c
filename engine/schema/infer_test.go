package schema_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/schema/internal/apples"
	"github.com/genkit-wasm/genkit-wasm/engine/schema/internal/pears"
)

type (
	colour   int
	money    struct{ cents int64 }
	byRef    struct{ V int }
	textRef  struct{ V int }
	tree     map[string]tree
	ladder   []ladder
	level    uint8
	bytes8   [8]byte
	namedRaw []byte
	anything interface{ Thing() }

	base      struct{ ID int }
	Timestamp struct {
		Created time.Time `json:"created"`
	}
	embeds struct {
		base
		*Timestamp
		Name string `json:"name"`
	}
	shadowed struct {
		base
		ID string
	}
	ambiguous struct {
		base
		other
		Kept int
	}
	other    struct{ ID int }
	selfHeld struct {
		*selfHeld
		N int
	}
	tagged struct {
		base `json:"base"`
	}
)

func (c colour) MarshalText() ([]byte, error) { return []byte("colour-" + strconv.Itoa(int(c))), nil }

func (m money) MarshalJSON() ([]byte, error) {
	if m.cents == 0 {
		return []byte("null"), nil
	}
	return json.Marshal([]any{m.cents, "EUR"})
}

func (*byRef) MarshalJSON() ([]byte, error)   { return []byte(`"by reference"`), nil }
func (*textRef) MarshalText() ([]byte, error) { return []byte("by reference"), nil }

type everything struct {
	Addr      netip.Addr
	AddrPtr   *netip.Addr
	Prefix    netip.Prefix
	IP        net.IP
	URL       url.URL
	URLPtr    *url.URL
	Big       *big.Int
	BigValue  big.Int
	Bigs      []big.Int
	Rat       *big.Rat
	Float     *big.Float
	Number    json.Number
	NumberPtr *json.Number
	Raw       json.RawMessage
	Time      time.Time
	TimePtr   *time.Time
	Took      time.Duration
	Colour    colour
	Colours   map[colour]colour
	Money     money
	MoneyPtr  *money
	ByRef     byRef
	ByRefs    []byRef
	ByRefPtr  *byRef
	TextRef   textRef
	TextRefs  map[string]*textRef
	Level     level
	Levels    []level
	Bytes     []byte
	Array     bytes8
	Named     namedRaw
	Any       any
	Anys      []any
	Thing     anything
	Slice     []string
	Slices    [][]string
	Map       map[string]int
	MapOfMaps map[string]map[int]*int
	ByInt     map[int]string
	ByUint    map[uint8]bool
	Pointer   *int
	Pointers  **int
	ToMap     *map[string]int `json:",omitempty"`
	Tree      tree
	Ladder    ladder
	Quoted    int       `json:",string"`
	QuotedPtr *bool     `json:",string"`
	QuotedTxt string    `json:"quoted text,string"`
	Optional  []int     `json:"optional,omitempty"`
	Zero      time.Time `json:"zero,omitzero"`
	Struct    struct{}
	Hidden    func()  `json:"-"`
	Dash      int     `json:"-,"`        //nolint:staticcheck // encoding/json calls it "-"
	Odd       int     `json:"bad\"name"` //nolint:staticcheck // encoding/json ignores the name
	Enum      *string `json:"enum" jsonschema:"enum=a,enum=b"`
	F32       float32
	Rune      rune
	Complexes []struct{ A, B *everything }
}

func filled() everything {
	n, a, u := 7, netip.MustParseAddr("fe80::1%eth0"), url.URL{Scheme: "https", User: url.UserPassword("a", "b"), Host: "x", Path: "/p"}
	p := &n
	huge, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	return everything{
		Addr: netip.MustParseAddr("10.0.0.1"), AddrPtr: &a, Prefix: netip.MustParsePrefix("10.0.0.0/8"), IP: net.IPv6loopback,
		URL: u, URLPtr: &u, Big: huge, BigValue: *big.NewInt(3), Bigs: []big.Int{*big.NewInt(4)}, Rat: big.NewRat(1, 3), Float: big.NewFloat(math.Inf(1)),
		Number: "1.50", NumberPtr: new(json.Number("-2e5")), Raw: json.RawMessage(`[1,{}]`), Time: time.Date(2026, 2, 3, 4, 5, 6, 7, time.FixedZone("x", 3600)),
		TimePtr: &time.Time{}, Took: time.Minute, Colour: 4, Colours: map[colour]colour{1: 2}, Money: money{5}, MoneyPtr: &money{}, ByRefs: []byRef{{1}},
		ByRefPtr: &byRef{}, TextRefs: map[string]*textRef{"a": {}, "b": nil}, Level: 255, Levels: []level{1, 2}, Bytes: []byte("hi"), Array: bytes8{1},
		Named: namedRaw("x"), Any: map[string]any{"a": nil}, Anys: []any{1, nil, "x"}, Slice: []string{}, Slices: [][]string{nil, {"a"}}, Map: map[string]int{"": 1},
		MapOfMaps: map[string]map[int]*int{"a": nil, "b": {-1: nil, 2: p}}, ByInt: map[int]string{-3: "x"}, ByUint: map[uint8]bool{3: true}, Pointer: p, Pointers: &p,
		ToMap: new(map[string]int), Tree: tree{"a": nil, "b": {"c": {}}}, Ladder: ladder{nil, {nil, {}}}, Quoted: 5, QuotedPtr: new(true), QuotedTxt: `"`,
		Optional: []int{1}, Zero: time.Unix(0, 0), Dash: 1, Odd: 2, Enum: new("b"), F32: 1.5e-7, Rune: 'é',
		Complexes: []struct{ A, B *everything }{{A: &everything{}}},
	}
}

// zoo is Go types of all sorts, each with values.
var zoo = map[string][]any{
	"everything":                  {everything{}, filled(), &everything{}},
	"embedded structs":            {embeds{}, embeds{base: base{1}, Timestamp: &Timestamp{}, Name: "x"}},
	"a shadowed field":            {shadowed{}, shadowed{ID: "x"}},
	"an ambiguous field":          {ambiguous{}, ambiguous{Kept: 1}},
	"one that holds itself":       {selfHeld{}, selfHeld{selfHeld: &selfHeld{N: 1}, N: 2}},
	"an embedded one with a name": {tagged{}, tagged{base{1}}},
	"a recursive map":             {tree{}, tree{"a": {"b": nil}}},
	"a recursive slice":           {ladder{}, ladder{nil, {}}},
	"namesakes":                   {namesakes{}, namesakes{A: apples.Node{Kids: []*apples.Node{{Apple: "x"}, nil}}, P: &pears.Node{Pear: 1, Kids: []*pears.Node{{}}}}},
	"generic and recursive": {
		apples.Pair[pears.Pair[int]]{},
		apples.Pair[pears.Pair[int]]{Left: &apples.Pair[pears.Pair[int]]{It: pears.Pair[int]{Left: &pears.Pair[int]{}}}},
		pears.Pair[map[string][]apples.Pair[netip.Addr]]{It: map[string][]apples.Pair[netip.Addr]{"a": {{}}, "b": nil}},
	},
	"a pointer":        {(*base)(nil), &base{1}},
	"a slice":          {[]string(nil), []string{"a"}},
	"a map":            {map[string]*int(nil), map[string]*int{"a": nil}},
	"text":             {"", "x", colour(1), netip.Addr{}, net.IP(nil), url.URL{}},
	"numbers":          {0, int64(math.MaxInt64), uint64(math.MaxUint64), 1.5, json.Number(""), json.Number("1e400"), big.NewInt(0), (*big.Int)(nil)},
	"other marshalers": {money{}, money{3}, &byRef{}, byRef{}, textRef{}, time.Time{}, []textRef{{}}},
}

type namesakes struct {
	A apples.Node
	P *pears.Node
	N struct{ Node *apples.Node }
}

// The JSON that encoding/json writes for a type is valid against the type's schema: for
// the zero value, and for values that a program may set.
func TestGoTypesObeyTheirOwnSchemas(t *testing.T) {
	for name, values := range zoo {
		t.Run(name, func(t *testing.T) {
			for _, v := range values {
				for _, value := range []any{v, reflect.Zero(reflect.TypeOf(v)).Interface()} {
					written := write(t, value)
					raw, err := schema.InferOutputType(reflect.TypeOf(value))
					require.NoError(t, err, "%T", value)
					obeys(t, raw, written)
					raw, err = schema.InferType(reflect.TypeOf(value))
					require.NoError(t, err, "%T", value)
					if string(written) != "null" {
						obeys(t, raw, written)
					}
					assert.NotRegexp(t, `^\{"\$ref"`, string(raw), "a provider wants more than a reference")
					for _, ref := range regexp.MustCompile(`"\$ref":"([^"]*)"`).FindAllStringSubmatch(string(raw), -1) {
						assert.Regexp(t, `^#/\$defs/[A-Za-z0-9_.-]+$`, ref[1])
					}
				}
			}
		})
	}
}

func obeys(t *testing.T, raw, value json.RawMessage) {
	t.Helper()
	for _, options := range [][]schema.Option{nil, {schema.AssertFormats()}} {
		s, err := schema.Compile(raw, options...)
		require.NoError(t, err, string(raw))
		assert.NoError(t, s.Validate(value), "value %s\nschema %s", value, raw)
	}
}

func write(t *testing.T, v any) json.RawMessage {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	require.NoError(t, e.Encode(v), "%T", v)
	return bytes.TrimSpace(b.Bytes())
}

// The schema says more than "anything": what does not fit the type is refused.
func TestSchemasOfGoTypesRefuseWhatDoesNotFit(t *testing.T) {
	for name, c := range map[string]struct {
		infer func() (json.RawMessage, error)
		bad   []string
	}{
		"namesakes stay two": {schema.Infer[namesakes], []string{
			`{"A":{"apple":1,"kids":null},"P":null,"N":{"Node":null}}`,
			`{"A":{"apple":"","kids":[{"pear":1,"kids":null}]},"P":null,"N":{"Node":null}}`,
			`{"A":{"apple":"","kids":null},"P":{"pear":1,"kids":[{"apple":"","kids":null}]},"N":{"Node":null}}`,
			`{"A":null,"P":null,"N":{"Node":null}}`,
		}},
		"generics":      {schema.Infer[apples.Pair[int]], []string{`{}`, `{"it":"x"}`, `{"it":1,"left":{"it":"x"}}`, `{"it":1,"left":null}`}},
		"text":          {schema.Infer[netip.Addr], []string{`1`, `{}`, `null`}},
		"whole numbers": {schema.Infer[*big.Int], []string{`"1"`, `1.5`, `{}`}},
		"a number":      {schema.Infer[json.Number], []string{`"1"`, `null`}},
		"a map by int":  {schema.Infer[map[int]bool], []string{`{"a":true}`, `{"1":1}`}},
		"a slice":       {schema.Infer[[]string], []string{`null`, `[1]`, `{}`}},
		"a pointer":     {schema.Infer[*base], []string{`null`, `{}`, `{"ID":"x"}`}},
		"a tree":        {schema.Infer[tree], []string{`{"a":1}`, `{"a":{"b":[]}}`}},
	} {
		raw, err := c.infer()
		require.NoError(t, err, name)
		s, err := schema.Compile(raw)
		require.NoError(t, err, name)
		for _, bad := range c.bad {
			assert.Error(t, s.Validate(json.RawMessage(bad)), "%s: %s by %s", name, bad, raw)
		}
	}
	for _, infer := range []func() (json.RawMessage, error){
		schema.Infer[struct{ C chan int }], schema.Infer[map[float64]int], schema.Infer[[]func()], schema.Infer[map[struct{}]int], schema.Infer[complex64],
		schema.Infer[panics],
	} {
		_, err := infer()
		require.Error(t, err)
	}
}

type panics struct{ A int }

func (panics) JSONSchemaAlias() any { panic(errors.New("ouch")) }

func TestTagsOfFields(t *testing.T) {
	type fields struct {
		Comma   string   `json:"comma" jsonschema:"description=first, second,minLength=2"`
		Pattern string   `json:"pattern" jsonschema:"pattern=^a{1,2}$,description=a, b=c, or d"`
		Escaped string   `json:"escaped" jsonschema:"description=one\\, two,required"`
		Both    string   `json:"both,omitempty" jsonschema:"required,title=T"`
		List    []string `json:"list" jsonschema:"minItems=0,maxItems=3,enum=a,enum=b" jsonschema_description:"of, all"`
		Number  *int     `json:"number" jsonschema:"minimum=1,maximum=5,default=2"`
		Maybe   string   `json:"maybe" jsonschema:"nullable,enum=x"`
		One     int      `json:"one,omitempty" jsonschema:"oneof_required=one"`
		Two     int      `json:"two,omitempty" jsonschema:"oneof_required=two"`
		Extra   string   `json:"extra" jsonschema_extras:"x-a=1"`
	}
	raw, err := schema.Infer[fields]()
	require.NoError(t, err)
	assert.JSONEq(t, `{"type":"object","additionalProperties":false,
		"required":["comma","pattern","escaped","both","list","number","maybe","extra"],
		"oneOf":[{"title":"one","required":["one"]},{"title":"two","required":["two"]}],
		"properties":{
			"comma":{"type":"string","minLength":2,"description":"first, second"},
			"pattern":{"type":"string","pattern":"^a{1,2}$","description":"a, b=c, or d"},
			"escaped":{"type":"string","description":"one, two"},
			"both":{"type":"string","title":"T"},
			"list":{"type":["array","null"],"minItems":0,"maxItems":3,"items":{"type":"string","enum":["a","b"]},"description":"of, all"},
			"number":{"type":["integer","null"],"minimum":1,"maximum":5,"default":2},
			"maybe":{"anyOf":[{"type":"string","enum":["x"]},{"type":"null"}]},
			"one":{"type":"integer"},"two":{"type":"integer"},
			"extra":{"type":"string","x-a":"1"}}}`, string(raw))

	type hides struct {
		Shown  int `json:"shown"`
		Secret int `json:"secret" jsonschema:"-"`
	}
	raw, err = schema.Infer[hides]()
	require.NoError(t, err)
	assert.NotContains(t, string(raw), "secret")
	obeys(t, raw, write(t, hides{}))
}

func TestARecursiveRootIsWrittenOut(t *testing.T) {
	for _, infer := range []func() (json.RawMessage, error){schema.Infer[apples.Node], schema.Infer[*apples.Node], schema.InferOutput[apples.Node]} {
		raw, err := infer()
		require.NoError(t, err)
		var s struct {
			Type       string                     `json:"type"`
			Properties map[string]json.RawMessage `json:"properties"`
			Defs       map[string]json.RawMessage `json:"$defs"`
		}
		require.NoError(t, json.Unmarshal(raw, &s))
		assert.Equal(t, "object", s.Type)
		assert.Len(t, s.Properties, 2)
		assert.Len(t, s.Defs, 1)
	}
	raw, err := schema.Infer[apples.Pair[pears.Pair[int]]]()
	require.NoError(t, err)
	assert.NotContains(t, string(raw), "genkit-wasm", "no package paths")
}
