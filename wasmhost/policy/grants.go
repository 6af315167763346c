package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Grants are capabilities given. The zero value grants nothing.
type Grants struct {
	HTTP []HTTPGrant `json:"http,omitempty"`
	KV   bool        `json:"kv,omitempty"`
	// Secrets gives, for each name, the origins that the secret may be sent
	// to: "api.example.com" (https, port 443), "api.example.com:8443",
	// "*.example.com", "http://localhost:8080".
	Secrets map[string][]string `json:"secrets,omitempty"`
	// Generate and Actions are patterns: "openai/gpt-4o", "openai/*",
	// "tool/*", "*".
	Generate []string `json:"generate,omitempty"`
	Actions  []string `json:"actions,omitempty"`
	// Clock gives the time of day, to "now" and to WASI.
	Clock bool `json:"clock,omitempty"`
	// Rewrite lets middleware change its input: the caller's messages, but for
	// those of the system, the documents, and the descriptions of tools. Without it, it
	// may only add messages and documents, and leave tools out.
	Rewrite bool `json:"rewrite,omitempty"`
	// Files shows directories that the operator has named.
	Files []FileGrant `json:"files,omitempty"`
}

// FileGrant shows one of the operator's mounts to a module, through WASI.
type FileGrant struct {
	// Mount is the name that the operator gave to a directory.
	Mount string `json:"mount"`
	// Path is where the guest finds it: absolute, clean, not "/".
	Path string `json:"path"`
	// Write lets the guest change it, where the mount itself may be.
	Write bool `json:"write,omitempty"`
}

// Bounds of a policy's lists.
const (
	maxGrants   = 64
	maxPatterns = 128
)

var (
	secretName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)
	mountName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	mountPath  = regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}){1,8}$`)
)

// CheckSecretName refuses names that can't stand in {{secret:NAME}}.
func CheckSecretName(name string) error {
	if !secretName.MatchString(name) {
		return status.Publicf(status.InvalidArgument, "policy: secret %q: want 1 to 64 letters, digits, \"_\", \".\" or \"-\", starting with a letter or \"_\"", abi.Line(name, 40))
	}
	return nil
}

// check refuses entries that could be misread, and brings hosts and methods to one form.
func (g *Grants) check() error {
	if len(g.HTTP) > maxGrants || len(g.Secrets) > maxGrants || len(g.Files) > maxGrants || len(g.Generate) > maxPatterns || len(g.Actions) > maxPatterns {
		return status.Publicf(status.InvalidArgument, "policy: too many grants; at most %d of a kind, and %d patterns", maxGrants, maxPatterns)
	}
	for i := range g.HTTP {
		if err := g.HTTP[i].check(); err != nil {
			return err
		}
	}
	for name, origins := range g.Secrets {
		if err := CheckSecretName(name); err != nil {
			return err
		}
		if len(origins) == 0 || len(origins) > maxGrants {
			return status.Publicf(status.InvalidArgument, "policy: secret %q: want 1 to %d hosts that it may be sent to", name, maxGrants)
		}
		for _, o := range origins {
			if _, err := parseOrigin(o); err != nil {
				return status.Publicf(status.InvalidArgument, "policy: secret %q: %s", name, err.Error())
			}
		}
	}
	for what, patterns := range map[string][]string{"generate": g.Generate, "actions": g.Actions} {
		for _, p := range patterns {
			if err := checkPattern(p); err != nil {
				return status.Publicf(status.InvalidArgument, "policy: %s: %s", what, err.Error())
			}
		}
	}
	seen := map[string]bool{}
	for _, f := range g.Files {
		if !mountName.MatchString(f.Mount) {
			return status.Publicf(status.InvalidArgument, "policy: files: %q is not the name of a mount", abi.Line(f.Mount, 40))
		}
		if !mountPath.MatchString(f.Path) || seen[f.Path] {
			return status.Publicf(status.InvalidArgument, "policy: files: path %q: want an absolute path such as \"/data\", each once", abi.Line(f.Path, 80))
		}
		seen[f.Path] = true
	}
	return nil
}

func checkPattern(p string) error {
	body := strings.TrimSuffix(p, "*")
	if p == "" || len(p) > 200 || strings.Contains(body, "*") || strings.HasPrefix(p, "/") || abi.Line(p, 200) != p {
		return fmt.Errorf("pattern %q: want a name such as \"tool/search\", or a beginning of names such as \"tool/*\"", abi.Line(p, 80))
	}
	return nil
}

// Matches reports whether one of the patterns takes in a name. A pattern is the
// name itself, or a beginning of it followed by "*".
func Matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		start, open := strings.CutSuffix(p, "*")
		return name == p || (open && strings.HasPrefix(name, start))
	})
}

// needs gives the grant that each capability rests on; those that are absent need
// none.
var needs = map[abi.Capability]string{
	abi.CapHTTP: "http", abi.CapKVGet: "kv", abi.CapKVSet: "kv", abi.CapKVDelete: "kv", abi.CapKVList: "kv",
	abi.CapGenerate: "generate", abi.CapRun: "actions", abi.CapNow: "clock",
}

func (g Grants) has(grant string) bool {
	switch grant {
	case "http":
		return len(g.HTTP) > 0
	case "kv":
		return g.KV
	case "generate":
		return len(g.Generate) > 0
	case "actions":
		return len(g.Actions) > 0
	case "clock":
		return g.Clock
	}
	return false
}

// Always are the capabilities that need no grant.
func Always() []abi.Capability {
	return []abi.Capability{abi.CapEmit, abi.CapInterrupt, abi.CapContext, abi.CapResumed, abi.CapNext}
}

// Grantable are the capabilities that rest on a grant and on nothing else of the
// host: those of [Always] aside.
func Grantable() []abi.Capability {
	return []abi.Capability{abi.CapHTTP, abi.CapKVGet, abi.CapKVSet, abi.CapKVDelete, abi.CapKVList, abi.CapNow, abi.CapRun, abi.CapGenerate}
}

// Check compares a module's imports with its grants and with the capabilities of the host. It
// fails with PERMISSION_DENIED and lists the missing grants, or with UNIMPLEMENTED and lists
// granted capabilities that this host does not have.
func (g Grants) Check(capabilities, provided []abi.Capability) error {
	var missing, absent []string
	for _, c := range capabilities {
		grant, gated := needs[c]
		switch {
		case gated && !g.has(grant):
			missing = append(missing, fmt.Sprintf("%q (grant %q)", c, grant))
		case slices.Contains(Always(), c) || slices.Contains(provided, c):
		default:
			absent = append(absent, fmt.Sprintf("%q", c))
		}
	}
	if len(missing) > 0 {
		return status.Publicf(status.PermissionDenied, "the module imports capabilities that its policy does not grant: %s", strings.Join(missing, ", ")).
			WithDetails(map[string]any{"missing": missing})
	}
	if len(absent) > 0 {
		return status.Publicf(status.Unimplemented, "the module imports capabilities that this host does not provide: %s", strings.Join(absent, ", ")).
			WithDetails(map[string]any{"absent": absent})
	}
	return nil
}

// Within fails with PERMISSION_DENIED, and lists them, when g grants something that
// outer does not: a policy comes with the module, so tenant and server, which
// stand above it, limit its grants. Nothing is silently left out.
func (g Grants) Within(outer Grants) error {
	var over []string
	for _, h := range g.HTTP {
		if !slices.ContainsFunc(outer.HTTP, func(o HTTPGrant) bool { return o.covers(h) }) {
			over = append(over, fmt.Sprintf("http %s", h))
		}
	}
	for _, flag := range []struct {
		name        string
		mine, their bool
	}{{"kv", g.KV, outer.KV}, {"clock", g.Clock, outer.Clock}, {"rewrite", g.Rewrite, outer.Rewrite}} {
		if flag.mine && !flag.their {
			over = append(over, flag.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g.Secrets)) {
		for _, o := range g.Secrets[name] {
			if !originsCover(outer.Secrets[name], o) {
				over = append(over, fmt.Sprintf("secret %s to %s", name, abi.Line(o, 100)))
			}
		}
	}
	for _, p := range g.Generate {
		if !Matches(outer.Generate, p) {
			over = append(over, "generate "+p)
		}
	}
	for _, p := range g.Actions {
		if !Matches(outer.Actions, p) {
			over = append(over, "actions "+p)
		}
	}
	for _, f := range g.Files {
		if !slices.ContainsFunc(outer.Files, func(o FileGrant) bool { return o.Mount == f.Mount && (o.Write || !f.Write) }) {
			over = append(over, fmt.Sprintf("files %s%s", f.Mount, map[bool]string{true: " (write)"}[f.Write]))
		}
	}
	if len(over) == 0 {
		return nil
	}
	return status.Publicf(status.PermissionDenied, "the policy grants more than the server allows this tenant: %s", strings.Join(over, ", ")).
		WithDetails(map[string]any{"exceeding": over})
}

// AllowsHTTP fails with PERMISSION_DENIED, and says which part does not fit, unless
// a grant takes in the request.
func (g Grants) AllowsHTTP(method string, t Target) error {
	var known []HTTPGrant
	for _, h := range g.HTTP {
		if h.Allows(method, t) {
			return nil
		}
		if hostMatches(h.Host, t.Host) {
			known = append(known, h)
		}
	}
	if len(known) == 0 {
		return status.Publicf(status.PermissionDenied, "http: the host %q is not granted", t.Host)
	}
	return status.Publicf(status.PermissionDenied, "http: %s %s://%s:%d%s is not granted; granted for the host: %v", method, t.Scheme, t.Host, t.Port, abi.Line(t.Path, 200), known)
}

// AllowsSecret reports whether a secret may be sent to a target. One that is not
// granted may be sent nowhere.
func (g Grants) AllowsSecret(name string, t Target) bool {
	return slices.ContainsFunc(g.Secrets[name], func(text string) bool {
		o, err := parseOrigin(text)
		return err == nil && o.scheme == t.Scheme && o.port == t.Port && hostMatches(o.host, t.Host)
	})
}
