package pdk_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
)

type inner struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

type left struct {
	Both string
	Own  string
}

type right struct {
	Both string
	Kept string `json:"Own"`
}

type pair[T any] struct {
	Value T        `json:"value"`
	Next  *pair[T] `json:"next"`
}

type celsius float64

func (celsius) MarshalText() ([]byte, error) { return []byte("warm"), nil }

type opaque struct{ n int }

func (opaque) MarshalJSON() ([]byte, error) { return []byte(`[1]`), nil }

// The schema of a type describes the JSON that encoding/json writes for it.
func TestSchemasFollowEncodingJSON(t *testing.T) {
	for name, c := range map[string]struct{ got, want string }{
		"a pointer with an enum may be null": {
			string(pdk.Schema[struct {
				C *string `json:"c" enum:"a,b"`
			}]()),
			`{"type":"object","properties":{"c":{"type":["string","null"],"enum":["a","b",null]}},"required":["c"],"additionalProperties":false}`,
		},
		"a pointer that is written as a string may be null": {
			string(pdk.Schema[struct {
				N *int64 `json:"n,string"`
			}]()),
			`{"type":"object","properties":{"n":{"type":["string","null"]}},"required":["n"],"additionalProperties":false}`,
		},
		"the option string has no effect on a slice": {
			string(pdk.Schema[struct {
				L []int `json:"l,string"` //nolint:staticcheck // the option has no effect
			}]()),
			`{"type":"object","properties":{"l":{"type":"array","items":{"type":"integer"}}},"required":["l"],"additionalProperties":false}`,
		},
		"a field hides the one of an embedded struct": {
			string(pdk.Schema[struct {
				inner
				Name bool `json:"name"`
			}]()),
			`{"type":"object","properties":{"id":{"type":"integer"},"name":{"type":"boolean"}},"required":["id","name"],"additionalProperties":false}`,
		},
		"of two equal names that of a tag counts, and without tags neither": {
			string(pdk.Schema[struct {
				left
				right
			}]()),
			`{"type":"object","properties":{"Own":{"type":"string"}},"required":["Own"],"additionalProperties":false}`,
		},
		"fields of an embedded pointer are optional": {
			string(pdk.Schema[struct {
				*inner
				Last string `json:"last"`
			}]()),
			`{"type":"object","properties":{"id":{"type":"integer"},"name":{"type":"string"},"last":{"type":"string"}},"required":["last"],"additionalProperties":false}`,
		},
		"a type that writes text is a string, one that writes JSON anything": {
			string(pdk.Schema[struct {
				C celsius
				A netip.Addr
				O opaque
				N json.Number
				R json.RawMessage
				P *json.RawMessage
			}]()),
			`{"type":"object","properties":{"C":{"type":"string"},"A":{"type":"string"},"O":{},"N":{"type":"number"},"R":{},"P":{}},"required":["C","A","O","N","R","P"],"additionalProperties":false}`,
		},
		"a pointer to a pointer and to a time": {
			string(pdk.Schema[struct {
				P **int
				T *time.Time
			}]()),
			`{"type":"object","properties":{"P":{"type":["integer","null"]},"T":{"type":["string","null"],"format":"date-time"}},"required":["P","T"],"additionalProperties":false}`,
		},
		"an unsigned number keeps its own minimum": {
			string(pdk.Schema[struct {
				N uint `minimum:"3"`
			}]()),
			`{"type":"object","properties":{"N":{"type":"integer","minimum":3}},"required":["N"],"additionalProperties":false}`,
		},
	} {
		if c.got != c.want {
			t.Errorf("%s\n got %s\nwant %s", name, c.got, c.want)
		}
	}
	_ = opaque{}.n
}

// Every $ref leads to a definition, whatever the type is called.
func TestReferencesOfGenericTypesLeadToDefinitions(t *testing.T) {
	var s struct {
		Defs       map[string]json.RawMessage `json:"$defs"`
		Properties struct {
			Next struct {
				AnyOf []struct {
					Ref string `json:"$ref"`
				} `json:"anyOf"`
			} `json:"next"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(pdk.Schema[pair[pdk.Module]](), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Properties.Next.AnyOf) != 2 || len(s.Defs) != 1 {
		t.Fatalf("got %+v", s)
	}
	ref := s.Properties.Next.AnyOf[0].Ref
	name, ok := strings.CutPrefix(ref, "#/$defs/")
	if !ok || s.Defs[name] == nil {
		t.Errorf("%s leads to none of %v", ref, s.Defs)
	}
	if strings.ContainsAny(name, "/[].~%*") {
		t.Errorf("%q is no name for a reference", name)
	}
}

func TestTagsThatAreNoValuesPanic(t *testing.T) {
	for name, schema := range map[string]func() json.RawMessage{
		"a minimum that is no number": pdk.Schema[struct {
			N int `minimum:"low"`
		}],
		"a number in an enum that is none": pdk.Schema[struct {
			N int `enum:"1,two"`
		}],
		"a map without text as keys": pdk.Schema[map[int]string],
		"a function":                 pdk.Schema[struct{ F func() }],
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			schema()
		}()
	}
}

func TestNilResultsAreAllowedByOutputSchemas(t *testing.T) {
	info := pdk.Info("t", "", func(struct{}) ([][]int, error) { return nil, nil })
	const want = `{"type":["array","null"],"items":{"type":["array","null"],"items":{"type":"integer"}}}`
	if string(info.OutputSchema) != want {
		t.Errorf("got %s", info.OutputSchema)
	}
	if got := string(info.InputSchema); got != `{"type":"object","properties":{},"additionalProperties":false}` {
		t.Errorf("got %s", got)
	}
}
