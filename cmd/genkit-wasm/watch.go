package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/internal/tooltest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// maxWatched bounds the files of a directory of sources.
const maxWatched = 20_000

var errManyFiles = fmt.Errorf("more than %d files", maxWatched)

// sources are the directories of --watch: each is built when it changes, put into service, and tested by its cases.
type sources struct {
	app     *app
	b       *backend
	engines engineFlags
	dirs    map[string]bool
}

// lookAt tells a version of a directory of sources from another one; "" when it can't be read. What builds leave there is
// not looked at.
func lookAt(dir string) string {
	h := sha256.New()
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := e.Name()
		if e.IsDir() && path != dir && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "target") {
			return fs.SkipDir
		}
		if !e.Type().IsRegular() || strings.HasPrefix(name, ".") || filepath.Ext(name) == ".wasm" {
			return nil
		}
		if files++; files > maxWatched {
			return errManyFiles
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(h, "%q %d %d\n", path, info.Size(), info.ModTime().UnixNano())
		return err
	})
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// build builds a directory and puts the module into service, while calls of the one before end on that. Then the cases
// run, in a host of their own. It returns what there is to say of them.
func (s *sources) build(ctx context.Context, dir string) ([]any, error) {
	made, err := s.app.makeOf(ctx, dir, &buildFlags{timeout: defaultBuildTime, engineFlags: s.engines})
	if err != nil {
		return nil, err
	}
	up := made.upload
	if up.Policy, err = readFile(existing(filepath.Join(dir, "policy.json")), policy.MaxBytes); err != nil {
		return nil, err
	}
	up.FallbackName, up.Replace = made.name(dir), true
	rec, err := s.b.host.Load(ctx, wasmhost.DefaultTenant, up)
	if err != nil {
		return nil, refusedModule(err)
	}
	said := []any{slog.String("module", rec.Name), slog.Int("revision", rec.Revision)}
	up.Name = rec.Name
	report, err := s.check(ctx, up, filepath.Join(dir, casesFile))
	switch {
	case err != nil:
		said = append(said, slog.String("cases", "not run: "+err.Error()))
	case len(report.Cases) == 0:
	default:
		said = append(said, slog.String("cases", fmt.Sprintf("%d passed, %d failed", report.Passed, report.Failed)))
	}
	if report != nil {
		for i := range report.Cases {
			if c := &report.Cases[i]; !c.OK {
				said = append(said, slog.String("failed", brief(c.Name)), slog.String("got", brief(c.Got)), slog.String("want", brief(c.Want)))
				break // "test" shows all
			}
		}
	}
	return said, nil
}

// check runs the cases of a module. They have the grants of its policy and of their file.
func (s *sources) check(ctx context.Context, up wasmhost.Upload, file string) (*tooltest.Report, error) {
	cases, err := readCases(file, false)
	if err != nil {
		return nil, err
	}
	if len(cases.Cases) == 0 {
		return &tooltest.Report{}, nil
	}
	host, err := s.app.openCases(ctx, up, file, cases, &hostFlags{engineFlags: s.engines})
	if err != nil {
		return nil, err
	}
	defer host.close()
	tools, err := toolsOf(ctx, host, host.record.Name)
	if err != nil {
		return nil, err
	}
	r := tooltest.NewReport(host.record.Name)
	_, err = r.RunCases(ctx, tools, cases.Cases, func(tooltest.CaseResult) error { return nil })
	return r, errors.Join(err, ctx.Err())
}
