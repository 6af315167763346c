package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// findings is the output of inspect, and its form for programs.
type findings struct {
	File             string             `json:"file"`
	Digest           string             `json:"digest"`
	Size             int                `json:"size"`
	Language         string             `json:"language,omitempty"` // of a script
	Sections         []wasmhost.Section `json:"sections"`
	Imports          []string           `json:"imports"`
	Exports          []string           `json:"exports"`
	Convention       string             `json:"convention"`
	WASI             bool               `json:"wasi"`
	Capabilities     []string           `json:"capabilities"`
	DescriptorSource string             `json:"descriptorSource,omitempty"`
	Descriptor       *abi.Descriptor    `json:"descriptor,omitempty"`
	// Missing lists the reasons why the module can't be uploaded as it is.
	Missing string `json:"missing,omitempty"`
	Verdict string `json:"verdict"` // "accepted" or "refused"
}

func (a *app) inspectCommand() *cobra.Command {
	var f files
	var engines engineFlags
	var static bool
	cmd := &cobra.Command{
		Use:   "inspect FILE|DIR",
		Short: "Show what a module or a script holds, and whether it would be accepted",
		Long: "Inspect reads a module without a server. A module that only its own genkit_describe can describe is compiled and asked, in a sandbox and with nothing granted; " +
			"--static leaves that out. It exits with 4 when the module would be refused.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.module = args[0]
			up, err := f.read(a)
			if err != nil {
				return err
			}
			analysis, err := a.analysis(cmd.Context(), up, f.module, &engines, static)
			if err != nil {
				return refusedModule(err)
			}
			found := find(f.module, analysis)
			verdict := judge(analysis, up.Policy)
			if verdict != nil {
				found.Verdict, found.Missing = "refused", status.Convert(verdict).Message
			}
			if err := a.printFindings(found); err != nil {
				return err
			}
			return refusedModule(verdict)
		},
	}
	f.flags(cmd)
	engines.addEngines(cmd.Flags())
	cmd.Flags().BoolVar(&static, "static", false, "run nothing of the module")
	return cmd
}

// analysis reads a module or a script; only where that takes its own genkit_describe, or it is a script, it is run.
func (a *app) analysis(ctx context.Context, up wasmhost.Upload, file string, engines *engineFlags, static bool) (*wasmhost.Analysis, error) {
	if up.Language != "" {
		if static {
			return nil, usagef("--static: a script says what it is by running")
		}
		engine, err := engines.javascript()
		if err != nil {
			return nil, err
		}
		up.FallbackName = filepath.Base(file)
		done := a.progress("asking the script what it is")
		defer done()
		return wasmhost.DescribeScript(ctx, up, engine, a.compiler)
	}
	found, err := wasmhost.Analyze(up.Wasm, up.Descriptor, wasmhost.UploadLimits{})
	if err == nil && !static && found.DescriptorIn == "export" {
		return a.describe(ctx, up)
	}
	return found, err
}

// refusedModule is [refused] with the hint of an inspection's refusal in its place.
func refusedModule(err error) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*failure](err); ok { // it is not the module's
		return f
	}
	e := status.Convert(err)
	var details struct {
		Hint string `json:"hint"`
	}
	f := &failure{exit: exitRefused, code: e.Code.String(), text: e.Message, details: e.Details, cause: err}
	if json.Unmarshal(e.Details, &details) == nil && details.Hint != "" {
		f.text, f.hint = strings.TrimSuffix(e.Message, "; "+details.Hint), details.Hint
	}
	if e.Code == status.PermissionDenied {
		f.hint = "grant it in a policy file and name that with --policy FILE"
	}
	return f
}

// judge lists the reasons why an analysed module would be refused.
func judge(a *wasmhost.Analysis, rawPolicy []byte) error {
	p, err := policy.Parse(rawPolicy)
	if err != nil {
		return err
	}
	if a.DescriptorIn == "" {
		return status.Publicf(status.InvalidArgument, "the module has no descriptor: add a custom section %q, export %q, or name a file with --descriptor", abi.DescriptorSection, abi.DescribeExport)
	}
	return p.Grants.Check(a.Linkage.Capabilities, policy.Grantable())
}

func find(file string, a *wasmhost.Analysis) *findings {
	f := &findings{
		File: file, Digest: a.Digest, Size: a.Size, Language: string(a.Language), Sections: a.Sections, Imports: []string{}, Exports: []string{},
		Convention: string(a.Linkage.Convention), WASI: a.Linkage.UsesWASI, Capabilities: []string{},
		DescriptorSource: a.DescriptorIn, Descriptor: a.Descriptor, Verdict: "accepted",
	}
	for _, i := range a.Imports {
		f.Imports = append(f.Imports, abi.Line(i.Module, 80)+" "+abi.Line(i.Name, 80))
	}
	for _, name := range a.Exports {
		f.Exports = append(f.Exports, abi.Line(name, 80))
	}
	for _, c := range a.Linkage.Capabilities {
		f.Capabilities = append(f.Capabilities, string(c))
	}
	return f
}

func (a *app) printFindings(f *findings) error {
	if a.json() {
		return a.printJSON(f)
	}
	verdict := f.Verdict
	if f.Verdict != "accepted" {
		verdict = colour(a.out, red, verdict)
	}
	facts := [][2]string{
		{"file", f.File},
		{"size", size(f.Size)},
		{"digest", f.Digest},
		{"convention", f.Convention},
		{"capabilities", cmp.Or(strings.Join(f.Capabilities, ", "), "none")},
		{"sections", sectionList(f.Sections)},
		{"imports", list(f.Imports)},
		{"exports", list(f.Exports)},
		{"descriptor", cmp.Or(f.DescriptorSource, "none")},
	}
	if f.Language != "" { // what its engine holds is not the script's
		facts = append(facts[:3], [2]string{"language", f.Language}, facts[4])
	}
	if d := f.Descriptor; d != nil {
		facts = append(facts, [2]string{"name", strings.TrimSpace(d.Name + " " + d.Version)})
		for _, t := range d.Tools {
			facts = append(facts, described("tool", t.Name, t.Description))
		}
		for _, m := range d.Middleware {
			facts = append(facts, described("middleware", m.Name, m.Description))
		}
		for _, f := range d.Formats {
			facts = append(facts, described("format", f.Name, f.Description))
		}
		for kind, a := range d.Actions() {
			facts = append(facts, described(kind, a.Name, a.Description))
		}
	}
	for _, fact := range append(facts, [2]string{"verdict", verdict}) {
		if err := a.line("%-13s %s", fact[0], fact[1]); err != nil {
			return err
		}
	}
	return nil
}

func described(noun, name, text string) [2]string {
	return [2]string{noun, strings.TrimSpace(name + "  " + abi.Line(text, 72))}
}

func sectionList(sections []wasmhost.Section) string {
	all := make([]string, len(sections))
	for i, s := range sections {
		all[i] = s.Name + " " + size(s.Bytes)
	}
	return strings.Join(all, ", ")
}

// list shows the first of many names.
func list(names []string) string {
	const shown = 12
	if len(names) == 0 {
		return "none"
	}
	text := strings.Join(names[:min(len(names), shown)], ", ")
	if more := len(names) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more (-o json shows all)", more)
	}
	return text
}
