package model

import (
	"encoding/json"
	"maps"
	"math"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Usage counts the tokens, characters and media of a call. On the wire a count keeps the digits that its
// provider wrote for as long as nobody changes it, and a 0 that was told stays apart from
// a count that was not; see [Usage.Told].
type Usage struct {
	InputTokens         int
	OutputTokens        int
	TotalTokens         int
	InputCharacters     int
	OutputCharacters    int
	InputImages         int
	OutputImages        int
	InputVideos         int
	OutputVideos        int
	InputAudioFiles     int
	OutputAudioFiles    int
	ThoughtsTokens      int
	CachedContentTokens int
	Custom              map[string]float64

	Extra map[string]json.RawMessage

	// told are the counts whose literal does not follow from the number: zeros,
	// fractions, exponents, and what an int does not hold. Those of Custom stand under
	// "custom.<name>".
	told map[string]json.Number
}

// wireUsage is a usage as it is written.
type wireUsage struct {
	InputTokens         json.Number            `json:"inputTokens,omitempty"`
	OutputTokens        json.Number            `json:"outputTokens,omitempty"`
	TotalTokens         json.Number            `json:"totalTokens,omitempty"`
	InputCharacters     json.Number            `json:"inputCharacters,omitempty"`
	OutputCharacters    json.Number            `json:"outputCharacters,omitempty"`
	InputImages         json.Number            `json:"inputImages,omitempty"`
	OutputImages        json.Number            `json:"outputImages,omitempty"`
	InputVideos         json.Number            `json:"inputVideos,omitempty"`
	OutputVideos        json.Number            `json:"outputVideos,omitempty"`
	InputAudioFiles     json.Number            `json:"inputAudioFiles,omitempty"`
	OutputAudioFiles    json.Number            `json:"outputAudioFiles,omitempty"`
	ThoughtsTokens      json.Number            `json:"thoughtsTokens,omitempty"`
	CachedContentTokens json.Number            `json:"cachedContentTokens,omitempty"`
	Custom              map[string]json.Number `json:"custom,omitzero"`
}

// count is one count in both its forms.
type count struct {
	name string
	n    *int
	wire *json.Number
}

func (u *Usage) counts(w *wireUsage) []count {
	return []count{
		{"inputTokens", &u.InputTokens, &w.InputTokens},
		{"outputTokens", &u.OutputTokens, &w.OutputTokens},
		{"totalTokens", &u.TotalTokens, &w.TotalTokens},
		{"inputCharacters", &u.InputCharacters, &w.InputCharacters},
		{"outputCharacters", &u.OutputCharacters, &w.OutputCharacters},
		{"inputImages", &u.InputImages, &w.InputImages},
		{"outputImages", &u.OutputImages, &w.OutputImages},
		{"inputVideos", &u.InputVideos, &w.InputVideos},
		{"outputVideos", &u.OutputVideos, &w.OutputVideos},
		{"inputAudioFiles", &u.InputAudioFiles, &w.InputAudioFiles},
		{"outputAudioFiles", &u.OutputAudioFiles, &w.OutputAudioFiles},
		{"thoughtsTokens", &u.ThoughtsTokens, &w.ThoughtsTokens},
		{"cachedContentTokens", &u.CachedContentTokens, &w.CachedContentTokens},
	}
}

const customPrefix = "custom."

// Tell sets a count by its name on the wire, such as "inputTokens", or "custom.<name>" for
// one of the provider's own, and keeps its digits. A name that is none is passed over.
func (u *Usage) Tell(name string, n json.Number) {
	if own, custom := cutCustom(name); custom {
		f, _ := n.Float64()
		if u.Custom == nil {
			u.Custom = map[string]float64{}
		}
		u.Custom[own] = f
		u.keep(name, n, floatLiteral(f))
		return
	}
	for _, c := range u.counts(&wireUsage{}) {
		if c.name == name {
			*c.n = whole(n)
			u.keep(name, n, intLiteral(*c.n))
			return
		}
	}
}

// keep notes a literal that does not follow from the number.
func (u *Usage) keep(name string, n, plain json.Number) {
	if n == plain {
		delete(u.told, name)
		return
	}
	if u.told == nil {
		u.told = map[string]json.Number{}
	}
	u.told[name] = n
}

// Told returns a count by its name on the wire, with the digits that its provider wrote;
// false when it was not told.
func (u *Usage) Told(name string) (json.Number, bool) {
	if u == nil {
		return "", false
	}
	if own, custom := cutCustom(name); custom {
		f, ok := u.Custom[own]
		if !ok {
			return "", false
		}
		if n, kept := u.told[name]; kept {
			if was, _ := n.Float64(); was == f {
				return n, true
			}
		}
		return floatLiteral(f), true
	}
	for _, c := range u.counts(&wireUsage{}) {
		if c.name == name {
			n := u.literal(c)
			return n, n != ""
		}
	}
	return "", false
}

// literal is how a count is written, "" when it was not told.
func (u *Usage) literal(c count) json.Number {
	if n, kept := u.told[c.name]; kept && whole(n) == *c.n {
		return n
	}
	return intLiteral(*c.n)
}

// Clone returns a copy that shares nothing.
func (u *Usage) Clone() *Usage {
	if u == nil {
		return nil
	}
	c := *u
	c.Custom, c.Extra, c.told = maps.Clone(u.Custom), maps.Clone(u.Extra), maps.Clone(u.told)
	return &c
}

// UnmarshalJSON keeps unknown fields in Extra.
func (u *Usage) UnmarshalJSON(b []byte) error {
	*u = Usage{}
	w := &wireUsage{}
	var err error
	if u.Extra, err = rawjson.Unmarshal(b, w); err != nil {
		return err
	}
	for _, c := range u.counts(w) {
		if *c.wire != "" {
			*c.n = whole(*c.wire)
			u.keep(c.name, *c.wire, intLiteral(*c.n))
		}
	}
	if w.Custom != nil {
		u.Custom = make(map[string]float64, len(w.Custom))
	}
	for name, n := range w.Custom {
		u.Tell(customPrefix+name, n)
	}
	return nil
}

// MarshalJSON writes the fields of Extra too.
func (u Usage) MarshalJSON() ([]byte, error) {
	w := &wireUsage{}
	for _, c := range u.counts(w) {
		*c.wire = u.literal(c)
	}
	if u.Custom != nil {
		w.Custom = make(map[string]json.Number, len(u.Custom))
	}
	for name := range u.Custom {
		w.Custom[name], _ = u.Told(customPrefix + name)
	}
	return rawjson.Marshal(*w, u.Extra)
}

func cutCustom(name string) (string, bool) {
	if len(name) > len(customPrefix) && name[:len(customPrefix)] == customPrefix {
		return name[len(customPrefix):], true
	}
	return "", false
}

// whole is a count as an int: rounded toward zero, within the range of an int, and 0 for
// what is too large for a float.
func whole(n json.Number) int {
	if i, err := strconv.Atoi(string(n)); err == nil {
		return i
	}
	f, err := n.Float64()
	switch {
	case err != nil:
		return 0
	case f >= math.MaxInt:
		return math.MaxInt
	case f <= math.MinInt:
		return math.MinInt
	}
	return int(f)
}

// intLiteral is how a count is written that nobody wrote before; "" for 0, which says
// nothing.
func intLiteral(n int) json.Number {
	if n == 0 {
		return ""
	}
	return json.Number(strconv.Itoa(n))
}

func floatLiteral(f float64) json.Number {
	raw, err := json.Marshal(f)
	if err != nil { // an infinity, which JSON has not
		return "0"
	}
	return json.Number(raw)
}
