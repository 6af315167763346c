package secret

import (
	"regexp"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

var reference = regexp.MustCompile(`\{\{secret:([^{}]*)\}\}`)

// Names lists the secrets that a text refers to.
func Names(text string) []string {
	var names []string
	for _, m := range reference.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// Expand puts values in the place of references. A reference that find refuses, or
// one that is not complete, fails the whole text.
func Expand(text string, find func(name string) (Value, error)) (string, error) {
	if !strings.Contains(text, "{{secret:") {
		return text, nil
	}
	var failed error
	out := reference.ReplaceAllStringFunc(text, func(m string) string {
		v, err := find(m[len("{{secret:") : len(m)-len("}}")])
		if err != nil && failed == nil {
			failed = err
		}
		return v.Reveal()
	})
	if failed != nil {
		return "", failed
	}
	if strings.Contains(reference.ReplaceAllString(text, ""), "{{secret:") {
		return "", status.Publicf(status.InvalidArgument, "a reference to a secret is not complete: want {{secret:NAME}}")
	}
	return out, nil
}
