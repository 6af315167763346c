//go:build wasip1

// Command files does to a file system what it is told, with Go's standard library, for
// the tests of mounts: each tool call is a list of steps, and says what came of each.
package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
)

func main() {}

type step struct {
	Op   string `json:"op"`
	Path string `json:"path,omitempty"`
	To   string `json:"to,omitempty"`
	Size int    `json:"size,omitempty"`
}

var _ = pdk.Warm(steps)

//go:wasmexport steps
func exportSteps() int32 { return pdk.Tool(steps) }

//go:wasmexport genkit_describe
func describe() int32 {
	return pdk.Describe(pdk.Module{Name: "files", Version: "1.0.0", Tools: []pdk.ToolInfo{pdk.Info("steps", "Does file operations.", steps)}})
}

func steps(list []step) ([]string, error) {
	said := []string{}
	for _, s := range list {
		text, err := do(s)
		var errno syscall.Errno
		switch {
		case errors.As(err, &errno):
			text = "!" + errno.Error()
		case err != nil:
			text = "!" + err.Error()
		}
		said = append(said, text)
	}
	return said, nil
}

var open []*os.File

func do(s step) (string, error) {
	switch s.Op {
	case "read":
		b, err := os.ReadFile(s.Path)
		return string(b), err
	case "write":
		return "ok", os.WriteFile(s.Path, []byte(strings.Repeat("x", s.Size)), 0o644)
	case "append":
		f, err := os.OpenFile(s.Path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return "", err
		}
		defer f.Close()
		_, err = f.Write([]byte(strings.Repeat("y", s.Size)))
		return "ok", err
	case "keep": // opens a file and does not close it
		f, err := os.OpenFile(s.Path, os.O_RDWR|os.O_CREATE, 0o644)
		open = append(open, f)
		return "ok", err
	case "seek": // writes one byte far beyond the end
		f, err := os.OpenFile(s.Path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return "", err
		}
		defer f.Close()
		_, err = f.WriteAt([]byte("z"), int64(s.Size))
		return "ok", err
	case "truncate":
		f, err := os.OpenFile(s.Path, os.O_RDWR, 0)
		if err != nil {
			return "", err
		}
		defer f.Close()
		return "ok", f.Truncate(int64(s.Size))
	case "list":
		entries, err := os.ReadDir(s.Path)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return strings.Join(names, " "), err
	case "stat":
		info, err := os.Stat(s.Path)
		if err != nil {
			return "", err
		}
		return info.Mode().Type().String() + " " + info.Name(), nil
	case "walk":
		var names []string
		err := fs.WalkDir(os.DirFS(s.Path), ".", func(name string, _ fs.DirEntry, err error) error {
			names = append(names, name)
			return err
		})
		return strings.Join(names, " "), err
	case "mkdir":
		return "ok", os.Mkdir(s.Path, 0o755)
	case "remove":
		return "ok", os.Remove(s.Path)
	case "rename":
		return "ok", os.Rename(s.Path, s.To)
	case "symlink":
		return "ok", os.Symlink(s.To, s.Path)
	case "link":
		return "ok", os.Link(s.To, s.Path)
	case "readlink":
		return os.Readlink(s.Path)
	}
	return "", errors.New("no such operation")
}
