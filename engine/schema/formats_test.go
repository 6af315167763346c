package schema_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// notAsserted are the cases that are not as the suite has them, by file, with the reason.
var notAsserted = map[string]struct {
	reason string
	is     func(description, data string) bool
}{
	"idn-email.json":    {"idn-email is an annotation, as in ajv-formats", always},
	"idn-hostname.json": {"idn-hostname is an annotation, as in ajv-formats", always},
	"hostname.json": {"A-labels are not decoded, and a trailing dot is let through, as in ajv-formats", func(description, data string) bool {
		return strings.Contains(strings.ToLower(data), "xn--") || description == "trailing dot"
	}},
	"ecmascript-regex.json": {"Go's parser reads expressions", func(description, _ string) bool {
		for _, part := range []string{"when used as a pattern", "is not ECMA 262", "global inline flag", "empty character class"} {
			if strings.Contains(description, part) {
				return true
			}
		}
		return false
	}},
	"iri.json": {"net/url reads addresses in brackets", func(description, _ string) bool { return strings.Contains(description, "IPvFuture") }},
}

func always(string, string) bool { return true }

// TestFormatsOfTheSuite runs the optional cases of the official suite on the formats
// that are asserted, in both drafts and through both forms of the schema.
func TestFormatsOfTheSuite(t *testing.T) {
	root := enginetest.Spec(t, "json-schema")
	count := 0
	for _, draft := range []string{"draft2020-12", "draft7"} {
		files, err := filepath.Glob(filepath.Join(root, "tests", draft, "optional", "format", "*.json"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			var groups []suiteGroup
			require.NoError(t, json.Unmarshal(raw, &groups))
			for _, g := range groups {
				s, err := schema.CompileWith(inDraft(t, draft, g.Schema), remotes(root, draft), schema.AssertFormats())
				require.NoError(t, err, g.Description)
				for _, c := range g.Tests {
					if not, some := notAsserted[filepath.Base(file)]; some && not.is(c.Description, string(c.Data)) {
						continue
					}
					count++
					name := strings.Join([]string{draft, filepath.Base(file), c.Description}, ": ")
					for form, validate := range map[string]func(json.RawMessage) error{"whole": s.Validate, "fast": s.ValidateFast, "slow": s.ValidateSlow} {
						if form == "fast" && !s.Fast() {
							continue
						}
						if got := validate(c.Data); (got == nil) != c.Valid {
							t.Errorf("%s (%s): %s got %v, want valid %v", name, form, c.Data, got, c.Valid)
						}
					}
				}
			}
		}
	}
	t.Logf("%d cases", count)
	require.Greater(t, count, 500)
}

// Formats of ajv-formats that the suite has no cases for.
func TestFormatsBeyondTheSuite(t *testing.T) {
	for format, c := range map[string]struct{ good, bad []string }{
		"url":           {[]string{"https://a.b/c?d#e", "ftp://x"}, []string{"a/b", "mailto:a@b.c", "https://"}},
		"iso-time":      {[]string{"10:00:00", "10:00:00.5Z", "10:00:00+01:00"}, []string{"10:00", "25:00:00"}},
		"iso-date-time": {[]string{"2026-01-02T10:00:00", "2026-01-02 10:00:00Z"}, []string{"2026-13-02T10:00:00", "2026-01-02"}},
		"byte":          {[]string{"", "aGk=", "aGkh"}, []string{"aGk", "a===", "a-k="}},
		"int32":         {[]string{"anything"}, nil},
		"unheard-of":    {[]string{"anything"}, nil},
		"semver":        {[]string{"1.2.3"}, []string{"1"}},
	} {
		raw := json.RawMessage(`{"format":"` + format + `"}`)
		s, err := schema.Compile(raw, schema.AssertFormats())
		require.NoError(t, err)
		annotated, err := schema.Compile(raw)
		require.NoError(t, err)
		for valid, texts := range map[bool][]string{true: c.good, false: c.bad} {
			for _, text := range texts {
				value, err := json.Marshal(text)
				require.NoError(t, err)
				require.Equal(t, valid, s.Validate(value) == nil, "%s %s", format, text)
				require.NoError(t, annotated.Validate(value), "draft 2020-12 alone asserts nothing")
				require.NoError(t, s.In(schema.WithoutFormats(t.Context())).Validate(value))
				require.NoError(t, s.Validate(json.RawMessage("5")), "a format of texts says nothing of numbers")
			}
		}
	}
}
