// Package skills offers a model instructions that it reads when it needs them.
//
// It owns the middleware "skills": a skill is a directory with a SKILL.md, listed in
// the system message by its name and description, and read with the tool use_skill.
// Use:
//
//	f, err := skills.New(skills.Options{Paths: []string{"skills"}})
//	err = middleware.Register(reg, f)
//	… engine.WithUse(engine.UseName("skills", nil))
//
// It follows Genkit JS (js/plugins/middleware/src/skills.ts), with these choices: the
// sender of a generate request may choose among the operator's paths and the
// directories below them, and nothing else; a skill goes by its directory's name, and
// the name in its frontmatter works too where no directory has it; files are opened
// through os.Root, so that no link leads out; and all of it is bounded. The directories
// are read once for each generate call.
package skills

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// Name is the middleware's name, ToolName that of its tool.
const (
	Name     = "skills"
	ToolName = "use_skill"
)

// Limits.
const (
	MaxSkills           = 256       // per generate call; more are left out
	MaxEntries          = 4096      // directory entries looked at per path
	MaxFileBytes        = 256 << 10 // of a SKILL.md; a longer one is left out
	MaxDescriptionBytes = 1024      // in the list; the rest is cut
	MaxPaths            = 16
)

// DefaultPaths are used when the operator names none.
func DefaultPaths() []string { return []string{".agents/skills", "skills"} }

// Config is the config of a generate call.
type Config struct {
	SkillPaths []string `json:"skillPaths,omitempty" jsonschema:"maxItems=16" jsonschema_description:"Directories of skills: those that the operator allows, or directories below them. A later one wins where two have a skill of one name. Default: all that are allowed."`
}

// Options are the operator's.
type Options struct {
	// Paths are the directories that generate calls may read skills from, relative
	// to the working directory of the process; nil means [DefaultPaths].
	Paths []string
}

// New makes the factory.
func New(o Options) (middleware.Factory, error) {
	allowed := DefaultPaths()
	if o.Paths != nil {
		allowed = slices.Clone(o.Paths)
	}
	return middleware.Define(middleware.Desc{Name: Name, Description: "Lists skills in the system message and lets the model read them with use_skill."},
		func(_ context.Context, c Config) (*middleware.Hooks, error) {
			places, err := choose(allowed, c.SkillPaths)
			if err != nil {
				return nil, err
			}
			found := scan(places)
			use, err := found.tool()
			if err != nil {
				return nil, err
			}
			return &middleware.Hooks{Generate: found.list, Tools: []action.Action{use}}, nil
		})
}

// Plugin registers the middleware.
func Plugin(o Options) registry.Plugin {
	return middleware.Plugin(Name, func() (middleware.Factory, error) { return New(o) })
}

// place is a directory below one that the operator allows.
type place struct{ base, below string }

// choose finds the asked paths below the allowed ones; PERMISSION_DENIED for others.
func choose(allowed, asked []string) ([]place, error) {
	var places []place
	if asked == nil {
		for _, base := range allowed {
			places = append(places, place{base, "."})
		}
		return places, nil
	}
	for _, path := range asked {
		i := slices.IndexFunc(allowed, func(base string) bool { _, ok := below(base, path); return ok })
		if i < 0 {
			return nil, status.Publicf(status.PermissionDenied, "middleware %q: %q is not below a directory of skills that the operator allows", Name, path)
		}
		rel, _ := below(allowed[i], path)
		places = append(places, place{allowed[i], rel})
	}
	return places, nil
}

func below(base, path string) (string, bool) {
	rel, err := filepath.Rel(filepath.Clean(base), filepath.Clean(path))
	return rel, err == nil && filepath.IsLocal(rel)
}

type skill struct {
	place
	name, alias, description string
}

// skills are the skills that one generate call offers.
type skills struct {
	byName map[string]skill
	names  []string // sorted
}

func scan(places []place) *skills {
	s := &skills{byName: map[string]skill{}}
	for _, p := range places {
		s.read(p)
	}
	s.names = slices.Sorted(maps.Keys(s.byName))
	return s
}

// read adds the skills of one directory. One that can't be read has none.
func (s *skills) read(p place) {
	root, err := open(p)
	if err != nil {
		return
	}
	defer func() { _ = root.Close() }()
	dir, err := root.Open(".")
	if err != nil {
		return
	}
	defer func() { _ = dir.Close() }()
	entries, _ := dir.ReadDir(MaxEntries) // what could be read counts
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		name := e.Name()
		if _, known := s.byName[name]; !known && len(s.byName) >= MaxSkills {
			continue
		}
		if !e.IsDir() || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "\r\n") {
			continue
		}
		text, err := readFile(root, filepath.Join(name, "SKILL.md"))
		if err != nil {
			continue
		}
		alias, description := frontmatter(text)
		s.byName[name] = skill{p, name, alias, description}
	}
}

func open(p place) (*os.Root, error) {
	base, err := os.OpenRoot(p.base)
	if err != nil || p.below == "." {
		return base, err
	}
	defer func() { _ = base.Close() }()
	return base.OpenRoot(p.below)
}

var errTooBig = errors.New("too big")

func readFile(root *os.Root, name string) (string, error) {
	info, err := root.Stat(name)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err == nil && len(text) > MaxFileBytes {
		err = errTooBig
	}
	return strings.ToValidUTF8(string(text), "\uFFFD"), err
}

type useInput struct {
	SkillName string `json:"skillName" jsonschema_description:"The name of the skill to use."`
}

func (s *skills) tool() (action.Action, error) {
	return tool.New(ToolName, "Use a skill by its name.", func(_ context.Context, in useInput) (string, error) { return s.use(in.SkillName), nil })
}

// use returns the file of a skill. An error is an answer that the model can act on, not
// a failure of the generate call.
func (s *skills) use(name string) string {
	found, ok := s.byName[name]
	if !ok {
		for _, n := range s.names {
			if s.byName[n].alias == name && name != "" {
				found, ok = s.byName[n], true
				break
			}
		}
	}
	if !ok {
		return fmt.Sprintf("Unknown skill %q. %s", name, s.available())
	}
	root, err := open(found.place)
	if err != nil {
		return fmt.Sprintf("Failed to read skill %q.", name)
	}
	defer func() { _ = root.Close() }()
	text, err := readFile(root, filepath.Join(found.name, "SKILL.md"))
	if err != nil {
		return fmt.Sprintf("Failed to read skill %q.", name)
	}
	return text
}

func (s *skills) available() string {
	if len(s.names) == 0 {
		return "No skills available."
	}
	quoted := make([]string, len(s.names))
	for i, n := range s.names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	return "Available skills: " + strings.Join(quoted, ", ") + "."
}

// list puts the list of skills into the system message of each iteration.
func (s *skills) list(ctx context.Context, call *middleware.GenerateCall, next middleware.GenerateFunc) (*model.Response, error) {
	if len(s.names) == 0 {
		return next(ctx, call)
	}
	c, opts := *call, *call.Options
	opts.Messages = put(opts.Messages, s.part())
	c.Options = &opts
	return next(ctx, &c)
}

const marker = "skills-instructions"

func (s *skills) part() content.Part {
	var text strings.Builder
	text.WriteString("<skills>\nYou have access to a library of skills that serve as specialized instructions/personas.\n" +
		"Strongly prefer to use them when working on anything related to them.\nOnly use them once to load the context.\n" +
		"Here are the available skills:\n")
	for _, name := range s.names {
		text.WriteString(" - " + name)
		if d := s.byName[name].description; d != "" {
			text.WriteString(" - " + d)
		}
		text.WriteString("\n")
	}
	text.WriteString("</skills>")
	part := content.NewTextPart(text.String())
	part.Metadata = content.Metadata{marker: json.RawMessage("true")}
	return part
}

// put returns messages in which part replaces the one of its kind, or ends the first
// system message, or is a system message of its own.
func put(messages []content.Message, part content.Part) []content.Message {
	messages = slices.Clone(messages)
	for i, m := range messages {
		for j, p := range m.Content {
			if p.Text != nil && string(p.Metadata[marker]) == "true" {
				messages[i].Content = slices.Clone(m.Content)
				messages[i].Content[j] = part
				return messages
			}
		}
	}
	at := slices.IndexFunc(messages, func(m content.Message) bool { return m.Role == content.RoleSystem })
	if at < 0 {
		return slices.Insert(messages, 0, content.Message{Role: content.RoleSystem, Content: []content.Part{part}})
	}
	messages[at].Content = append(slices.Clone(messages[at].Content), part)
	return messages
}
