package tooltest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Append adds a case to the text of a file of cases, which may be empty, and leaves the rest as it is. It fails when the
// list of cases is not the last part of the file, or not written with a line for each case.
func Append(old []byte, c Case) ([]byte, error) {
	before, err := Parse(old)
	if err != nil {
		return nil, err
	}
	item, err := c.text()
	if err != nil {
		return nil, err
	}
	head := bytes.TrimRight(old, "\n")
	if len(head) > 0 {
		head = append(head, '\n')
	}
	if len(before.Cases) == 0 {
		head = append(head, "cases:\n"...)
	}
	for _, by := range []string{"  ", ""} { // lists are indented, or not
		var text []byte
		for line := range strings.Lines(item) {
			text = append(append(text, by...), line...)
		}
		text = slices.Concat(head, text)
		after, err := Parse(text)
		if n := len(before.Cases); err == nil && len(after.Cases) == n+1 && (n == 0 || reflect.DeepEqual(after.Cases[:n], before.Cases)) {
			return text, nil
		}
	}
	return nil, errors.New("the case can't be added at the end of the file; put it in by hand:\n" + item)
}

// text is a case as an item of the list, with a line for each member: JSON is YAML.
func (c *Case) text() (string, error) {
	var b strings.Builder
	sign := "- "
	line := func(name string, value any) error {
		raw, err := rawjson.Encode(value)
		if err == nil {
			fmt.Fprintf(&b, "%s%s: %s\n", sign, name, raw)
			sign = "  "
		}
		return err
	}
	var errs []error
	for _, m := range []struct {
		name  string
		there bool
		value any
	}{
		{"name", true, c.Name},
		{"tool", c.Tool != "", c.Tool},
		{"input", c.Input != nil, c.Input},
		{"context", c.Context != nil, c.Context},
		{"want", c.Want != nil, c.Want},
		{"wantError", c.WantError != "", c.WantError},
		{"wantInterrupt", c.WantInterrupt != nil, c.WantInterrupt},
	} {
		if m.there {
			errs = append(errs, line(m.name, m.value))
		}
	}
	if len(c.Host) > 0 {
		b.WriteString("  host:\n")
	}
	for i := range c.Host {
		raw, err := rawjson.Encode(&c.Host[i])
		errs = append(errs, err)
		fmt.Fprintf(&b, "    - %s\n", raw)
	}
	return b.String(), errors.Join(errs...)
}
