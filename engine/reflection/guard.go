package reflection

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// guard lets in requests of programs of this machine, and none that a browser sends
// for a page of another site: the API runs whatever it is asked to, and has no password.
//
// A page that resolves its own name to 127.0.0.1 is told by the Host header. A page that
// posts here is told by Origin; one that embeds an address of ours by Sec-Fetch-Site.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Genkit-Version", runtimeVersion)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch {
		case !s.knows(r.Host):
			http.Error(w, "the Host header names no address of this server", http.StatusForbidden)
		case !s.trusts(r):
			http.Error(w, "pages of other sites are not let in", http.StatusForbidden)
		default:
			r.Body = http.MaxBytesReader(w, r.Body, s.config.MaxBody)
			next.ServeHTTP(w, r)
		}
	})
}

func (s *Server) knows(host string) bool {
	name := hostname(host)
	return isLoopback(name) || slices.ContainsFunc(s.config.AllowedHosts, func(h string) bool { return strings.EqualFold(h, name) })
}

func (s *Server) trusts(r *http.Request) bool {
	if origins := r.Header.Values("Origin"); len(origins) > 0 {
		return len(origins) == 1 && (origins[0] == "http://"+r.Host || slices.Contains(s.config.AllowedOrigins, origins[0]))
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none": // no browser, our own page, or a person at the address bar
		return true
	}
	return false
}

func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || (ip != nil && ip.IsLoopback())
}

// onLoopback reports whether a URL names this machine.
func onLoopback(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && isLoopback(u.Hostname())
}
