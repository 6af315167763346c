package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
)

func (a *app) keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "key", Short: "Create, list, rotate and revoke a server's API keys", Args: cobra.NoArgs,
		Long: "Key changes who may call a server that was started with --auth. It needs a key with the scope admin itself.\n\n" +
			"Scopes: \"admin\" may do everything; of one tenant, \"manage\" may change its modules and secrets, \"invoke\" may run its tools and flows " +
			"and generate, \"read\" may see what there is. Each includes those after it. \"acme:invoke\" is the scope of the tenant acme, " +
			"\"invoke\" alone of the tenant of --tenant.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.keyCreateCommand(), a.keyListCommand(), a.keyRotateCommand(), a.keyRevokeCommand())
	for _, c := range cmd.Commands() {
		c.Args = a.usageArgs(c.Args)
	}
	return cmd
}

// keyWithToken is what the server answers once.
type keyWithToken struct {
	Token string     `json:"token"`
	Key   access.Key `json:"key"`
}

func (a *app) keyCreateCommand() *cobra.Command {
	var scopes []string
	var expires, data string
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create a key and print its token, this once", Args: cobra.ExactArgs(1),
		Long: "Create prints the token of the new key on the standard output, and can't print it again.\n\n" +
			"  genkit-wasm key create ci --scope acme:invoke --expires 90d\n\n" +
			"With --data it makes the key in a data directory whose server does not run: the way back in when the last admin key is lost.\n\n" +
			"  genkit-wasm key create rescue --scope admin --data ./data",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(scopes) == 0 {
				return usagef("say what the key may do, with --scope")
			}
			spec := access.KeySpec{Name: args[0]}
			var err error
			if spec.Scopes, err = a.scopes(scopes); err != nil {
				return err
			}
			if spec.ExpiresAt, err = expiry(expires, time.Now()); err != nil {
				return err
			}
			var made keyWithToken
			if data != "" {
				made, err = a.createOffline(cmd.Context(), data, spec)
			} else {
				err = a.post(cmd.Context(), "/keys", spec, &made)
			}
			if err != nil {
				return err
			}
			if data == "" {
				a.warnOfNoTenant(cmd.Context(), spec.Scopes)
			}
			return a.showToken(made)
		},
	}
	cmd.Flags().StringArrayVar(&scopes, "scope", nil, "what the key may do, `SCOPE`: admin, TENANT:manage, TENANT:invoke, TENANT:read; may be given again")
	completeFlag(cmd, "scope", a.scopeWords())
	cmd.Flags().StringVar(&expires, "expires", "", "when the key ends: `WHEN`, such as 90d, 12h or 2030-01-31T12:00:00Z (default: never)")
	cmd.Flags().StringVar(&data, "data", "", "make the key in this data `DIRECTORY`, without its server")
	a.serverFlags(cmd)
	return cmd
}

// warnOfNoTenant tells of tenants that a key's scopes name and that are not there. The server takes such a key, since a key may be
// made before its tenant; but a name that was mistyped lets nobody in, and whoever makes a tenant of it does not know of the key.
func (a *app) warnOfNoTenant(ctx context.Context, s access.Scopes) {
	for _, name := range slices.Sorted(maps.Keys(s.Tenants)) {
		_, err := a.call(ctx, request{method: http.MethodGet, path: tenantPath(name), server: true})
		if f, ok := errors.AsType[*failure](err); ok && f.exit == exitNotFound {
			a.note("%s there is no tenant %q: until there is one of that name, the scope %s:%s lets nobody in", colour(a.err, yellow, "warning:"), name, name, s.Tenants[name])
		}
	}
}

// createOffline makes a key in a data directory. It fails when a server has it open.
func (a *app) createOffline(ctx context.Context, data string, spec access.KeySpec) (made keyWithToken, err error) {
	if _, err := os.Stat(data); err != nil {
		return made, usagef("--data: %w", err)
	}
	store, err := access.OpenDir(keysDir(data))
	if err != nil {
		return made, local(err, false)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	keys, err := access.OpenKeys(ctx, access.KeysConfig{Store: store})
	if err != nil {
		return made, local(err, false)
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	changes, err := audit.Open(auditDir(data), audit.Config{})
	if err != nil {
		return made, local(err, false)
	}
	defer func() { err = errors.Join(err, changes.Close()) }()
	part, err := lostLog(changes, data)
	if err != nil {
		return made, local(err, false)
	}
	if part != "" {
		a.note("%s", noLog)
	}
	if made.Key, made.Token, err = keys.Create(ctx, spec); err != nil {
		return made, local(err, false)
	}
	if err := note(changes, "createKey", "/v1/keys/"+made.Key.ID); err != nil {
		return keyWithToken{}, errors.Join(err, keys.Revoke(ctx, made.Key.ID))
	}
	return made, nil
}

// scopes reads --scope; one without a tenant is of the tenant of --tenant.
func (a *app) scopes(texts []string) (access.Scopes, error) {
	full := make([]string, len(texts))
	for i, text := range texts {
		if full[i] = text; text != string(access.Admin) && !strings.Contains(text, ":") {
			full[i] = a.tenant + ":" + text
		}
	}
	s, err := access.ParseScopes(full)
	if err != nil {
		return s, local(&failure{exit: exitUsage, text: "--scope: " + messageOf(err), cause: err}, false)
	}
	return s, nil
}

// expiry reads a time, or how long it is until then, in days or as Go writes durations; the
// zero time for no text.
func expiry(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	d, err := span(text)
	if err != nil || d <= 0 {
		return time.Time{}, usagef("--expires is %q, want a time such as 90d, 12h or 2030-01-31T12:00:00Z", text)
	}
	return now.Add(d).UTC().Truncate(time.Second), nil
}

// mostDays bounds a number of days: what a time.Duration can hold is more.
const mostDays = 65_535

// span reads a duration, as Go writes it or in days: "90d".
func span(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := readWhole(days)
		if err == nil && (n < 0 || n > mostDays) {
			err = strconv.ErrRange
		}
		return time.Duration(n) * 24 * time.Hour, err
	}
	d, err := readSpan(text)
	return time.Duration(d), err
}

// post sends a value to a route of the server itself and decodes what is answered.
func (a *app) post(ctx context.Context, path string, value, into any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	raw, err := a.call(ctx, request{method: http.MethodPost, path: path, server: true, body: bytes.NewReader(body), length: int64(len(body)), kind: "application/json"})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("the server's answer is not as expected: %w", err)
	}
	return nil
}

// showToken prints a token alone on the standard output, for scripts, and the rest beside it.
func (a *app) showToken(made keyWithToken) error {
	if a.json() {
		return a.printJSON(made)
	}
	a.note("key %s, %s: %s; %s", abi.Line(made.Key.ID, 64), abi.Line(made.Key.Name, 128), strings.Join(made.Key.Scopes.List(), ", "), ends(made.Key))
	a.note("the token, which can't be shown again:")
	return a.line("%s", abi.Line(made.Token, 128))
}

func ends(k access.Key) string {
	if k.ExpiresAt.IsZero() {
		return "it does not expire"
	}
	return "it expires " + shortTime(k.ExpiresAt)
}

func shortTime(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.Local().Format("2006-01-02 15:04")
}

func (a *app) keyListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Short: "List the keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := a.keys(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]any{"keys": keys})
			}
			rows := make([][]string, len(keys))
			for i, k := range keys {
				rows[i] = []string{abi.Line(k.ID, 64), abi.Line(k.Name, 128), strings.Join(k.Scopes.List(), ","), string(k.State), shortTime(k.CreatedAt), shortTime(k.ExpiresAt), shortTime(k.LastUsedAt)}
			}
			return a.table("ID\tNAME\tSCOPES\tSTATE\tCREATED\tEXPIRES\tLAST USED", rows)
		},
	}
	a.serverFlags(cmd)
	return cmd
}

// keys lists all keys.
func (a *app) keys(ctx context.Context) ([]access.Key, error) {
	keys := []access.Key{}
	for query := (url.Values{}); ; {
		raw, err := a.call(ctx, request{method: http.MethodGet, path: "/keys", server: true, query: query})
		if err != nil {
			return nil, err
		}
		var page struct {
			Keys   []access.Key `json:"keys"`
			Cursor string       `json:"cursor"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return nil, fmt.Errorf("the server's answer is not a list of keys: %w", err)
		}
		keys = append(keys, page.Keys...)
		if page.Cursor == "" || len(page.Keys) == 0 {
			return keys, nil
		}
		query = url.Values{"cursor": {page.Cursor}}
	}
}

var keyID = regexp.MustCompile(`^[a-z2-7]{16}$`)

// keyID returns the id of a key that is given by it, or by a name that no other key has.
// What has the form of an id is one.
func (a *app) keyID(ctx context.Context, key string) (string, error) {
	if keyID.MatchString(key) {
		return key, nil
	}
	if strings.HasPrefix(key, access.TokenPrefix) {
		return "", usagef("that is a token; give the key's id, which stands between \"gwk_\" and the next \"_\", or its name")
	}
	all, err := a.keys(ctx)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, k := range all {
		if k.Name == key {
			ids = append(ids, abi.Line(k.ID, 64))
		}
	}
	switch len(ids) {
	case 0:
		return "", &failure{exit: exitNotFound, code: status.NotFound.String(), text: fmt.Sprintf("there is no key with the id or the name %q", key), hint: "\"genkit-wasm key ls\" lists the keys"}
	case 1:
		return ids[0], nil
	}
	return "", usagef("%d keys are called %q; give the id of one: %s", len(ids), key, strings.Join(ids, ", "))
}

func (a *app) keyRotateCommand() *cobra.Command {
	var overlap, expires string
	cmd := &cobra.Command{
		Use: "rotate KEY", Short: "Give a key a new secret and print its token, this once", Args: cobra.ExactArgs(1), ValidArgsFunction: firstOnly(a.keyWords()),
		Long: "Rotate prints the new token on the standard output. The old one works for --overlap, so that who uses it can be told in peace. " +
			"KEY is the key's id, or its name where only one has it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := span(overlap)
			if err != nil || d < 0 {
				return usagef("--overlap is %q, want a duration such as 1h or 7d", overlap)
			}
			body := map[string]any{"overlapSeconds": int64(d / time.Second)}
			at, err := expiry(expires, time.Now())
			if err != nil {
				return err
			}
			if !at.IsZero() {
				body["expiresAt"] = at
			}
			var made keyWithToken
			id, err := a.keyID(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := a.post(cmd.Context(), keyPath(id)+"/rotate", body, &made); err != nil {
				return err
			}
			return a.showToken(made)
		},
	}
	cmd.Flags().StringVar(&overlap, "overlap", "0s", "how long the old token goes on to work: `TIME`, such as 1h or 7d; without it the old one ends at once")
	cmd.Flags().StringVar(&expires, "expires", "", "when the key ends, `WHEN`, as for create (default: as before)")
	a.serverFlags(cmd)
	return cmd
}

func keyPath(id string) string { return "/keys/" + url.PathEscape(id) }

func (a *app) keyRevokeCommand() *cobra.Command {
	var yes, dry bool
	cmd := &cobra.Command{
		Use: "revoke KEY", Short: "End a key, and all that runs under it", Args: cobra.ExactArgs(1), ValidArgsFunction: firstOnly(a.keyWords()),
		Long: "Revoke ends a key at once: requests that run under it end, and the key is gone. On a terminal it asks first; --dry-run shows which key would go. " +
			"KEY is the key's id, or its name where only one has it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := a.keyID(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if dry {
				return a.showDoomedKey(cmd.Context(), id)
			}
			if !yes && !a.confirm(fmt.Sprintf("Revoke key %s, and end what runs under it?", args[0])) {
				return &failure{exit: exitFailed, text: "nothing was revoked"}
			}
			if _, err := a.call(cmd.Context(), request{method: http.MethodDelete, path: keyPath(id), server: true}); err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]string{"status": "OK"})
			}
			return a.line("key %s is revoked", args[0])
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show which key would be revoked, and revoke none")
	a.serverFlags(cmd)
	return cmd
}

// showDoomedKey shows what "key revoke" would end.
func (a *app) showDoomedKey(ctx context.Context, id string) error {
	raw, err := a.call(ctx, request{method: http.MethodGet, path: keyPath(id), server: true})
	if err != nil {
		return err
	}
	var k access.Key
	if err := json.Unmarshal(raw, &k); err != nil {
		return fmt.Errorf("the server's answer is not a key: %w", err)
	}
	if a.json() {
		return a.printJSON(map[string]any{"dryRun": true, "key": raw})
	}
	return a.line("key %s, %s, would be revoked, and what runs under it would end: %s; last used %s; %s",
		abi.Line(k.ID, 64), abi.Line(k.Name, 128), strings.Join(k.Scopes.List(), ", "), shortTime(k.LastUsedAt), ends(k))
}
