package schema_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// expressions and texts are what TestPatternsMatchAsPackageRegexp and its fuzzing begin
// with: every instruction, and assertions at every place.
var (
	expressions = []string{
		"", "a", "^a", "a$", "^$", "^a$", "a|b", "(?i)straße", "(?i)K", `\bfoo\b`, `\Boo`, "(?m)^b$", "(?s)a.b", "a.b", `^\pL+$`, `[^a-c]`, `^[a-z]{3,5}$`,
		"(x?){30}(x?){30}y", "(a*)*b", "(a|b|ab)*c$", `\Aa`, `a\z`, "(?:)", "a{0}", "^(a+)+$", `[[:^alpha:]]`, "é|€|😀", `\x{1F600}$`, "$a", "a^", "(^|b)a", "(|a)+", "(?U)a+b",
	}
	texts = []string{
		"", "a", "b", "ab", "abc", "aab", "ba", "STRASSE", "Straße", "straßE", "\u212A", "k", "a foo b", "foo", "xfoo", "a\nb", "b\na", "a\nb\nc", "😀", "é€", "aXb",
		"xxxxy", "aaaaaaaaaaaaaaaa!", "ababababc", "123", "abcd", "abcdef", strings.Repeat("x", 70) + "y", strings.Repeat("x", 70), "\u2028", "a\u0300",
	}
)

func TestPatternsMatchAsPackageRegexp(t *testing.T) {
	for _, expression := range expressions {
		for _, text := range texts {
			matchesAlike(t, expression, text)
		}
	}
}

func FuzzPatternsMatchAsPackageRegexp(f *testing.F) {
	for i, text := range texts {
		f.Add(expressions[i%len(expressions)], text)
	}
	f.Fuzz(matchesAlike)
}

// matchesAlike holds both forms of a schema against package regexp.
func matchesAlike(t *testing.T, expression, text string) {
	t.Helper()
	re, err := regexp.Compile(expression)
	if err != nil || len(expression)+len(text) > 1000 {
		return
	}
	quoted, err := json.Marshal(map[string]string{"pattern": expression})
	require.NoError(t, err)
	s, err := schema.Compile(quoted)
	if err != nil {
		assert.Contains(t, err.Error(), "regular expressions are too big")
		return
	}
	doc, err := json.Marshal(text)
	require.NoError(t, err)
	var decoded, kept string // the encoder replaces what is no UTF-8
	require.NoError(t, json.Unmarshal(doc, &decoded))
	require.NoError(t, json.Unmarshal(quoted, &map[string]*string{"pattern": &kept}))
	if kept != expression {
		return
	}
	want := re.MatchString(decoded)
	for form, validate := range map[string]func(json.RawMessage) error{"fast": s.ValidateFast, "slow": s.ValidateSlow} {
		if got := validate(doc); (got == nil) != want && (got == nil || !strings.Contains(got.Error(), schema.ErrWork.Error())) {
			t.Errorf("%s: %q on %q: got %v, regexp says %v", form, expression, decoded, got, want)
		}
	}
}

// TestMatchingIsPaidByItsSteps has pairs of some bytes for each of which package regexp,
// or the compiler's validator, takes seconds to minutes.
func TestMatchingIsPaidByItsSteps(t *testing.T) {
	x := strings.Repeat("x", 100_000)
	var keys, known, all, patterns []string
	for i := range 8000 {
		keys = append(keys, fmt.Sprintf(`"%s%d":1`, strings.Repeat("ab", 20), i))
	}
	for i := range 2000 {
		known = append(known, fmt.Sprintf(`"p%d":1`, i))
		all = append(all, fmt.Sprintf(`{"properties":{"p%d":true}}`, i))
	}
	for i := range 500 {
		patterns = append(patterns, fmt.Sprintf(`"^(a|b|ab)*c%d$":{"type":"string"}`, i))
	}
	items := strings.TrimSuffix(strings.Repeat("1,", 10_000), ",")
	const more = "does not match the schema; the document is too long"
	work := schema.ErrWork.Error()
	for name, c := range map[string]struct{ schema, doc, want string }{
		"every instruction at every byte": {`{"type":"string","pattern":"(x?){900}(x?){900}y"}`, `"` + x + `"`, work},
		"any characters":                  {`{"pattern":".{1000}z"}`, `"` + x + `"`, work},
		"short texts, many of them":       {`{"items":{"pattern":"(x?){900}y"}}`, `["` + strings.Repeat(x[:1000]+`","`, 500) + `"]`, more},
		"contains":                        {`{"contains":{"pattern":"(x?){900}y"}}`, `["` + strings.Repeat(x[:1000]+`","`, 500) + `"]`, work},
		"names of properties":             {`{"propertyNames":{"pattern":"^(x?){900}y"}}`, `{"` + x + `":1}`, work},
		"many patterns on many names":     {`{"patternProperties":{` + strings.Join(patterns, ",") + `}}`, `{` + strings.Join(keys, ",") + `}`, work},
		"what is left unevaluated":        {`{"allOf":[` + strings.Join(all, ",") + `],"unevaluatedProperties":false}`, `{` + strings.Join(known, ",") + `}`, work},
		"what items are left unevaluated": {`{"allOf":[` + strings.TrimSuffix(strings.Repeat(`{"prefixItems":[true]},`, 1000), ",") + `],"unevaluatedItems":false}`, `[` + items + `]`, work},
	} {
		s, err := schema.Compile(json.RawMessage(c.schema))
		require.NoError(t, err, name)
		start := time.Now()
		err = s.Validate(json.RawMessage(c.doc))
		t.Logf("%s: %v for %d bytes", name, time.Since(start), len(c.doc))
		require.Error(t, err, name)
		assert.Contains(t, err.Error(), c.want, name)
	}
}

// TestHonestPatternsAreAffordable has expressions whose programs are big and of which
// one instruction is looked at for each byte.
func TestHonestPatternsAreAffordable(t *testing.T) {
	id := strings.Repeat("a-0_Z", 12)
	for name, c := range map[string]struct{ schema, doc string }{
		"a bound in the expression, many texts": {`{"items":{"pattern":"^[A-Za-z0-9_-]{1,256}$"}}`, `["` + strings.Repeat(id+`","`, 5000) + `a"]`},
		"five expressions on each text": {
			`{"items":{"allOf":[{"pattern":"^[A-Za-z0-9_-]{1,256}$"},{"pattern":"^a"},{"pattern":"[Z]$"},{"pattern":"^\\S+$"},{"pattern":"-0"}]}}`,
			`["` + strings.Repeat(id+`","`, 5000) + id + `"]`,
		},
		"an address":            {`{"items":{"pattern":"^[a-z0-9.!#$%&'*+/=?^_{|}~-]+@[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$"}}`, `["` + strings.Repeat(`john.doe@mail.example.org","`, 5000) + `a@b.c"]`},
		"one long text":         {`{"pattern":"^[\\s\\S]*$"}`, `"` + strings.Repeat(id, 10_000) + `"`},
		"a word in a long text": {`{"pattern":"(?i)\\bneedle\\b"}`, `"` + strings.Repeat("hay ", 100_000) + `needle"`},
	} {
		s, err := schema.Compile(json.RawMessage(c.schema))
		require.NoError(t, err, name)
		start := time.Now()
		assert.NoError(t, s.Validate(json.RawMessage(c.doc)), name)
		t.Logf("%s: %v for %d bytes", name, time.Since(start), len(c.doc))
	}
}
