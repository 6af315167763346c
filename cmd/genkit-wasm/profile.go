package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/genkit-wasm/genkit-wasm/internal/logins"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

const (
	keyEnv     = "GENKIT_WASM_KEY"
	profileEnv = "GENKIT_WASM_PROFILE"
)

// readLogins reads the profiles of this user.
func readLogins() (*logins.File, error) {
	path, err := logins.Path()
	if err != nil {
		return &logins.File{Profiles: map[string]logins.Profile{}}, nil //nolint:nilerr // without a home there are no profiles
	}
	all, err := logins.Read(path)
	if exposed, ok := errors.AsType[*logins.ExposedError](err); ok {
		return nil, &failure{exit: exitUsage, text: err.Error(), hint: "chmod 600 " + exposed.Path + ", and rotate the keys in it if somebody may have", cause: err}
	}
	if err != nil {
		return nil, usage(err)
	}
	return all, nil
}

func writeLogins(all *logins.File) error {
	path, err := logins.Path()
	if err != nil {
		return usagef("there is no place for profiles: %w", err)
	}
	if err := all.Write(path); err != nil {
		return usage(err)
	}
	return nil
}

// connect finds out which server a command talks to, as which tenant, and with which key:
// flags come first, then the environment, then the profile. A profile's key goes to the
// profile's server and to no other.
func (a *app) connect(cmd *cobra.Command) error {
	flags := cmd.Flags()
	if flags.Lookup("server") == nil {
		return nil
	}
	all, err := readLogins()
	if err != nil {
		return err
	}
	name := cmp.Or(a.profile, os.Getenv(profileEnv))
	p, found := all.Get(name)
	if name != "" && !found && cmd.Name() != "login" {
		return &failure{exit: exitUsage, text: fmt.Sprintf("there is no profile %q", name), hint: "\"genkit-wasm login --profile " + name + "\" makes it"}
	}
	if !flags.Changed("server") && os.Getenv(serverEnv) == "" && p.Server != "" {
		a.server = p.Server
	}
	if flags.Lookup("tenant") != nil && !flags.Changed("tenant") && p.Tenant != "" {
		a.tenant = p.Tenant
	}
	a.key = strings.TrimSpace(os.Getenv(keyEnv))
	if a.key == "" {
		a.key = p.KeyFor(a.server)
	}
	if err := a.trust(p); err != nil {
		return err
	}
	return checkKey(a.key)
}

// checkKey refuses what can't be sent.
func checkKey(key string) error {
	if len(key) > access.MaxTokenBytes || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return usagef("the key holds characters that no key has, or is too long")
	}
	return nil
}

// authorize has a request carry the key.
func (a *app) authorize(h http.Header) {
	if a.key != "" {
		h.Set("Authorization", "Bearer "+a.key)
	}
}

func (a *app) loginCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "login", Short: "Keep a server's URL and a key for it", Args: cobra.NoArgs,
		Long: "Login asks for a key, or reads it from the standard input, checks it with the server, and keeps both as a profile, " +
			"which later commands use. --profile names it; the profile of the last login is the one of commands that name none. " +
			"The file is its owner's alone to read.\n\n" +
			"  genkit-wasm login --server https://tools.example.com < key.txt\n" +
			"  genkit-wasm ls\n\n" +
			"A server whose certificate no authority has signed that the system knows is trusted with --ca: " +
			"the file holds the certificate itself, or that of the authority, and the profile keeps it.\n\n" +
			"A command takes a key from " + keyEnv + " first. A profile's key goes to the profile's server only.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.login(cmd) },
	}
	a.serverFlags(cmd)
	cmd.Flags().StringVar(&a.caFile, "ca", "", "a PEM `FILE` with the certificate that the server's has to be of, in the place of those that the system trusts")
	return cmd
}

// who is the answer of /v1/identity.
type who struct {
	Subject string        `json:"subject"`
	Name    string        `json:"name"`
	Scopes  access.Scopes `json:"scopes"`
}

func (a *app) login(cmd *cobra.Command) error {
	all, err := readLogins()
	if err != nil {
		return err
	}
	if a.key, err = a.askKey(); err != nil {
		return err
	}
	if host, plain := plainHost(a.server); plain {
		a.note("%s the key goes to %s without encryption", colour(a.err, yellow, "warning:"), host)
	}
	raw, err := a.call(cmd.Context(), request{method: http.MethodGet, path: "/identity", server: true})
	if f, ok := errors.AsType[*failure](err); ok && f.exit == exitNotFound {
		return &failure{exit: exitFailed, text: a.server + " asks for no key, so there is nothing to keep", cause: err}
	}
	if err != nil {
		return err
	}
	var identity who
	if err := json.Unmarshal(raw, &identity); err != nil {
		return fmt.Errorf("the server's answer tells of no identity: %w", err)
	}
	p := logins.Profile{Server: a.server, Key: a.key, CA: a.ca}
	switch tenants := slices.Collect(maps.Keys(identity.Scopes.Tenants)); {
	case cmd.Flags().Changed("tenant"):
		p.Tenant = a.tenant
	case len(tenants) == 1:
		p.Tenant = tenants[0]
	}
	name := cmp.Or(a.profile, os.Getenv(profileEnv), "default")
	all.Put(name, p)
	if err := writeLogins(all); err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(map[string]any{"profile": name, "server": p.Server, "tenant": p.Tenant, "identity": raw})
	}
	return a.line("profile %s: %s as %s (%s)", name, p.Server, abi.Line(cmp.Or(identity.Name, identity.Subject), 128), strings.Join(identity.Scopes.List(), ", "))
}

// askKey reads a key: without showing it from a person, else from the standard input.
func (a *app) askKey() (string, error) {
	if a.key != "" && os.Getenv(keyEnv) != "" {
		return a.key, nil
	}
	var key string
	if f, ok := terminal(a.in); ok {
		_, _ = fmt.Fprintf(a.err, "Key for %s: ", a.server)
		raw, err := term.ReadPassword(int(f.Fd())) //nolint:gosec // a descriptor
		a.note("")
		if err != nil {
			return "", usagef("read the key: %w", err)
		}
		key = string(raw)
	} else {
		line, err := bufio.NewReader(io.LimitReader(a.in, access.MaxTokenBytes+2)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", usagef("read the key: %w", err)
		}
		key = line
	}
	key = strings.TrimSpace(key)
	if key == "" {
		return "", usagef("there is no key on the standard input")
	}
	return key, checkKey(key)
}

// plainHost returns a server's host, and whether what is sent to it crosses a network in the
// clear.
func plainHost(server string) (string, bool) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" {
		return "", false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Host, u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

func (a *app) logoutCommand() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use: "logout", Short: "Forget a profile and its key", Args: cobra.NoArgs,
		Long: "Logout forgets the profile of --profile, or of the last login. The key itself goes on to work; \"genkit-wasm key revoke\" ends it.",
		RunE: func(*cobra.Command, []string) error {
			all, err := readLogins()
			if err != nil {
				return err
			}
			name := cmp.Or(a.profile, os.Getenv(profileEnv), all.Current)
			if _, ok := all.Get(name); !ok {
				return usagef("there is no profile %q", name)
			}
			if dry {
				if a.json() {
					return a.printJSON(map[string]any{"dryRun": true, "profile": name})
				}
				return a.line("profile %s would be forgotten", name)
			}
			all.Forget(name)
			if err := writeLogins(all); err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]string{"profile": name})
			}
			return a.line("profile %s is forgotten", name)
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show which profile would be forgotten, and forget none")
	a.profileFlag(cmd)
	return cmd
}
