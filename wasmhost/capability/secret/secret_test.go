package secret_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
)

const text = "correct horse/battery+staple=="

func TestAValueShowsItselfToNobody(t *testing.T) {
	v := secret.New(text)
	raw, err := json.Marshal(map[string]any{"v": v, "list": []secret.Value{v}})
	require.NoError(t, err)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", slog.Any("v", v))
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", slog.Any("v", v))
	for _, shown := range []string{fmt.Sprint(v), fmt.Sprintf("%v %+v %#v %s %q", v, v, v, v, v), string(raw), log.String(), fmt.Sprint(secret.Static{"t": {"N": v}})} {
		assert.NotContains(t, shown, "horse")
	}
	assert.Equal(t, text, v.Reveal())
}

func TestSecretsComeFromFilesAndVariables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte(text+"\n"), 0o600))
	t.Setenv("THE_KEY", text)
	s := secret.Static{}
	require.NoError(t, s.Add("A=@"+file, "default"))
	require.NoError(t, s.Add("acme/B=env:THE_KEY", "default"))
	for _, c := range [][2]string{{"default", "A"}, {"acme", "B"}} {
		v, err := s.Secret(t.Context(), c[0], c[1])
		require.NoError(t, err)
		assert.Equal(t, text, v.Reveal())
	}
	for _, c := range [][2]string{{"acme", "A"}, {"default", "B"}, {"", "A"}} {
		_, err := s.Secret(t.Context(), c[0], c[1])
		require.ErrorIs(t, err, status.ErrNotFound)
	}
	require.NoError(t, os.WriteFile(file, []byte("two\nlines of text"), 0o600))
	t.Setenv("SHORT", "1234567")
	for reference, want := range map[string]string{
		"A":             "want NAME=@FILE",
		"=@x":           "want NAME=@FILE",
		"/A=@x":         "want NAME=@FILE",
		"a b=@x":        "want NAME=@FILE",
		"A=" + text:     "not the value itself",
		"A=env:NO_SUCH": "no \"NO_SUCH\"",
		"A=@" + file:    "control character",
		"A=env:SHORT":   "has 7",
		"A=@/no/such":   "no such file",
	} {
		err := s.Add(reference, "default")
		require.ErrorContains(t, err, want, reference)
		assert.NotContains(t, err.Error(), text)
	}
}

func TestReferencesAreExpandedWholeOrNotAtAll(t *testing.T) {
	find := func(name string) (secret.Value, error) {
		if name == "A" {
			return secret.New("valueofA"), nil
		}
		return secret.Value{}, errors.New("no " + name)
	}
	for in, want := range map[string]string{
		"":                           "",
		"plain {secret:A} {{A}}":     "plain {secret:A} {{A}}",
		"Bearer {{secret:A}}":        "Bearer valueofA",
		"{{secret:A}}{{secret:A}}":   "valueofAvalueofA",
		"{{secret:A}} {{secret:{{}}": "!want {{secret:NAME}}",
		"{{secret:B}}":               "!no B",
		"{{secret:A":                 "!want {{secret:NAME}}",
		"{{secret:}}":                "!no ",
		"{{secret: A}}":              "!no  A",
		"{{secret:{{secret:A}}}}":    "!want {{secret:NAME}}",
	} {
		out, err := secret.Expand(in, find)
		if reason, fails := strings.CutPrefix(want, "!"); fails {
			require.ErrorContains(t, err, reason, in)
			assert.Empty(t, out)
			continue
		}
		require.NoError(t, err, in)
		assert.Equal(t, want, out)
	}
	assert.Equal(t, []string{"A", "B"}, secret.Names("{{secret:A}} {{secret:B}} {{x}}"))
}

func ExampleScrubber_Scrub() {
	s := secret.NewScrubber(map[string]secret.Value{"KEY": secret.New("correct horse")})
	fmt.Println(string(s.Scrub([]byte("you sent correct horse, or correct+horse, or correct%20horse"))))
	// Output: you sent [secret:KEY], or [secret:KEY], or [secret:KEY]
}

func TestTheLongestOfTwoSecretsGoesFirst(t *testing.T) {
	s := secret.NewScrubber(map[string]secret.Value{"A": secret.New("password"), "B": secret.New("password-longer")})
	assert.Equal(t, "[secret:B] [secret:A]", s.ScrubString("password-longer password"))
	var none secret.Scrubber
	assert.Equal(t, "as it is", none.ScrubString("as it is"))
	assert.Equal(t, "as it is", secret.NewScrubber(map[string]secret.Value{"EMPTY": secret.New("")}).ScrubString("as it is"))
}

func TestASourceHasNothingByItself(t *testing.T) {
	_, err := secret.Static(nil).Secret(context.Background(), "default", "A")
	require.ErrorIs(t, err, status.ErrNotFound)
}

// No spelling of a secret is left, in any context.
func FuzzScrub(f *testing.F) {
	f.Add("before", "the secret value", "after")
	f.Add("", "aaaaaaaaaaaa", "aaaa")
	f.Add("%", "\xff\xfe12345678", "é")
	f.Fuzz(func(t *testing.T, before, value, after string) {
		v := secret.New(value)
		if v.Check() != nil || strings.Contains("[secret:KEY]", value) {
			return
		}
		s := secret.NewScrubber(map[string]secret.Value{"KEY": v})
		if out := s.ScrubString(before + value + after); strings.Contains(out, value) && !strings.Contains(before+"[secret:KEY]"+after, value) && !overlaps(before, value, after) {
			t.Fatalf("%q is left in %q", value, out)
		}
		b64 := base64.StdEncoding.EncodeToString([]byte(before + value + after))
		inner := base64.RawStdEncoding.EncodeToString([]byte(value))
		if len(before)%3 == 0 && len(inner) > 12 && strings.Contains(s.ScrubString(b64), inner[:len(inner)-2]) && !strings.Contains(base64.StdEncoding.EncodeToString([]byte(before+after)), inner[:len(inner)-2]) {
			t.Fatalf("%q is left in the base64 of %q", value, s.ScrubString(b64))
		}
	})
}

// overlaps reports whether value comes about anew where the parts meet.
func overlaps(before, value, after string) bool {
	return strings.Count(before+value+after, value) > 1 || strings.Contains("[secret:KEY]"+after, value) || strings.Contains(before+"[secret:KEY]", value)
}
