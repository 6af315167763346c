package listening

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// callers is a listener with a connection from each of some addresses.
type callers struct {
	net.Listener
	from []net.Addr
	seen *[]string
}

type caller struct {
	net.Conn
	from net.Addr
	seen *[]string
}

func (c caller) RemoteAddr() net.Addr { return c.from }
func (c caller) Close() error {
	*c.seen = append(*c.seen, c.from.String())
	return nil
}

func (c *callers) Accept() (net.Conn, error) {
	if len(c.from) == 0 {
		return nil, net.ErrClosed
	}
	next := c.from[0]
	c.from = c.from[1:]
	return caller{from: next, seen: c.seen}, nil
}

// Without TLS nobody but the proxy gets a connection: keys would cross the network in the
// clear.
func TestOnlyTheProxyConnects(t *testing.T) {
	var all []net.Addr
	for _, text := range []string{"10.0.0.1:1", "192.0.2.1:2", "[::1]:3", "127.0.0.9:4", "[2001:db8::1]:5", "[fe80::1%eth0]:6", "[::ffff:10.9.9.9]:7"} {
		addr, err := netip.ParseAddrPort(text)
		require.NoError(t, err)
		all = append(all, &net.TCPAddr{IP: addr.Addr().AsSlice(), Port: int(addr.Port()), Zone: addr.Addr().Zone()})
	}
	all = append(all, &net.UnixAddr{Name: "x", Net: "unix"})
	var closed, got []string
	var counts Closed
	l := BehindProxies(&callers{from: all, seen: &closed}, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}, &counts)
	for {
		c, err := l.Accept()
		if err != nil {
			break
		}
		got = append(got, c.RemoteAddr().String())
	}
	assert.Equal(t, []string{"10.0.0.1:1", "[::1]:3", "127.0.0.9:4", "[fe80::1%eth0]:6", "10.9.9.9:7"}, got)
	assert.Equal(t, []string{"192.0.2.1:2", "[2001:db8::1]:5", "x"}, closed)
	assert.Equal(t, map[string]int64{"stranger": 3, "limit": 0, "source": 0, "waiting": 0, "full": 0}, counts.Counts())
}

func TestConnectionsAreBounded(t *testing.T) {
	var closed []string
	queue := &callers{seen: &closed}
	l := &limited{Listener: queue, most: 10, each: 3, free: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, closed: &Closed{}, sources: map[netip.Prefix]int{}}
	open := func(host string) net.Conn {
		t.Helper()
		before := len(closed)
		queue.from = []net.Addr{&net.TCPAddr{IP: net.ParseIP(host), Port: 1}}
		c, err := l.Accept()
		if err != nil {
			require.Len(t, closed, before+1, "one that is too many is closed")
			return nil
		}
		return c
	}
	first := open("192.0.2.1")
	for range 2 {
		require.NotNil(t, open("192.0.2.1"))
	}
	assert.Nil(t, open("192.0.2.1"), "of one address")
	require.NoError(t, first.Close())
	require.NoError(t, first.Close(), "closed twice, it is counted once")
	require.NotNil(t, open("192.0.2.1"))
	assert.Nil(t, open("192.0.2.1"))
	for _, host := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::ffff:1"} {
		require.NotNil(t, open(host))
	}
	assert.Nil(t, open("2001:db8::3"), "of one network of IPv6")
	var last net.Conn
	for range 4 {
		last = open("10.0.0.1")
		require.NotNil(t, last, "a proxy has no bound of its own")
	}
	assert.Nil(t, open("10.0.0.1"), "in all")
	assert.Nil(t, open("198.51.100.1"), "in all")
	require.NoError(t, last.Close())
	require.NotNil(t, open("198.51.100.1"))
	assert.Len(t, l.sources, 4)
	counts := l.closed.Counts()
	assert.EqualValues(t, 3, counts["source"])
	assert.EqualValues(t, 2, counts["limit"])
}

func TestOneSourceHasASixteenth(t *testing.T) {
	for most, each := range map[int]int{4096: 256, 16: 1, 1: 1} {
		l, ok := Limit(nil, most, nil, nil).(*limited)
		require.True(t, ok)
		assert.Equal(t, each, l.each)
	}
}
