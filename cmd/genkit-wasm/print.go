package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// table writes rows in columns under a heading. On a terminal that is narrower, the widest
// columns are cut.
func (a *app) table(heading string, rows [][]string) error {
	cells := append([][]string{strings.Split(heading, "\t")}, rows...)
	if width := a.width(); width > 0 {
		fit(cells, width)
	}
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, gap, ' ', 0)
	for _, row := range cells {
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t")) // a buffer takes everything
	}
	if err := w.Flush(); err != nil {
		return err
	}
	first, rest, _ := strings.Cut(b.String(), "\n")
	_, err := fmt.Fprintf(a.out, "%s\n%s", colour(a.out, bold, strings.TrimRight(first, " ")), rest)
	return err
}

const gap = 2 // between columns

// width is how many columns the terminal has; 0 where the output is none.
func (a *app) width() int {
	f, ok := terminal(a.out)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// fit shortens cells until lines of the table are at most width long: those of the widest
// column first, and no column below eight.
func fit(cells [][]string, width int) {
	const least = 8
	widths := make([]int, len(cells[0]))
	for _, row := range cells {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	total := gap * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for total > width {
		widest := 0
		for i, w := range widths {
			if w > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= least {
			break
		}
		widths[widest]--
		total--
	}
	for _, row := range cells {
		for i, cell := range row {
			if utf8.RuneCountInString(cell) > widths[i] {
				row[i] = string([]rune(cell)[:widths[i]-1]) + "…"
			}
		}
	}
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

// maxValue bounds the file that a flag's value may name, in bytes.
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

// document reads a flag whose value is a JSON object: the object itself, @FILE, the name
// of a file, or - for the standard input; nil when text is empty.
func (a *app) document(flag, text string, limit int) (json.RawMessage, error) {
	switch {
	case text == "-" || strings.HasPrefix(strings.TrimSpace(text), "{"):
		return a.jsonValue(flag, text)
	default:
		raw, err := readFile(strings.TrimPrefix(text, "@"), limit)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &failure{exit: exitUsage, text: fmt.Sprintf("--%s: %v", flag, err), hint: "want FILE, @FILE or a JSON object", cause: err}
		}
		return raw, err
	}
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
