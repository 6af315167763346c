package egress_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"code.dny.dev/ssrf"
	"github.com/stretchr/testify/assert"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
)

// Addresses that a library made from IANA's registries denies are not public here: at
// the borders of its networks, and within them.
func TestWhatIANAKeepsIsNotPublic(t *testing.T) {
	guard := ssrf.New(ssrf.WithAnyPort())
	random := rand.New(rand.NewPCG(1, 2))
	check := func(addr netip.Addr) {
		network := "tcp4"
		if addr.Is6() {
			network = "tcp6"
		}
		if guard.Safe(network, netip.AddrPortFrom(addr, 443).String(), nil) != nil {
			assert.False(t, egress.Public(addr), "%v", addr)
		}
	}
	for _, p := range slices.Concat(ssrf.IPv4DeniedPrefixes, ssrf.IPv6DeniedPrefixes, []netip.Prefix{ssrf.IPv6GlobalUnicast}) {
		first := p.Masked().Addr()
		check(first)
		check(first.Prev())
		for range 100 {
			raw := first.AsSlice()
			for bit := p.Bits(); bit < len(raw)*8; bit++ {
				raw[bit/8] ^= byte(random.IntN(2)) << (7 - bit%8)
			}
			addr, _ := netip.AddrFromSlice(raw)
			check(addr)
			check(addr.Next())
		}
	}
	for range 20_000 {
		var v4 [4]byte
		var v6 [16]byte
		for i := range v6 {
			v6[i] = byte(random.IntN(256))
		}
		copy(v4[:], v6[:])
		check(netip.AddrFrom4(v4))
		check(netip.AddrFrom16(v6))
	}
}
