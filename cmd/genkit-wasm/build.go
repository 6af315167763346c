package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/guestbuild"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

const defaultBuildTime = 10 * time.Minute

// buildFlags are the flags of all commands that build.
type buildFlags struct {
	engineFlags
	timeout time.Duration
}

func (f *buildFlags) add(cmd *cobra.Command) {
	f.addEngines(cmd.Flags())
	f.timeout = defaultBuildTime
	spanFlag(cmd.Flags(), &f.timeout, "timeout", 1, 24*time.Hour, "how long the build may take")
}

func (a *app) buildCommand() *cobra.Command {
	var f buildFlags
	var out string
	cmd := &cobra.Command{
		Use:   "build [DIR]",
		Short: "Build the module of a directory of sources",
		Long: "Build finds out which language the sources in DIR (default: this directory) are in and runs its toolchain: Go where go.mod is, Rust for src/lib.rs or another *.rs, C and C++ for *.c and *.cpp. " +
			"\"genkit-wasm doctor\" tells which of them are here. The module goes to NAME.wasm in DIR, under the name that its descriptor has; the same sources and toolchain give the same bytes. " +
			"A descriptor that only genkit_describe gives is put into a custom section, so that nobody has to run the module to list its tools.\n\n" +
			"A script needs no build: it is checked, and uploaded as it is. Rust is built for crates without dependencies, C and C++ without a libc; for anything else run your own build and go on with \"genkit-wasm test FILE\".",
		Example: "  genkit-wasm build\n  genkit-wasm build greeter --out /tmp/greeter.wasm",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return a.build(cmd.Context(), dir, out, &f)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&out, "out", "", "the module's `FILE` (default: NAME.wasm in DIR)")
	return cmd
}

// artifact is a module or a script that can be uploaded.
type artifact struct {
	upload   wasmhost.Upload
	file     string // of a script; empty for a module that was built
	analysis *wasmhost.Analysis
}

func (a *app) build(ctx context.Context, dir, out string, f *buildFlags) error {
	made, err := a.makeOf(ctx, dir, f)
	if err != nil {
		return err
	}
	file := made.file
	switch {
	case file != "" && out != "":
		return usagef("--out: %s is a script, which is not built", file)
	case file == "":
		if file = out; file == "" {
			file = filepath.Join(dir, made.name(dir)+".wasm")
		}
		if err := writeWhole(file, made.upload.Wasm); err != nil {
			return err
		}
	}
	return a.printBuilt(file, made)
}

// printBuilt shows what was built, and fails when no server would take it. Grants are not the build's to ask for.
func (a *app) printBuilt(file string, made *artifact) error {
	found := find(file, made.analysis)
	verdict := judge(made.analysis, nil)
	if e := status.Convert(verdict); verdict != nil && e.Code == status.PermissionDenied {
		a.note("note: %s; upload it with a policy: --policy FILE", e.Message)
		verdict = nil
	}
	if verdict != nil {
		found.Verdict, found.Missing = "refused", status.Convert(verdict).Message
	}
	if err := a.printFindings(found); err != nil {
		return err
	}
	if verdict == nil && made.file != "" {
		a.note("nothing to build: a script is uploaded as it is, genkit-wasm upload %s", file)
	}
	return refusedModule(verdict)
}

// name is the module's name: that of its descriptor, else of its directory.
func (m *artifact) name(dir string) string {
	if d := m.analysis.Descriptor; d != nil && d.Name != "" {
		return d.Name
	}
	if abs, err := filepath.Abs(dir); err == nil && abi.CheckModuleName(filepath.Base(abs)) == nil {
		return filepath.Base(abs)
	}
	return "module"
}

// makeOf builds what a directory holds, in memory, and analyses it.
func (a *app) makeOf(ctx context.Context, dir string, f *buildFlags) (*artifact, error) {
	project, err := guestbuild.Find(dir)
	if err != nil {
		return nil, notBuilt(err)
	}
	made := &artifact{}
	if project.Language.Script() {
		made.file = filepath.Join(dir, project.Sources[0])
		if made.upload.Wasm, err = readFile(made.file, maxModule); err != nil {
			return nil, err
		}
		made.upload.Language = script.LanguageOf(made.file)
	} else if made.upload.Wasm, err = a.compile(ctx, project, f.timeout); err != nil {
		return nil, err
	}
	if made.analysis, err = a.analysis(ctx, made.upload, made.file, &f.engineFlags, false); err != nil {
		return nil, refusedModule(err)
	}
	if made.file == "" && made.analysis.DescriptorIn == "export" && made.analysis.Descriptor != nil {
		return made, a.embed(made)
	}
	return made, nil
}

// embed puts the descriptor that a module gives by running into its custom section.
func (a *app) embed(made *artifact) error {
	raw, err := json.Marshal(made.analysis.Descriptor)
	if err != nil {
		return err
	}
	if len(raw) > abi.MaxDescriptorBytes {
		return nil // the export goes on to tell it
	}
	wasm := guestbuild.WithSection(made.upload.Wasm, abi.DescriptorSection, raw)
	analysis, err := wasmhost.Analyze(wasm, nil, wasmhost.UploadLimits{})
	if err != nil {
		return refusedModule(err)
	}
	made.upload.Wasm, made.analysis = wasm, analysis
	return nil
}

// compile runs the toolchain of a project and returns the module.
func (a *app) compile(ctx context.Context, project *guestbuild.Project, timeout time.Duration) ([]byte, error) {
	dir, err := os.MkdirTemp("", "genkit-wasm-build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // of the system's temporary files
	late, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the build took longer than %s", timeout))
	defer cancel()
	out := filepath.Join(dir, "tool.wasm")
	if err := project.Build(late, out, a.err); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failed := notBuilt(err)
		if f, ok := errors.AsType[*failure](failed); ok && f.hint == "" && project.Language == guestbuild.Go {
			f.hint = kitHint(project.Dir)
		}
		return nil, failed
	}
	return readFile(out, maxModule)
}

// notBuilt is an error of a build for its user.
func notBuilt(err error) error {
	if missing, ok := errors.AsType[*guestbuild.MissingError](err); ok {
		return &failure{exit: exitFailed, text: missing.What, hint: missing.Fix, cause: err}
	}
	if errors.Is(err, guestbuild.ErrNoSources) || errors.Is(err, guestbuild.ErrAmbiguous) || errors.Is(err, os.ErrNotExist) {
		return usage(err)
	}
	return &failure{exit: exitFailed, text: strings.TrimSpace(err.Error()), cause: err}
}

// writeWhole replaces a file as a whole or not at all.
func writeWhole(file string, content []byte) error { return writeWholeAs(file, content, 0o644) }

func writeWholeAs(file string, content []byte, mode os.FileMode) error {
	part, err := os.CreateTemp(filepath.Dir(file), ".genkit-wasm-*")
	if err != nil {
		return usage(err)
	}
	_, err = part.Write(content)
	if err = errors.Join(err, part.Chmod(mode), part.Close()); err == nil {
		err = os.Rename(part.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part.Name()))
	}
	return nil
}
