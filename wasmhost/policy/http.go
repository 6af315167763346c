package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// HTTPGrant allows requests to a host. A field that is left out is the narrow choice:
// https, the scheme's own port, GET and HEAD, every path.
type HTTPGrant struct {
	// Host is a name ("api.example.com"), all names below one
	// ("*.example.com", which does not take in example.com itself), an IP
	// address, or "*" for every name and no address. Compared label by label.
	Host string `json:"host"`
	// Schemes are "https" and "http"; https when empty.
	Schemes []string `json:"schemes,omitempty"`
	// Ports are those of the URL; the scheme's own when empty.
	Ports []int `json:"ports,omitempty"`
	// Methods are those allowed, "*" for all; GET and HEAD when empty.
	Methods []string `json:"methods,omitempty"`
	// PathPrefix is compared segment by segment: "/v1" takes in /v1 and
	// /v1/x, not /v10.
	PathPrefix string `json:"pathPrefix,omitempty"`
}

// Methods are those that a request may have. CONNECT and TRACE are none of them.
func Methods() []string {
	return []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
}

func (h *HTTPGrant) check() error {
	host, err := parseHostPattern(h.Host)
	if err != nil {
		return status.Publicf(status.InvalidArgument, "policy: http: %s", err.Error())
	}
	h.Host = host
	for i, s := range h.Schemes {
		if h.Schemes[i] = strings.ToLower(s); h.Schemes[i] != "http" && h.Schemes[i] != "https" {
			return status.Publicf(status.InvalidArgument, "policy: http: scheme %q of %q: want \"https\" or \"http\"", abi.Line(s, 20), host)
		}
	}
	for _, p := range h.Ports {
		if p < 1 || p > 65535 {
			return status.Publicf(status.InvalidArgument, "policy: http: port %d of %q: want 1 to 65535", p, host)
		}
	}
	for i, m := range h.Methods {
		if h.Methods[i] = strings.ToUpper(m); m != "*" && !slices.Contains(Methods(), h.Methods[i]) {
			return status.Publicf(status.InvalidArgument, "policy: http: method %q of %q: want one of %s, or \"*\"", abi.Line(m, 20), host, strings.Join(Methods(), ", "))
		}
	}
	if len(h.Schemes) > 2 || len(h.Ports) > 64 || len(h.Methods) > 16 || len(h.PathPrefix) > 1024 {
		return status.Publicf(status.InvalidArgument, "policy: http: the grant of %q is too big", host)
	}
	if p := h.PathPrefix; p != "" && (p[0] != '/' || strings.ContainsAny(p, "?#%\\") || abi.Line(p, 1024) != p || DotSegments(p)) {
		return status.Publicf(status.InvalidArgument, "policy: http: path prefix %q of %q: want a plain path such as \"/v1/\"", abi.Line(p, 80), host)
	}
	return nil
}

// String names the grant for people.
func (h HTTPGrant) String() string {
	text := h.Host + h.PathPrefix
	if len(h.Schemes) > 0 || len(h.Ports) > 0 || len(h.Methods) > 0 {
		text += fmt.Sprintf(" (schemes %v, ports %v, methods %v)", h.schemes(), h.Ports, h.methods())
	}
	return text
}

func (h HTTPGrant) schemes() []string {
	if len(h.Schemes) == 0 {
		return []string{"https"}
	}
	return h.Schemes
}

func (h HTTPGrant) methods() []string {
	switch {
	case len(h.Methods) == 0:
		return []string{"GET", "HEAD"}
	case slices.Contains(h.Methods, "*"):
		return Methods()
	}
	return h.Methods
}

// DefaultPort returns the port of a scheme that names none.
func DefaultPort(scheme string) int {
	if scheme == "http" {
		return 80
	}
	return 443
}

// Target is a checked URL, as grants see it: scheme and host in lower case, the
// host without a final dot, an IP address in its one form.
type Target struct {
	Scheme, Host string
	Port         int
	Path         string // decoded, without dot segments
	RawPath      string // as it is sent
}

// Allows reports whether the grant takes in a request.
func (h HTTPGrant) Allows(method string, t Target) bool {
	return hostMatches(h.Host, t.Host) && slices.Contains(h.schemes(), t.Scheme) && h.allowsPort(t) &&
		slices.Contains(h.methods(), method) && pathWithin(h.PathPrefix, t.Path) && pathWithin(h.PathPrefix, t.RawPath)
}

func (h HTTPGrant) allowsPort(t Target) bool {
	if len(h.Ports) == 0 {
		return t.Port == DefaultPort(t.Scheme)
	}
	return slices.Contains(h.Ports, t.Port)
}

// covers reports whether every request that inner takes in is taken in by h.
func (h HTTPGrant) covers(inner HTTPGrant) bool {
	for _, scheme := range inner.schemes() {
		if !slices.Contains(h.schemes(), scheme) {
			return false
		}
		ports := inner.Ports
		if len(ports) == 0 {
			ports = []int{DefaultPort(scheme)}
		}
		for _, p := range ports {
			if !h.allowsPort(Target{Scheme: scheme, Port: p}) {
				return false
			}
		}
	}
	for _, m := range inner.methods() {
		if !slices.Contains(h.methods(), m) {
			return false
		}
	}
	return hostCovers(h.Host, inner.Host) && (h.PathPrefix == "" || (inner.PathPrefix != "" && pathWithin(h.PathPrefix, inner.PathPrefix)))
}

// pathWithin compares segment by segment.
func pathWithin(prefix, path string) bool {
	if prefix == "" || prefix == path {
		return true
	}
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(prefix, "/"))
	return ok && strings.HasPrefix(rest, "/")
}

// DotSegments reports whether a decoded path has a segment that a server could take
// for a step out of its folder: "." or "..", also before a ";", behind a backslash,
// or encoded twice.
func DotSegments(path string) bool {
	for range 3 {
		for seg := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
			seg, _, _ = strings.Cut(seg, ";")
			if seg == "." || seg == ".." {
				return true
			}
		}
		path = decodeDots.Replace(path)
	}
	return false
}

var decodeDots = strings.NewReplacer("%2e", ".", "%2E", ".", "%2f", "/", "%2F", "/", "%5c", "\\", "%5C", "\\", "%3b", ";", "%3B", ";")

// CanonicalHost returns a host in its one form: a name in lower case without a final
// dot, or an IP address. It refuses what readers could disagree about: other letters
// than ASCII (write them in punycode), empty labels, numbers that some take for an
// address ("127.1", "0x7f000001"), addresses with a zone.
func CanonicalHost(host string) (string, error) {
	shown := abi.Line(host, 100)
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		addr, err := netip.ParseAddr(host[1 : len(host)-1])
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", fmt.Errorf("the host %q is no IPv6 address", shown)
		}
		return addr.Unmap().String(), nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return "", fmt.Errorf("the host %q has a zone", shown)
		}
		return addr.Unmap().String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "" || len(name) > 253 {
		return "", fmt.Errorf("the host %q is no host name", shown)
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", fmt.Errorf("the host %q is no host name", shown)
		}
		for _, c := range []byte(label) {
			if c >= 0x80 {
				return "", fmt.Errorf("the host %q has letters beyond ASCII; write it in punycode (xn--…)", shown)
			}
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return "", fmt.Errorf("the host %q is no host name", shown)
			}
		}
		last = label
	}
	if numeric(last) {
		return "", fmt.Errorf("the host %q is a number that is no IP address", shown)
	}
	return name, nil
}

// numeric reports whether a last label makes some readers take a name for an IPv4
// address (the URL standard's "ends in a number").
func numeric(label string) bool {
	if strings.Trim(label, "0123456789") == "" {
		return true
	}
	hex, ok := strings.CutPrefix(label, "0x")
	return ok && strings.Trim(hex, "0123456789abcdef") == ""
}

func parseHostPattern(p string) (string, error) {
	if p == "*" {
		return p, nil
	}
	rest, wild := strings.CutPrefix(p, "*.")
	host, err := CanonicalHost(rest)
	if err != nil {
		return "", err
	}
	if !wild {
		return host, nil
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return "", fmt.Errorf("the host %q: there is nothing below an address", abi.Line(p, 100))
	}
	if !strings.Contains(host, ".") {
		return "", fmt.Errorf("the host %q takes in a whole top-level domain", abi.Line(p, 100))
	}
	return "*." + host, nil
}

func hostMatches(pattern, host string) bool {
	if pattern == "*" {
		_, err := netip.ParseAddr(host)
		return err != nil
	}
	below, wild := strings.CutPrefix(pattern, "*")
	if !wild {
		return host == pattern
	}
	_, err := netip.ParseAddr(host)
	return err != nil && strings.HasSuffix(host, below) && len(host) > len(below)
}

// hostCovers reports whether every host that inner takes in is taken in by outer.
func hostCovers(outer, inner string) bool {
	if outer == inner {
		return true
	}
	if inner == "*" {
		return false
	}
	name, wild := strings.CutPrefix(inner, "*.")
	if wild {
		// Hosts below a.example.com are below example.com.
		return outer == "*" || (strings.HasPrefix(outer, "*.") && strings.HasSuffix("."+name, outer[1:]))
	}
	return hostMatches(outer, inner)
}

// origin is where a secret may be sent.
type origin struct {
	scheme, host string // host may be a pattern
	port         int
}

func parseOrigin(text string) (origin, error) {
	o := origin{scheme: "https"}
	rest := text
	if scheme, after, ok := strings.Cut(text, "://"); ok {
		o.scheme, rest = strings.ToLower(scheme), after
		if o.scheme != "http" && o.scheme != "https" {
			return o, fmt.Errorf("%q: want the scheme https or http", abi.Line(text, 100))
		}
	}
	o.port = DefaultPort(o.scheme)
	host, port := rest, ""
	if end := strings.IndexByte(rest, ']'); strings.HasPrefix(rest, "[") && end > 0 {
		host, port = rest[:end+1], rest[end+1:]
	} else if i := strings.IndexByte(rest, ':'); i >= 0 && strings.Count(rest, ":") == 1 {
		host, port = rest[:i], rest[i:]
	}
	if port != "" {
		n, err := strconv.ParseUint(strings.TrimPrefix(port, ":"), 10, 16)
		if err != nil || n == 0 {
			return o, fmt.Errorf("%q: the port is no number from 1 to 65535", abi.Line(text, 100))
		}
		o.port = int(n)
	}
	var err error
	if o.host, err = parseHostPattern(host); err != nil {
		return o, err
	}
	if o.host == "*" {
		return o, errors.New("a secret is bound to hosts; \"*\" is none")
	}
	return o, nil
}

// originsCover reports whether one of the origins takes in another.
func originsCover(outer []string, inner string) bool {
	in, err := parseOrigin(inner)
	return err == nil && slices.ContainsFunc(outer, func(text string) bool {
		o, err := parseOrigin(text)
		return err == nil && o.scheme == in.scheme && o.port == in.port && hostCovers(o.host, in.host)
	})
}
