package format

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// wish is what a schema looks for. Its zero value takes everything.
type wish struct {
	kinds kinds
	check func(ctx context.Context, raw json.RawMessage) bool // whether a value is it; compiles the schema when first asked
}

func newWish(raw json.RawMessage) wish {
	if none(raw) {
		return wish{}
	}
	compiled := sync.OnceValue(func() *schema.Schema {
		s, _ := schema.Compile(raw) // one that can't be compiled takes everything here, and is refused elsewhere
		return s
	})
	return wish{sought(raw, raw), func(ctx context.Context, v json.RawMessage) bool { return compiled().Check(ctx, v) == nil }}
}

// fits reports whether raw may be what is sought, by its kind.
func (w wish) fits(raw json.RawMessage) bool {
	return w.kinds == 0 || len(raw) == 0 || !isOpening(raw[0]) || w.kinds&kindOf(raw[0]) != 0
}

// maxCandidates bounds how many values of a text are compared.
const maxCandidates = 64

// candidates returns the first objects and arrays that stand in no other value, in the
// order of the text.
func candidates(text string) (found []hit) {
	r := &repairer{text: text, out: make([]byte, 0, len(text)+16)}
	for from := 0; from < len(text) && len(found) < maxCandidates; {
		h := r.search(from, len(text))
		if h.raw == nil {
			break
		}
		found = append(found, h)
		from = max(h.end, h.start+1)
	}
	return found
}

// find is [Extract] for what is sought: the first value that obeys the schema, else the
// first one of its kind that stands in no other value, else the first one. With ended, a
// number that the text ends with is all there.
func (w wish) find(ctx context.Context, text string, ended bool) (json.RawMessage, bool) {
	raw, ok := extractEnded(text, ended)
	if w.check == nil || ok && len(raw) == len(strings.TrimSpace(text)) {
		return raw, ok
	}
	found := candidates(text)
	if ended && endsInDigit(text) {
		spaced, tabbed := candidates(text+" "), candidates(text+"\t") // differ where the text ends in a string
		if n := len(spaced); n > 0 && n == len(tabbed) && bytes.Equal(spaced[n-1].raw, tabbed[n-1].raw) {
			found = spaced
		}
	}
	if len(found) == 0 || len(found) == 1 && ok {
		return raw, ok
	}
	fits := ok && w.fits(raw)
	if fits && w.check(ctx, raw) {
		return raw, true
	}
	best := w.best(ctx, found)
	if best == nil || fits && !w.check(ctx, best) {
		return raw, ok
	}
	return best, true
}

// best returns the first candidate that obeys the schema, else the first of its kind,
// nil when there is none.
func (w wish) best(ctx context.Context, found []hit) (best json.RawMessage) {
	for _, h := range found {
		if !w.fits(h.raw) {
			continue
		}
		if w.check == nil || w.check(ctx, h.raw) {
			return h.raw
		}
		if best == nil {
			best = h.raw
		}
	}
	return best
}

func endsInDigit(text string) bool {
	n := len(text)
	return n > 0 && text[n-1] >= '0' && text[n-1] <= '9'
}

// extractEnded is [Extract], but that with ended a number that the text ends with is all
// there.
func extractEnded(text string, ended bool) (json.RawMessage, bool) {
	if ended && endsInDigit(text) {
		tabbed, _ := Extract(text + "\t") // differs where the text ends in a string
		if again, _ := Extract(text + " "); bytes.Equal(again, tabbed) && again != nil {
			return again, true
		}
	}
	return Extract(text)
}

// complete is complete for what is sought.
func (w wish) complete(ctx context.Context, text string) (json.RawMessage, *repairer) {
	raw, r := complete(text)
	fits := w.fits(raw)
	if fits && (w.check == nil || r != nil && !w.passes(ctx, raw, r)) {
		return raw, r
	}
	found := candidates(text)
	if fits && (len(found) < 2 || w.check(ctx, raw)) {
		return raw, nil
	}
	for i, h := range found { // the last one may grow
		if w.fits(h.raw) && (i == len(found)-1 && h.end == len(text) || w.check == nil || w.check(ctx, h.raw)) {
			return h.raw, nil
		}
	}
	return w.best(ctx, found), nil
}

// passes reports whether a value that has ended is not what is sought, and another one
// may follow it.
func (w wish) passes(ctx context.Context, raw json.RawMessage, r *repairer) bool {
	return w.check != nil && len(r.stack) == 0 && strings.ContainsAny(r.text[r.at:], "{[") && !w.check(ctx, raw)
}

type unfinishedKey struct{}

// Unfinished says that a limit cut the message off which a [Handler] parses in ctx: a
// number at its end may go on.
func Unfinished(ctx context.Context) context.Context {
	return context.WithValue(ctx, unfinishedKey{}, true)
}

func allThere(ctx context.Context) bool {
	unfinished, _ := ctx.Value(unfinishedKey{}).(bool)
	return !unfinished
}

// answers returns the texts in which to look for the output of a message, in order: the
// answer, and what was thought where there is no other, but for a thought that has not
// ended.
func answers(text string) []string {
	said, thinking := answer(text)
	if thinking || len(said) == len(text) {
		return []string{said}
	}
	return []string{said, text}
}
