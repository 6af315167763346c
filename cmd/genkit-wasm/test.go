package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/internal/tooltest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

const (
	casesFile     = "cases.yaml"
	maxCasesBytes = 16 << 20
)

// testFlags are the flags of test.
type testFlags struct {
	files
	hostFlags
	build  buildFlags
	cases  string
	benign bool // leaves out the hostile inputs
}

func (a *app) testCommand() *cobra.Command {
	var f testFlags
	cmd := &cobra.Command{
		Use:   "test [DIR|FILE]",
		Short: "Run an author's cases and hostile inputs against a module, without a server",
		Long: "Test runs the tools of a module or a script in this process, with the checks and limits of a server. DIR (default: this directory) is built first, as \"build\" does; FILE is taken as it is.\n\n" +
			"The cases are in " + casesFile + " in DIR, or beside FILE: a list \"cases\" with name, tool, input, context, and one of want (the same JSON), wantError (a status such as NOT_FOUND) and wantInterrupt. " +
			"With \"host\" a case has answers of its own in the place of the real host's: a list of {http: {method, url}, answer: {status, headers, body}} and the same of kv_get, run, generate and the like, where * in a url stands for any characters. " +
			"Nothing goes out then; a request without an answer fails the case and is shown as text to paste, and so does an answer that nothing asked for. \"replay --case\" writes such cases.\n\n" +
			"They run in their order, and values that a tool keeps with kv stay from one to the next. \"grant: [kv, clock]\" in the file is --grant; all else that reaches beyond the call is these flags' to grant.\n\n" +
			"Then each tool gets inputs that are made from its schema and its cases: members missing, wrong types, numbers and texts that are huge, deep nesting, text that is not ASCII, a megabyte. " +
			"They must end in an answer or in an error that says what is wrong, and never in a trap or another INTERNAL. The module reaches no network, secret or directory meanwhile.\n\n" +
			"It exits with 1 when anything failed.",
		Example: "  genkit-wasm test\n  genkit-wasm test textkit.wasm --cases cases.yaml\n  genkit-wasm test weather.wasm --allow-host api.example.com --secret WEATHER_KEY=env:KEY",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			target := "."
			if len(args) == 1 {
				target = args[0]
			}
			return a.test(cmd.Context(), target, &f)
		},
	}
	f.flags(cmd)
	f.add(cmd)
	f.build.timeout = defaultBuildTime
	spanFlag(cmd.Flags(), &f.build.timeout, "timeout", 1, 24*time.Hour, "how long the build of DIR may take")
	cmd.Flags().StringVar(&f.cases, "cases", "", "the `FILE` of cases (default: "+casesFile+" in DIR or beside FILE)")
	cmd.Flags().BoolVar(&f.benign, "no-hostile", false, "run the cases alone")
	return cmd
}

func (a *app) test(ctx context.Context, target string, f *testFlags) error {
	up, file, err := a.tested(ctx, target, f)
	if err != nil {
		return err
	}
	cases, err := readCases(file, f.cases != "")
	if err != nil {
		return err
	}
	host, err := a.openCases(ctx, up, file, cases, &f.hostFlags)
	if err != nil {
		return err
	}
	defer host.close()
	tools, err := toolsOf(ctx, host, host.record.Name)
	if err != nil {
		return err
	}
	r := tooltest.NewReport(host.record.Name)
	good, err := r.RunCases(ctx, tools, cases.Cases, a.tellCase)
	if err != nil {
		return err
	}
	if !f.benign {
		if err := a.runHostile(ctx, host, good, r); err != nil {
			return err
		}
	}
	return a.endTest(r, file)
}

// openCases opens a host for the cases of a file, with what they need and the flags grant. The caller closes it.
func (a *app) openCases(ctx context.Context, up wasmhost.Upload, file string, cases *tooltest.File, f *hostFlags) (*localHost, error) {
	for _, grant := range cases.Grant {
		if grant != "kv" && grant != "clock" {
			return nil, usagef("%s: grant: %q, want kv or clock; anything else is granted by the flags of test", file, grant)
		}
	}
	var err error
	if up.Policy, err = loadable(up.Policy, cases); err != nil {
		return nil, err
	}
	granting := *f
	granting.names, granting.nowhere = slices.Concat(f.names, cases.Grant), true
	return a.openHost(ctx, up, &granting)
}

// tested returns what is to be tested, and where its cases are.
func (a *app) tested(ctx context.Context, target string, f *testFlags) (up wasmhost.Upload, cases string, err error) {
	info, err := os.Stat(target)
	if err != nil {
		return up, "", usage(err)
	}
	cases = filepath.Join(filepath.Dir(target), casesFile)
	if info.IsDir() {
		cases = filepath.Join(target, casesFile)
		f.build.engineFlags = f.engineFlags
		made, err := a.makeOf(ctx, target, &f.build)
		if err != nil {
			return up, "", err
		}
		if f.module = made.file; f.module == "" {
			f.module = made.name(target) + ".wasm"
		}
		if up, err = f.readBeside(a); err != nil {
			return up, "", err
		}
		up.Wasm, up.Language = made.upload.Wasm, made.upload.Language
	} else {
		f.module = target
		if up, err = f.read(a); err != nil {
			return up, "", err
		}
	}
	if f.cases != "" {
		cases = f.cases
	}
	up.Name, err = a.moduleName(ctx, up, f.module)
	return up, cases, err
}

// loadable grants what cases answer for: a module that imports the capability would not load without. What is granted
// reaches nothing.
func loadable(raw []byte, cases *tooltest.File) ([]byte, error) {
	answered := tooltest.Answers(cases.Cases)
	if len(answered) == 0 {
		return raw, nil
	}
	p, err := policy.Parse(raw)
	if err != nil {
		return nil, refusedModule(err)
	}
	g := &p.Grants
	if len(g.HTTP) == 0 {
		g.HTTP = []policy.HTTPGrant{toNowhere()}
	}
	if len(g.Generate) == 0 {
		g.Generate = []string{nothing}
	}
	if len(g.Actions) == 0 {
		g.Actions = []string{"tool/" + nothing}
	}
	for _, c := range answered {
		g.KV = g.KV || strings.HasPrefix(string(c), "kv_")
		g.Clock = g.Clock || c == abi.CapNow
	}
	return json.Marshal(p)
}

// nothing is the name of an action that nobody has.
const nothing = "test-case/none"

// readCases reads a file of cases. One that is missing is no mistake unless it was asked for.
func readCases(file string, asked bool) (*tooltest.File, error) {
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) && !asked {
		return &tooltest.File{}, nil
	}
	raw, err := readFile(file, maxCasesBytes)
	if err != nil {
		return nil, err
	}
	found, err := tooltest.Parse(raw)
	if err != nil {
		return nil, usagef("%s: %w", file, err)
	}
	return found, nil
}

// toolsOf lists the tools of a module that the host has loaded under a name, and its other
// actions by their keys without the module's name, such as /embedder/words.
func toolsOf(ctx context.Context, host *localHost, name string) ([]tooltest.Tool, error) {
	d, err := abi.ParseStored(host.record.Descriptor)
	if err != nil {
		return nil, local(err, false)
	}
	var tools []tooltest.Tool
	for _, t := range d.Tools {
		run, err := host.registry.Resolve(ctx, name+"/"+t.Name, action.Tool, action.ToolV2)
		if err != nil {
			return nil, local(err, false)
		}
		schema := t.InputSchema
		if t.IO == abi.IOText {
			schema = json.RawMessage(`{"const":"text"}`)
		}
		tools = append(tools, tooltest.Tool{Name: t.Name, Schema: schema, Run: run})
	}
	for of, about := range d.Actions() {
		kind := action.Kind(of)
		if kind == action.Prompt { // this one tells all that the file says
			kind = action.ExecutablePrompt
		}
		run, err := host.registry.Lookup(ctx, action.Key{Kind: kind, Name: name + "/" + about.Name})
		if err != nil {
			return nil, local(err, false)
		}
		tools = append(tools, tooltest.Tool{Name: "/" + string(kind) + "/" + about.Name, Schema: run.Desc().InputSchema, Run: run})
	}
	return tools, nil
}

// brief is foreign text on one line that is not too long.
func brief(text string) string { return abi.Line(text, 400) }

func (a *app) tellCase(result tooltest.CaseResult) error {
	if a.json() {
		return nil
	}
	if result.OK {
		return a.line("ok    %s", brief(result.Name))
	}
	if err := a.line("%s  %s (%s)", colour(a.out, red, "FAIL"), brief(result.Name), brief(result.Tool)); err != nil {
		return err
	}
	if result.Got != "" {
		if err := a.line("        got  %s\n        want %s", brief(result.Got), brief(result.Want)); err != nil {
			return err
		}
	}
	return a.tellHost(&result)
}

// tellHost shows which answers of the host a case lacks, and which it has in vain.
func (a *app) tellHost(result *tooltest.CaseResult) error {
	if len(result.Missing) > 0 {
		if err := a.line("        the case has no answer to these; add them to its \"host\":"); err != nil {
			return err
		}
	}
	for _, text := range result.Missing {
		for line := range strings.Lines(text) {
			if err := a.line("          %s", abi.Line(strings.TrimSuffix(line, "\n"), 4000)); err != nil {
				return err
			}
		}
	}
	for _, text := range result.Unasked {
		if err := a.line("        nothing asked for %s", brief(text)); err != nil {
			return err
		}
	}
	return nil
}

// hostileName is the name of the module that gets the hostile inputs.
const hostileName = "hostile-inputs"

// runHostile gives each tool inputs that try to break it. They go to a second load of the module, whose policy lets
// it reach nothing outside.
func (a *app) runHostile(ctx context.Context, host *localHost, good map[string]json.RawMessage, r *tooltest.Report) error {
	up := host.upload
	var err error
	if up.Policy, err = withoutReach(up.Policy); err != nil {
		return err
	}
	up.Name = hostileName
	if _, err := host.Load(ctx, wasmhost.DefaultTenant, up); err != nil {
		return refusedModule(err)
	}
	tools, err := toolsOf(ctx, host, hostileName)
	if err != nil {
		return err
	}
	for _, t := range tools {
		if t.Run.Desc().Kind == action.ExecutablePrompt { // nothing of the module runs
			continue
		}
		result, err := r.RunHostile(ctx, t, good[t.Name])
		if err != nil {
			return err
		}
		if err := a.tellHostile(&result); err != nil {
			return err
		}
	}
	return nil
}

// noHost is where modules may send requests while they get hostile inputs: a name that is reserved to resolve to
// nothing.
const noHost = "hostile-inputs.invalid"

func toNowhere() policy.HTTPGrant {
	return policy.HTTPGrant{Host: noHost, Schemes: []string{"https"}, Methods: []string{"GET"}}
}

// withoutReach takes the network, secrets and directories out of a policy. What a module imports stays granted, or it
// would not load.
func withoutReach(raw []byte) ([]byte, error) {
	p, err := policy.Parse(raw)
	if err != nil {
		return nil, refusedModule(err)
	}
	if len(p.Grants.HTTP) > 0 {
		p.Grants.HTTP = []policy.HTTPGrant{toNowhere()}
	}
	p.Grants.Secrets, p.Grants.Files = nil, nil
	return json.Marshal(p)
}

func (a *app) tellHostile(result *tooltest.HostileResult) error {
	if a.json() {
		return nil
	}
	counts := []string{fmt.Sprintf("%d answered", result.Answered)}
	for _, code := range slices.Sorted(maps.Keys(result.Errors)) {
		counts = append(counts, fmt.Sprintf("%d %s", result.Errors[code], code))
	}
	verdict := "ok    "
	if len(result.Failures) > 0 {
		verdict = colour(a.out, red, "FAIL") + "  "
	}
	if err := a.line("%s%s: %d hostile inputs (%s)", verdict, result.Tool, result.Inputs, strings.Join(counts, ", ")); err != nil {
		return err
	}
	const most = 5
	for _, fault := range result.Failures[:min(len(result.Failures), most)] {
		if err := a.line("        %s\n          %s", brief(fault.Input), brief(fault.Error)); err != nil {
			return err
		}
	}
	if more := len(result.Failures) - most; more > 0 {
		return a.line("        and %d more (-o json shows all)", more)
	}
	return nil
}

// endTest prints the sums.
func (a *app) endTest(r *tooltest.Report, file string) error {
	if a.json() {
		if err := a.printJSON(r); err != nil {
			return err
		}
	} else {
		if len(r.Cases) == 0 {
			a.note("note: no cases; write some into %s", file)
		}
		if len(r.NeverCalled) > 0 {
			if err := a.line("no case calls: %s", list(r.NeverCalled)); err != nil {
				return err
			}
		}
		if err := a.line("%d passed, %d failed", r.Passed, r.Failed); err != nil {
			return err
		}
	}
	if r.Failed > 0 {
		return &failure{exit: exitFailed, text: fmt.Sprintf("%d of %d tests failed", r.Failed, r.Passed+r.Failed), cause: errTestsFailed}
	}
	return nil
}

var errTestsFailed = errors.New("tests failed")
