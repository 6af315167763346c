package filesystem

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// refusef is a failure whose text the model is shown.
func refusef(format string, args ...any) error {
	return status.Publicf(status.FailedPrecondition, format, args...)
}

// explain words an error of the file system without the paths of the host.
func explain(err error, name string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return refusef("%q does not exist", name)
	case errors.Is(err, fs.ErrPermission):
		return refusef("%q: permission denied", name)
	case errors.Is(err, fs.ErrExist):
		return refusef("%q exists already", name)
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return refusef("%q: %v", name, e.Err)
	}
	return refusef("%q can't be used", name)
}

// local makes a path in the root of a model's text. A leading slash means the root;
// os.Root refuses what leads out.
func local(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", refusef("the path holds a NUL")
	}
	clean := path.Clean(strings.TrimLeft(filepath.ToSlash(strings.TrimSpace(name)), "/"))
	osPath := filepath.FromSlash(clean)
	if !filepath.IsLocal(osPath) {
		return "", refusef("Access denied: Path is outside of root directory.")
	}
	return osPath, nil
}

type listInput struct {
	DirPath   string `json:"dirPath,omitempty" jsonschema_description:"Directory path relative to root; the root when empty."`
	Recursive bool   `json:"recursive,omitempty" jsonschema_description:"Whether to list files recursively."`
}

type entry struct {
	Path        string `json:"path"`
	IsDirectory bool   `json:"isDirectory"`
	SizeBytes   int64  `json:"sizeBytes,omitempty"`
}

// list gives the entries of a directory, sorted, with paths relative to it.
func (f *files) list(ctx context.Context, in listInput) ([]entry, error) {
	dir, err := local(in.DirPath)
	if err != nil {
		return nil, err
	}
	entries := []entry{}
	err = f.walk(ctx, dir, "", in.Recursive, &entries)
	if err != nil {
		return nil, explain(err, in.DirPath)
	}
	return entries, nil
}

func (f *files) walk(ctx context.Context, dir, prefix string, deep bool, entries *[]entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d, err := f.root.Open(dir)
	if err != nil {
		return err
	}
	found, err := d.ReadDir(MaxListed + 1)
	_ = d.Close()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	slices.SortFunc(found, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range found {
		if len(*entries) >= MaxListed {
			return nil
		}
		listed := entry{Path: prefix + e.Name(), IsDirectory: e.IsDir()}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			listed.SizeBytes = info.Size()
		}
		*entries = append(*entries, listed)
		if deep && e.IsDir() {
			if err := f.walk(ctx, filepath.Join(dir, e.Name()), listed.Path+"/", true, entries); err != nil && ctx.Err() != nil {
				return err // a directory that can't be read is listed, and empty
			}
		}
	}
	return nil
}

// state is the state of a file when it was read or written last.
type state struct {
	modified      time.Time
	size          int64
	offset, limit int
	seen          bool // its text was given to the model, at offset and limit
}

func stateOf(info fs.FileInfo) state { return state{modified: info.ModTime(), size: info.Size()} }

func (s state) current(info fs.FileInfo) bool {
	return s.modified.Equal(info.ModTime()) && s.size == info.Size()
}

func (f *files) state(name string) (state, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.known[name]
	return s, ok
}

func (f *files) remember(name string, s state) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.known[name]; !known {
		if len(f.order) >= MaxKnownFiles {
			delete(f.known, f.order[0])
			f.order = f.order[1:]
		}
		f.order = append(f.order, name)
	}
	f.known[name] = s
}

// load reads a whole regular file of at most MaxFileBytes.
func (f *files) load(name, shown string) ([]byte, fs.FileInfo, error) {
	info, err := f.regular(name, shown)
	if err != nil {
		return nil, nil, err
	}
	if info.Size() > MaxFileBytes {
		return nil, nil, refusef("%q has %d bytes, more than %d", shown, info.Size(), MaxFileBytes)
	}
	file, err := f.root.Open(name)
	if err != nil {
		return nil, nil, explain(err, shown)
	}
	defer func() { _ = file.Close() }()
	if info, err = file.Stat(); err != nil { // of what is read, should it have been swapped
		return nil, nil, explain(err, shown)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, refusef("%q is no regular file", shown)
	}
	data, err := io.ReadAll(io.LimitReader(file, MaxFileBytes+1))
	if err != nil {
		return nil, nil, explain(err, shown)
	}
	if len(data) > MaxFileBytes {
		return nil, nil, refusef("%q has more than %d bytes", shown, MaxFileBytes)
	}
	return data, info, nil
}

// regular refuses everything but regular files: a pipe, which would block, is not opened.
func (f *files) regular(name, shown string) (fs.FileInfo, error) {
	info, err := f.root.Stat(name)
	if err != nil {
		return nil, explain(err, shown)
	}
	if info.IsDir() {
		return nil, refusef("%q is a directory: use list_files", shown)
	}
	if !info.Mode().IsRegular() {
		return nil, refusef("%q is no regular file", shown)
	}
	return info, nil
}

type readInput struct {
	FilePath string `json:"filePath" jsonschema:"minLength=1" jsonschema_description:"File path relative to root."`
	Offset   int    `json:"offset,omitempty" jsonschema:"minimum=0" jsonschema_description:"The line to start at, from 1."`
	Limit    int    `json:"limit,omitempty" jsonschema:"minimum=0" jsonschema_description:"The number of lines to read; 0 for all."`
}

const unchanged = "File unchanged since last read. The content from the earlier read_file result in this conversation is still current — refer to that instead of re-reading."

// read queues the text or picture of a file for the next iteration.
func (f *files) read(_ context.Context, in readInput) (string, error) {
	name, err := local(in.FilePath)
	if err != nil {
		return "", err
	}
	data, info, err := f.load(name, in.FilePath)
	if err != nil {
		return "", err
	}
	s := stateOf(info)
	s.offset, s.limit, s.seen = in.Offset, in.Limit, true
	if before, known := f.state(name); known && before.seen && before.current(info) && before.offset == in.Offset && before.limit == in.Limit {
		return unchanged, nil
	}
	parts, size, summary, err := show(in, data)
	if err != nil {
		return "", err
	}
	if !f.enqueue(size, parts...) {
		return "", refusef("too much was read at once: read %q in the next turn", in.FilePath)
	}
	f.remember(name, s)
	return summary, nil
}

func show(in readInput, data []byte) (parts []content.Part, size int, summary string, err error) {
	kind, _, _ := strings.Cut(mime.TypeByExtension(strings.ToLower(path.Ext(filepath.ToSlash(in.FilePath)))), ";")
	if strings.HasPrefix(kind, "image/") && kind != "image/svg+xml" {
		url := "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(data)
		return []content.Part{
			content.NewTextPart("\n\nread_file result " + kind + " " + in.FilePath),
			{Media: &content.Media{URL: url, ContentType: kind}},
		}, len(url), "File " + in.FilePath + " read successfully, see contents below", nil
	}
	if !utf8.Valid(data) {
		return nil, 0, "", refusef("%q is not text", in.FilePath)
	}
	text, from, to, total := slice(data, in.Offset, in.Limit)
	if in.Offset > max(total, 1) {
		return nil, 0, "", refusef("%q has %d lines: there is no line %d", in.FilePath, total, in.Offset)
	}
	if len(text) > MaxReadBytes {
		return nil, 0, "", refusef("%d bytes of %q are more than %d: use offset and limit to read a part of its %d lines", len(text), in.FilePath, MaxReadBytes, total)
	}
	head := fmt.Sprintf("<read_file path=%q totalLines=\"%d\">", in.FilePath, total)
	summary = "File " + in.FilePath + " read successfully, see contents below"
	if in.Offset > 1 || in.Limit > 0 {
		head = fmt.Sprintf("<read_file path=%q lines=\"%d-%d\" totalLines=\"%d\">", in.FilePath, from, to, total)
		summary = fmt.Sprintf("File %s read successfully (lines %d-%d of %d total), see contents below", in.FilePath, from, to, total)
	}
	// No line end is added before the closing tag: the model would look for it in
	// the file when it edits.
	return []content.Part{content.NewTextPart(head + "\n" + string(text) + "</read_file>")}, len(text), summary, nil
}

// slice returns limit lines from the offset-th on (from 1), and which they are.
func slice(data []byte, offset, limit int) (text []byte, from, to, total int) {
	lines := bytes.SplitAfter(data, []byte("\n"))
	if len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	total = len(lines)
	from = max(offset, 1)
	start := min(from-1, total)
	end := total
	if limit > 0 && limit < total-start {
		end = start + limit
	}
	return bytes.Join(lines[start:end], nil), from, end, total
}
