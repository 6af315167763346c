package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/intercept"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// toolFlags are the arguments and flags of the commands that call a tool in this process.
type toolFlags struct {
	files
	hostFlags
	tool, input, context string
	mapped               bool // a source map beside the module becomes part of it
}

func (f *toolFlags) add(cmd *cobra.Command) {
	f.flags(cmd)
	f.hostFlags.add(cmd)
	cmd.Flags().StringVar(&f.input, "input", "", "the input: `JSON`, @FILE or - (default: none)")
	cmd.Flags().StringVar(&f.context, "context", "", "the action context that the tool can read: a `JSON` object, @FILE or -")
}

// take reads the arguments FILE [TOOL].
func (f *toolFlags) take(args []string) {
	f.module = args[0]
	if len(args) == 2 {
		f.tool = args[1]
	}
}

// localCall is a tool in this process, and what it is to be called with.
type localCall struct {
	host   *localHost
	tool   action.Action
	input  json.RawMessage
	result json.RawMessage // after the call, when it was not interrupted and did not fail
}

// openCall prepares a call. The caller closes its host; the returned context is the call's.
func (a *app) openCall(ctx context.Context, f *toolFlags) (context.Context, *localCall, error) {
	up, err := f.read(a)
	if err != nil {
		return ctx, nil, err
	}
	if f.mapped {
		if up, err = withSourceMap(up, f.module); err != nil {
			return ctx, nil, err
		}
	}
	input, err := a.jsonValue("input", f.input)
	if err != nil {
		return ctx, nil, err
	}
	if ctx, err = a.withContext(ctx, f.context); err != nil {
		return ctx, nil, err
	}
	if up.Name, err = a.moduleName(ctx, up, f.module); err != nil {
		return ctx, nil, err
	}
	host, err := a.openHost(ctx, up, &f.hostFlags)
	if err != nil {
		return ctx, nil, err
	}
	t, err := host.tool(ctx, f.tool)
	if err != nil {
		host.close()
		return ctx, nil, err
	}
	return ctx, &localCall{host: host, tool: t, input: input}, nil
}

// hostFlags are the flags of the commands that run modules in this process.
type hostFlags struct {
	reachFlags
	engineFlags
	localGrants
	verbose bool
	nowhere bool // policies may grant requests to noHost, too
	start   func() intercept.Sources
	explain bool
	sink    tenant.Sink       // gets an event for each call; nil for none
	also    []wasmhost.Upload // modules beside the first
}

func (f *hostFlags) add(cmd *cobra.Command) {
	f.reachFlags.flags(cmd)
	f.addEngines(cmd.Flags())
	f.localGrants.flags(cmd)
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "show the module's log lines")
}

// localHost is a host in this process that has one module.
type localHost struct {
	*wasmhost.Host
	registry *registry.Registry
	upload   wasmhost.Upload // with the policy that the flags have made of its own
	record   wasmhost.Loaded
	close    func()
}

// tool finds a tool of the module; the only one when name is empty. A name such as
// /embedder/words is the key of another action, with the module's name or without.
func (h *localHost) tool(ctx context.Context, name string) (action.Action, error) {
	if name == "" {
		if len(h.record.Actions) != 1 {
			return nil, usagef("the module has %d tools; name one of them: %s", len(h.record.Actions), list(h.record.Actions))
		}
		name = h.record.Actions[0]
	}
	t, err := h.named(ctx, name)
	if err != nil {
		missing := local(err, false)
		if fail, ok := missing.(*failure); ok { //nolint:errorlint // local has just made it
			fail.hint = "the module has " + list(h.record.Actions)
		}
		return nil, missing
	}
	return t, nil
}

func (h *localHost) named(ctx context.Context, name string) (action.Action, error) {
	key, err := action.ParseKey(name)
	if err != nil || key.Kind == action.Tool {
		return h.registry.Resolve(ctx, name, action.Tool)
	}
	if !strings.HasPrefix(key.Name, h.record.Name+"/") {
		key.Name = h.record.Name + "/" + key.Name
	}
	return h.registry.Lookup(ctx, key)
}

// openHost loads a module into a host of its own. The caller closes it.
func (a *app) openHost(ctx context.Context, up wasmhost.Upload, f *hostFlags) (*localHost, error) {
	h := &localHost{registry: registry.New(nil), upload: up}
	config := wasmhost.Config{Logger: a.guestLog(f.verbose), Usage: f.sink, Registry: func(string) (*registry.Registry, error) { return h.registry, nil }, Start: f.start, Explain: f.explain}
	if slices.ContainsFunc(append([]wasmhost.Upload{up}, f.also...), func(u wasmhost.Upload) bool { return u.Language == script.Package }) {
		config.Compiler = a.compiler // what bundles it
	}
	var err error
	if config.JavaScript, err = f.javascript(); err != nil {
		return nil, err
	}
	unmount, err := f.open(&config)
	if err != nil {
		return nil, err
	}
	h.close = func() {
		if h.Host != nil {
			_ = h.Close(context.WithoutCancel(ctx)) // the process ends
		}
		_ = unmount()
	}
	if err = f.applyAll(&h.upload, &config); err == nil {
		if f.nowhere {
			config.Grants.HTTP = append(config.Grants.HTTP, toNowhere())
		}
		h.Host, err = wasmhost.New(ctx, config)
		err = local(err, false)
	}
	for i := 0; err == nil && i < len(f.also); i++ {
		if _, err = h.Load(ctx, wasmhost.DefaultTenant, f.also[i]); err != nil {
			err = refusedModule(err)
		}
	}
	if err == nil {
		if h.record, err = h.Load(ctx, wasmhost.DefaultTenant, h.upload); err != nil {
			err = refusedModule(err)
		}
	}
	if err == nil {
		err = local(h.registry.AddProvider(h.Provider(wasmhost.DefaultTenant)), false)
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// applyAll adds the grants of the flags to the policies of all modules, and lets the host allow what each of them grants.
func (f *hostFlags) applyAll(up *wasmhost.Upload, config *wasmhost.Config) error {
	if err := f.apply(up, config, f.secrets); err != nil {
		return err
	}
	all := *config.Grants
	for i := range f.also {
		if err := f.apply(&f.also[i], config, f.secrets); err != nil {
			return err
		}
		g := config.Grants
		all.HTTP, all.Generate, all.Actions, all.Files = append(all.HTTP, g.HTTP...), append(all.Generate, g.Generate...), append(all.Actions, g.Actions...), append(all.Files, g.Files...)
		all.KV, all.Clock, all.Rewrite = all.KV || g.KV, all.Clock || g.Clock, all.Rewrite || g.Rewrite
		secrets := maps.Clone(g.Secrets)
		for name, origins := range all.Secrets {
			if secrets == nil {
				secrets = map[string][]string{}
			}
			secrets[name] = append(slices.Clip(secrets[name]), origins...)
		}
		all.Secrets = secrets
	}
	config.Grants = &all
	return nil
}

func (a *app) runCommand() *cobra.Command {
	var f toolFlags
	var stream bool
	var record, folded string
	cmd := &cobra.Command{
		Use:   "run FILE|DIR [TOOL]",
		Short: "Run a tool of a module or a script here, without a server",
		Long: "Run loads a module into this process, with the checks and limits of a server, and calls one of its tools. " +
			"TOOL may be left out when the module has one; the key of another action, such as /embedder/words, runs that. The result is printed as JSON; chunks that the tool emits go to the standard error, " +
			"or with --stream to the standard output, one JSON object a line: {\"message\": …}, then {\"result\": …}.\n\n" +
			"The module may use the capabilities that its policy and these flags grant: the user who runs a module here is its operator.\n\n" +
			"With --record the call is kept in a file, with all that crossed its border: input and context, what the module asked of its host and was answered, random bytes, times, chunks, log lines, and how it ended. \"replay\" runs it again, and makes a case for \"test\" of it. " +
			"Secrets are in it by name; their values never reach a module. The rest is in it as it is. The file holds 16 MiB of that at most, and only its owner can read it. A module that sees directories can't be recorded.\n\n" +
			"With --explain the standard error tells which functions of the module the fuel has gone to, and its log lines; when the module trapped or was ended, the functions it was in, with file and line where the module has DWARF or a source map lies beside it (FILE.map). The call is slower, its fuel the same.",
		Example: "  genkit-wasm run textkit.wasm slugify --input '{\"text\":\"Hello, World\"}'\n  echo '\"some text\"' | genkit-wasm run count_vowels.wasm count --descriptor vowels.json --input -",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.take(args)
			if f.explain = f.explain || folded != ""; f.explain {
				if record != "" {
					return usagef("--explain and --record: want one of them")
				}
				return a.explainRun(cmd.Context(), &f, stream, folded)
			}
			if record != "" {
				return a.recordRun(cmd.Context(), &f, stream, record)
			}
			return a.run(cmd.Context(), &f, stream)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&stream, "stream", false, "print chunks and result as they come, one JSON object a line")
	cmd.Flags().BoolVar(&f.explain, "explain", false, "tell which functions the fuel has gone to, what was logged, and where a trap stands")
	cmd.Flags().StringVar(&folded, "folded", "", "as --explain, and write the stacks with their fuel to a `FILE` for flame graph tools")
	cmd.Flags().StringVar(&record, "record", "", "keep the call in a new or replaced `FILE`, for replay")
	return cmd
}

func (a *app) run(ctx context.Context, f *toolFlags, stream bool) error {
	ctx, call, err := a.openCall(ctx, f)
	if err != nil {
		return err
	}
	defer call.host.close()
	return a.runTool(ctx, call, stream)
}

func (a *app) withContext(ctx context.Context, text string) (context.Context, error) {
	raw, err := a.jsonValue("context", text)
	if err != nil || raw == nil {
		return ctx, err
	}
	if raw[0] != '{' {
		return ctx, usagef("--context: want a JSON object")
	}
	return action.WithContext(ctx, raw), nil
}

func (a *app) guestLog(verbose bool) *slog.Logger {
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
}

func (a *app) runTool(ctx context.Context, call *localCall, stream bool) error {
	to := a.err
	if stream {
		to = a.out
	}
	out, err := call.tool.RunJSON(ctx, call.input, func(chunk json.RawMessage) error {
		_, err := fmt.Fprintf(to, "{\"message\":%s}\n", compact(chunk))
		return err
	})
	if i, ok := tool.AsInterrupt(err); ok {
		metadata := i.Metadata
		if metadata == nil {
			metadata = json.RawMessage("true")
		}
		return a.line(`{"interrupt":%s}`, compact(metadata))
	}
	if err != nil {
		return callFailure(ctx, err)
	}
	call.result = out
	if stream {
		return a.line(`{"result":%s}`, compact(out))
	}
	return a.line("%s", compact(out))
}

// callFailure is why a call in this process failed.
func callFailure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e := status.Convert(err)
	f := &failure{exit: exitOf(e.Code, false), code: e.Code.String(), text: e.Message, details: e.Details, cause: err}
	if e.Code == status.ResourceExhausted {
		f.exit = exitFailed // here nothing gets better by waiting
		f.hint = "a policy can raise the limit: --policy FILE with {\"limits\": {…}}, up to the server's own"
	}
	return f
}
