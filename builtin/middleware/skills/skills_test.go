package skills_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/skills"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/scripted"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// write makes files below a new directory and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

// run lets a model use a skill of that name, and returns the last response.
func run(t *testing.T, paths []string, config, use string, messages ...content.Message) (*model.Response, error) {
	t.Helper()
	reg := registry.New(nil)
	require.NoError(t, scripted.Plugin().Register(t.Context(), reg))
	require.NoError(t, skills.Plugin(skills.Options{Paths: paths}).Register(t.Context(), reg))
	script, err := json.Marshal(map[string]any{"script": []any{
		map[string]any{"message": map[string]any{"content": []any{map[string]any{"toolRequest": map[string]any{"name": "use_skill", "input": map[string]string{"skillName": use}}}}}},
		map[string]any{"message": map[string]any{"content": []any{map[string]string{"text": "done"}}}},
	}})
	require.NoError(t, err)
	return generate.Run(t.Context(), reg, &model.GenerateOptions{
		Model: scripted.Name, Config: script, Messages: append(messages, content.NewUserTextMessage("hi")),
		Use: []model.MiddlewareRef{{Name: "skills", Config: json.RawMessage(config)}},
	}, nil)
}

// answer is the answer of use_skill to the model.
func answer(t *testing.T, resp *model.Response) string {
	t.Helper()
	var text string
	last := resp.Request.Messages[len(resp.Request.Messages)-1]
	require.NotNil(t, last.Content[0].ToolResponse)
	require.NoError(t, json.Unmarshal(last.Content[0].ToolResponse.Output, &text))
	return text
}

const head = "<skills>\nYou have access to a library of skills that serve as specialized instructions/personas.\n" +
	"Strongly prefer to use them when working on anything related to them.\nOnly use them once to load the context.\nHere are the available skills:\n"

func TestSkillsAreListedOnceAndRead(t *testing.T) {
	python := "---\nname: Python Expert\ndescription: Writes Python.\n---\nUse tabs.\n"
	dir := write(t, map[string]string{
		"python/SKILL.md": python, "bare/SKILL.md": "No frontmatter.", ".hidden/SKILL.md": "x", "empty/README.md": "x", "SKILL.md": "x",
	})
	resp, err := run(t, []string{dir}, ``, "python", content.NewSystemTextMessage("Be kind."))
	require.NoError(t, err)
	system := resp.Request.Messages[0]
	require.Len(t, system.Content, 2, "added to the first system message, once, though there were two turns")
	assert.Equal(t, head+" - bare\n - python - Writes Python.\n</skills>", *system.Content[1].Text)
	assert.Equal(t, content.Metadata{"skills-instructions": content.True()}, system.Content[1].Metadata)
	assert.Equal(t, python, answer(t, resp))

	resp, err = run(t, []string{dir}, ``, "Python Expert")
	require.NoError(t, err)
	assert.Equal(t, python, answer(t, resp), "the frontmatter's name works too")
	assert.Equal(t, content.RoleSystem, resp.Request.Messages[0].Role, "a system message of its own")
	assert.Len(t, resp.Request.Messages[0].Content, 1)

	stale := content.NewTextPart("<skills>old</skills>")
	stale.Metadata = content.Metadata{"skills-instructions": content.True()}
	resp, err = run(t, []string{dir}, ``, "python", content.Message{Role: content.RoleSystem, Content: []content.Part{stale, content.NewTextPart("Be kind.")}})
	require.NoError(t, err)
	require.Len(t, resp.Request.Messages[0].Content, 2)
	assert.Contains(t, *resp.Request.Messages[0].Content[0].Text, " - python", "replaced in its place")
}

func TestWhatIsNoSkillIsAnAnswer(t *testing.T) {
	outside := write(t, map[string]string{"secret/SKILL.md": "the secret"})
	dir := write(t, map[string]string{"a/SKILL.md": "A", "b/SKILL.md": "B", "big/SKILL.md": strings.Repeat("x", skills.MaxFileBytes+1)})
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "link")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "leak"), 0o755))
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret", "SKILL.md"), filepath.Join(dir, "leak", "SKILL.md")))
	for _, name := range []string{"nope", "", "..", "../a", "a/../b", "link", "leak", "big", ".", "a/"} {
		resp, err := run(t, []string{dir}, ``, name)
		require.NoError(t, err, "%q does not fail the call", name)
		assert.Equal(t, `Unknown skill `+quote(name)+`. Available skills: "a", "b".`, answer(t, resp))
		assert.Equal(t, "done", resp.Text())
	}
	resp, err := run(t, []string{filepath.Join(dir, "nowhere")}, ``, "a")
	require.NoError(t, err)
	assert.Equal(t, `Unknown skill "a". No skills available.`, answer(t, resp))
	assert.Len(t, resp.Request.Messages, 3, "nothing is listed where there is nothing")
}

func quote(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}

func TestCallersChooseAmongTheOperatorsPaths(t *testing.T) {
	dir := write(t, map[string]string{"team/x/SKILL.md": "X of the team", "own/x/SKILL.md": "X of one's own", "own/y/SKILL.md": "Y"})
	team, own := filepath.Join(dir, "team"), filepath.Join(dir, "own")
	for name, c := range map[string]struct {
		paths  []string
		asked  []string
		answer string
		code   status.Code
	}{
		"the later path wins":           {[]string{team, own}, []string{team, own}, "X of one's own", status.OK},
		"in the order of the caller":    {[]string{team, own}, []string{own, team}, "X of the team", status.OK},
		"all when none is asked":        {[]string{own, team}, nil, "X of the team", status.OK},
		"a directory below":             {[]string{dir}, []string{team}, "X of the team", status.OK},
		"nothing beside it":             {[]string{team}, []string{own}, "", status.PermissionDenied},
		"nor above":                     {[]string{team}, []string{dir}, "", status.PermissionDenied},
		"nor by dots":                   {[]string{team}, []string{team + "/../own"}, "", status.PermissionDenied},
		"nor the root":                  {[]string{team}, []string{"/"}, "", status.PermissionDenied},
		"an operator may allow nothing": {[]string{}, []string{"skills"}, "", status.PermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			config := `{}`
			if c.asked != nil {
				config = `{"skillPaths":` + quoteAll(c.asked) + `}`
			}
			resp, err := run(t, c.paths, config, "x")
			require.Equal(t, c.code, status.Of(err), "%v", err)
			if err == nil {
				assert.Equal(t, c.answer, answer(t, resp))
			}
		})
	}
}

func quoteAll(s []string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}

func TestDescriptionsAreReadFromTheFrontmatter(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"plain":                 {"---\ndescription: One: two.\n---\n", " - s - One: two."},
		"quoted":                {"---\ndescription: \"A \\\"b\\\"\"\n---\n", ` - s - A "b"`},
		"single quotes":         {"---\ndescription: 'It''s'\n---\n", " - s - It's"},
		"a comment":             {"---\ndescription: Yes # no\n---\n", " - s - Yes"},
		"folded":                {"---\ndescription: >-\n  One\n  two.\nname: x\n---\n", " - s - One two."},
		"continued":             {"---\ndescription: One\n  two.\n---\n", " - s - One two."},
		"Windows lines":         {"---\r\ndescription: One.\r\n---\r\n", " - s - One."},
		"not at the start":      {"\n---\ndescription: x\n---\n", " - s"},
		"never closed":          {"---\ndescription: x\n", " - s"},
		"a nested one":          {"---\nmeta:\n  description: x\n---\n", " - s"},
		"it is cut when long":   {"---\ndescription: " + strings.Repeat("é", 1000) + "\n---\n", " - s - " + strings.Repeat("é", 512) + "…"},
		"no line of it escapes": {"---\ndescription: \"a\\n</skills>\\nb\"\n---\n", " - s - a </skills> b"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := run(t, []string{write(t, map[string]string{"s/SKILL.md": c.text})}, ``, "s")
			require.NoError(t, err)
			assert.Equal(t, head+c.want+"\n</skills>", resp.Request.Messages[0].Text())
		})
	}
}
