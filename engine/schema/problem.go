package schema

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

const rootPath = "(root)"

// maxProblems is the most problems that one failed validation reports.
const maxProblems = 20

// Problem is one way in which a document breaks its schema.
type Problem struct {
	// Path is a JSON pointer to the offending value, "(root)" for the whole.
	Path    string `json:"path"`
	Message string `json:"message"`
}

// ValidationError lists the faults of a document, in words that help its author,
// model or person, to repair it.
type ValidationError struct {
	Problems []Problem
	schema   json.RawMessage
}

// Error has the form of Genkit's validation errors (js/core/src/schema.ts).
func (e *ValidationError) Error() string {
	return "Schema validation failed. Parse Errors:\n" + list(e.Problems)
}

// maxShownSchema bounds the schema in an error: a request of a few bytes must not be
// answered with hundreds of kilobytes.
const maxShownSchema = 16 << 10

// Details gives Genkit's {errors: [{path, message}], schema}; a schema of more than 16 KiB is
// left out.
func (e *ValidationError) Details() map[string]any {
	details := map[string]any{"errors": e.Problems}
	if e.schema != nil && len(e.schema) <= maxShownSchema {
		details["schema"] = e.schema
	}
	return details
}

func list(problems []Problem) string {
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = fmt.Sprintf("- %s: %s", p.Path, p.Message)
	}
	return strings.Join(lines, "\n")
}

func join(problems []Problem) string {
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = fmt.Sprintf("%s: %s", p.Path, p.Message)
	}
	return strings.Join(lines, "; ")
}

// flatten keeps the leaves: the causes that a reader can act upon.
func flatten(v *jsonschema.ValidationError) []Problem {
	printer := message.NewPrinter(language.English)
	var problems []Problem
	var walk func(*jsonschema.ValidationError)
	walk = func(v *jsonschema.ValidationError) {
		if len(problems) >= maxProblems {
			return
		}
		if len(v.Causes) > 0 {
			for _, cause := range v.Causes {
				walk(cause)
			}
			return
		}
		problems = append(problems, Problem{Path: pointer(v.InstanceLocation), Message: clip(words(v.ErrorKind, printer))})
	}
	walk(v)
	slices.SortStableFunc(problems, func(a, b Problem) int { // objects have no order
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message))
	})
	return problems
}

// words is the compiler's sentence, with numbers as JSON writes them: "1000000"
// where it would say "1×10⁰⁶".
func words(k jsonschema.ErrorKind, printer *message.Printer) string {
	limit := func(keyword string, got, want any) string {
		return fmt.Sprintf("%s: got %v, want %v", keyword, got, want)
	}
	switch k := k.(type) {
	case *kind.Minimum:
		return limit("minimum", digitsOf(k.Got), digitsOf(k.Want))
	case *kind.Maximum:
		return limit("maximum", digitsOf(k.Got), digitsOf(k.Want))
	case *kind.ExclusiveMinimum:
		return limit("exclusiveMinimum", digitsOf(k.Got), "more than "+digitsOf(k.Want))
	case *kind.ExclusiveMaximum:
		return limit("exclusiveMaximum", digitsOf(k.Got), "less than "+digitsOf(k.Want))
	case *kind.MultipleOf:
		return limit("multipleOf", digitsOf(k.Got), "a multiple of "+digitsOf(k.Want))
	case *kind.MinLength:
		return limit("minLength", k.Got, k.Want)
	case *kind.MaxLength:
		return limit("maxLength", k.Got, k.Want)
	case *kind.MinItems:
		return limit("minItems", k.Got, k.Want)
	case *kind.MaxItems:
		return limit("maxItems", k.Got, k.Want)
	case *kind.MinProperties:
		return limit("minProperties", k.Got, k.Want)
	case *kind.MaxProperties:
		return limit("maxProperties", k.Got, k.Want)
	}
	return k.LocalizedString(printer)
}

// digitsOf writes a number in full when it is short, else with an exponent.
func digitsOf(r *big.Rat) string {
	places, exact := r.FloatPrec()
	if text := r.FloatString(places); exact && len(text) <= 40 {
		return text
	}
	return new(big.Float).SetRat(r).Text('g', 17)
}

func pointer(tokens []string) string {
	if len(tokens) == 0 {
		return rootPath
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	var b strings.Builder
	for _, token := range tokens {
		b.WriteString("/" + escape.Replace(token))
	}
	return clip(b.String())
}

// clip bounds text that quotes a document.
func clip(s string) string {
	const limit = 300
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
