package enginetest

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// FormatCase is an answer of a model and what a format reads from it.
type FormatCase struct {
	Schema string // JSON; empty for none
	Text   string
	Want   string // JSON; empty when there is no output
}

// looseTexts are texts as models and hostile people write them; a format may refuse them but
// not break.
var looseTexts = []string{
	"", " ", "null", "{", "}", "[", "]]]]", `{"a":`, `"`, "```json\n", "```\n{}\n```", "\x00", "\xff\xfe", "\u2028", `{"a":1}{"b":2}`,
	strings.Repeat("[", 5000), strings.Repeat(`{"a":`, 5000), strings.Repeat("a", 100_000), strings.Repeat("\\", 1001), "// {", "/*",
}

// TestFormat holds f to the contract of [format.Format] with the given cases, of
// which at least one has to give output.
func TestFormat(t *testing.T, f format.Format, cases ...FormatCase) {
	t.Helper()
	if f.Name() == "" {
		t.Error("the format has no name")
	}
	read := 0
	for _, c := range cases {
		if c.Want != "" {
			read++
		}
		testFormatCase(t, f, c)
	}
	if read == 0 {
		t.Error("no case gives output")
	}
	t.Run("it registers once", func(t *testing.T) {
		reg := registry.New(nil)
		if err := format.Register(reg, f); err != nil {
			t.Fatal(err)
		}
		if err := format.Register(reg, f); !errors.Is(err, status.ErrAlreadyExists) {
			t.Errorf("the second time: %v, want ALREADY_EXISTS", err)
		}
	})
	t.Run("no text breaks it", func(t *testing.T) {
		for _, text := range looseTexts {
			for _, c := range cases {
				testLooseText(t, f, c, text)
			}
		}
	})
	t.Run("handlers do not know each other", func(t *testing.T) {
		var calls sync.WaitGroup
		for range 8 {
			for _, c := range cases {
				calls.Go(func() { parseAs(t, f, c) })
			}
		}
		calls.Wait()
	})
}

func testFormatCase(t *testing.T, f format.Format, c FormatCase) {
	t.Helper()
	t.Run(short(c.Text), func(t *testing.T) {
		first, second := handler(t, f, c), handler(t, f, c)
		if first.Config() != second.Config() || first.Instructions() != second.Instructions() {
			t.Error("two handlers of one schema ask for different things")
		}
		parseAs(t, f, c)
		testSplits(t, f, c)
	})
}

func handler(t *testing.T, f format.Format, c FormatCase) format.Handler {
	t.Helper()
	h, err := f.New(t.Context(), raw(c.Schema))
	if err != nil {
		t.Fatalf("schema %s: %v", c.Schema, err)
	}
	return h
}

// parseAs reads the whole text.
func parseAs(t *testing.T, f format.Format, c FormatCase) {
	t.Helper()
	h, err := f.New(t.Context(), raw(c.Schema))
	if err != nil {
		t.Errorf("schema %s: %v", c.Schema, err)
		return
	}
	m := content.NewModelTextMessage(c.Text)
	before, _ := json.Marshal(m)
	got, err := h.Parse(t.Context(), &m)
	if err != nil {
		t.Errorf("%q: %v", short(c.Text), err)
		return
	}
	if after, _ := json.Marshal(m); string(before) != string(after) {
		t.Errorf("%q: the message was changed to %s", short(c.Text), after)
	}
	if c.Want == "" && got != nil || c.Want != "" && !SameJSON(got, []byte(c.Want)) {
		t.Errorf("%q: got %s, want %s", short(c.Text), got, c.Want)
	}
}

// testSplits streams the text whole and in chunks of up to eight bytes of characters:
// they find the same each time.
func testSplits(t *testing.T, f format.Format, c FormatCase) {
	t.Helper()
	if _, ok := handler(t, f, c).(format.ChunkParser); !ok {
		return
	}
	whole := stream(t, handler(t, f, c), c.Text, len(c.Text)+1)
	if len(whole) == 0 {
		return
	}
	want := whole[len(whole)-1]
	for size := range 8 {
		said := stream(t, handler(t, f, c), c.Text, size+1)
		if len(said) == 0 || !SameJSON(said[len(said)-1], want) && !SameJSON(joined(said), want) {
			t.Errorf("chunks of %d bytes give %s, one chunk gives %s", size+1, said, want)
		}
	}
}

// stream returns the handler's results for text in chunks of about size bytes.
func stream(t *testing.T, h format.Handler, text string, size int) (said [][]byte) {
	t.Helper()
	s := format.NewStream(h)
	for text != "" {
		n := min(size, len(text))
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n++
		}
		got, err := s.Next(t.Context(), &model.Chunk{Role: content.RoleModel, Content: []content.Part{content.NewTextPart(text[:n])}})
		if err != nil {
			t.Fatalf("chunks of %d bytes: %v", size, err)
		}
		if got != nil {
			if !json.Valid(got) {
				t.Fatalf("chunks of %d bytes give %q, which is not JSON", size, got)
			}
			said = append(said, got)
		}
		text = text[n:]
	}
	return said
}

// joined puts together what a handler says that gives only what is new: texts and
// lists. Of other values it is the last.
func joined(said [][]byte) []byte {
	var text strings.Builder
	var list []json.RawMessage
	for _, one := range said {
		var s string
		var l []json.RawMessage
		switch {
		case json.Unmarshal(one, &s) == nil:
			text.WriteString(s)
		case json.Unmarshal(one, &l) == nil:
			list = append(list, l...)
		default:
			return said[len(said)-1]
		}
	}
	var whole any = text.String()
	if list != nil {
		whole = list
	}
	out, err := json.Marshal(whole)
	if err != nil {
		return nil
	}
	return out
}

func testLooseText(t *testing.T, f format.Format, c FormatCase, text string) {
	t.Helper()
	h := handler(t, f, c)
	m := content.NewModelTextMessage(text)
	got, err := h.Parse(t.Context(), &m)
	if err == nil && got != nil && !json.Valid(got) {
		t.Errorf("%q gives %q, which is not JSON", short(text), short(string(got)))
	}
	if err != nil {
		testError(t, err)
	}
	if p, ok := h.(format.ChunkParser); ok {
		if got, err := p.ParseChunk(t.Context(), text, text); err == nil && got != nil && !json.Valid(got) {
			t.Errorf("a chunk %q gives %q, which is not JSON", short(text), short(string(got)))
		}
	}
}

// testError wants an error that a caller can act on.
func testError(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*status.Error](err); !ok {
		t.Errorf("%v is a %T, want a *status.Error", err, err)
	}
}

func raw(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

func short(text string) string {
	if len(text) > 60 {
		text = text[:60] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}
