// Package settings reads a program's settings, which are its flags, from three places besides: the environment, a file in YAML,
// and the defaults. A flag that is given counts before a variable, a variable before the file, and the file before the default.
//
//	s := settings.Source{Flags: cmd.Flags(), Prefix: "GENKIT_WASM_", Except: []string{"help"}}
//	all, err := s.Apply("server.yaml") // sets the flags, and says where each value came from
//
// In the file a setting stands under its flag's name. ${NAME} and ${NAME:-DEFAULT} stand for variables, $${ for ${; a flag
// that may be given again takes a list, or a mapping in the place of NAME=VALUE or of one JSON, which the `NAME` in its usage tells;
// any other takes a mapping or list as JSON.
package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/genkit-wasm/genkit-wasm/internal/yamljson"
)

// maxBytes bounds a file.
const maxBytes = 1 << 20

// Source is where settings come from.
type Source struct {
	Flags *pflag.FlagSet
	// Prefix begins the name of a setting's variable.
	Prefix string
	// Except are the flags that are no settings.
	Except []string
}

// Setting is the value of a flag, and where it came from.
type Setting struct {
	Name  string   `json:"name"`
	Value []string `json:"value"` // one, but for flags that may be given again
	From  string   `json:"from"`  // "flag", "environment", "file" or "default"
	// Where is its place there: the name of a variable, or of a file with the line. Empty where it is of neither.
	Where string `json:"where,omitempty"`
}

// Variable is the name of a flag's variable: with the prefix A_, that of --drain-delay is A_DRAIN_DELAY.
func (s Source) Variable(flag string) string {
	return s.Prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Apply sets the flags that were not given, from the environment and from a file, whose name may be empty. It returns all
// settings, by name. An error says which place holds what does not fit.
func (s Source) Apply(file string) ([]Setting, error) {
	inFile, err := s.read(file)
	if err != nil {
		return nil, err
	}
	var all []Setting
	var failed error
	s.Flags.VisitAll(func(f *pflag.Flag) {
		if !s.settable(f) || failed != nil {
			return
		}
		found := Setting{Name: f.Name, From: "default"}
		variable := s.Variable(f.Name)
		text, there := os.LookupEnv(variable)
		switch {
		case f.Changed:
			found.From = "flag"
		case there:
			found.From, found.Where = "environment", "$"+variable
			failed = s.set(f, textsOfVariable(f, text), "$"+variable)
		case inFile[f.Name] != nil:
			found.From, found.Where = "file", inFile[f.Name].where
			failed = s.set(f, inFile[f.Name].texts, fmt.Sprintf("%s: %q", found.Where, f.Name))
		}
		found.Value = valuesOf(f)
		all = append(all, found)
	})
	return all, failed
}

func (s Source) settable(f *pflag.Flag) bool { return !slices.Contains(s.Except, f.Name) }

// repeated returns a flag that may be given again.
func repeated(f *pflag.Flag) (pflag.SliceValue, bool) {
	l, ok := f.Value.(pflag.SliceValue)
	return l, ok
}

func valuesOf(f *pflag.Flag) []string {
	if l, ok := repeated(f); ok {
		return append([]string{}, l.GetSlice()...)
	}
	return []string{f.Value.String()}
}

func (s Source) set(f *pflag.Flag, texts []string, where string) error {
	if l, ok := repeated(f); ok && len(texts) == 0 {
		return l.Replace(nil)
	}
	for _, text := range texts {
		if err := s.Flags.Set(f.Name, text); err != nil {
			cause := err
			if inner := errors.Unwrap(err); inner != nil {
				cause = inner
			}
			return fmt.Errorf("%s: %q does not fit: %w", where, text, cause)
		}
	}
	return nil
}

// textsOfVariable are the values in a variable: a list may be a JSON array of texts, or one value alone.
func textsOfVariable(f *pflag.Flag, text string) []string {
	var several []string
	if _, ok := repeated(f); ok && json.Unmarshal([]byte(text), &several) == nil {
		return several
	}
	return []string{text}
}

// placed is what a file says of a setting.
type placed struct {
	texts []string
	where string
}

// read reads a file's settings as texts that flags take.
func (s Source) read(file string) (map[string]*placed, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	raw, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxBytes {
		return nil, fmt.Errorf("%s has more than %d bytes", file, maxBytes)
	}
	return s.parse(file, raw)
}

func (s Source) parse(file string, raw []byte) (map[string]*placed, error) {
	top, err := yamljson.Read(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, err)
	case top == nil: // nothing but comments
		return nil, nil
	case top.Kind != yaml.MappingNode:
		return nil, fmt.Errorf("%s:%d: want settings, NAME: VALUE", file, top.Line)
	}
	found := map[string]*placed{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, node := top.Content[i], top.Content[i+1]
		flag := s.Flags.Lookup(key.Value)
		switch {
		case flag == nil || !s.settable(flag):
			return nil, fmt.Errorf("%s:%d: there is no setting %q", file, key.Line, key.Value)
		case found[key.Value] != nil:
			return nil, fmt.Errorf("%s:%d: %q stands there twice", file, key.Line, key.Value)
		}
		texts, err := textsOf(flag, node)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %q: %w", file, node.Line, key.Value, err)
		}
		found[key.Value] = &placed{texts, fmt.Sprintf("%s:%d", file, key.Line)}
	}
	return found, nil
}

// textsOf is a node as the texts that a flag takes.
func textsOf(flag *pflag.Flag, node *yaml.Node) ([]string, error) {
	if _, ok := repeated(flag); !ok {
		text, err := textOf(node)
		return []string{text}, err
	}
	texts := []string{}
	switch node.Kind {
	case yaml.SequenceNode:
		for _, n := range node.Content {
			text, err := textOf(n)
			if err != nil {
				return nil, err
			}
			texts = append(texts, text)
		}
	case yaml.MappingNode:
		switch of, _ := pflag.UnquoteUsage(flag); {
		case of == "JSON": // a list of one
			text, err := textOf(node)
			return []string{text}, err
		case !strings.Contains(of, "="):
			return nil, errors.New("want a list, not a mapping")
		}
		seen := map[string]bool{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			name := node.Content[i].Value
			if seen[name] {
				return nil, fmt.Errorf("%q stands there twice", name)
			}
			seen[name] = true
			text, err := textOf(node.Content[i+1])
			if err != nil {
				return nil, err
			}
			texts = append(texts, name+"="+text)
		}
	default:
		text, err := textOf(node)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// textOf is a node as one text: that of a scalar, and JSON of everything else.
func textOf(node *yaml.Node) (string, error) {
	if node.Kind == yaml.ScalarNode {
		if node.Tag == "!!null" {
			return "", errors.New("it has no value")
		}
		return expand(node.Value)
	}
	raw, err := yamljson.JSON(node, expand)
	return string(raw), err
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}|\$\$\{`)

// expand puts variables of the environment into a text: ${NAME}, or ${NAME:-DEFAULT} where NAME may be
// unset or empty. $${ is ${.
func expand(text string) (string, error) {
	var missing error
	out := variable.ReplaceAllStringFunc(text, func(match string) string {
		if match == "$${" {
			return "${"
		}
		parts := variable.FindStringSubmatch(match)
		value, there := os.LookupEnv(parts[1])
		switch {
		case parts[2] != "" && value == "":
			return parts[3]
		case !there && missing == nil:
			missing = fmt.Errorf("the variable %s is not set, and ${%s:-…} gives no other value", parts[1], parts[1])
		}
		return value
	})
	if missing == nil && strings.Contains(variable.ReplaceAllString(text, ""), "${") {
		missing = errors.New("\"${\" begins no variable: want ${NAME} or ${NAME:-DEFAULT}, and $${ for the text itself")
	}
	return out, missing
}
