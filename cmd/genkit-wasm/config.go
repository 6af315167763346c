package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/settings"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// settingsFrom is where the settings of a server come from, which are flags of serve.
func settingsFrom(flags *pflag.FlagSet) settings.Source {
	return settings.Source{Flags: flags, Prefix: "GENKIT_WASM_", Except: []string{"config", "help", "output"}}
}

// settingsOf sets the flags that were not given, from the environment and from a file, whose name may be
// empty. It returns all settings, by name.
func settingsOf(flags *pflag.FlagSet, file string) ([]settings.Setting, error) {
	all, err := settingsFrom(flags).Apply(file)
	if err != nil {
		return nil, &failure{exit: exitUsage, text: "the configuration: " + err.Error(), hint: "\"genkit-wasm config show\" lists all settings", cause: err}
	}
	return all, nil
}

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check or show the configuration of a server",
		Long: "The settings of serve are its flags. Each may stand in a YAML file, under the flag's name, and in the environment: --drain-delay is " + settingsFrom(nil).Variable("drain-delay") + ". " +
			"A flag counts before a variable, a variable before the file, and the file before the default. In the file ${NAME} and ${NAME:-DEFAULT} stand for variables, " +
			"a list for a flag that may be given again, and a mapping for JSON and for NAME=VALUE.",
		Example: "  genkit-wasm config check server.yaml\n  genkit-wasm config show server.yaml\n  genkit-wasm serve --config server.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.configSubcommand("check [FILE]", "Check a file, and what the environment adds", func([]settings.Setting) error {
		return a.line("the configuration is in order")
	}), a.configSubcommand("show [FILE]", "Show all settings and where each comes from", a.showConfig))
	return cmd
}

func (a *app) configSubcommand(use, short string, then func([]settings.Setting) error) *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use: use, Short: short, Args: a.usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := ""
			if len(args) == 1 {
				file = args[0]
			}
			all, err := settingsOf(cmd.Flags(), file)
			if err == nil {
				err = a.checkSettings(f)
			}
			if err != nil {
				return err
			}
			return then(all)
		},
	}
	serveFlagsOn(cmd, f)
	f.networkFlags.add(cmd.Flags())
	return cmd
}

// checkSettings tells of settings that serve would refuse, as far as that shows without starting anything.
func (a *app) checkSettings(f *serveFlags) error {
	if _, err := a.logger(f); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	if _, err := a.limits(f.limits); err != nil {
		return err
	}
	if _, err := a.generates(f.generateLimits); err != nil {
		return err
	}
	if _, err := a.grants(f.grants); err != nil {
		return err
	}
	if _, err := a.accounts(&f.accountFlags); err != nil {
		return err
	}
	if _, err := f.keys(); err != nil {
		return err
	}
	raw, err := a.jsonValue("quota", f.quota)
	if err != nil {
		return err
	}
	if _, err := tenants.ParseQuota(raw); err != nil {
		return usagef("--quota: %s", status.Convert(err).Message)
	}
	return nil
}

func (a *app) showConfig(all []settings.Setting) error {
	if a.json() {
		return a.printJSON(map[string]any{"settings": all})
	}
	rows := make([][]string, len(all))
	for i, s := range all {
		rows[i] = []string{s.Name, strings.Join(s.Value, " "), s.From}
	}
	return a.table("SETTING\tVALUE\tFROM", rows)
}
