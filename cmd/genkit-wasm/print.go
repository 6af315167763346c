package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// table writes rows in columns under a heading.
func (a *app) table(heading string, rows [][]string) error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, heading) // a buffer takes everything
	for _, row := range rows {
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	first, rest, _ := strings.Cut(b.String(), "\n")
	_, err := fmt.Fprintf(a.out, "%s\n%s", colour(a.out, bold, strings.TrimRight(first, " ")), rest)
	return err
}

// printJSON writes a value for programs, indented.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// line writes one line.
func (a *app) line(format string, args ...any) error {
	_, err := fmt.Fprintf(a.out, format+"\n", args...)
	return err
}

// note writes a line beside the output. Nobody can be told when that fails.
func (a *app) note(format string, args ...any) {
	_, _ = fmt.Fprintf(a.err, format+"\n", args...)
}

// size writes a number of bytes for people.
func size(n int) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

func shortDigest(digest string) string {
	hex := strings.TrimPrefix(digest, "sha256:")
	return hex[:min(len(hex), 12)]
}

// maxValue bounds what a flag's value may read from a file.
const maxValue = 64 << 20

// value resolves a flag: "-" reads the standard input, "@FILE" a file.
func (a *app) value(flag, text string) (string, error) {
	var source io.Reader
	switch {
	case text == "-":
		source = a.in
	case strings.HasPrefix(text, "@"):
		f, err := os.Open(text[1:])
		if err != nil {
			return "", usagef("--%s: %w", flag, err)
		}
		defer f.Close() //nolint:errcheck // it was only read
		source = f
	default:
		return text, nil
	}
	raw, err := io.ReadAll(io.LimitReader(source, maxValue+1))
	if err != nil {
		return "", usagef("--%s: %w", flag, err)
	}
	if len(raw) > maxValue {
		return "", usagef("--%s: more than %d bytes", flag, maxValue)
	}
	return string(raw), nil
}

// jsonValue is [app.value] for JSON; nil when text is empty.
func (a *app) jsonValue(flag, text string) (json.RawMessage, error) {
	if text == "" {
		return nil, nil
	}
	resolved, err := a.value(flag, text)
	if err != nil {
		return nil, err
	}
	raw := json.RawMessage(strings.TrimSpace(resolved))
	if err := schema.Check(raw); err != nil {
		return nil, &failure{exit: exitUsage, text: fmt.Sprintf("--%s: %v", flag, err), hint: "a JSON string needs its quotes: --" + flag + ` '"text"'`, cause: err}
	}
	return raw, nil
}

// readFile reads a file that a flag or an argument names; nil for no name.
func readFile(path string, limit int) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, usage(err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, usage(err)
	}
	if len(raw) > limit {
		return nil, &failure{exit: exitRefused, text: fmt.Sprintf("%s is longer than %d bytes", path, limit)}
	}
	return raw, nil
}
