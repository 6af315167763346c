package egress_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// metadata is a name server that answers with the address of a cloud's metadata.
type metadata struct{}

func (metadata) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
}

// Requests that are not granted are not sent, and granted ones go to public addresses
// only.
func ExampleClient_Do() {
	client := egress.New(egress.Config{Resolver: metadata{}})
	defer client.Close()
	p, err := policy.Parse([]byte(`{"grants":{"http":[{"host":"api.example.com","pathPrefix":"/v1/"}]}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, url := range []string{"https://api.example.com/v1/x", "https://api.example.com/admin", "https://other.example.com/", "https://2130706433/"} {
		_, err := client.Do(context.Background(), egress.Request{URL: url}, egress.Rules{Grants: p.Grants})
		fmt.Println(err)
	}
	// Output:
	// PERMISSION_DENIED: http: the host "api.example.com" has an address that is not public
	// PERMISSION_DENIED: http: GET https://api.example.com:443/admin is not granted; granted for the host: [api.example.com/v1/]
	// PERMISSION_DENIED: http: the host "other.example.com" is not granted
	// INVALID_ARGUMENT: http: the host "2130706433" is a number that is no IP address
}
