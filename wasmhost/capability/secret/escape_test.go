package secret_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
)

// escapes are the ways to write a character, by the reader who undoes them.
var escapes = map[string][]func(r rune) string{
	"backslash": {
		func(r rune) string {
			if r > 0xffff {
				r -= 0x10000
				return fmt.Sprintf(`\u%04x\u%04X`, 0xd800+r>>10, 0xdc00+r&0x3ff)
			}
			return fmt.Sprintf(`\u%04x`, r)
		},
		func(r rune) string { return fmt.Sprintf(`\u{%X}`, r) },
		func(r rune) string { return fmt.Sprintf(`\U%08X`, r) },
		func(r rune) string {
			if r > 0xff {
				return fmt.Sprintf(`\u{%x}`, r)
			}
			return fmt.Sprintf(`\x%02x`, r)
		},
		func(r rune) string {
			switch {
			case strings.ContainsRune(`"\/'`, r):
				return `\` + string(r)
			case r < 0x80:
				return fmt.Sprintf(`\%03o`, r)
			}
			return fmt.Sprintf(`\U%08x`, r)
		},
	},
	"entity": {
		func(r rune) string { return fmt.Sprintf("&#%d;", r) },
		func(r rune) string { return fmt.Sprintf("&#%012d;", r) },
		func(r rune) string { return fmt.Sprintf("&#x%x;", r) },
		func(r rune) string { return fmt.Sprintf("&#X%06X;", r) },
		func(r rune) string {
			if name, ok := map[rune]string{'&': "amp", '<': "lt", '"': "quot", '+': "plus", '=': "equals", '/': "sol"}[r]; ok {
				return "&" + name + ";"
			}
			return fmt.Sprintf("&#%d;", r)
		},
	},
	"percent": {
		func(r rune) string { return "%" + strings.Join(strings.Split(fmt.Sprintf("% x", string(r)), " "), "%") },
		func(r rune) string {
			if r > 0xffff {
				return url.QueryEscape(string(r))
			}
			return fmt.Sprintf("%%u%04X", r)
		},
	},
}

var marks = map[string]rune{"backslash": '\\', "entity": '&', "percent": '%'}

// written writes a text with some of its characters, and each that begins an escape, escaped.
func written(random *rand.Rand, kind, text string) string {
	var b strings.Builder
	for _, r := range text {
		if r != marks[kind] && random.IntN(3) == 0 {
			b.WriteRune(r)
			continue
		}
		ways := escapes[kind]
		b.WriteString(ways[random.IntN(len(ways))](r))
	}
	return b.String()
}

// No secret is left, and nothing else is taken, whichever of its characters are escaped in which of the
// ways, by one reader's rules or by two readers' one after the other.
func TestASecretIsTakenOutHoweverItsCharactersAreWritten(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const letters = `abzAZ019 +/=-_.~!"'\&<>%;#xu{}[],:éß漢😀`
	for range 300 {
		var value strings.Builder
		for value.Len() < secret.MinBytes+random.IntN(40) {
			all := []rune(letters)
			value.WriteRune(all[random.IntN(len(all))])
		}
		s := secret.NewScrubber(map[string]secret.Value{"KEY": secret.New(value.String())})
		for form, text := range map[string]string{"plain": value.String(), "base64": base64.RawStdEncoding.EncodeToString([]byte(value.String()))[:value.Len()*8/6], "hex": hex.EncodeToString([]byte(value.String()))} {
			for inner := range escapes {
				once := "(" + written(random, inner, text) + ")"
				out := s.ScrubString(once)
				taken(t, form, value.String(), once, out)
				for outer := range escapes {
					twice := "(" + written(random, outer, once[1:len(once)-1]) + ")"
					taken(t, form, value.String(), twice, s.ScrubString(twice))
				}
			}
		}
	}
}

func taken(t *testing.T, form, value, text, out string) {
	t.Helper()
	require.Equal(t, "([secret:KEY])", out, "%s of %q in %q", form, value, text)
}

func TestEscapesThatAreNoneAreLeft(t *testing.T) {
	s := secret.NewScrubber(map[string]secret.Value{"KEY": secret.New("the value of it"), "LONGER": secret.New("the value of it, and more")})
	for in, want := range map[string]string{
		`\u0074he value of it`:                             "[secret:KEY]",
		`&#116;he value of it`:                             "[secret:KEY]",
		`&#116he value of it`:                              "[secret:KEY]",
		`&#x74;HE VALUE of it`:                             "[secret:KEY]",
		`the value of it\u002c and more`:                   "[secret:LONGER]",
		`the value of it, and more \n the value of it`:     `[secret:LONGER] \n [secret:KEY]`,
		`\n the%20value of it \t &amp; the value of it`:    `\n [secret:KEY] \t &amp; [secret:KEY]`,
		`\\u0074he value of it`:                            `[secret:KEY]`,
		`\ud800he value of it`:                             `\ud800he value of it`,
		`\u00`:                                             `\u00`,
		`\u{74he value of it`:                              `\u{74he value of it`,
		`&#;&#x;&#99999999999;&# &none; & %zz % %u12 \q \`: `&#;&#x;&#99999999999;&# &none; & %zz % %u12 \q \`,
		"&" + strings.Repeat("a", 100) + ";":               "&" + strings.Repeat("a", 100) + ";",
	} {
		assert.Equal(t, want, s.ScrubString(in), in)
	}
	in := []byte(`\n and nothing of it`)
	assert.Same(t, &in[0], &s.Scrub(in)[0], "nothing is copied that is not changed")
}

// FuzzScrubEscaped feeds any text to the readers of escapes, and wants no secret in what they read of the
// result, as long as it was there once in what they read of the text.
func FuzzScrubEscaped(f *testing.F) {
	f.Add(`\u0041\u{41}\x41\101\ud83d\ude00\\ \`, "12345678", uint8(0))
	f.Add(`&#65;&#x41;&amp;&#`, "abcdefgh", uint8(1))
	f.Add(`%41%u0041%`, "a\\b&c%d'", uint8(2))
	f.Fuzz(func(t *testing.T, text, value string, seed uint8) {
		v := secret.New(value)
		if v.Check() != nil || !utf8.ValidString(value) || strings.ContainsRune(value, utf8.RuneError) {
			return
		}
		s := secret.NewScrubber(map[string]secret.Value{"KEY": v})
		s.ScrubString(text) // any text: it ends, and does not panic
		random := rand.New(rand.NewPCG(uint64(seed), 0))
		for kind := range escapes {
			out := s.ScrubString("\n" + written(random, kind, value) + "\n")
			if !strings.HasPrefix(out, "\n[secret:KEY]") {
				t.Fatalf("%q is left: %q", value, out)
			}
		}
	})
}
