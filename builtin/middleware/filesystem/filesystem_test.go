package filesystem_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/filesystem"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/scripted"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// bench is the middleware in one generate call, with its tools at hand.
type bench struct {
	t     *testing.T
	dir   string
	hooks *middleware.Hooks
}

func newBench(t *testing.T, files map[string]string) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	for name, text := range files {
		b.put(name, text)
	}
	f, err := filesystem.New(filesystem.Options{Roots: []string{b.dir}, AllowWrite: true})
	require.NoError(t, err)
	b.hooks, err = f.New(t.Context(), json.RawMessage(`{"rootDirectory":`+quote(b.dir)+`,"allowWriteAccess":true}`))
	require.NoError(t, err)
	t.Cleanup(b.hooks.Close)
	return b
}

func quote(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}

func (b *bench) put(name, text string) {
	path := filepath.Join(b.dir, filepath.FromSlash(name))
	require.NoError(b.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(b.t, os.WriteFile(path, []byte(text), 0o644))
}

func (b *bench) get(name string) string {
	text, err := os.ReadFile(filepath.Join(b.dir, filepath.FromSlash(name)))
	require.NoError(b.t, err)
	return string(text)
}

// use runs a tool through the hook, as the loop does, and returns its output: the
// text of a string, else JSON.
func (b *bench) use(name, input string) string {
	b.t.Helper()
	for _, a := range b.hooks.Tools {
		if a.Desc().Name != name {
			continue
		}
		call := &middleware.ToolCall{Tool: a, Part: content.Part{ToolRequest: &content.ToolRequest{Name: name, Ref: "1", Input: json.RawMessage(input)}}}
		part, err := b.hooks.Tool(b.t.Context(), call, func(ctx context.Context, call *middleware.ToolCall) (*content.Part, error) {
			out, err := call.Tool.RunJSON(ctx, call.Part.ToolRequest.Input, nil)
			return &content.Part{ToolResponse: &content.ToolResponse{Name: name, Ref: "1", Output: out}}, err
		})
		require.NoError(b.t, err)
		require.Equal(b.t, "1", part.ToolResponse.Ref)
		var text string
		if json.Unmarshal(part.ToolResponse.Output, &text) == nil {
			return text
		}
		return string(part.ToolResponse.Output)
	}
	require.FailNow(b.t, "no tool "+name)
	return ""
}

// delivered is the text that the next iteration adds to the messages.
func (b *bench) delivered() []content.Part {
	var parts []content.Part
	_, err := b.hooks.Generate(b.t.Context(), &middleware.GenerateCall{Options: &model.GenerateOptions{}}, func(_ context.Context, call *middleware.GenerateCall) (*model.Response, error) {
		for _, m := range call.Options.Messages {
			require.Equal(b.t, content.RoleUser, m.Role)
			parts = append(parts, m.Content...)
		}
		return &model.Response{}, nil
	})
	require.NoError(b.t, err)
	return parts
}

func TestListing(t *testing.T) {
	b := newBench(t, map[string]string{"a.txt": "12345", "d/e/f.txt": "x", "d/b.txt": ""})
	for input, want := range map[string]string{
		`{}`:                                 `[{"path":"a.txt","isDirectory":false,"sizeBytes":5},{"path":"d","isDirectory":true}]`,
		`{"dirPath":"d"}`:                    `[{"path":"b.txt","isDirectory":false},{"path":"e","isDirectory":true}]`,
		`{"dirPath":"/d/","recursive":true}`: `[{"path":"b.txt","isDirectory":false},{"path":"e","isDirectory":true},{"path":"e/f.txt","isDirectory":false,"sizeBytes":1}]`,
		`{"dirPath":"nope"}`:                 `Tool 'list_files' failed: "nope" does not exist`,
		`{"dirPath":".."}`:                   `Tool 'list_files' failed: Access denied: Path is outside of root directory.`,
	} {
		assert.Equal(t, want, b.use("list_files", input), input)
	}
	for i := range filesystem.MaxListed + 5 {
		b.put(fmt.Sprintf("many/%05d", i), "")
	}
	var listed []any
	require.NoError(t, json.Unmarshal([]byte(b.use("list_files", `{"recursive":true}`)), &listed))
	assert.Len(t, listed, filesystem.MaxListed)
}

func TestReading(t *testing.T) {
	for name, c := range map[string]struct {
		file, input, output, delivered string
	}{
		"a file":                 {"one\ntwo\n", `{"filePath":"f.txt"}`, "File f.txt read successfully, see contents below", "<read_file path=\"f.txt\" totalLines=\"2\">\none\ntwo\n</read_file>"},
		"no line end at the end": {"one", `{"filePath":"f.txt"}`, "File f.txt read successfully, see contents below", "<read_file path=\"f.txt\" totalLines=\"1\">\none</read_file>"},
		"an empty file":          {"", `{"filePath":"f.txt"}`, "File f.txt read successfully, see contents below", "<read_file path=\"f.txt\" totalLines=\"0\">\n</read_file>"},
		"some lines":             {"1\n2\n3\n4\n", `{"filePath":"f.txt","offset":2,"limit":2}`, "File f.txt read successfully (lines 2-3 of 4 total), see contents below", "<read_file path=\"f.txt\" lines=\"2-3\" totalLines=\"4\">\n2\n3\n</read_file>"},
		"past the end":           {"1\n", `{"filePath":"f.txt","offset":9}`, "Tool 'read_file' failed: \"f.txt\" has 1 lines: there is no line 9", ""},
		"a huge limit":           {"1\n2\n", `{"filePath":"f.txt","offset":2,"limit":9223372036854775807}`, "File f.txt read successfully (lines 2-2 of 2 total), see contents below", "<read_file path=\"f.txt\" lines=\"2-2\" totalLines=\"2\">\n2\n</read_file>"},
		"too much text":          {strings.Repeat("x", filesystem.MaxReadBytes+1), `{"filePath":"f.txt"}`, "Tool 'read_file' failed: 262145 bytes of \"f.txt\" are more than 262144: use offset and limit to read a part of its 1 lines", ""},
		"too big a file":         {strings.Repeat("x", filesystem.MaxFileBytes+1), `{"filePath":"f.txt","limit":1}`, "Tool 'read_file' failed: \"f.txt\" has 10485761 bytes, more than 10485760", ""},
		"what is no text":        {"\xff\xfe", `{"filePath":"f.txt"}`, "Tool 'read_file' failed: \"f.txt\" is not text", ""},
		"what is not there":      {"", `{"filePath":"g.txt"}`, "Tool 'read_file' failed: \"g.txt\" does not exist", ""},
		"a directory":            {"", `{"filePath":"."}`, "Tool 'read_file' failed: \".\" is a directory: use list_files", ""},
		"a path with a NUL":      {"", `{"filePath":"f\u0000"}`, "Tool 'read_file' failed: the path holds a NUL", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, map[string]string{"f.txt": c.file})
			assert.Equal(t, c.output, b.use("read_file", c.input))
			got := b.delivered()
			assert.Equal(t, c.delivered, content.TextOf(got))
			assert.Empty(t, b.delivered(), "it is delivered once")
		})
	}
}

func TestPicturesComeAsMedia(t *testing.T) {
	b := newBench(t, map[string]string{"p.png": "png"})
	assert.Equal(t, "File p.png read successfully, see contents below", b.use("read_file", `{"filePath":"p.png"}`))
	got := b.delivered()
	require.Len(t, got, 2)
	assert.Equal(t, "\n\nread_file result image/png p.png", *got[0].Text)
	assert.Equal(t, &content.Media{URL: "data:image/png;base64,cG5n", ContentType: "image/png"}, got[1].Media)
}

func TestNothingLeadsOutOfTheRoot(t *testing.T) {
	b := newBench(t, map[string]string{"in.txt": "in"})
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret.txt"), []byte("secret"), 0o644))
	require.NoError(t, os.Symlink(outside, filepath.Join(b.dir, "link")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret.txt"), filepath.Join(b.dir, "secret")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "new.txt"), filepath.Join(b.dir, "dangling")))
	for _, path := range []string{"../x", "link/secret.txt", "secret", "d/../../x", filepath.Join(outside, "secret.txt"), "link/../../x", "dangling"} {
		for name, input := range map[string]string{
			"read_file":          `{"filePath":` + quote(path) + `}`,
			"write_file":         `{"filePath":` + quote(path) + `,"content":"x"}`,
			"search_and_replace": `{"filePath":` + quote(path) + `,"edits":["<<<<<<< SEARCH\ns\n=======\nx\n>>>>>>> REPLACE"]}`,
			"edit_file":          `{"filePath":` + quote(path) + `,"edits":[{"oldString":"s","newString":"x"}]}`,
			"list_files":         `{"dirPath":` + quote(path) + `}`,
		} {
			if name == "write_file" && filepath.IsAbs(path) {
				continue // it is a path below the root
			}
			out := b.use(name, input)
			assert.Contains(t, out, "Tool '"+name+"' failed", "%s %s", name, path)
			assert.NotContains(t, strings.ReplaceAll(out, path, ""), outside, "%s %s names a path of the host", name, path)
		}
	}
	assert.Empty(t, b.delivered())
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	assert.Len(t, entries, 1)
	text, err := os.ReadFile(filepath.Join(outside, "secret.txt"))
	require.NoError(t, err)
	assert.Equal(t, "secret", string(text))
}

func TestWritingWantsToHaveRead(t *testing.T) {
	write := func(b *bench, text string) string {
		return b.use("write_file", `{"filePath":"d/f.txt","content":`+quote(text)+`}`)
	}
	b := newBench(t, nil)
	assert.Equal(t, "File d/f.txt written successfully.", write(b, "one"), "a new file, in a new directory")
	assert.Equal(t, "File d/f.txt written successfully.", write(b, "two"), "its own writing needs no reading")
	assert.Equal(t, "two", b.get("d/f.txt"))

	b = newBench(t, map[string]string{"d/f.txt": "one"})
	assert.Equal(t, `Tool 'write_file' failed: "d/f.txt" has not been read yet: read it before changing it`, write(b, "two"))
	b.use("read_file", `{"filePath":"d/f.txt"}`)
	assert.Equal(t, "File d/f.txt written successfully.", write(b, "two"))

	b.use("read_file", `{"filePath":"d/f.txt"}`)
	b.put("d/f.txt", "somebody else's")
	assert.Equal(t, `Tool 'write_file' failed: "d/f.txt" was changed by somebody else since it was read: read it again before changing it`, write(b, "three"))
	assert.Equal(t, "somebody else's", b.get("d/f.txt"))
	b.use("read_file", `{"filePath":"d/f.txt"}`)
	require.NoError(t, os.Chtimes(filepath.Join(b.dir, "d", "f.txt"), time.Time{}, time.Now().Add(time.Hour)))
	assert.Contains(t, write(b, "three"), "was changed by somebody else", "a new time is enough")
}

func TestAnUnchangedFileIsNotDeliveredAgain(t *testing.T) {
	b := newBench(t, map[string]string{"f.txt": "one\ntwo\n"})
	b.use("read_file", `{"filePath":"f.txt"}`)
	b.delivered()
	assert.Contains(t, b.use("read_file", `{"filePath":"f.txt"}`), "File unchanged since last read.")
	assert.Empty(t, b.delivered())
	assert.Contains(t, b.use("read_file", `{"filePath":"f.txt","limit":1}`), "read successfully", "another part of it is")
	b.put("f.txt", "three")
	assert.Contains(t, b.use("read_file", `{"filePath":"f.txt","limit":1}`), "read successfully", "and so is what changed")
	b.use("write_file", `{"filePath":"f.txt","content":"four"}`)
	assert.Contains(t, b.use("read_file", `{"filePath":"f.txt"}`), "read successfully")
}

func TestEditing(t *testing.T) {
	block := func(search, replace string) string {
		return "<<<<<<< SEARCH\n" + search + "\n=======\n" + replace + "\n>>>>>>> REPLACE"
	}
	type m = map[string]any
	for name, c := range map[string]struct {
		tool   string
		file   string
		edits  any
		after  string
		output string
	}{
		"a block":                      {"search_and_replace", "a b a", []string{block("a", "$&")}, "$& b a", "Successfully applied 1 edit(s) to f."},
		"blocks in order":              {"search_and_replace", "a", []string{block("a", "b"), block("b", "c")}, "c", "Successfully applied 2 edit(s) to f."},
		"nothing for something":        {"search_and_replace", "one\ntwo\n", []string{block("two", "")}, "one\n\n", "Successfully applied 1 edit(s) to f."},
		"the longest search that fits": {"search_and_replace", "x\n=======\ny", []string{block("x\n=======\ny", "z")}, "z", "Successfully applied 1 edit(s) to f."},
		"a separator in the new text":  {"search_and_replace", "x", []string{block("x", "y\n=======\nz")}, "y\n=======\nz", "Successfully applied 1 edit(s) to f."},
		"all or nothing":               {"search_and_replace", "a", []string{block("a", "b"), block("nope", "c")}, "a", "Tool 'search_and_replace' failed: Search content not found in file f."},
		"an empty search":              {"search_and_replace", "a", []string{block("", "b")}, "a", "Tool 'search_and_replace' failed: Search content not found"},
		"no start":                     {"search_and_replace", "a", []string{"a"}, "a", "Tool 'search_and_replace' failed: Invalid edit block format. Block must start"},
		"no separator":                 {"search_and_replace", "a", []string{"<<<<<<< SEARCH\na\n>>>>>>> REPLACE"}, "a", "Tool 'search_and_replace' failed: Invalid edit block format. Missing separator"},
		"no edits":                     {"search_and_replace", "a", []string{}, "a", "Tool 'search_and_replace' failed: "},
		"a string":                     {"edit_file", "a b", []m{{"oldString": "a", "newString": "c"}}, "c b", "Successfully applied 1 edit(s) to f."},
		"a string that occurs twice":   {"edit_file", "a a", []m{{"oldString": "a", "newString": "c"}}, "a a", "Tool 'edit_file' failed: edit 1: oldString occurs 2 times"},
		"every occurrence":             {"edit_file", "a a", []m{{"oldString": "a", "newString": "c", "replaceAll": true}}, "c c", "Successfully applied 1 edit(s) to f."},
		"a string that does not occur": {"edit_file", "a", []m{{"oldString": "a", "newString": "b"}, {"oldString": "a", "newString": "c"}}, "a", "Tool 'edit_file' failed: edit 2: oldString not found"},
		"an empty string":              {"edit_file", "a", []m{{"oldString": "", "newString": "b"}}, "a", "Tool 'edit_file' failed: "},
		"an explosion":                 {"edit_file", strings.Repeat("a", 4096), []m{{"oldString": "a", "newString": strings.Repeat("b", 4096), "replaceAll": true}}, strings.Repeat("a", 4096), "Tool 'edit_file' failed: edit 1: \"f\" would become bigger"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, map[string]string{"f": c.file})
			input := quote(m{"filePath": "f", "edits": c.edits})
			if c.after != c.file {
				assert.Contains(t, b.use(c.tool, input), "has not been read yet")
			}
			b.use("read_file", `{"filePath":"f"}`)
			assert.Contains(t, b.use(c.tool, input), c.output)
			assert.Equal(t, c.after, b.get("f"))
		})
	}
}

func TestTheOperatorDecides(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	require.NoError(t, os.Symlink(other, filepath.Join(dir, "link")))
	for name, c := range map[string]struct {
		options filesystem.Options
		config  map[string]any
		code    status.Code
		tools   int
	}{
		"a root":                        {filesystem.Options{Roots: []string{dir}}, map[string]any{"rootDirectory": dir}, status.OK, 2},
		"a directory below":             {filesystem.Options{Roots: []string{other, dir}}, map[string]any{"rootDirectory": dir + "/sub"}, status.OK, 2},
		"with write access":             {filesystem.Options{Roots: []string{dir}, AllowWrite: true}, map[string]any{"rootDirectory": dir, "allowWriteAccess": true}, status.OK, 5},
		"that nobody asked for":         {filesystem.Options{Roots: []string{dir}, AllowWrite: true}, map[string]any{"rootDirectory": dir}, status.OK, 2},
		"that the operator denies":      {filesystem.Options{Roots: []string{dir}}, map[string]any{"rootDirectory": dir, "allowWriteAccess": true}, status.PermissionDenied, 0},
		"another directory":             {filesystem.Options{Roots: []string{dir}}, map[string]any{"rootDirectory": other}, status.PermissionDenied, 0},
		"the one above":                 {filesystem.Options{Roots: []string{dir}}, map[string]any{"rootDirectory": dir + "/.."}, status.PermissionDenied, 0},
		"a link out of it":              {filesystem.Options{Roots: []string{dir}}, map[string]any{"rootDirectory": dir + "/link"}, status.FailedPrecondition, 0},
		"one that is not there":         {filesystem.Options{Roots: []string{dir}}, map[string]any{"rootDirectory": dir + "/nope"}, status.FailedPrecondition, 0},
		"nothing by default":            {filesystem.Options{}, map[string]any{"rootDirectory": "."}, status.PermissionDenied, 0},
		"no rootDirectory":              {filesystem.Options{Roots: []string{dir}}, map[string]any{}, status.InvalidArgument, 0},
		"a prefix that can't be a name": {filesystem.Options{Roots: []string{dir}}, map[string]any{"rootDirectory": dir, "toolNamePrefix": "a/b"}, status.InvalidArgument, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := filesystem.New(c.options)
			require.NoError(t, err)
			hooks, err := f.New(t.Context(), json.RawMessage(quote(c.config)))
			require.Equal(t, c.code, status.Of(err), "%v", err)
			if err == nil {
				assert.Len(t, hooks.Tools, c.tools)
				hooks.Close()
			}
		})
	}
}

func TestInTheLoop(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("A"), 0o644))
	reg := registry.New(nil)
	require.NoError(t, scripted.Plugin().Register(t.Context(), reg))
	require.NoError(t, filesystem.Plugin(filesystem.Options{Roots: []string{dir}}).Register(t.Context(), reg))
	ask, err := tool.New("ask", "", func(context.Context, any) (any, error) { return nil, tool.Interrupt(nil) })
	require.NoError(t, err)
	broken, err := tool.New("broken", "", func(context.Context, any) (any, error) { return nil, status.Publicf(status.DataLoss, "x") })
	require.NoError(t, err)
	run := func(toolName string, send model.Send) (*model.Response, error) {
		script := `{"script":[{"message":{"content":[{"toolRequest":{"name":"` + toolName + `","ref":"1","input":{"filePath":"a.txt"}}}]}},{"message":{"content":[{"text":"done"}]}}]}`
		return generate.Run(t.Context(), reg, &model.GenerateOptions{
			Model: scripted.Name, Config: json.RawMessage(script), Messages: []content.Message{content.NewUserTextMessage("hi")},
			Use: []model.MiddlewareRef{{Name: "filesystem", Config: json.RawMessage(`{"rootDirectory":` + quote(dir) + `,"toolNamePrefix":"my_"}`)}},
		}, send, generate.WithTools(ask, broken))
	}
	var chunks []string
	resp, err := run("my_read_file", func(c *model.Chunk) error {
		chunks = append(chunks, fmt.Sprintf("%s %d %s", c.Role, c.Index, c.Text()))
		return nil
	})
	require.NoError(t, err)
	text := "<read_file path=\"a.txt\" totalLines=\"1\">\nA</read_file>"
	require.Len(t, resp.Request.Messages, 6)
	assert.Equal(t, content.RoleUser, resp.Request.Messages[3].Role)
	assert.Equal(t, text, resp.Request.Messages[3].Text())
	// The scripted model counts its turns from the last user message, so that it
	// asks again; what matters is what came before.
	assert.Contains(t, chunks, "user 1 "+text)

	resp, err = run("ask", nil)
	require.NoError(t, err)
	assert.Equal(t, model.FinishInterrupted, resp.FinishReason)
	_, err = run("broken", nil)
	require.ErrorIs(t, err, status.ErrDataLoss, "the failures of other tools are not its business")
}

func TestInterruptsOfInnerMiddlewarePass(t *testing.T) {
	b := newBench(t, nil)
	_, err := b.hooks.Tool(t.Context(), &middleware.ToolCall{Tool: b.hooks.Tools[0], Part: content.Part{ToolRequest: &content.ToolRequest{Name: "list_files"}}},
		func(context.Context, *middleware.ToolCall) (*content.Part, error) { return nil, tool.Interrupt(nil) })
	_, interrupt := tool.AsInterrupt(err)
	assert.True(t, interrupt)
}

func TestToolsRunSideBySide(t *testing.T) {
	b := newBench(t, map[string]string{"f": "0"})
	b.use("read_file", `{"filePath":"f"}`)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			a := b.hooks.Tools[i%len(b.hooks.Tools)]
			_, _ = a.RunJSON(t.Context(), json.RawMessage(`{"filePath":"f","content":"1","edits":[]}`), nil)
			b.use("write_file", `{"filePath":"f","content":"`+strings.Repeat("x", i)+`"}`)
			b.use("read_file", `{"filePath":"f"}`)
		})
	}
	wg.Wait()
	b.delivered()
}
