// Package egress is how guests reach the network: HTTP requests, each checked against
// a policy before anything is sent, and again at every redirect.
//
// It owns the reading of URLs, the check of addresses, redirects, the bounds of what
// comes back, and the one place where a secret is put into a header. A name is
// resolved once; every address that it has is checked, and a checked address is what
// is dialled, so that no second answer of the name server counts. Nothing of the
// environment takes part: no proxy, no cookies, no credentials. Use:
//
//	client := egress.New(egress.Config{})
//	defer client.Close()
//	resp, err := client.Do(ctx, egress.Request{URL: "https://api.example.com/v1/x"}, egress.Rules{Grants: grants})
//
// A *Client is safe for concurrent use. Each module has its own: no connection is
// shared between modules.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// Fixed bounds of a request and its response.
const (
	MaxURLBytes       = 8 << 10
	MaxRedirects      = 5
	maxRequestHeaders = 64
	maxHeaderBytes    = 16 << 10 // of a request
	maxResponseHeader = 64 << 10
	maxResponseFields = 256
	dialTimeout       = 10 * time.Second
	idleTimeout       = 30 * time.Second
	idlePerHost       = 2
	maxAddresses      = 16 // that are tried, of one name
	// freeBytes is the part of a response for which no room is asked.
	freeBytes = 64 << 10
	// pieceBytes is how much is decompressed at a time.
	pieceBytes = 256 << 10
)

// Resolver turns a name into addresses, as net.Resolver does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

var _ Resolver = (*net.Resolver)(nil)

// Config says how a client reaches the network. Its zero value reaches every public
// address.
type Config struct {
	// Resolver finds addresses; nil asks the system's name servers.
	Resolver Resolver
	// Reachable are networks that are reached although they are not public.
	// It is the operator's to set: no policy can widen it.
	Reachable []netip.Prefix
	// RootCAs verify servers; nil takes the system's.
	RootCAs *x509.CertPool
	// InFlight bounds requests at a time; clients may share it. nil bounds
	// nothing.
	InFlight chan struct{}
	// Connections bounds what is kept for the next requests; clients may share it. nil
	// bounds nothing but what one host's are.
	Connections *Connections
}

// Connections are those of several clients. It is safe for concurrent use.
type Connections struct {
	most int64
	open atomic.Int64

	mu      sync.Mutex // guards clients
	clients map[*Client]struct{}
}

// NewConnections makes a set that keeps no connection without a request while there are more
// than most.
func NewConnections(most int64) *Connections {
	return &Connections{most: most, clients: map[*Client]struct{}{}}
}

// Open returns how many there are.
func (c *Connections) Open() int64 { return c.open.Load() }

// add counts a connection, and closes all that are idle when there are too many.
func (c *Connections) add(conn net.Conn) net.Conn {
	if c.open.Add(1) > c.most {
		c.mu.Lock()
		clients := slices.Collect(maps.Keys(c.clients))
		c.mu.Unlock()
		for _, client := range clients {
			client.transport.CloseIdleConnections()
		}
	}
	return &counted{Conn: conn, of: c}
}

func (c *Connections) join(client *Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients[client] = struct{}{}
}

func (c *Connections) leave(client *Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.clients, client)
}

// counted is a connection of a set.
type counted struct {
	net.Conn
	of   *Connections
	once sync.Once
}

// Close implements [net.Conn].
func (c *counted) Close() error {
	c.once.Do(func() { c.of.open.Add(-1) })
	return c.Conn.Close()
}

// Client sends requests.
type Client struct {
	config    Config
	transport *http.Transport
	closed    atomic.Bool
}

// New makes a client. Close it to end the connections that it keeps.
func New(config Config) *Client {
	c := &Client{config: config}
	if c.config.Resolver == nil {
		c.config.Resolver = &net.Resolver{PreferGo: true}
	}
	c.transport = &http.Transport{
		Proxy:                  nil,
		DialContext:            c.dial,
		TLSClientConfig:        &tls.Config{RootCAs: config.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTimeout,
		DisableCompression:     true, // decompressing is bounded here
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
	}
	if config.Connections != nil {
		config.Connections.join(c)
	}
	return c
}

// Close ends idle connections now and others when their request ends.
func (c *Client) Close() {
	c.closed.Store(true)
	c.transport.CloseIdleConnections()
	if c.config.Connections != nil {
		c.config.Connections.leave(c)
	}
}

// Rules are the rules that a request must obey.
type Rules struct {
	Grants policy.Grants
	// MaxRequestBytes and MaxResponseBytes bound the bodies.
	MaxRequestBytes, MaxResponseBytes int64
	// Secret finds the value of a granted secret: NOT_FOUND when there is none. Every other
	// error fails a request of a policy that grants the secret. It is called once for each
	// name in an exchange; nil has none.
	Secret func(ctx context.Context, name string) (secret.Value, error)
	// Spend is asked before each request is sent, redirects too; its error
	// ends the exchange. nil allows all.
	Spend func() error
	// Room is asked, at most once, before more than a small part of a response is read,
	// for as many bytes as that may take in memory. It may wait; its error ends the
	// exchange. nil allows all.
	Room func(ctx context.Context, bytes int64) error
	// Work runs work on so many bytes that takes the processor: decompressing them, or
	// taking secrets out of them. It may wait before; it fails as the wait and work do. nil
	// runs it at once.
	Work func(ctx context.Context, bytes int, work func() error) error
}

// work runs work under r.Work.
func (r *Rules) work(ctx context.Context, bytes int, work func() error) error {
	if r.Work == nil {
		return work()
	}
	return r.Work(ctx, bytes, work)
}

// Request is a guest's HTTP request. Headers may refer to secrets.
type Request struct {
	Method  string // GET when empty
	URL     string
	Headers map[string]string
	Body    []byte
}

// Response is the server's answer, without any secret of the rules. Names of headers are
// in lower case; fields that came more than once are joined by ", ".
type Response struct {
	Status  int
	Headers map[string]string
	Body    []byte
}

// scrubber knows every secret that the policy grants: a server may echo one that an
// earlier request brought it. One that is there and can't be read fails the request, since
// it could not be taken out of the answer.
func (c *Client) scrubber(ctx context.Context, rules Rules) (*secret.Scrubber, error) {
	values := map[string]secret.Value{}
	if rules.Secret != nil {
		for name := range rules.Grants.Secrets {
			v, err := rules.Secret(ctx, name)
			switch {
			case err == nil:
				values[name] = v
			case !errors.Is(err, status.ErrNotFound):
				return &secret.Scrubber{}, unreadable(name, err)
			}
		}
	}
	return secret.NewScrubber(values), nil
}

// unreadable is the error for a secret that is there and can't be read.
func unreadable(name string, err error) error {
	if e := status.Convert(err); e.Public() {
		return status.Publicf(e.Code, "http: %s", e.Message).WithCause(err).WithRetryAfter(e.RetryAfter)
	}
	return status.Publicf(status.Unavailable, "http: the secret %q can't be read", name).WithCause(err)
}

// once has each secret read once, so that what is sent is what is taken out of the answer,
// also when the value is changed meanwhile.
func once(find func(context.Context, string) (secret.Value, error)) func(context.Context, string) (secret.Value, error) {
	if find == nil {
		return nil
	}
	type found struct {
		v   secret.Value
		err error
	}
	all := map[string]found{}
	return func(ctx context.Context, name string) (secret.Value, error) {
		f, ok := all[name]
		if !ok {
			f.v, f.err = find(ctx, name)
			all[name] = f
		}
		return f.v, f.err
	}
}

// cleaned is err as a guest may see it.
func cleaned(ctx context.Context, err error, scrub *secret.Scrubber) error {
	if ctx.Err() != nil {
		code := status.Of(ctx.Err())
		return status.Publicf(code, "http: the request was ended: %s", code.Label()).WithCause(ctx.Err())
	}
	e := status.Convert(err)
	if !e.Public() {
		return status.Publicf(status.Unavailable, "http: the exchange failed: %s", reason(err))
	}
	return status.Publicf(e.Code, "%s", scrub.ScrubString(e.Message)).WithRetryAfter(e.RetryAfter)
}

// reason names the kind of failure of err, in words that hold nothing of the server
// or of this network.
func reason(err error) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &invalid), errors.As(err, &verify):
		return "the server's certificate is not valid for it"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed):
		return "the connection was closed"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "the server did not answer in time"
	}
	return "the server's answer is not usable"
}

func (c *Client) enter(ctx context.Context) (leave func(), err error) {
	if c.config.InFlight == nil {
		return func() {}, nil
	}
	select {
	case c.config.InFlight <- struct{}{}:
		return func() { <-c.config.InFlight }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// dial resolves once, checks every address and connects to one that was checked.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	addrs, err := c.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTimeout, Control: c.control}
	var failed error
	for _, addr := range addrs {
		conn, err := dialer.DialContext(ctx, network, netip.AddrPortFrom(addr, uint16(n)).String())
		switch {
		case err == nil && c.config.Connections != nil:
			return c.config.Connections.add(conn), nil
		case err == nil:
			return conn, nil
		}
		if failed == nil {
			failed = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// resolve returns the addresses of a host, all of them checked. One that may not be
// reached spoils them all: an honest name has no such address.
func (c *Client) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, c.reachable(host, addr)
	}
	addrs, err := c.config.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(addrs) == 0 {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, status.Publicf(status.Unavailable, "http: the host %q can't be resolved", host).WithCause(err)
	}
	addrs = addrs[:min(len(addrs), maxAddresses)]
	for i, addr := range addrs {
		if err := c.reachable(host, addr); err != nil {
			return nil, err
		}
		addrs[i] = addr.Unmap()
	}
	return addrs, nil
}

func (c *Client) reachable(host string, addr netip.Addr) error {
	for _, p := range c.config.Reachable {
		if p.Contains(addr.Unmap()) {
			return nil
		}
	}
	if Public(addr) {
		return nil
	}
	return status.Publicf(status.PermissionDenied, "http: the host %q has an address that is not public", host)
}

// control looks at the address once more, in the form in which the system gets it.
func (c *Client) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial %q: %w", address, err)
	}
	return c.reachable(to.Addr().String(), to.Addr())
}
