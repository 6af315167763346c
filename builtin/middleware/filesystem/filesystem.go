// Package filesystem gives a model files to read, and to write when it may.
//
// It owns the middleware "filesystem" and its tools: list_files and read_file, and
// with write access write_file, search_and_replace (Genkit JS) and edit_file (Genkit
// Go). Use:
//
//	f, err := filesystem.New(filesystem.Options{Roots: []string{"workspace"}, AllowWrite: true})
//	err = middleware.Register(reg, f)
//	… engine.WithUse(engine.UseName("filesystem", filesystem.Config{RootDirectory: "workspace"}))
//
// The sender of a generate request chooses rootDirectory among the operator's roots and
// what is below them; without roots nothing may be opened. Files are reached through
// os.Root, so that neither ".." nor a link leads out. The content of a file is sent to
// the model as a user message of the next iteration, as in Genkit; what goes wrong
// comes as the tool's response. A file must have been read in this generate call, and
// be unchanged since, before it is overwritten or edited. State is fresh for each
// generate call; its tools may run concurrently.
package filesystem

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// Name is the middleware's name.
const Name = "filesystem"

// Limits.
const (
	MaxReadBytes   = 256 << 10 // of text that one read gives
	MaxFileBytes   = 10 << 20  // of a file that is read or edited
	MaxWriteBytes  = 10 << 20  // of a file that is written
	MaxQueuedBytes = 20 << 20  // of the files that wait for the next iteration
	MaxListed      = 2000      // entries of one list; more are left out
	MaxKnownFiles  = 200       // that a generate call remembers having read
)

// Config is the config of a generate call.
type Config struct {
	RootDirectory    string `json:"rootDirectory" jsonschema:"minLength=1" jsonschema_description:"The directory that all paths are relative to and confined to: one that the operator allows, or a directory below it."`
	AllowWriteAccess bool   `json:"allowWriteAccess,omitempty" jsonschema_description:"Adds the tools that write and edit files, where the operator allows it."`
	ToolNamePrefix   string `json:"toolNamePrefix,omitempty" jsonschema:"maxLength=64" jsonschema_description:"Put before the names of the tools."`
}

// Options are the operator's. The zero value allows nothing.
type Options struct {
	// Roots are the directories that generate calls may use, relative to the
	// working directory of the process.
	Roots []string
	// AllowWrite lets generate calls ask for write access.
	AllowWrite bool
}

// New makes the factory.
func New(o Options) (middleware.Factory, error) {
	o.Roots = slices.Clone(o.Roots)
	return middleware.Define(middleware.Desc{Name: Name, Description: "Gives the model tools to list and read files below a directory, and to write them when allowed."},
		func(_ context.Context, c Config) (*middleware.Hooks, error) { return o.hooks(c) })
}

// Plugin registers the middleware.
func Plugin(o Options) registry.Plugin {
	return middleware.Plugin(Name, func() (middleware.Factory, error) { return New(o) })
}

var prefixes = regexp.MustCompile(`^[A-Za-z0-9_.-]*$`)

func (o Options) hooks(c Config) (*middleware.Hooks, error) {
	if !prefixes.MatchString(c.ToolNamePrefix) {
		return nil, status.Publicf(status.InvalidArgument, "middleware %q: toolNamePrefix %q: want letters, digits, and _.-", Name, c.ToolNamePrefix)
	}
	if c.AllowWriteAccess && !o.AllowWrite {
		return nil, status.Publicf(status.PermissionDenied, "middleware %q: the operator does not allow write access", Name)
	}
	root, err := o.open(c.RootDirectory)
	if err != nil {
		return nil, err
	}
	f := &files{root: root, own: map[string]bool{}, known: map[string]state{}}
	hooks := &middleware.Hooks{Generate: f.deliver, Tool: f.answer, Close: func() { _ = root.Close() }}
	if hooks.Tools, err = f.tools(c); err != nil {
		_ = root.Close()
		return nil, err
	}
	return hooks, nil
}

func (o Options) open(asked string) (*os.Root, error) {
	if strings.TrimSpace(asked) == "" {
		return nil, status.Publicf(status.InvalidArgument, "middleware %q requires a rootDirectory option", Name)
	}
	for _, base := range o.Roots {
		rel, ok := below(base, asked)
		if !ok {
			continue
		}
		root, err := os.OpenRoot(base)
		if err == nil && rel != "." {
			outer := root
			root, err = outer.OpenRoot(rel)
			_ = outer.Close()
		}
		if err != nil {
			return nil, status.Publicf(status.FailedPrecondition, "middleware %q: rootDirectory %q can't be opened", Name, asked).WithCause(err)
		}
		return root, nil
	}
	return nil, status.Publicf(status.PermissionDenied, "middleware %q: rootDirectory %q is not below a directory that the operator allows", Name, asked)
}

// below returns path relative to base when it is in it. Where one is absolute, so is
// the other made.
func below(base, path string) (string, bool) {
	if filepath.IsAbs(base) != filepath.IsAbs(path) {
		var err error
		if base, err = filepath.Abs(base); err != nil {
			return "", false
		}
		if path, err = filepath.Abs(path); err != nil {
			return "", false
		}
	}
	rel, err := filepath.Rel(filepath.Clean(base), filepath.Clean(path))
	return rel, err == nil && filepath.IsLocal(rel)
}

// files is the middleware in one generate call.
type files struct {
	root *os.Root
	own  map[string]bool // the full names of the tools

	// work is held while a tool touches files, so that a read and a write do not
	// interleave. It is taken before mu.
	work sync.Mutex

	mu     sync.Mutex // guards the fields below
	queue  []content.Part
	queued int // bytes
	known  map[string]state
	order  []string // of known, oldest first
}

// enqueue keeps parts for the next iteration and reports whether there is room.
func (f *files) enqueue(bytes int, parts ...content.Part) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.queued+bytes > MaxQueuedBytes {
		return false
	}
	f.queue, f.queued = append(f.queue, parts...), f.queued+bytes
	return true
}

// deliver gives the model the files that were read since the last iteration.
func (f *files) deliver(ctx context.Context, call *middleware.GenerateCall, next middleware.GenerateFunc) (*model.Response, error) {
	f.mu.Lock()
	parts := f.queue
	f.queue, f.queued = nil, 0
	f.mu.Unlock()
	if len(parts) == 0 {
		return next(ctx, call)
	}
	c, opts := *call, *call.Options
	opts.Messages = append(slices.Clone(opts.Messages), content.Message{Role: content.RoleUser, Content: parts})
	c.Options = &opts
	if call.Send != nil {
		chunk := &model.Chunk{Role: content.RoleUser, Content: parts}
		chunk.SetIndex(call.MessageIndex)
		if err := call.Send(chunk); err != nil {
			return nil, err
		}
		c.MessageIndex++
	}
	return next(ctx, &c)
}

// answer turns a failure of these tools into a response, which the model can act on;
// interrupts and the end of the call pass.
func (f *files) answer(ctx context.Context, call *middleware.ToolCall, next middleware.ToolFunc) (*content.Part, error) {
	part, err := next(ctx, call)
	if err == nil || call.Tool == nil || !f.own[call.Tool.Desc().Name] || ctx.Err() != nil {
		return part, err
	}
	if _, interrupt := tool.AsInterrupt(err); interrupt {
		return nil, err
	}
	request := call.Part.ToolRequest
	output, encodeErr := json.Marshal("Tool '" + request.Name + "' failed: " + status.Convert(err).Message)
	if encodeErr != nil {
		return nil, err
	}
	return &content.Part{ToolResponse: &content.ToolResponse{Name: request.Name, Ref: request.Ref, Output: output}}, nil
}

// tools makes the tools; none of their failures names a path outside of the root.
func (f *files) tools(c Config) ([]action.Action, error) {
	makers := []func(prefix string) (action.Action, error){
		func(p string) (action.Action, error) {
			return tool.New(p+"list_files", "Lists files and directories in a given path. Returns a list of objects with path and type.", locked(f, f.list))
		},
		func(p string) (action.Action, error) {
			return tool.New(p+"read_file", "Reads the contents of a file; they come as a user message. Use offset and limit for large files.", locked(f, f.read))
		},
	}
	if c.AllowWriteAccess {
		makers = append(makers,
			func(p string) (action.Action, error) {
				return tool.New(p+"write_file", "Writes content to a file, creating it or overwriting it. A file that exists must have been read before.", locked(f, f.write))
			},
			func(p string) (action.Action, error) {
				return tool.New(p+"search_and_replace", "Replaces text in a file using search and replace blocks. Use this tool to edit existing files, after reading them.", locked(f, f.searchAndReplace))
			},
			func(p string) (action.Action, error) {
				return tool.New(p+"edit_file", "Replaces exact strings in a file that was read before.", locked(f, f.edit))
			},
		)
	}
	var tools []action.Action
	for _, make := range makers {
		t, err := make(c.ToolNamePrefix)
		if err != nil {
			return nil, err
		}
		f.own[t.Desc().Name] = true
		tools = append(tools, t)
	}
	return tools, nil
}

func locked[In, Out any](f *files, fn func(ctx context.Context, in In) (Out, error)) func(context.Context, In) (Out, error) {
	return func(ctx context.Context, in In) (Out, error) {
		f.work.Lock()
		defer f.work.Unlock()
		return fn(ctx, in)
	}
}
