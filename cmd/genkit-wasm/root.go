package main

import (
	"io"
	"os"
	"slices"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

// app is what all commands share: where they read and write, and the flags that
// all of them take.
type app struct {
	in       io.Reader
	out, err io.Writer

	// compiler compiles modules in a process of its own; empty compiles in this
	// one.
	compiler []string

	output string // table or json
	server string
	tenant string
}

const (
	serverEnv     = "GENKIT_WASM_SERVER"
	defaultServer = "http://127.0.0.1:3400"
)

const longHelp = `genkit-wasm runs WebAssembly tools, and the models that call them.

Start a server, put a tool on it, use it:

  genkit-wasm serve
  genkit-wasm upload textkit.wasm
  genkit-wasm ls
  genkit-wasm generate --model test/scripted --tool textkit/slugify --prompt "…"

Or try a tool without a server:

  genkit-wasm inspect textkit.wasm
  genkit-wasm run textkit.wasm slugify --input '{"text":"Hello, World"}'

Values: where a flag takes JSON or text, @FILE reads it from a file and - from the
standard input.

Environment:
  GENKIT_WASM_SERVER  the server's URL, instead of ` + defaultServer + `
  NO_COLOR            no colours, whatever the output is
  OPENAI_API_KEY      serve: the models of openai/… (see the plug-in's documentation)
  OTEL_EXPORTER_OTLP_ENDPOINT and OpenTelemetry's other variables
                      serve: where traces, metrics and logs go

Exit codes:
  0    it worked
  1    the call failed: the tool, the model or the server said so
  2    the command was not used as it is meant to be
  3    there is no such module, revision, tool, model or tenant
  4    the module, its descriptor or its policy is refused
  5    no server answers
  6    a limit was reached or the server is busy; the same may work later
  130  interrupted`

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "genkit-wasm",
		Short:         "Run WebAssembly tools, and the models that call them",
		Long:          longHelp,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if !slices.Contains([]string{"table", "json"}, a.output) {
				return usagef("--output is %q, want table or json", a.output)
			}
			return nil
		},
	}
	server := os.Getenv(serverEnv)
	if server == "" {
		server = defaultServer
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&a.output, "output", "o", "table", "how to print: table or json")
	flags.StringVar(&a.server, "server", server, "the server's URL")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(
		a.serveCommand(), a.devCommand(), a.uploadCommand(), a.lsCommand(), a.versionsCommand(), a.rollbackCommand(), a.rmCommand(),
		a.inspectCommand(), a.runCommand(), a.generateCommand(), a.flowCommand(), a.versionCommand(),
	)
	for _, cmd := range root.Commands() {
		cmd.Args = usageArgs(cmd.Args)
	}
	return root
}

// usageArgs makes wrong arguments a mistake of usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(cmd, args); err != nil {
			return usage(err)
		}
		return nil
	}
}

// tenantFlag adds --tenant to a command that talks to a server.
func (a *app) tenantFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.tenant, "tenant", "default", "the tenant")
}

func (a *app) json() bool { return a.output == "json" }

// terminal returns the file behind a stream when a person looks at it.
func terminal(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	return f, ok && isatty.IsTerminal(f.Fd())
}

// colour wraps text in an ANSI colour where a person looks and wants it.
func colour(stream io.Writer, code, text string) string {
	if _, tty := terminal(stream); !tty || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

const (
	red    = "31"
	yellow = "33"
	bold   = "1"
)
