package egress

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// ParseURL reads the URL of a request and returns it rebuilt from its checked parts,
// so that what was checked is what is sent. It refuses, with INVALID_ARGUMENT, what
// two readers could take for two things: credentials, control characters, spaces,
// backslashes, hosts that [policy.CanonicalHost] refuses, empty and odd ports, steps
// out of a folder.
func ParseURL(raw string) (*url.URL, policy.Target, error) {
	bad := func(why string) (*url.URL, policy.Target, error) {
		return nil, policy.Target{}, status.Publicf(status.InvalidArgument, "http: the URL %q %s", abi.Line(raw, 200), why)
	}
	if len(raw) > MaxURLBytes {
		return bad("is longer than " + strconv.Itoa(MaxURLBytes) + " bytes")
	}
	for i := range len(raw) {
		if c := raw[i]; c <= 0x20 || c == 0x7f || c == '\\' {
			return bad("has a character that no URL has")
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return bad("can't be read")
	}
	t := policy.Target{Scheme: strings.ToLower(u.Scheme)}
	switch {
	case t.Scheme != "https" && t.Scheme != "http":
		return bad("is not https or http")
	case u.User != nil:
		return bad("has credentials; put them into a header")
	case u.Opaque != "" || u.Host == "":
		return bad("has no host")
	}
	hostname, port := u.Host, ""
	if i := strings.LastIndexByte(u.Host, ':'); i > strings.LastIndexByte(u.Host, ']') {
		hostname, port = u.Host[:i], u.Host[i+1:]
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return bad("has a port that is no number from 1 to 65535")
		}
		t.Port = int(n)
	} else {
		t.Port = policy.DefaultPort(t.Scheme)
	}
	if t.Host, err = policy.CanonicalHost(hostname); err != nil {
		return nil, t, status.Publicf(status.InvalidArgument, "http: %s", err.Error())
	}
	if u.Path == "" {
		u.Path = "/"
	}
	t.Path, t.RawPath = u.Path, u.EscapedPath()
	if t.Path[0] != '/' || policy.DotSegments(t.Path) || policy.DotSegments(t.RawPath) {
		return bad("has a path that steps out of its folder")
	}
	clean := &url.URL{Scheme: t.Scheme, Host: t.Host, Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery, ForceQuery: u.ForceQuery}
	if strings.Contains(t.Host, ":") {
		clean.Host = "[" + t.Host + "]"
	}
	if t.Port != policy.DefaultPort(t.Scheme) {
		clean.Host = net.JoinHostPort(t.Host, strconv.Itoa(t.Port))
	}
	return clean, t, nil
}
