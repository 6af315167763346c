package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/genkit-wasm/genkit-wasm/internal/datadir"
	"github.com/genkit-wasm/genkit-wasm/internal/settings"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
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
	cmd.AddCommand(a.configSubcommand("check [FILE]", "Check a file, the files that it names, and what the environment adds", func(ctx context.Context, f *serveFlags, all []settings.Setting) error {
		if err := a.checkSettings(ctx, f); err != nil {
			return located(err, all)
		}
		return a.line("the configuration is in order")
	}), a.configSubcommand("show [FILE]", "Show all settings and where each comes from", a.showConfig))
	return cmd
}

func (a *app) configSubcommand(use, short string, then func(context.Context, *serveFlags, []settings.Setting) error) *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use: use, Short: short, Args: a.usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := ""
			if len(args) == 1 {
				file = args[0]
			}
			all, err := settingsOf(cmd.Flags(), file)
			if err != nil {
				return err
			}
			return then(cmd.Context(), f, all)
		},
	}
	serveFlagsOn(cmd, f)
	f.networkFlags.add(cmd.Flags())
	return cmd
}

// checkSettings tells of settings that serve would refuse, as far as that shows without starting anything. Serve begins with it,
// so that a setting is refused by both, or by neither.
func (a *app) checkSettings(ctx context.Context, f *serveFlags) error {
	for _, check := range []func() error{
		func() error { _, err := a.logger(f); return err },
		f.check, f.checkData, f.checkHosts,
		func() error { _, err := a.limits(f.limits); return err },
		func() error { _, err := a.generates(f.generateLimits); return err },
		func() error { return a.checkTenants(ctx, f) },
		func() error { return a.checkAccounts(f) },
		func() error { _, err := f.keys(); return err },
		func() error { return f.loadTLS(slog.New(slog.DiscardHandler)) },
		func() error { _, err := f.checkAddr(f.addr, f.allowedHosts); return err },
		func() error { _, _, err := a.issuers(f, slog.New(slog.DiscardHandler)); return err },
		f.checkReach, f.checkProviders, f.checkMCP, f.checkLoad,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkData refuses what can't be the directory of the data, or of which no backup could be made. A start makes one that is not there.
func (f *serveFlags) checkData() error {
	if f.data == "" {
		return usagef("--data is empty, want a directory")
	}
	if info, err := os.Stat(f.data); err == nil && !info.IsDir() {
		return usagef("--data %q is no directory", f.data)
	}
	if err := datadir.CheckLinks(f.data); err != nil {
		return usagef("--data: %s", messageOf(err))
	}
	return nil
}

// checkHosts refuses names and origins that no request can be for.
func (f *serveFlags) checkHosts() error {
	for _, host := range f.allowedHosts {
		if ip := net.ParseIP(strings.Trim(host, "[]")); ip == nil && !hostName.MatchString(host) {
			return usagef("--allowed-host %q: want a name or an address, without scheme, port and path, such as tools.example.com", host)
		}
	}
	for _, origin := range f.origins {
		if err := http.NewCrossOriginProtection().AddTrustedOrigin(origin); err != nil {
			return usagef("--trusted-origin %q: want an origin such as https://console.example.com", origin)
		}
	}
	return nil
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$`)

// checkTenants looks at what is said of the tenants that are to be there, as a start does.
func (a *app) checkTenants(ctx context.Context, f *serveFlags) error {
	config, err := a.hostSettings(&f.resourceFlags, f.tenants, false)
	if err != nil {
		return err
	}
	if _, err = a.grants(f.grants); err != nil {
		return err
	}
	initial := map[string]admin.Settings{}
	for name, t := range config.Tenants {
		initial[name] = admin.Settings{Quota: t.Quota, Group: t.Group}
	}
	all, err := admin.Open(ctx, admin.Config{Store: admin.NewMemory(), Initial: initial})
	if err != nil {
		return usagef("--tenant: %s", messageOf(err))
	}
	all.Close()
	return nil
}

// checkAccounts looks at the sinks of usage, at what their headers hold, and at the directories of the files that a start makes.
func (a *app) checkAccounts(f *serveFlags) error {
	c, err := a.accounts(&f.accountFlags)
	if err != nil {
		return err
	}
	type written struct{ flag, file string }
	files := []written{{"--usage", f.usage}}
	for i := range c.sinks {
		s := &c.sinks[i]
		if _, err := s.headers(); err != nil {
			return usagef("--usage-sink %s: %w", s.Name, err)
		}
		files = append(files, written{"--usage-sink " + s.Name, s.File})
	}
	writers := map[string]string{} // the flags, by the files' real names
	for _, w := range files {
		if w.file == "" {
			continue
		}
		if info, err := os.Stat(filepath.Dir(w.file)); err != nil || !info.IsDir() {
			return usagef("%s: there is no directory %q for the file", w.flag, filepath.Dir(w.file))
		}
		if info, err := os.Stat(w.file); err == nil && info.IsDir() {
			return usagef("%s: %q is a directory, want a file", w.flag, w.file)
		}
		name := realName(w.file)
		if other := writers[name]; other != "" {
			return usagef("%s: the file %q is that of %s; want a file of its own", w.flag, w.file, other)
		}
		writers[name] = w.flag
	}
	return nil
}

// realName is the name of a file without links, as far as it is there.
func realName(file string) string {
	name, err := filepath.EvalSymlinks(file)
	if err != nil {
		name = file
		if dir, err := filepath.EvalSymlinks(filepath.Dir(file)); err == nil {
			name = filepath.Join(dir, filepath.Base(file))
		}
	}
	if whole, err := filepath.Abs(name); err == nil {
		return whole
	}
	return name
}

func (f *serveFlags) checkReach() error {
	end, err := f.open(&wasmhost.Config{})
	if err != nil {
		return err
	}
	return end()
}

func (f *serveFlags) checkProviders() error {
	b := &backend{}
	err := b.openProviders(f.providers)
	for _, end := range b.closers {
		err = errors.Join(err, end())
	}
	return err
}

func (f *serveFlags) checkLoad() error {
	for _, path := range f.load {
		if _, err := os.Stat(path); err != nil {
			return usagef("--load: %w", err)
		}
	}
	return nil
}

var flagOf = regexp.MustCompile(`^--([a-z0-9-]+)`)

// located adds to a refusal of a setting where that comes from, when it is not the command line.
func located(err error, set []settings.Setting) error {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return err
	}
	name := flagOf.FindStringSubmatch(f.text)
	for _, s := range set {
		if name != nil && s.Name == name[1] && s.Where != "" {
			said := *f
			said.text = s.Where + ": " + f.text
			return &said
		}
	}
	return err
}

func (a *app) showConfig(_ context.Context, _ *serveFlags, all []settings.Setting) error {
	if a.json() {
		return a.printJSON(map[string]any{"settings": all})
	}
	rows := make([][]string, len(all))
	for i, s := range all {
		rows[i] = []string{s.Name, strings.Join(s.Value, " "), s.From}
	}
	return a.table("SETTING\tVALUE\tFROM", rows)
}
