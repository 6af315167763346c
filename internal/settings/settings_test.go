package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// source has flags of several kinds.
func source() Source {
	flags := pflag.NewFlagSet("x", pflag.ContinueOnError)
	flags.String("addr", "here:1", "")
	flags.Duration("drain-delay", 0, "")
	flags.Int("slots", 3, "")
	flags.Bool("keep", false, "")
	flags.String("quota", "", "")
	flags.StringArray("tenant", nil, "")
	flags.StringArray("quota-of", []string{"a=1"}, "quotas, `NAME=JSON`")
	flags.StringArray("sink", nil, "sinks, `JSON` or @FILE")
	flags.Bool("help", false, "")
	return Source{Flags: flags, Prefix: "TEST_SETTINGS_", Except: []string{"help"}}
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "s.yaml")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// apply returns "FROM: VALUES" by setting.
func apply(t *testing.T, s Source, text string) map[string]string {
	t.Helper()
	all, err := s.Apply(file(t, text))
	require.NoError(t, err)
	found := map[string]string{}
	for _, one := range all {
		found[one.Name] = one.From + ": " + strings.Join(one.Value, " ")
	}
	return found
}

func TestAFlagCountsBeforeAVariableAndThatBeforeAFile(t *testing.T) {
	t.Setenv("TEST_SETTINGS_SLOTS", "9")
	t.Setenv("TEST_SETTINGS_ADDR", "never:1")
	t.Setenv("TEST_SETTINGS_TENANT", `["a","b"]`)
	t.Setenv("TEST_SETTINGS_HELP", "true")
	s := source()
	require.NoError(t, s.Flags.Parse([]string{"--addr", "given:1"}))
	assert.Equal(t, map[string]string{
		"addr": "flag: given:1", "slots": "environment: 9", "tenant": "environment: a b", "drain-delay": "file: 1m0s",
		"keep": "default: false", "quota": "default: ", "quota-of": "default: a=1", "sink": "default: ",
	}, apply(t, s, "drain-delay: 60s\nslots: 4\naddr: never:2\n"))
	assert.False(t, s.Flags.Lookup("help").Changed, "what is no setting is in no variable")
	assert.Equal(t, "TEST_SETTINGS_DRAIN_DELAY", s.Variable("drain-delay"))

	t.Setenv("TEST_SETTINGS_TENANT", "one, alone")
	assert.Equal(t, "environment: one, alone", apply(t, source(), "")["tenant"])
	t.Setenv("TEST_SETTINGS_TENANT", "[]")
	assert.Equal(t, "environment: ", apply(t, source(), "")["tenant"])
}

func TestAFileSaysWhatFlagsTake(t *testing.T) {
	t.Setenv("NAME", "acme")
	t.Setenv("EMPTY", "")
	for text, want := range map[string][2]string{
		"slots: 1_000":                           {"slots", "1000"},
		"keep: True":                             {"keep", "true"},
		"addr: ${NAME}:${PORT:-80}":              {"addr", "acme:80"},
		"addr: ${EMPTY:-x}${EMPTY}$${NAME}":      {"addr", "x${NAME}"},
		`addr: ""`:                               {"addr", ""},
		"quota: {calls: 60000000000, of: $NAME}": {"quota", `{"calls":60000000000,"of":"$NAME"}`},
		"quota: '{\"calls\":1}'":                 {"quota", `{"calls":1}`},
		"tenant: one":                            {"tenant", "one"},
		"tenant: [a, '${NAME}', 1]":              {"tenant", "a acme 1"},
		"tenant: []":                             {"tenant", ""},
		"quota-of: {b: {calls: 2}, c: x}":        {"quota-of", `b={"calls":2} c=x`},
		"quota-of: []":                           {"quota-of", ""},
		"sink: {b: {calls: 2}, c: x}":            {"sink", `{"b":{"calls":2},"c":"x"}`},
		"sink: [{b: 1}, {c: 2}]":                 {"sink", `{"b":1} {"c":2}`},
		"tenant: [[1, 2]]":                       {"tenant", "[1,2]"},
	} {
		assert.Equal(t, "file: "+want[1], apply(t, source(), text)[want[0]], text)
	}
	assert.Equal(t, "default: here:1", apply(t, source(), "# nothing\n")["addr"])
	all, err := source().Apply("")
	require.NoError(t, err)
	assert.Len(t, all, 8)
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"adr: x":                          `s.yaml:1: there is no setting "adr"`,
		"\nhelp: true":                    `s.yaml:2: there is no setting "help"`,
		"addr: a\naddr: b":                `"addr" stands there twice`,
		"slots: many":                     `s.yaml:1: "slots": "many" does not fit`,
		"keep: perhaps":                   `"perhaps" does not fit`,
		"addr:":                           `s.yaml:1: "addr": it has no value`,
		"tenant: [a, ~]":                  "it has no value",
		"tenant: ~":                       "it has no value",
		"quota-of: {a: ~}":                "it has no value",
		"quota-of: {a: 1, a: 2}":          `"a" stands there twice`,
		"tenant: {a: 1}":                  `s.yaml:1: "tenant": want a list, not a mapping`,
		"addr: ${NOT_SET_ANYWHERE}":       "the variable NOT_SET_ANYWHERE is not set, and ${NOT_SET_ANYWHERE:-…} gives no other value",
		"- a":                             "s.yaml:1: want settings, NAME: VALUE",
		"a: [":                            "not YAML",
		"quota: {a: 0x10}":                "no number of JSON",
		strings.Repeat("#", 1<<20) + "\n": "has more than 1048576 bytes",
	} {
		_, err := source().Apply(file(t, text))
		assert.ErrorContains(t, err, want, "%.60q", text)
	}
	_, err := source().Apply(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = source().Apply(t.TempDir())
	require.Error(t, err, "a directory")
	t.Setenv("TEST_SETTINGS_SLOTS", "many")
	_, err = source().Apply("")
	assert.ErrorContains(t, err, `$TEST_SETTINGS_SLOTS: "many" does not fit`)
}

// Whatever a file holds, it is read or refused.
func FuzzFile(f *testing.F) {
	for _, text := range []string{"addr: x", "tenant: [a, b]", "quota: {a: 1.5e3, b: [~, true]}", "quota-of:\n  a: {x: \"${HOME:-y}\"}", "a: &b c\nd: *b", "? [a]\n: b", "--- !!binary x", "%YAML 1.1\n---\n"} {
		f.Add([]byte(text))
	}
	s := source()
	f.Fuzz(func(t *testing.T, raw []byte) {
		found, err := s.parse("f", raw)
		if err != nil {
			return
		}
		for name, one := range found {
			if _, several := repeated(s.Flags.Lookup(name)); !several && len(one.texts) != 1 {
				t.Fatalf("%s has %d values", name, len(one.texts))
			}
		}
	})
}
