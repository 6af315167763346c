package codec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/pdk/go/internal/codec"
)

// species is a type of the zoo.
type species struct {
	name   string
	decode func(data []byte) (got, want any, gotErr, wantErr error)
	encode func(v any) (got, want []byte, gotErr, wantErr error)
	zero   func() any // a pointer to a new value
	gave   func(data []byte) bool
}

func of[T any]() species {
	codec.Learn[T]()
	return species{
		name: strings.ReplaceAll(fmt.Sprintf("%T", *new(T)), "codec_test.", ""),
		decode: func(data []byte) (any, any, error, error) {
			var got, want T
			gotErr := codec.Decode(append([]byte{}, data...), &got)
			wantErr := json.Unmarshal(data, &want)
			return &got, &want, gotErr, wantErr
		},
		encode: func(v any) ([]byte, []byte, error, error) {
			got, gotErr := codec.Encode(v.(*T))
			want, wantErr := codec.Standard(*v.(*T))
			return got, want, gotErr, wantErr
		},
		zero: func() any { return new(T) },
		gave: codec.Gave[T],
	}
}

type flat struct {
	Name  string  `json:"name"`
	Count int     `json:"count,omitempty"`
	Ratio float64 `json:"ratio"`
	Ready bool
	Out   string `json:"-"`
	Dash  string `json:"-,"` //nolint:staticcheck // a tag that encoding/json takes
	Odd   string `json:"a<b>&c"`
	Ä     string
}

type badTag struct {
	A   int
	Bad string `json:"with\"quote"` //nolint:staticcheck // a tag that encoding/json ignores
}

type widths struct {
	A int8 `json:"a,omitempty"`
	B int16
	C int32 `json:",omitzero"`
	D int64
	E uint8
	F uint16 `json:",omitempty"`
	G uint32
	H uint64
	I uint
	J uintptr
	K float32
	L float64 `json:",omitempty"`
	M float64 `json:",omitzero"`
}

type quotedNumbers struct {
	A int64  `json:"a,string"`
	B uint8  `json:"b,string,omitempty"`
	C string `json:"c"`
	D []int  `json:"d,string"` //nolint:staticcheck // the option means nothing here
}

type quotedText struct {
	A string  `json:"a,string"`
	B *int    `json:"b,string"`
	C bool    `json:",string"`
	D float64 `json:",string"`
}

type line struct {
	SKU      string   `json:"sku"`
	Quantity int      `json:"quantity"`
	Price    float64  `json:"price"`
	Tags     []string `json:"tags,omitempty"`
}

type order struct {
	ID       string            `json:"id"`
	Customer *customer         `json:"customer"`
	Lines    []line            `json:"lines"`
	Labels   map[string]string `json:"labels,omitempty"`
	Extra    map[string]any    `json:"extra,omitempty"`
	Note     *string           `json:"note"`
	Any      any               `json:"any"`
	When     time.Time         `json:"when,omitzero"`
	Raw      json.RawMessage   `json:"raw,omitempty"`
}

type customer struct {
	Name    string `json:"name"`
	Address struct {
		Street string `json:"street"`
		Zip    string `json:"zip"`
	} `json:"address"`
	Points *[]float64 `json:"points"`
}

type tree struct {
	Name     string          `json:"name"`
	Left     *tree           `json:"left,omitempty"`
	Children []tree          `json:"children"`
	ByName   map[string]tree `json:"byName,omitempty"`
}

type listOfLists []listOfLists

type inner struct {
	ID   int64 `json:"id"`
	Name string
	Deep string `json:"deep"`
}

type Other struct {
	ID    string `json:"ID"`
	Name  string
	Other int `json:"other"`
}

type embeds struct {
	inner
	Other
	Deep string `json:"name2"`
}

// Of Same neither counts, because neither is deeper or named by its tag; of Named the one with the tag does.
type embedsTwice struct {
	A struct{ inner }
	Left
	Right
	Nested
}

type Left struct{ Same, Named, L string }

type Right struct {
	Same  string
	Other string `json:"Named"`
	R     string
}

// Nested embeds a struct that is embedded beside it as well, and one twice.
type Nested struct {
	First
	Second
	Left
}

type First struct{ Third }

type Second struct{ Third }

type Third struct{ T string }

type embedsPointer struct {
	*Other
	Own int `json:"own"`
}

type embedsTagged struct {
	Other `json:"in"`
	ID    int `json:"id"`
}

type embedsUnexported struct {
	inner `json:"in"`
	ID    int `json:"id"`
}

// shout has methods on its pointer, and whisper on itself.
type shout struct{ Text string }

func (s *shout) MarshalJSON() ([]byte, error) { return json.Marshal("!" + s.Text) }

func (s *shout) UnmarshalJSON(b []byte) error {
	s.Text = string(b) + "!"
	if strings.Contains(s.Text, "bad") {
		return errors.New("bad shout")
	}
	return nil
}

type whisper string

func (w whisper) MarshalText() ([]byte, error) { return []byte("(" + string(w) + ")"), nil }

func (w *whisper) UnmarshalText(b []byte) error {
	*w = whisper(strings.Trim(string(b), "()"))
	return nil
}

type onlyOut int

func (o onlyOut) MarshalJSON() ([]byte, error) {
	if o < 0 {
		return nil, errors.New("less than nothing")
	}
	return []byte(fmt.Sprintf(` { "out" : %d } `, int(o))), nil
}

type empty struct{ at int }

func (e empty) IsZero() bool { return e.at == 0 }

type zeroByPointer struct{ N int }

func (z *zeroByPointer) IsZero() bool { return z.N == 7 }

type methods struct {
	A  shout
	B  *shout
	C  []shout
	D  map[string]shout
	E  whisper
	F  map[whisper]int
	G  [2]shout
	H  *whisper
	I  onlyOut
	J  any
	K  json.Marshaler
	L  fmt.Stringer
	M  struct{ shout }
	N  *struct{ shout }
	O  pointed
	P  []whisper
	Q  interface{ UnmarshalJSON([]byte) error }
	No empty `json:",omitzero"`
}

type pointed *shout

type zeros struct {
	A time.Time       `json:"a,omitzero"`
	B []int           `json:"b,omitzero"`
	C []int           `json:"c,omitempty"`
	D map[string]int  `json:"d,omitempty"`
	E map[string]int  `json:"e,omitzero"`
	F *int            `json:"f,omitempty"`
	G any             `json:"g,omitempty"`
	H [0]int          `json:"h,omitempty"`
	I [2]int          `json:"i,omitempty"`
	J [2]int          `json:"j,omitzero"`
	K inner           `json:"k,omitempty"` //nolint:modernize // the option means nothing here
	L inner           `json:"l,omitzero"`
	M string          `json:"m,omitzero"`
	N bool            `json:"n,omitempty"`
	O json.Number     `json:"o,omitempty"`
	P json.RawMessage `json:"p,omitempty"`
	Q empty           `json:"q,omitzero"`
	R float64         `json:"r,omitempty,omitzero"`
}

type bytesAndSuch struct {
	A []byte
	B []named
	C [3]byte
	D named
	E []json.RawMessage
	F map[string]json.RawMessage
	G json.Number
	H []json.Number
	I *json.RawMessage
	J text
	K []text
	L map[text]text
	M [][]byte
	N *[]byte
	O [][][]int
	P map[string]map[string][]any
	Q map[int]string
	R struct{}
	S []struct{}
	T map[string]*int
	U ownRaw
	V **int
	W []uint8p
}

type (
	named  byte
	text   string
	ownRaw json.RawMessage
	uint8p *uint8
)

type noForm struct {
	A int
	F func()
	C chan int `json:"c,omitempty"`
}

type cases struct {
	Key  string `json:"key"`
	KEY  string
	Long string `json:"aFieldWithALongName"`
	S    int    `json:"s"`
}

var zoo = []species{
	of[flat](), of[badTag](), of[widths](), of[quotedNumbers](), of[quotedText](), of[order](), of[tree](), of[listOfLists](), of[embeds](),
	of[embedsTwice](), of[embedsPointer](), of[embedsTagged](), of[embedsUnexported](), of[methods](), of[zeros](), of[bytesAndSuch](),
	of[noForm](), of[cases](), of[any](), of[string](), of[int](), of[float64](), of[*order](), of[[]order](), of[map[string]any](),
	of[map[string]string](), of[json.RawMessage](), of[shout](), of[*shout](), of[time.Time](), of[[]byte](), of[[3]int](), of[json.Number](),
	of[struct {
		A zeroByPointer `json:",omitzero"`
	}](), of[map[string]order](), of[float32](), of[bool](), of[struct{}](), of[struct{ shout }](),
	of[struct {
		A *int
		B struct{ A, B, C []*flat }
	}](),
}
