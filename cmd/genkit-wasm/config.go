package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// The settings of a server are its flags. Each may stand in the environment and in a file, too: a flag that
// is given counts before a variable, a variable before the file, and the file before the default.

const (
	// settingEnv begins the name of a setting's variable: --drain-delay is GENKIT_WASM_DRAIN_DELAY.
	settingEnv = "GENKIT_WASM_"
	// maxConfig bounds the file, in bytes.
	maxConfig = 1 << 20
)

// setting is the value of a flag, and where it came from.
type setting struct {
	Name  string   `json:"name"`
	Value []string `json:"value"` // one, but for flags that may be given again
	From  string   `json:"from"`  // "flag", "environment", "file" or "default"
}

func envOf(flag string) string {
	return settingEnv + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// settable reports whether a flag is a setting of the server, and not of the command.
func settable(f *pflag.Flag) bool {
	return f.Name != "config" && f.Name != "help" && f.Name != "output"
}

// settingsOf sets the flags that were not given, from the environment and from a file, whose name may be
// empty. It returns all settings, by name.
func settingsOf(flags *pflag.FlagSet, file string) ([]setting, error) {
	inFile, err := readConfig(flags, file)
	if err != nil {
		return nil, err
	}
	var all []setting
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		if !settable(f) || failed != nil {
			return
		}
		s := setting{Name: f.Name, From: "default"}
		text, there := os.LookupEnv(envOf(f.Name))
		switch {
		case f.Changed:
			s.From = "flag"
		case there:
			s.From = "environment"
			failed = set(flags, f, envTexts(f, text), "$"+envOf(f.Name))
		case inFile[f.Name] != nil:
			s.From = "file"
			failed = set(flags, f, inFile[f.Name], fmt.Sprintf("%s: %q", file, f.Name))
		}
		s.Value = valuesOf(f)
		all = append(all, s)
	})
	return all, failed
}

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

func set(flags *pflag.FlagSet, f *pflag.Flag, texts []string, where string) error {
	if l, ok := repeated(f); ok && len(texts) == 0 {
		return l.Replace(nil)
	}
	for _, text := range texts {
		if err := flags.Set(f.Name, text); err != nil {
			cause := err
			if inner := errors.Unwrap(err); inner != nil {
				cause = inner
			}
			return usagef("%s: %q does not fit: %w", where, text, cause)
		}
	}
	return nil
}

// envTexts are the values in a variable: a list may be a JSON array of texts, or one value alone.
func envTexts(f *pflag.Flag, text string) []string {
	var several []string
	if _, ok := repeated(f); ok && json.Unmarshal([]byte(text), &several) == nil {
		return several
	}
	return []string{text}
}

// readConfig reads the file's settings as texts that flags take.
func readConfig(flags *pflag.FlagSet, file string) (map[string][]string, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, usagef("--config: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, usagef("--config: %w", err)
	}
	if len(raw) > maxConfig {
		return nil, usagef("%s has more than %d bytes", file, maxConfig)
	}
	return parseConfig(flags, file, raw)
}

func parseConfig(flags *pflag.FlagSet, file string, raw []byte) (_ map[string][]string, err error) {
	defer func() {
		if r := recover(); r != nil { // the library panics on some damaged documents
			err = usagef("%s is not YAML", file)
		}
	}()
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF): // nothing but comments
		return nil, nil
	case err != nil:
		return nil, usagef("%s is not YAML: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if dec.Decode(&yaml.Node{}) == nil {
		return nil, usagef("%s holds more than one document", file)
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, usagef("%s:%d: want settings, NAME: VALUE", file, top.Line)
	}
	found := map[string][]string{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, node := top.Content[i], top.Content[i+1]
		flag := flags.Lookup(key.Value)
		switch {
		case flag == nil || !settable(flag):
			return nil, usagef("%s:%d: there is no setting %q; \"genkit-wasm config show\" lists all", file, key.Line, key.Value)
		case found[key.Value] != nil:
			return nil, usagef("%s:%d: %q stands there twice", file, key.Line, key.Value)
		}
		texts, err := textsOf(flag, node)
		if err != nil {
			return nil, usagef("%s:%d: %q: %w", file, node.Line, key.Value, err)
		}
		found[key.Value] = texts
	}
	return found, nil
}

// textsOf is a node as the texts that a flag takes. A flag that may be given again takes a list, or a
// mapping in the place of NAME=VALUE.
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
	var b bytes.Buffer
	if err := writeJSONOf(&b, node, 0, expand); err != nil {
		return "", err
	}
	return b.String(), nil
}

// maxConfigDepth bounds lists and mappings in one another.
const maxConfigDepth = 32

// writeJSONOf writes a node as JSON, its texts as expand returns them. A number keeps its digits where JSON has such
// numbers.
func writeJSONOf(b *bytes.Buffer, node *yaml.Node, depth int, expand func(string) (string, error)) error {
	if depth > maxConfigDepth {
		return fmt.Errorf("more than %d levels", maxConfigDepth)
	}
	switch node.Kind {
	case yaml.ScalarNode:
		switch node.Tag {
		case "!!int", "!!float":
			if json.Valid([]byte(node.Value)) {
				b.WriteString(node.Value)
				return nil
			}
			return fmt.Errorf("line %d: %q is no number of JSON", node.Line, node.Value)
		case "!!bool":
			b.WriteString(strings.ToLower(node.Value))
			return nil
		case "!!null":
			b.WriteString("null")
			return nil
		}
		text, err := expand(node.Value)
		if err != nil {
			return err
		}
		raw, err := json.Marshal(text)
		b.Write(raw)
		return err
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, n := range node.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSONOf(b, n, depth+1, expand); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case yaml.MappingNode:
		// A name that stands there twice is refused by the decoder of the JSON.
		b.WriteByte('{')
		for i := 0; i+1 < len(node.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			raw, err := json.Marshal(node.Content[i].Value)
			if err != nil {
				return err
			}
			b.Write(raw)
			b.WriteByte(':')
			if err := writeJSONOf(b, node.Content[i+1], depth+1, expand); err != nil {
				return err
			}
		}
		b.WriteByte('}')
		return nil
	}
	return fmt.Errorf("line %d: aliases and anchors are not read", node.Line)
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
	return out, missing
}

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check or show the configuration of a server",
		Long: "The settings of serve are its flags. Each may stand in a YAML file, under the flag's name, and in the environment: --drain-delay is " + envOf("drain-delay") + ". " +
			"A flag counts before a variable, a variable before the file, and the file before the default. In the file ${NAME} and ${NAME:-DEFAULT} stand for variables, " +
			"a list for a flag that may be given again, and a mapping for JSON and for NAME=VALUE.",
		Example: "  genkit-wasm config check server.yaml\n  genkit-wasm config show server.yaml\n  genkit-wasm serve --config server.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.configSubcommand("check [FILE]", "Check a file, and what the environment adds", func([]setting) error {
		return a.line("the configuration is in order")
	}), a.configSubcommand("show [FILE]", "Show all settings and where each comes from", a.showConfig))
	return cmd
}

func (a *app) configSubcommand(use, short string, then func([]setting) error) *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use: use, Short: short, Args: a.usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := ""
			if len(args) == 1 {
				file = args[0]
			}
			all, err := settingsOf(cmd.Flags(), file)
			if err == nil {
				err = a.checkSettings(f)
			}
			if err != nil {
				return err
			}
			return then(all)
		},
	}
	serveFlagsOn(cmd, f)
	f.networkFlags.add(cmd.Flags())
	return cmd
}

// checkSettings tells of settings that serve would refuse, as far as that shows without starting anything.
func (a *app) checkSettings(f *serveFlags) error {
	if _, err := a.logger(f); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	if _, err := a.limits(f.limits); err != nil {
		return err
	}
	if _, err := a.generates(f.generateLimits); err != nil {
		return err
	}
	if _, err := a.grants(f.grants); err != nil {
		return err
	}
	if _, err := a.accounts(&f.accountFlags); err != nil {
		return err
	}
	if _, err := f.keys(); err != nil {
		return err
	}
	raw, err := a.jsonValue("quota", f.quota)
	if err != nil {
		return err
	}
	if _, err := tenants.ParseQuota(raw); err != nil {
		return usagef("--quota: %s", status.Convert(err).Message)
	}
	return nil
}

func (a *app) showConfig(all []setting) error {
	if a.json() {
		return a.printJSON(map[string]any{"settings": all})
	}
	rows := make([][]string, len(all))
	for i, s := range all {
		rows[i] = []string{s.Name, strings.Join(s.Value, " "), s.From}
	}
	return a.table("SETTING\tVALUE\tFROM", rows)
}
