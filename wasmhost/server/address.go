package server

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/internal/caller"
)

// from returns the address that a request came from.
func (s *Server) from(r *http.Request) netip.Addr {
	peer := caller.Address(r.RemoteAddr)
	if len(s.config.TrustedProxies) == 0 {
		return peer
	}
	return behindProxies(peer, r.Header.Values("X-Forwarded-For"), s.config.TrustedProxies)
}

// behindProxies goes back from the peer along the X-Forwarded-For headers, to which each
// proxy has added the address of its own peer at the end, as far as the proxies are
// trusted. What lies before is not looked at: anybody may have written it.
func behindProxies(peer netip.Addr, forwarded []string, trusted []netip.Prefix) netip.Addr {
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	at := peer
	for i := len(hops) - 1; i >= 0 && trusts(trusted, at); i-- {
		before := caller.Address(strings.TrimSpace(hops[i]))
		if !before.IsValid() {
			break
		}
		at = before
	}
	return at
}

func trusts(trusted []netip.Prefix, addr netip.Addr) bool {
	for _, p := range trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
