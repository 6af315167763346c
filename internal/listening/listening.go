// Package listening is what a server puts before its handler where strangers may connect: listeners that let in a bounded
// number of connections, or those of proxies alone; a server's connections, of which idle ones give way; and certificates
// that are read again when their files change. It knows nothing of what is served.
//
//	l = listening.Limit(l, 4096, proxies)
//	certs, err := listening.LoadCertificates("cert.pem", "key.pem", nil, log)
//	l = tls.NewListener(l, &tls.Config{GetCertificate: certs.Get})
//	listening.BoundConnections(srv, 512)
package listening

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// BehindProxies returns a listener that takes connections from the networks of proxies and from this machine. Others are
// closed, and told nothing.
func BehindProxies(l net.Listener, networks []netip.Prefix) net.Listener {
	return &proxied{Listener: l, networks: networks}
}

type proxied struct {
	net.Listener
	networks []netip.Prefix
}

func (p *proxied) Accept() (net.Conn, error) {
	for {
		c, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if addr, ok := addrOf(c.RemoteAddr()); ok && within(p.networks, addr) {
			return c, nil
		}
		_ = c.Close()
	}
}

func addrOf(remote net.Addr) (netip.Addr, bool) {
	at, err := netip.ParseAddrPort(remote.String())
	return at.Addr().Unmap().WithZone(""), err == nil
}

// within reports whether an address is this machine's, or of one of the networks.
func within(networks []netip.Prefix, addr netip.Addr) bool {
	return addr.IsLoopback() || slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// Limit returns a listener that bounds the connections which are open at a time: to most in all, and to a sixteenth of that
// of one source, an address or the /64 of IPv6, so that a caller without a key can't use up the process's file descriptors.
// Connections of this machine and of the networks in free share no bound of a source: many stand behind a proxy. Those
// beyond are closed.
func Limit(l net.Listener, most int, free []netip.Prefix) net.Listener {
	return &limited{Listener: l, most: most, each: max(1, most/16), free: free, sources: map[netip.Prefix]int{}}
}

type limited struct {
	net.Listener
	most, each int
	free       []netip.Prefix

	mu      sync.Mutex // guards the fields below
	all     int
	sources map[netip.Prefix]int
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if release := l.take(c.RemoteAddr()); release != nil {
			return &counted{c, sync.OnceFunc(release)}, nil
		}
		_ = c.Close()
	}
}

// take counts a connection; nil when there are too many.
func (l *limited) take(remote net.Addr) (release func()) {
	addr, _ := addrOf(remote) // all that are unknown are one source
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	source, _ := addr.Prefix(bits)
	apart := !within(l.free, addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.most || apart && l.sources[source] >= l.each {
		return nil
	}
	l.all++
	l.sources[source]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all--
		if l.sources[source]--; l.sources[source] == 0 {
			delete(l.sources, source)
		}
	}
}

type counted struct {
	net.Conn
	release func()
}

func (c *counted) Close() error {
	c.release()
	return c.Conn.Close()
}
