package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/datadir"
	"github.com/genkit-wasm/genkit-wasm/internal/listening"
	"github.com/genkit-wasm/genkit-wasm/internal/profiling"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
)

const defaultConnections = 4096

// networkFlags are the flags of serve that say who may reach the server, and how.
type networkFlags struct {
	auth, plain     bool
	tlsCert, tlsKey string
	proxies, oidc   []string
	maxConnections  int
	pprof           string

	proxyNets []netip.Prefix          // of proxies, once they are checked
	certs     *listening.Certificates // nil: plain HTTP
	closed    *listening.Closed       // once it listens
}

func (f *networkFlags) add(flags *pflag.FlagSet) {
	flags.BoolVar(&f.auth, "auth", false, "ask who calls: every request needs an API key. A start without any admin key creates one and prints it, this once")
	flags.StringArrayVar(&f.oidc, "oidc", nil, "an OpenID Connect issuer whose tokens are accepted beside API keys, `JSON` or @FILE, such as {\"issuer\":\"https://id.example.com\",\"audience\":\"tools\",\"rules\":[{\"claim\":\"groups\",\"value\":\"devs\",\"scopes\":[\"acme:manage\"]}]}; may be given again")
	flags.StringVar(&f.tlsCert, "tls-cert", "", "the certificate for HTTPS, a PEM `FILE` with the chain; read again when it changes")
	flags.StringVar(&f.tlsKey, "tls-key", "", "the private key of --tls-cert, a PEM `FILE`")
	flags.StringArrayVar(&f.proxies, "trusted-proxy", nil, "a network, `CIDR`, of a proxy before this server: its X-Forwarded-For is believed, and without TLS nobody else may connect from beyond loopback; may be given again")
	f.maxConnections = defaultConnections
	wholeFlag(flags, &f.maxConnections, "max-connections", 0, 1_000_000, "connections from beyond loopback at a time, 0 is the default; one address, or the /64 of IPv6, has at most a sixteenth of them, a trusted proxy all")
	flags.StringVar(&f.pprof, "pprof", "", "serve Go's profiles of the server below /debug/pprof/ at this `ADDRESS` of loopback, such as 127.0.0.1:6060; with --auth they take a key with the scope admin")
	flags.BoolVar(&f.plain, "plain-http-beyond-loopback", false, "listen beyond loopback without TLS and without a proxy: keys and data cross the network in the clear")
}

// check looks at the flags before anything is opened.
func (f *networkFlags) check() error {
	for _, text := range f.proxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return usagef("--trusted-proxy %q: want a network such as 10.0.0.0/8, or an address", text)
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		f.proxyNets = append(f.proxyNets, p.Masked())
	}
	switch {
	case (f.tlsCert == "") != (f.tlsKey == ""):
		return usagef("--tls-cert and --tls-key go together")
	case len(f.oidc) > 0 && !f.auth:
		return usagef("--oidc is for --auth")
	case f.plain && f.tlsCert != "":
		return usagef("--plain-http-beyond-loopback does not go with --tls-cert")
	}
	if f.pprof != "" {
		return profilesError(profiling.CheckAddress(f.pprof))
	}
	return nil
}

// openProfiles begins to serve profiles at an address, to those whom auth takes for admins; nil where addr is empty.
func openProfiles(ctx context.Context, addr string, auth access.Authenticator, log *slog.Logger) (*profiling.Server, error) {
	if addr == "" {
		return nil, nil
	}
	s, err := profiling.Start(ctx, addr, profiling.Config{Auth: auth, Logger: log})
	return s, profilesError(err)
}

// profilesError is why there are no profiles.
func profilesError(err error) error {
	switch status.Of(err) {
	case status.OK:
		return nil
	case status.InvalidArgument:
		return usagef("--pprof %s", messageOf(err))
	}
	return &failure{exit: exitFailed, text: "--pprof: " + messageOf(err), hint: "choose another port with --pprof 127.0.0.1:PORT", cause: err}
}

// loadTLS reads the certificate.
func (f *networkFlags) loadTLS(log *slog.Logger) (err error) {
	if f.tlsCert == "" {
		return nil
	}
	keyOf := func(file string) error { return checkKeyFile("--tls-key", file) }
	if f.certs, err = listening.LoadCertificates(f.tlsCert, f.tlsKey, keyOf, log); err != nil {
		if _, ok := errors.AsType[*failure](err); ok {
			return err
		}
		return usagef("--tls-cert, --tls-key: %w", err)
	}
	return nil
}

// beyond reports whether the server may listen beyond loopback: it has to ask who calls, and
// what crosses the network has to be secured or said not to be.
func (f *networkFlags) beyond() bool {
	return f.auth && (f.tlsCert != "" || len(f.proxyNets) > 0 || f.plain)
}

func (f *networkFlags) scheme() string {
	if f.certs != nil {
		return "https"
	}
	return "http"
}

// checkAddr reports why the server may not listen at an address, and whether it is one of loopback.
func (f *networkFlags) checkAddr(addr string, allowedHosts []string) (loopback bool, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = portOf(port)
	}
	if err != nil {
		return false, usagef("--addr %q: want HOST:PORT, such as 127.0.0.1:3400", addr)
	}
	ip := net.ParseIP(host)
	loopback = host == "localhost" || ip != nil && ip.IsLoopback()
	switch {
	case !loopback && !f.auth:
		return false, &failure{
			exit: exitUsage, text: fmt.Sprintf("--addr %q is reachable from other machines, and this server accepts requests without a login", addr),
			hint: "listen on 127.0.0.1, [::1] or localhost; or have it ask who calls with --auth, and secure what crosses the network",
		}
	case !loopback && !f.beyond():
		return false, &failure{
			exit: exitUsage, text: fmt.Sprintf("--addr %q is reachable from other machines, and keys would cross the network in the clear", addr),
			hint: "give --tls-cert and --tls-key, or --trusted-proxy with the network of a proxy that does TLS; --plain-http-beyond-loopback goes without",
		}
	case !loopback && (ip == nil || ip.IsUnspecified()) && len(allowedHosts) == 0:
		return false, &failure{
			exit: exitUsage, text: fmt.Sprintf("--addr %q does not say by which name the server is reached", addr),
			hint: "give --allowed-host with each name or address that a request's Host header may carry",
		}
	}
	return loopback, nil
}

// portOf reads the number of a TCP port.
func portOf(text string) (int, error) {
	n, err := readWhole(text)
	if err == nil && (n < 0 || n > 65535) {
		err = strconv.ErrRange
	}
	return int(n), err
}

// listen opens the port; an address beyond loopback only where it may.
func (f *networkFlags) listen(ctx context.Context, addr string, allowedHosts []string) (net.Listener, error) {
	f.closed = &listening.Closed{}
	loopback, err := f.checkAddr(addr, allowedHosts)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, &failure{exit: exitFailed, text: fmt.Sprintf("listen: %v", err), hint: "choose another port with --addr 127.0.0.1:PORT", cause: err}
	}
	bound, ok := l.Addr().(*net.TCPAddr)
	if (!ok || !bound.IP.IsLoopback()) && (loopback || !f.beyond()) {
		return nil, errors.Join(usagef("--addr %q resolves to %s, which is not a loopback address", addr, l.Addr()), l.Close())
	}
	if !loopback {
		l = listening.Limit(l, cmp.Or(f.maxConnections, defaultConnections), f.proxyNets, f.closed)
	}
	switch {
	case f.certs != nil:
		return tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: f.certs.Get}), nil
	case len(f.proxyNets) > 0 && !f.plain:
		return listening.BehindProxies(l, f.proxyNets, f.closed), nil
	}
	return l, nil
}

// guards are what a server asks who calls.
type guards struct {
	store   *access.Dir
	keys    *access.Keys
	auth    access.Authenticator
	issuers []*access.OIDC
	// admins is set when tokens of an issuer are accepted whose bearers are admins.
	admins bool
}

// openGuards opens the API keys of a data directory; nil where nobody is asked.
func (a *app) openGuards(ctx context.Context, f *serveFlags, log *slog.Logger) (*guards, error) {
	if !f.auth {
		return nil, nil
	}
	g := &guards{}
	var err error
	if g.issuers, g.admins, err = a.issuers(f, log); err != nil {
		return nil, err
	}
	if g.store, err = access.OpenDir(keysDir(f.data)); err != nil {
		return nil, local(err, false)
	}
	if g.keys, err = access.OpenKeys(ctx, access.KeysConfig{Store: g.store, Logger: log}); err != nil {
		return nil, errors.Join(local(err, false), g.store.Close())
	}
	chain := access.Chain{g.keys}
	for _, issuer := range g.issuers {
		chain = append(chain, issuer)
	}
	g.auth = access.NewThrottle(access.ThrottleConfig{Next: chain})
	return g, nil
}

// all returns the keys; nil where nobody is asked who calls.
func (g *guards) all() *access.Keys {
	if g == nil {
		return nil
	}
	return g.keys
}

// authenticator returns what asks who calls; nil where nobody is asked.
func (g *guards) authenticator() access.Authenticator {
	if g == nil {
		return nil
	}
	return g.auth
}

// issuers reads --oidc, and reports whether any rule of it names admins.
func (a *app) issuers(f *serveFlags, log *slog.Logger) (all []*access.OIDC, admins bool, err error) {
	for _, text := range f.oidc {
		raw, err := a.jsonValue("oidc", text)
		if err != nil {
			return nil, false, err
		}
		c, err := access.ParseOIDC(raw)
		if err != nil {
			return nil, false, usagef("--oidc: %s", strings.TrimPrefix(messageOf(err), "oidc: "))
		}
		c.Logger = log
		issuer, err := access.NewOIDC(c)
		if err != nil {
			return nil, false, usagef("--oidc: %s", messageOf(err))
		}
		all = append(all, issuer)
		admins = admins || slices.ContainsFunc(c.Rules, func(r access.OIDCRule) bool { return slices.Contains(r.Scopes, string(access.Admin)) })
	}
	return all, admins, nil
}

func keysDir(data string) string { return filepath.Join(data, datadir.Keys) }

func (g *guards) close() error {
	if g == nil {
		return nil
	}
	return errors.Join(g.keys.Close(), g.store.Close())
}

// protect has a server ask who calls.
func (g *guards) protect(c *server.Config, f *serveFlags) {
	c.TrustedProxies = f.proxyNets
	if g != nil {
		c.Auth, c.Keys = g.auth, g.keys
	}
}

// firstKey creates an admin key where there is none that lets anybody in, and prints its
// token, to the standard output and nowhere else. Where tokens of an issuer make admins that
// is the first start only: an operator who has revoked all keys since has meant it. That there
// was one is noted once the key was printed, and by any start that finds one.
func (a *app) firstKey(ctx context.Context, g *guards, changes *audit.Log, log *slog.Logger) error {
	switch {
	case g == nil:
		return nil
	case g.keys.HasAdmin():
		return local(g.keys.Settle(ctx), false)
	case g.admins && g.keys.Settled():
		log.Info("no API key has the scope admin, so those are admins whom the rules of --oidc name; \"genkit-wasm key create NAME --scope admin --data DIR\" makes such a key while the server is stopped")
		return nil
	}
	key, token, err := g.keys.Create(ctx, access.KeySpec{Name: "admin", Scopes: access.Scopes{Admin: true}})
	if err != nil {
		return local(err, false)
	}
	if err := note(changes, "createKey", "/v1/keys/"+key.ID); err != nil {
		return errors.Join(err, g.keys.Revoke(ctx, key.ID))
	}
	if err := a.line("admin key, shown this once: %s", token); err != nil {
		return errors.Join(err, g.keys.Revoke(ctx, key.ID)) // nobody has seen it
	}
	return local(g.keys.Settle(ctx), false)
}
