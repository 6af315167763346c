package prompt_test

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

//go:embed all:testdata/prompts
var embedded embed.FS

func names(s *prompt.Set) []string {
	list := []string{}
	for _, p := range s.Prompts() {
		list = append(list, p.Name())
	}
	return list
}

func write(t testing.TB, dir, name, source string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	// as an editor does it, and so that no reader meets half a file
	require.NoError(t, os.WriteFile(path+"~", []byte(source), 0o644))
	require.NoError(t, os.Rename(path+"~", path))
}

func TestADirectoryIsLoaded(t *testing.T) {
	dir := t.TempDir()
	for name, source := range map[string]string{
		"hello.prompt": "Hello {{> who}}", "hello.polite.prompt": "Good day {{> who}}", "hello.a.b.prompt": "x",
		"_who.prompt": "---\ndescription: a partial\n---\n{{name}}", "v1.2/deep/nested.prompt": "nested {{> inner}}", "v1.2/_inner.prompt": "inner",
		"readme.md": "no prompt", ".hidden.prompt": "{{#", ".git/x.prompt": "{{#", "empty/nothing.txt": "",
	} {
		write(t, dir, name, source)
	}
	for namespace, prefix := range map[string]string{"": "", "team/": "team/"} {
		reg := registry.New(nil)
		set, err := prompt.LoadDir(reg, dir, namespace)
		require.NoError(t, err)
		assert.Equal(t, []string{prefix + "hello", prefix + "hello.a.b", prefix + "hello.polite", prefix + "v1.2/deep/nested"}, names(set))
		p, err := prompt.Lookup(t.Context(), reg, prefix+"hello.polite")
		require.NoError(t, err)
		assert.Contains(t, messages(t, p, `{"name":"Ann"}`), `"Good day Ann"`)
		p, err = prompt.Lookup(t.Context(), reg, "/prompt/"+prefix+"v1.2/deep/nested")
		require.NoError(t, err)
		assert.Contains(t, messages(t, p, `{}`), `"nested inner"`)
		all, err := prompt.Prompts(t.Context(), reg)
		require.NoError(t, err)
		assert.Len(t, all, 4)
	}
	_, err := prompt.LoadDir(registry.New(nil), filepath.Join(dir, "nowhere"), "")
	require.ErrorIs(t, err, status.ErrNotFound)
}

// sick is a plugin that can't start.
type sick struct{}

func (sick) Name() string                                       { return "sick" }
func (sick) Register(context.Context, *registry.Registry) error { return nil }
func (sick) Init(context.Context) ([]action.Action, error)      { return nil, status.ErrUnavailable }

func TestPromptsAreListedBesideWhatFails(t *testing.T) {
	reg := registry.New(nil)
	_, err := prompt.LoadFS(reg, embedded, "testdata/prompts", "")
	require.NoError(t, err)
	require.NoError(t, reg.AddPlugin(t.Context(), sick{}))
	all, err := prompt.Prompts(t.Context(), reg)
	require.ErrorIs(t, err, status.ErrUnavailable)
	assert.Len(t, all, 2)
}

func TestAnEmbeddedDirectoryIsLoaded(t *testing.T) {
	reg := registry.New(nil)
	set, err := prompt.LoadFS(reg, embedded, "testdata/prompts", "")
	require.NoError(t, err)
	assert.Equal(t, []string{"menu", "sub/recipe"}, names(set))
	assert.Contains(t, messages(t, set.Prompts()[0], `{"dish":"soup"}`), "You are a waiter. Be brief.")
	set, err = prompt.LoadFS(registry.New(nil), fstest.MapFS{"a.prompt": {Data: []byte("x")}}, "", "")
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, names(set))
	changed, err := set.Reload()
	require.NoError(t, err)
	assert.False(t, changed)
}

func TestABrokenFileDoesNotStopTheOthers(t *testing.T) {
	dir := t.TempDir()
	for name, source := range map[string]string{
		"good.prompt": "good", "yaml.prompt": "---\nmodel: m\ntools: [a\n---\nx", "sub/template.prompt": "---\nmodel: m\n---\n\nline\n{{#if x}}",
		"schema.prompt": "# licence\n---\ninput:\n  schema:\n    a(set): string\n---\n", "_part.prompt": "ok\n{{/x}}", "sub/_part.prompt": "fine", "z/_part.prompt": "again",
		"later.prompt": "---\ninput:\n  schema: Later\n---\nx", "long.prompt": strings.Repeat("x", prompt.MaxFileBytes+1), "utf8.prompt": "a\xff",
	} {
		write(t, dir, name, source)
	}
	reg := registry.New(nil)
	taken := load(t, reg, "taken", "mine")
	write(t, dir, "taken.prompt", "theirs")
	set, err := prompt.LoadDir(reg, dir, "")
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	for _, want := range []string{
		"yaml.prompt:", "sub/template.prompt:6: {{#if}} is never closed", "schema.prompt:5: input schema: field a(set)", "_part.prompt:2: {{/x}} closes nothing",
		"z/_part.prompt: ", "long.prompt: ", "utf8.prompt:1: the template is not UTF-8", "taken.prompt: ",
	} {
		assert.ErrorContains(t, err, want)
	}
	assert.NotContains(t, err.Error(), dir, "what is wrong is told by the names below the directory")
	assert.Contains(t, names(set), "good")
	assert.NotContains(t, names(set), "taken")
	assert.Contains(t, messages(t, taken, `{}`), "mine")

	broken, err := prompt.Lookup(t.Context(), reg, "sub/template")
	require.NoError(t, err, "a broken prompt is found, and says what is wrong")
	_, err = broken.Render(t.Context(), nil, nil)
	assert.ErrorContains(t, err, "sub/template.prompt:6")
	assert.Equal(t, "/prompt/sub/template", broken.Action().Desc().Key().String())
	_, err = broken.Action().RunJSON(t.Context(), nil, nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestLinksDoNotLeadOut(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	write(t, outside, "secret.prompt", "secret")
	write(t, dir, ".data/inside.prompt", "inside")
	for link, target := range map[string]string{
		"absolute.prompt": filepath.Join(outside, "secret.prompt"), "relative.prompt": "../" + filepath.Base(outside) + "/secret.prompt",
		"inside.prompt": ".data/inside.prompt", "loop.prompt": "loop.prompt", "gone.prompt": "nowhere",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "folder")))
	set, err := prompt.LoadDir(registry.New(nil), dir, "")
	require.Error(t, err)
	assert.Equal(t, []string{"inside"}, names(set))
	for _, name := range []string{"absolute", "relative", "loop", "gone"} {
		assert.ErrorContains(t, err, name+".prompt: ")
	}
	set, err = prompt.LoadFS(registry.New(nil), os.DirFS(dir), ".", "")
	require.NoError(t, err)
	assert.Empty(t, names(set), "in a file system of others no link is followed")
}

func TestChangesAreLoaded(t *testing.T) {
	dir, reg := t.TempDir(), registry.New(nil)
	write(t, dir, "a.prompt", "one {{> p}}")
	write(t, dir, "_p.prompt", "part")
	set, err := prompt.LoadDir(reg, dir, "")
	require.NoError(t, err)
	a, err := prompt.Lookup(t.Context(), reg, "a")
	require.NoError(t, err)
	reload := func(want bool) {
		t.Helper()
		changed, err := set.Reload()
		require.NoError(t, err)
		assert.Equal(t, want, changed)
	}
	reload(false)

	write(t, dir, "a.prompt", "---\ndescription: new\n---\ntwo {{> p}}")
	write(t, dir, "_p.prompt", "PART")
	write(t, dir, "b.prompt", "b")
	reload(true)
	assert.Contains(t, messages(t, a, `{}`), `"two PART"`, "a caller who holds the prompt gets the new text")
	assert.Equal(t, "new", a.Action().Desc().Description)
	assert.Equal(t, []string{"a", "b"}, names(set))

	write(t, dir, "a.prompt", "three {{#if}}")
	write(t, dir, "c.prompt", "{{")
	reload(true)
	assert.ErrorContains(t, set.Problem(), "a.prompt:1")
	assert.ErrorContains(t, set.Problem(), "c.prompt:1")
	assert.Contains(t, messages(t, a, `{}`), `"two PART"`, "a broken file leaves the old prompt in its place")
	reload(false)

	write(t, dir, "a.prompt", "four")
	write(t, dir, "c.prompt", "c")
	require.NoError(t, os.Remove(filepath.Join(dir, "b.prompt")))
	require.NoError(t, os.Remove(filepath.Join(dir, "_p.prompt")))
	reload(true)
	require.NoError(t, set.Problem())
	assert.Contains(t, messages(t, a, `{}`), `"four"`)
	c, err := prompt.Lookup(t.Context(), reg, "c")
	require.NoError(t, err)
	assert.Contains(t, messages(t, c, `{}`), `"c"`)
	_, err = prompt.Lookup(t.Context(), reg, "b")
	require.ErrorIs(t, err, status.ErrNotFound)
	_, err = load(t, reg, "needs", "{{> p}}").Render(t.Context(), nil, nil)
	assert.ErrorContains(t, err, `there is no partial "p"`)

	write(t, dir, "_p.prompt", "back")
	reload(true)
	require.NoError(t, set.Problem())
	p, err := prompt.Lookup(t.Context(), reg, "needs")
	require.NoError(t, err)
	assert.Contains(t, messages(t, p, `{}`), `"back"`)

	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a-first"), 0o755))
	require.NoError(t, os.Rename(filepath.Join(dir, "_p.prompt"), filepath.Join(dir, "a-first", "_p.prompt")))
	reload(true)
	require.NoError(t, set.Problem(), "a partial may move")
	assert.Contains(t, messages(t, p, `{}`), `"back"`)

	require.NoError(t, os.RemoveAll(dir))
	_, err = set.Reload()
	require.Error(t, err)
	assert.Contains(t, messages(t, a, `{}`), `"four"`, "a directory that is gone takes nothing with it")
}

func TestAWatchLoadsWhatChangesAndEndsWithItsContext(t *testing.T) {
	dir, reg := t.TempDir(), registry.New(nil)
	write(t, dir, "a.prompt", "one")
	set, err := prompt.LoadDir(reg, dir, "")
	require.NoError(t, err)
	a, err := prompt.Lookup(t.Context(), reg, "a")
	require.NoError(t, err)
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			set.Watch(ctx, time.Second, slog.New(slog.NewTextHandler(&log, nil)))
		}()
		synctest.Wait()
		write(t, dir, "a.prompt", "two")
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		assert.Contains(t, messages(t, a, `{}`), `"two"`)
		write(t, dir, "a.prompt", "{{")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		cancel()
		<-done
	})
	assert.Equal(t, 1, strings.Count(log.String(), "can't be loaded"), "it is told once: %s", log.String())
}

// TestARenderingSeesOneVersion renders while the file changes: front matter and template
// always belong together.
func TestARenderingSeesOneVersion(t *testing.T) {
	dir, reg := t.TempDir(), registry.New(nil)
	version := func(n int) string {
		return fmt.Sprintf("---\nconfig: {n: %d}\ninput:\n  schema:\n    v%d?: string\n---\n%d", n, n, n)
	}
	write(t, dir, "a.prompt", version(0))
	set, err := prompt.LoadDir(reg, dir, "")
	require.NoError(t, err)
	p, err := prompt.Lookup(t.Context(), reg, "a")
	require.NoError(t, err)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				opts, err := p.Render(context.Background(), nil, nil)
				if !assert.NoError(t, err) {
					return
				}
				assert.JSONEq(t, fmt.Sprintf(`{"n":%s}`, *opts.Messages[0].Content[0].Text), string(opts.Config))
				_ = p.Action().Desc()
			}
		})
	}
	for n := range 50 {
		write(t, dir, "a.prompt", version(n))
		_, err := set.Reload()
		require.NoError(t, err)
	}
	close(stop)
	wg.Wait()
	assert.Contains(t, string(p.Action().Desc().InputSchema), "v49")
	_, err = p.Render(t.Context(), json.RawMessage(`{"v1":"x"}`), nil)
	require.ErrorIs(t, err, action.ErrInvalidInput)
}

func TestASourceCanNameItself(t *testing.T) {
	reg := registry.New(nil)
	p := load(t, reg, "", "---\nname: own/name\nvariant: v\n---\nx")
	assert.Equal(t, "own/name.v", p.Name())
	_, err := prompt.Load(reg, "", "no name")
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestWhatIsFrontMatterAndWhatIsNot(t *testing.T) {
	for source, want := range map[string]string{
		"plain\n":                                      "plain\n",
		"---\nmodel: m\n---\n\n  body \n\n":            "body",
		"---\r\nmodel: m\r\n---\r\nbody\r\n":           "body",
		"# licence\n\n#more\n---\nmodel: m\n---\nbody": "body",
		"\ufeff---\nmodel: m\n---\nbody":               "body",
		"---  \nmodel: m\n--- \nbody":                  "body",
		"---\n---\nbody":                               "body",
		"---\nmodel: m\n---":                           "",
		"---\n# nothing\n---\nbody":                    "body",
		"text\n---\nmodel: m\n---\n":                   "text\n---\nmodel: m\n---\n",
		"---\nnever closed":                            "---\nnever closed",
		"# only a comment":                             "# only a comment",
		"":                                             "",
		"---\na: |\n  --- no fence\n---\nbody":         "body",
		"---\nmodel: m\n---\nbody\n---\nmore":          "body\n---\nmore",
		"----\nx\n----\n":                              "----\nx\n----\n",
	} {
		reg := registry.New(nil)
		p := load(t, reg, "p", source)
		var shown struct{ Template string }
		require.NoError(t, json.Unmarshal(p.Action().Desc().Metadata["prompt"], &shown))
		assert.Equal(t, want, shown.Template, "%q", source)
	}
}
