// Package listening is what a server puts before its handler where strangers may connect: listeners that let in a bounded
// number of connections, or those of proxies alone; a server's connections, of which idle ones give way; and certificates
// that are read again when their files change. It knows nothing of what is served.
//
//	var closed listening.Closed
//	l = listening.Limit(l, 4096, proxies, &closed)
//	certs, err := listening.LoadCertificates("cert.pem", "key.pem", nil, log)
//	l = tls.NewListener(l, &tls.Config{GetCertificate: certs.Get})
//	listening.BoundConnections(srv, 512, &closed)
package listening

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Closed counts the connections that were closed without an answer, by the reason. Its zero value is ready for use, and a nil
// one counts nothing. It is safe for concurrent use.
type Closed struct{ counts [len(reasons)]atomic.Int64 }

// reason is why a connection was closed.
type reason int

const (
	stranger reason = iota // of no network that may connect
	limit                  // too many in all
	source                 // too many of one address
	waiting                // one without a whole request, which gave way to a new one
	full                   // a new one, as all others had a request
)

var reasons = [...]string{stranger: "stranger", limit: "limit", source: "source", waiting: "waiting", full: "full"}

// Counts returns the counts since the start, by reason: "stranger", from a network that may not connect; "limit", too many in
// all; "source", too many from one address; "waiting", one without a whole request gave way to a new one; "full", a new one, as
// all others had a request.
func (c *Closed) Counts() map[string]int64 {
	all := make(map[string]int64, len(reasons))
	for i, name := range reasons {
		all[name] = c.counts[i].Load()
	}
	return all
}

func (c *Closed) add(why reason) {
	if c != nil {
		c.counts[why].Add(1)
	}
}

// BehindProxies returns a listener that takes connections from the networks of proxies and from this machine. Others are
// closed, told nothing, and counted in closed.
func BehindProxies(l net.Listener, networks []netip.Prefix, closed *Closed) net.Listener {
	return &proxied{Listener: l, networks: networks, closed: closed}
}

type proxied struct {
	net.Listener
	networks []netip.Prefix
	closed   *Closed
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
		p.closed.add(stranger)
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
// beyond are closed, and counted in closed.
func Limit(l net.Listener, most int, free []netip.Prefix, closed *Closed) net.Listener {
	return &limited{Listener: l, most: most, each: max(1, most/16), free: free, closed: closed, sources: map[netip.Prefix]int{}}
}

type limited struct {
	net.Listener
	most, each int
	free       []netip.Prefix
	closed     *Closed

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
	from, _ := addr.Prefix(bits)
	apart := !within(l.free, addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.all >= l.most:
		l.closed.add(limit)
		return nil
	case apart && l.sources[from] >= l.each:
		l.closed.add(source)
		return nil
	}
	l.all++
	l.sources[from]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all--
		if l.sources[from]--; l.sources[from] == 0 {
			delete(l.sources, from)
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
