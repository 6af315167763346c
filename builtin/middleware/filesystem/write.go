package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

type writeInput struct {
	FilePath string `json:"filePath" jsonschema:"minLength=1" jsonschema_description:"File path relative to root."`
	Content  string `json:"content" jsonschema_description:"Content to write to the file."`
}

func (f *files) write(_ context.Context, in writeInput) (string, error) {
	name, err := local(in.FilePath)
	if err != nil {
		return "", err
	}
	_, err = f.root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := f.create(name, in); err != nil {
			return "", err
		}
	case err != nil:
		return "", explain(err, in.FilePath)
	default:
		if _, err := f.fresh(name, in.FilePath); err != nil {
			return "", err
		}
		if err := f.save(name, in.FilePath, []byte(in.Content), os.O_WRONLY|os.O_TRUNC); err != nil {
			return "", err
		}
	}
	return "File " + in.FilePath + " written successfully.", nil
}

func (f *files) create(name string, in writeInput) error {
	if dir := filepath.Dir(name); dir != "." {
		if err := f.root.MkdirAll(dir, 0o755); err != nil {
			return explain(err, in.FilePath)
		}
	}
	// O_EXCL: nothing that appeared meanwhile is overwritten.
	return f.save(name, in.FilePath, []byte(in.Content), os.O_WRONLY|os.O_CREATE|os.O_EXCL)
}

// fresh returns the text of a file that the model has read as it is now.
func (f *files) fresh(name, shown string) (string, error) {
	info, err := f.regular(name, shown)
	if err != nil {
		return "", err
	}
	s, known := f.state(name)
	if !known {
		return "", refusef("%q has not been read yet: read it before changing it", shown)
	}
	if !s.current(info) {
		return "", refusef("%q was changed by somebody else since it was read: read it again before changing it", shown)
	}
	data, _, err := f.load(name, shown)
	return string(data), err
}

// save writes and remembers what the file is then, so that the next edit needs no
// read of what the model wrote itself.
func (f *files) save(name, shown string, data []byte, flag int) (err error) {
	if len(data) > MaxWriteBytes {
		return refusef("%d bytes for %q are more than %d", len(data), shown, MaxWriteBytes)
	}
	file, err := f.root.OpenFile(name, flag, 0o644)
	if err != nil {
		return explain(err, shown)
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = explain(closeErr, shown)
		}
	}()
	if _, err := file.Write(data); err != nil {
		return explain(err, shown)
	}
	info, err := file.Stat()
	if err != nil {
		return explain(err, shown)
	}
	f.remember(name, stateOf(info))
	return nil
}

type replaceInput struct {
	FilePath string   `json:"filePath" jsonschema:"minLength=1" jsonschema_description:"File path relative to root."`
	Edits    []string `json:"edits" jsonschema:"minItems=1" jsonschema_description:"Search and replace blocks in the format:\n<<<<<<< SEARCH\n[search content]\n=======\n[replace content]\n>>>>>>> REPLACE"`
}

func (f *files) searchAndReplace(_ context.Context, in replaceInput) (string, error) {
	return f.change(in.FilePath, len(in.Edits), func(text string) (string, error) {
		for _, block := range in.Edits {
			var err error
			if text, err = applyBlock(text, block, in.FilePath); err != nil {
				return "", err
			}
		}
		return text, nil
	})
}

// applyBlock replaces the first occurrence. Where the separator occurs more than
// once, the longest search text that the file holds counts (Genkit JS:
// search_and_replace.ts).
func applyBlock(text, block, shown string) (string, error) {
	const start, separator, end = "<<<<<<< SEARCH\n", "\n=======\n", "\n>>>>>>> REPLACE"
	inner, opened := strings.CutPrefix(block, start)
	inner, closed := strings.CutSuffix(inner, end)
	if !opened || !closed {
		return "", refusef(`Invalid edit block format. Block must start with "<<<<<<< SEARCH\n" and end with "\n>>>>>>> REPLACE"`)
	}
	if !strings.Contains(inner, separator) {
		return "", refusef(`Invalid edit block format. Missing separator "\n=======\n"`)
	}
	for at := strings.LastIndex(inner, separator); at >= 0; at = strings.LastIndex(inner[:min(at+len(separator)-1, len(inner))], separator) {
		if search := inner[:at]; search != "" && strings.Contains(text, search) {
			return strings.Replace(text, search, inner[at+len(separator):], 1), nil
		}
	}
	return "", refusef("Search content not found in file %s. Make sure the search block matches the file content exactly, including whitespace and indentation.", shown)
}

type editInput struct {
	FilePath string `json:"filePath" jsonschema:"minLength=1" jsonschema_description:"File path relative to root."`
	Edits    []edit `json:"edits" jsonschema:"minItems=1" jsonschema_description:"The replacements, applied in order."`
}

type edit struct {
	OldString  string `json:"oldString" jsonschema:"minLength=1" jsonschema_description:"The exact text to replace. It must occur once unless replaceAll is set."`
	NewString  string `json:"newString" jsonschema_description:"The text in its place."`
	ReplaceAll bool   `json:"replaceAll,omitempty" jsonschema_description:"Replaces every occurrence."`
}

func (f *files) edit(_ context.Context, in editInput) (string, error) {
	return f.change(in.FilePath, len(in.Edits), func(text string) (string, error) {
		for i, e := range in.Edits {
			n := strings.Count(text, e.OldString)
			switch {
			case n == 0:
				return "", refusef("edit %d: oldString not found in %q", i+1, in.FilePath)
			case n > 1 && !e.ReplaceAll:
				return "", refusef("edit %d: oldString occurs %d times in %q: make it unique or set replaceAll", i+1, n, in.FilePath)
			case n > 1 && len(text)+n*(len(e.NewString)-len(e.OldString)) > MaxWriteBytes:
				return "", refusef("edit %d: %q would become bigger than %d bytes", i+1, in.FilePath, MaxWriteBytes)
			}
			text = strings.ReplaceAll(text, e.OldString, e.NewString)
		}
		return text, nil
	})
}

// change rewrites a file; when an edit fails, none is applied.
func (f *files) change(shown string, n int, apply func(string) (string, error)) (string, error) {
	name, err := local(shown)
	if err != nil {
		return "", err
	}
	text, err := f.fresh(name, shown)
	if err != nil {
		return "", err
	}
	if text, err = apply(text); err != nil {
		return "", err
	}
	if err := f.save(name, shown, []byte(text), os.O_WRONLY|os.O_TRUNC); err != nil {
		return "", err
	}
	return fmt.Sprintf("Successfully applied %d edit(s) to %s.", n, shown), nil
}
