package main

import (
	"encoding/json"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// reachFlags are the flags for everything that guests may reach beyond their call.
type reachFlags struct {
	secrets, mounts, networks []string
}

func (f *reachFlags) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.secrets, "secret", nil, "a secret, `NAME=@FILE` or NAME=env:VARIABLE; TENANT/NAME for another tenant; may be given again")
	flags.StringArrayVar(&f.mounts, "mount", nil, "a directory that policies may grant, `NAME=DIR`, or NAME=DIR:rw where guests may write; may be given again")
	flags.StringArrayVar(&f.networks, "allow-network", nil, "a network that guests may reach although it is not public, such as 10.1.0.0/16; may be given again")
}

// open reads secrets and opens mounts. The function that it returns closes them, after
// the host.
func (f *reachFlags) open(config *wasmhost.Config) (func() error, error) {
	secrets := secret.Static{}
	for _, s := range f.secrets {
		if err := checkSecretFile(s); err != nil {
			return nil, err
		}
		if err := secrets.Add(s, wasmhost.DefaultTenant); err != nil {
			return nil, usagef("--secret: %s", status.Convert(err).Message)
		}
	}
	config.Secrets = secrets
	var networks []netip.Prefix
	for _, n := range f.networks {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return nil, usagef("--allow-network %q: want a network such as 10.1.0.0/16", n)
		}
		networks = append(networks, p.Masked())
	}
	config.Egress = egress.Config{Reachable: networks}
	config.Mounts = map[string]*vfs.Mount{}
	closeAll := func() error {
		var errs []error
		for _, m := range config.Mounts {
			errs = append(errs, m.Close())
		}
		return errors.Join(errs...)
	}
	for _, text := range f.mounts {
		name, dir, ok := strings.Cut(text, "=")
		dir, writable := strings.CutSuffix(dir, ":rw")
		if !ok || name == "" || dir == "" || config.Mounts[name] != nil {
			return nil, errors.Join(usagef("--mount %q: want NAME=DIR or NAME=DIR:rw, each name once", text), closeAll())
		}
		m, err := vfs.Open(filepath.Clean(dir), vfs.Options{Writable: writable})
		if err != nil {
			return nil, errors.Join(usagef("--mount: %s", status.Convert(err).Message), closeAll())
		}
		config.Mounts[name] = m
	}
	return closeAll, nil
}

// grants reads --grants, by the rules of a policy.
func (a *app) grants(text string) (*policy.Grants, error) {
	raw, err := a.jsonValue("grants", text)
	if err != nil || raw == nil {
		return nil, err
	}
	p, err := policy.Parse(slices.Concat([]byte(`{"grants":`), raw, []byte(`}`)))
	if err != nil {
		return nil, usagef("--grants: %s", status.Convert(err).Message)
	}
	return &p.Grants, nil
}

// localGrants are the grants that run adds to a policy's.
type localGrants struct {
	hosts, names []string
}

func (g *localGrants) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&g.hosts, "allow-host", nil, "a host that the module may reach with any method: api.example.com, *.example.com, or with scheme and port, http://localhost:8080; the secrets of --secret may be sent there; may be given again")
	cmd.Flags().StringSliceVar(&g.names, "grant", nil, "kv or clock, or both with a comma")
}

// apply adds the grants of the flags to an upload's policy, and lets the host allow
// them: the user who runs a module here is its operator.
func (g *localGrants) apply(up *wasmhost.Upload, config *wasmhost.Config, secrets []string) error {
	p, err := policy.Parse(up.Policy)
	if err != nil {
		return refusedModule(err)
	}
	var origins []string
	for _, text := range g.hosts {
		grant, origin, err := allowedHost(text)
		if err != nil {
			return err
		}
		p.Grants.HTTP = append(p.Grants.HTTP, grant)
		if origin != "" {
			origins = append(origins, origin)
		}
		config.Egress.Reachable = append(config.Egress.Reachable, thisMachine(grant.Host)...)
	}
	for _, name := range g.names {
		switch name {
		case "kv":
			p.Grants.KV = true
		case "clock":
			p.Grants.Clock = true
		default:
			return usagef("--grant is %q, want kv or clock; other grants stand in a policy file", name)
		}
	}
	for _, reference := range secrets {
		name, _, _ := strings.Cut(reference, "=")
		if _, bound := p.Grants.Secrets[name]; bound || len(origins) == 0 {
			continue
		}
		if p.Grants.Secrets == nil {
			p.Grants.Secrets = map[string][]string{}
		}
		p.Grants.Secrets[name] = origins
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if p, err = policy.Parse(raw); err != nil { // the flags obey the same rules
		return usage(err)
	}
	up.Policy, config.Grants = raw, &p.Grants
	return nil
}

// allowedHost reads a host of --allow-host. The origin is where a secret may go; a host
// that is "*" has none.
func allowedHost(text string) (grant policy.HTTPGrant, origin string, err error) {
	bad := func() (policy.HTTPGrant, string, error) {
		return policy.HTTPGrant{}, "", usagef("--allow-host %q: want a host such as api.example.com, *.example.com or http://localhost:8080", text)
	}
	grant = policy.HTTPGrant{Schemes: []string{"https"}, Methods: []string{"*"}}
	rest := text
	if scheme, after, ok := strings.Cut(text, "://"); ok {
		grant.Schemes, rest = []string{scheme}, after
	}
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, ']') {
		port, err := portOf(rest[i+1:])
		if err != nil || port == 0 {
			return bad()
		}
		rest, grant.Ports = rest[:i], []int{port}
	}
	if grant.Host = rest; rest == "" {
		return bad()
	}
	if rest != "*" {
		origin = text
	}
	return grant, origin, nil
}

// thisMachine returns the networks of a host that names this machine, or an address:
// who names it means it.
func thisMachine(host string) []netip.Prefix {
	if host == "localhost" {
		return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return nil
	}
	addr = addr.Unmap()
	return []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}
}
