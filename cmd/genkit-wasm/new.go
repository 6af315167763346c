package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/internal/scaffold"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// created is the output of new for programs.
type created struct {
	Language string   `json:"language"`
	Name     string   `json:"name"`
	Dir      string   `json:"dir"`
	Files    []string `json:"files"` // below dir, with slashes
	Next     []string `json:"next"`  // commands, to be run in dir
}

func (a *app) newCommand() *cobra.Command {
	var kit string
	cmd := &cobra.Command{
		Use:   "new [LANGUAGE NAME [DIR]]",
		Short: "Make a directory with a new tool in it",
		Long: "New writes a directory with a tool that works: its source with typed input and output, a schema, cases for \"genkit-wasm test\", a README and a .gitignore. " +
			"NAME is the module's; DIR is " + `"./NAME"` + " when it is left out, and must be empty or absent. Without arguments the languages are listed.\n\n" +
			"A project in Go requires the kit in the version of this program. Where that is no release, and the program is in the bin of a clone of genkit-wasm, " +
			"as \"make run\" builds it, go.mod replaces the kit by that of the clone. --pdk takes another copy of the kit.",
		Example: "  genkit-wasm new\n  genkit-wasm new ts greeter\n  genkit-wasm new go greeter --pdk ../genkit-wasm/pdk/go",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) > 3 {
				return errors.New("want LANGUAGE NAME [DIR], or nothing for the list of languages")
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return languageNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listLanguages()
			}
			dir := args[1]
			if len(args) == 3 {
				dir = args[2]
			}
			return a.create(args[0], args[1], dir, kit)
		},
	}
	cmd.Flags().StringVar(&kit, "pdk", "", "of Go: the `DIR` of a copy of the kit (pdk/go of the repository), in the place of the published one")
	return cmd
}

func languageNames() (names []string) {
	for _, l := range scaffold.Languages() {
		names = append(names, l.Name)
	}
	return names
}

func (a *app) listLanguages() error {
	if a.json() {
		return a.printJSON(map[string]any{"languages": scaffold.Languages()})
	}
	var rows [][]string
	for _, l := range scaffold.Languages() {
		rows = append(rows, []string{l.Name, l.Title, l.Needs, l.Source})
	}
	return a.table("LANGUAGE\tTITLE\tNEEDS\tSOURCE", rows)
}

func (a *app) create(language, name, dir, kit string) error {
	p := scaffold.Project{Name: name, KitVersion: kitVersion(buildVersion())}
	var known bool
	if p.Language, known = scaffold.Find(language); !known {
		return usagef("there is no language %q; want %s", abi.Clean(language, 40), strings.Join(languageNames(), ", "))
	}
	if err := abi.CheckModuleName(name); err != nil {
		return usage(local(err, false))
	}
	if kit != "" {
		if p.Language.Name != "go" {
			return usagef("--pdk is for Go; the kit of %s is copied into the project", p.Language.Title)
		}
		var err error
		if p.KitDir, err = kitDir(kit); err != nil {
			return err
		}
	}
	if exe, err := os.Executable(); err == nil && kit == "" && p.Language.Name == "go" && unreleased(p.KitVersion) {
		p.KitDir = kitBeside(exe)
	}
	files, err := p.Files()
	if err != nil {
		return err
	}
	if err := scaffold.Write(dir, files); err != nil {
		return usage(err)
	}
	made := created{Language: p.Language.Name, Name: name, Dir: dir, Next: []string{"genkit-wasm test", "genkit-wasm upload " + p.Artifact()}}
	if !p.Script() {
		made.Next = append([]string{"genkit-wasm build"}, made.Next...)
	}
	for _, f := range files {
		made.Files = append(made.Files, f.Path)
	}
	return a.printCreated(made, &p)
}

func (a *app) printCreated(made created, p *scaffold.Project) error {
	if a.json() {
		return a.printJSON(made)
	}
	if err := a.line("%s: a tool in %s", made.Dir, p.Language.Title); err != nil {
		return err
	}
	for _, file := range made.Files {
		if err := a.line("  %s", file); err != nil {
			return err
		}
	}
	if err := a.line("next: cd %s, then %s", made.Dir, strings.Join(made.Next, ", ")); err != nil {
		return err
	}
	switch {
	case p.Language.Name != "go" || !unreleased(p.KitVersion):
	case p.KitDir != "":
		a.note("note: go.mod takes the kit from %s, since this program is no release", p.KitDir)
	default:
		a.note("note: this program is no release, and no version of the kit may be published: to build, clone genkit-wasm and add to %s the line\n  %s\n(\"new --pdk DIR\" writes it)",
			filepath.Join(made.Dir, "go.mod"), replaceLine)
	}
	return nil
}

// replaceLine is the line of a go.mod that takes the kit from a clone.
const replaceLine = "replace " + scaffold.Kit + " => /path/to/genkit-wasm/pdk/go"

// kitBeside returns the kit of the clone in whose bin a program is; empty where it is in none.
func kitBeside(program string) string {
	program, err := filepath.EvalSymlinks(program)
	if err != nil || filepath.Base(filepath.Dir(program)) != "bin" {
		return ""
	}
	dir, err := kitDir(filepath.Join(filepath.Dir(program), "..", "pdk", "go"))
	if err != nil {
		return ""
	}
	return dir
}

var requiresKit = regexp.MustCompile(`(?m)^\s*(?:require\s+)?` + regexp.QuoteMeta(scaffold.Kit) + `\s+(v\S+)`)

// kitHint says what a build that has failed may lack: a project in Go that requires a version of the kit which nobody has published,
// without a line that replaces it. Empty where that is not so.
func kitHint(dir string) string {
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return ""
	}
	found := requiresKit.FindSubmatch(mod)
	if found == nil || !unreleased(string(found[1])) || regexp.MustCompile(`(?m)^\s*(?:replace\s+)?`+regexp.QuoteMeta(scaffold.Kit)+`\s.*=>`).Match(mod) {
		return ""
	}
	line := replaceLine
	if exe, err := os.Executable(); err == nil {
		if kit := kitBeside(exe); kit != "" {
			line = "replace " + scaffold.Kit + " => " + scaffold.Project{KitDir: kit}.KitReplace()
		}
	}
	return "version " + string(found[1]) + " of the kit may not be published; take it from a clone of genkit-wasm by the line in go.mod:\n" + line
}

// kitDir checks that a directory holds the kit in Go, and returns its whole path.
func kitDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", usage(err)
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || !strings.HasPrefix(string(mod), "module "+scaffold.Kit+"\n") {
		return "", usagef("--pdk: %s is not the kit in Go: want the folder pdk/go of a clone of genkit-wasm", dir)
	}
	return dir, nil
}

// noVersion stands in go.mod where there is no version to name.
const noVersion = "v0.0.0"

// unreleased reports whether a version of the kit is none, or that of a commit, which stands in no list of versions.
func unreleased(version string) bool { return version == noVersion || commit.MatchString(version) }

var commit = regexp.MustCompile(`\d{14}-[0-9a-f]{12}$`)

var released = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?`)

// kitVersion is the version of the Go kit that belongs to a version of this program: the same one, which is
// tagged together with it. A build of a checkout with changes stands for its commit.
func kitVersion(program string) string {
	if found := released.FindString(program); found != "" {
		return found
	}
	return noVersion
}
