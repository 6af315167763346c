package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/secrets"
)

// secretsKeyEnv may hold the key that encrypts secrets, in the place of a file.
const secretsKeyEnv = "GENKIT_WASM_SECRETS_KEY"

// secretFlags say with which key secrets are encrypted.
type secretFlags struct{ keyFile string }

func (f *secretFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.keyFile, "secrets-key-file", "", "a `FILE` with the key that encrypts the tenants' secrets, as \"genkit-wasm secret key\" makes it; of several, one a line, the first encrypts and all decrypt. "+secretsKeyEnv+" may hold the key itself (default: none, and no secret can be set)")
}

// keys reads the keys; nil where there are none.
func (f *secretFlags) keys() (*secrets.Keys, error) {
	text, from := os.Getenv(secretsKeyEnv), "$"+secretsKeyEnv
	switch {
	case f.keyFile == "" && text == "":
		return nil, nil //nolint:nilnil // a server needs none
	case f.keyFile != "" && text != "":
		return nil, usagef("--secrets-key-file and $%s are both there; give one", secretsKeyEnv)
	case f.keyFile != "":
		from = "--secrets-key-file"
		if err := checkKeyFile(from, f.keyFile); err != nil {
			return nil, err
		}
		raw, err := readStart(f.keyFile, 64<<10)
		if err != nil {
			return nil, usagef("%s: %w", from, err)
		}
		text = string(raw)
	}
	k, err := secrets.ParseKeys([]byte(text))
	if err != nil {
		return nil, usagef("%s: %s", from, status.Convert(err).Message)
	}
	return k, nil
}

// readStart reads a file, and no more than a byte beyond most.
func readStart(file string, most int64) (raw []byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, most+1))
}

// valueWords are the words of the commands for one kind of values.
type valueWords struct {
	command, path, one, many, arg string
}

func (a *app) secretCommand() *cobra.Command {
	w := valueWords{"secret", "/secrets", "secret", "secrets", "NAME"}
	cmd := &cobra.Command{
		Use: w.command, Short: "Set, list and remove the secrets that a tenant's modules use", Args: cobra.NoArgs,
		Long: "A module uses a secret as {{secret:NAME}} in a header of its requests, where its policy grants it, and never sees it. " +
			"Secrets are kept encrypted, for which the server has to be started with --secrets-key-file, and can't be read again. " +
			"Where the server was started with --auth this takes a key with the scope manage of the tenant.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	set := a.valueSetCommand(w, "A module uses the new value from its next call on.\n\n"+
		"  genkit-wasm secret set WEATHER_KEY @key.txt --tenant acme\n"+
		"  pass weather | genkit-wasm secret set WEATHER_KEY")
	cmd.AddCommand(set, a.valueListCommand(w), a.valueRemoveCommand(w), a.secretKeyCommand())
	for _, c := range cmd.Commands() {
		c.Args = a.usageArgs(c.Args)
	}
	return cmd
}

func (a *app) credentialCommand() *cobra.Command {
	w := valueWords{"credential", "/credentials", "API key for", "credentials", "PROVIDER"}
	cmd := &cobra.Command{
		Use: w.command, Short: "Give a tenant an API key of its own for a provider of models", Args: cobra.NoArgs,
		Long: "A tenant's own API key for a provider, such as openai, is used in the place of the server's for the tenant's generate calls and those " +
			"of its modules. It is kept as secrets are (\"genkit-wasm secret --help\"), and is sent to the provider's server alone.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	set := a.valueSetCommand(w, "The tenant's next call uses it.\n\n  genkit-wasm credential set openai @key.txt --tenant acme")
	cmd.AddCommand(set, a.valueListCommand(w), a.valueRemoveCommand(w))
	for _, c := range cmd.Commands() {
		c.Args = a.usageArgs(c.Args)
	}
	return cmd
}

func (a *app) valueSetCommand(w valueWords, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "set " + w.arg + " [@FILE]", Short: "Set a value, from a file or the standard input", Args: cobra.RangeArgs(1, 2), ValidArgsFunction: valueArgs(a.values(w)),
		Long: "Set reads the value from the file, or else from the standard input, and on a terminal asks for it without showing it. " +
			"One newline at its end is no part of it. " + long,
		RunE: func(cmd *cobra.Command, args []string) error {
			value, err := a.secretValue(args)
			if err != nil {
				return err
			}
			r := jsonRequest(http.MethodPut, w.path+"/"+url.PathEscape(args[0]), map[string]string{"value": value})
			r.server = false
			raw, err := a.call(cmd.Context(), r)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(raw)
			}
			var e secrets.Entry
			if err := json.Unmarshal(raw, &e); err != nil {
				return fmt.Errorf("the server's answer is not as expected: %w", err)
			}
			if e.URL != "" {
				return a.line("%s %s is set for tenant %s; it is sent to %s", w.one, e.Name, a.tenant, e.URL)
			}
			return a.line("%s %s is set for tenant %s", w.one, e.Name, a.tenant)
		},
	}
	a.serverFlags(cmd)
	return cmd
}

// secretValue reads a value from a file, from a person without showing it, or else from the
// standard input.
func (a *app) secretValue(args []string) (string, error) {
	var raw []byte
	var err error
	file := ""
	if len(args) == 2 {
		var ok bool
		if file, ok = strings.CutPrefix(args[1], "@"); !ok {
			return "", usagef("a value does not belong on a command line, which others can see: give @FILE, or the value on the standard input")
		}
	}
	const most int64 = secret.MaxBytes + 2 // a newline
	if file != "" {
		raw, err = readStart(file, most)
	} else if f, terminal := terminal(a.in); terminal {
		_, _ = fmt.Fprintf(a.err, "Value of %s: ", abi.Line(args[0], 64))
		raw, err = term.ReadPassword(int(f.Fd())) //nolint:gosec // a descriptor
		a.note("")
	} else {
		raw, err = io.ReadAll(io.LimitReader(a.in, most+1))
	}
	if err != nil {
		return "", usagef("read the value: %w", err)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	if err := secret.New(text).Check(); err != nil {
		return "", usagef("the value: %s", messageOf(err))
	}
	return text, nil
}

func (a *app) valueListCommand(w valueWords) *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Short: "List the names, and when each was changed", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := a.call(cmd.Context(), request{method: http.MethodGet, path: w.path})
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(raw)
			}
			var list map[string][]secrets.Entry
			if err := json.Unmarshal(raw, &list); err != nil {
				return fmt.Errorf("the server's answer is not a list of %s: %w", w.many, err)
			}
			head, rows := w.arg+"\tCHANGED\tPROBLEM", [][]string{}
			if w.path == "/credentials" {
				head = w.arg + "\tCHANGED\tSENT TO\tPROBLEM"
			}
			for _, e := range list[w.many] {
				row := []string{e.Name, shortTime(e.ChangedAt)}
				if w.path == "/credentials" {
					row = append(row, orDash(e.URL))
				}
				rows = append(rows, append(row, orDash(e.Problem)))
			}
			return a.table(head, rows)
		},
	}
	a.serverFlags(cmd)
	return cmd
}

func (a *app) valueRemoveCommand(w valueWords) *cobra.Command {
	var yes, dry bool
	cmd := &cobra.Command{
		Use: "rm " + w.arg, Short: "Remove one", Args: cobra.ExactArgs(1), ValidArgsFunction: firstOnly(a.values(w)),
		Long: "Rm removes a value at once. On a terminal it asks first; --dry-run shows what would go.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if dry {
				return a.showDoomedValue(cmd.Context(), w, args[0])
			}
			if !yes && !a.confirm(fmt.Sprintf("Remove the %s %s of tenant %s?", w.one, args[0], a.tenant)) {
				return &failure{exit: exitFailed, text: "nothing was removed"}
			}
			if _, err := a.call(cmd.Context(), request{method: http.MethodDelete, path: w.path + "/" + url.PathEscape(args[0])}); err != nil {
				if f, ok := errors.AsType[*failure](err); ok && f.code == status.NotFound.String() && strings.HasSuffix(f.text, "does not exist") && f.details == nil {
					f.hint = a.valuesHint(w)
				}
				return err
			}
			if a.json() {
				return a.printJSON(map[string]string{"status": "OK"})
			}
			return a.line("%s %s is removed", w.one, args[0])
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what would be removed, and remove nothing")
	a.serverFlags(cmd)
	return cmd
}

func (a *app) valuesHint(w valueWords) string {
	return fmt.Sprintf("\"genkit-wasm %s ls --tenant %s\" lists them", w.command, a.tenant)
}

// showDoomedValue shows what "secret rm" or "credential rm" would remove. It fails as they do where
// there is nothing of the name.
func (a *app) showDoomedValue(ctx context.Context, w valueWords, name string) error {
	raw, err := a.call(ctx, request{method: http.MethodGet, path: w.path})
	if err != nil {
		return err
	}
	var list map[string]json.RawMessage
	var entries []secrets.Entry
	if err = json.Unmarshal(raw, &list); err == nil {
		err = json.Unmarshal(list[w.many], &entries)
	}
	if err != nil {
		return fmt.Errorf("the server's answer is not a list of %s: %w", w.many, err)
	}
	if err := secrets.CheckName(secrets.Kind(w.command), name); err != nil {
		return local(err, false)
	}
	at := slices.IndexFunc(entries, func(e secrets.Entry) bool { return e.Name == name })
	if at < 0 {
		return &failure{exit: exitNotFound, code: status.NotFound.String(), text: fmt.Sprintf("%s %q does not exist", w.command, abi.Line(name, 80)), hint: a.valuesHint(w)}
	}
	if a.json() {
		return a.printJSON(map[string]any{"dryRun": true, "tenant": a.tenant, w.command: entries[at]})
	}
	return a.line("%s %s of tenant %s would be removed; it was last changed %s", w.one, name, a.tenant, shortTime(entries[at].ChangedAt))
}

func (a *app) secretKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "key", Short: "Print a new key for --secrets-key-file", Args: cobra.NoArgs,
		Long: "Key prints a new key, as age-keygen does. With it one can read all secrets of a server's data directory, and without it nobody can: " +
			"keep it, and not in a backup of that directory.\n\n" +
			"  (umask 077; genkit-wasm secret key > secrets.key)\n" +
			"  genkit-wasm serve --secrets-key-file secrets.key",
		RunE: func(*cobra.Command, []string) error {
			text, err := secrets.NewKey()
			if err != nil {
				return local(err, false)
			}
			if a.json() {
				return a.printJSON(map[string]string{"key": text})
			}
			return a.line("%s", text)
		},
	}
}
