package main

import (
	"cmp"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

// app is shared by all commands: where they read and write, and the flags that
// all of them take.
type app struct {
	in       io.Reader
	out, err io.Writer

	// compiler compiles modules in a process of its own; empty compiles in this
	// one.
	compiler []string

	// drains is set when the command ends in its own time after a signal.
	drains atomic.Bool

	running string // the command's name, once it is known
	output  string // table or json
	server  string
	tenant  string
	profile string
	key     string // of the server; empty for none

	caFile   string       // of --ca
	ca       string       // the certificates that a server's has to be of, in PEM; empty for those of the system
	trusting *http.Client // for these, once it is made
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
  genkit-wasm call textkit/slugify --input '{"text":"Hello, World"}'
  genkit-wasm generate --model test/scripted --tool textkit/slugify --prompt "…"

Give somebody modules of their own:

  genkit-wasm tenant create acme
  genkit-wasm upload textkit.wasm --tenant acme

Write a tool of your own:

  genkit-wasm doctor
  genkit-wasm new go greeter
  genkit-wasm build greeter
  genkit-wasm test greeter

Or try a tool without a server:

  genkit-wasm inspect textkit.wasm
  genkit-wasm run textkit.wasm slugify --input '{"text":"Hello, World"}'
  genkit-wasm mcp textkit.wasm

Values: where a flag takes JSON or text, @FILE reads it from a file and - from the
standard input.

Environment:
  GENKIT_WASM_SERVER  the server's URL, instead of ` + defaultServer + `
  GENKIT_WASM_KEY     the API key for it, before that of a profile
  GENKIT_WASM_CA      a file with the certificate that the server's has to be of, in the
                      place of those that the system trusts
  GENKIT_WASM_PROFILE the profile of "genkit-wasm login", before the last one
  NO_COLOR            no colours, whatever the output is
  GENKIT_WASM_SECRETS_KEY
                      serve: the key that encrypts secrets, in the place of --secrets-key-file
  OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, OLLAMA_HOST
                      serve: the models of openai/…, anthropic/…, googleai/… and ollama/…;
                      docs/providers.md has the others, such as OPENAI_BASE_URL
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
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.begin(cmd)
			if !slices.Contains([]string{"table", "json"}, a.output) {
				return usagef("--output is %q, want table or json", a.output)
			}
			return a.connect(cmd)
		},
	}
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "table", "how to print: table or json")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		a.begin(cmd)
		return cmp.Or(wrongNumber(err), usage(err))
	})
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.SetHelpCommand(&cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("there is no command %q", strings.Join(args, " "))
			}
			return cmd.Help()
		},
	})
	root.AddCommand(
		a.serveCommand(), a.devCommand(), a.configCommand(), a.uploadCommand(), a.lsCommand(), a.versionsCommand(), a.rollbackCommand(), a.rmCommand(),
		a.newCommand(), a.buildCommand(), a.testCommand(), a.benchCommand(), a.doctorCommand(), a.inspectCommand(), a.runCommand(), a.replayCommand(), a.callCommand(), a.mcpCommand(), a.generateCommand(), a.modelsCommand(), a.flowCommand(), a.tenantCommand(), a.secretCommand(), a.credentialCommand(), a.usageCommand(), a.keyCommand(), a.auditCommand(), a.backupCommand(), a.restoreCommand(), a.loginCommand(), a.logoutCommand(), a.versionCommand(),
	)
	for _, cmd := range root.Commands() {
		cmd.Args = a.usageArgs(cmd.Args)
	}
	return root
}

// usageArgs makes wrong arguments a mistake of usage.
func (a *app) usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(cmd, args); err != nil {
			return a.usageOf(cmd, err)
		}
		return nil
	}
}

// usageOf is a mistake in how a command is used, which its help explains.
func (a *app) usageOf(cmd *cobra.Command, err error) error {
	a.begin(cmd)
	return usage(err)
}

// begin notes which command runs, such as "key create".
func (a *app) begin(cmd *cobra.Command) {
	a.running = strings.TrimSpace(strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()))
}

// serverFlags adds --server, --tenant and --profile to a command that talks to a server.
func (a *app) serverFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.server, "server", cmp.Or(os.Getenv(serverEnv), defaultServer), "the server's URL")
	cmd.Flags().StringVar(&a.tenant, "tenant", "default", "the tenant")
	completeFlag(cmd, "tenant", a.tenants())
	a.profileFlag(cmd)
}

func (a *app) profileFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.profile, "profile", "", "the `NAME` of a login's profile (default: that of the last login)")
	completeFlag(cmd, "profile", profiles)
}

func (a *app) json() bool { return a.output == "json" }

// terminal returns the file behind a stream when a person looks at it.
func terminal(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	return f, ok && isatty.IsTerminal(f.Fd())
}

// coloured reports whether a person looks at a stream who wants colours.
func coloured(stream io.Writer) bool {
	_, tty := terminal(stream)
	return tty && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// colour wraps text in an ANSI colour where a person looks and wants it.
func colour(stream io.Writer, code, text string) string {
	if !coloured(stream) {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

const (
	red    = "31"
	yellow = "33"
	bold   = "1"
)
