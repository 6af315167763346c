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
	"net"
	"net/http"
	"net/netip"
	"strconv"
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
	return c
}

// Close ends idle connections now and others when their request ends.
func (c *Client) Close() {
	c.closed.Store(true)
	c.transport.CloseIdleConnections()
}

// Rules are what a request is held against.
type Rules struct {
	Grants policy.Grants
	// MaxRequestBytes and MaxResponseBytes bound the bodies.
	MaxRequestBytes, MaxResponseBytes int64
	// Secret finds the value of a granted secret; nil has none.
	Secret func(ctx context.Context, name string) (secret.Value, error)
	// Spend is asked before each request is sent, redirects too; its error
	// ends the exchange. nil allows all.
	Spend func() error
}

// Request is what a guest asks for. Headers may refer to secrets.
type Request struct {
	Method  string // GET when empty
	URL     string
	Headers map[string]string
	Body    []byte
}

// Response is what came back, without any secret of the rules. Names of headers are
// in lower case; fields that came more than once are joined by ", ".
type Response struct {
	Status  int
	Headers map[string]string
	Body    []byte
}

// Do sends a request and follows redirects. It fails with INVALID_ARGUMENT (the
// request can't be sent), PERMISSION_DENIED (the policy or an address forbids it),
// RESOURCE_EXHAUSTED (a bound was reached), UNAVAILABLE (no answer),
// DEADLINE_EXCEEDED or CANCELLED. It blocks no longer than ctx lasts. Errors are
// public and hold no secret.
func (c *Client) Do(ctx context.Context, r Request, rules Rules) (*Response, error) {
	scrub := c.scrubber(ctx, rules)
	resp, err := c.exchange(ctx, r, rules)
	if err != nil {
		return nil, cleaned(ctx, err, scrub)
	}
	resp.Body = scrub.Scrub(resp.Body)
	headers := make(map[string]string, len(resp.Headers))
	for name, value := range resp.Headers {
		headers[scrub.ScrubString(name)] = scrub.ScrubString(value)
	}
	resp.Headers = headers
	return resp, nil
}

// scrubber knows every secret that the policy grants: a server may echo one that an
// earlier request brought it.
func (c *Client) scrubber(ctx context.Context, rules Rules) *secret.Scrubber {
	values := map[string]secret.Value{}
	if rules.Secret != nil {
		for name := range rules.Grants.Secrets {
			if v, err := rules.Secret(ctx, name); err == nil {
				values[name] = v
			}
		}
	}
	return secret.NewScrubber(values)
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

// reason says what kind of failure err is, in words that hold nothing of the server
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
		if err == nil {
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
