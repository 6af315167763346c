// Package contextprovider says who calls a flow: a provider reads a request before the
// flow runs and adds to the flow's action context, or refuses the request.
//
// It owns Genkit's providers (apiKey) and one for JSON Web Tokens. Use:
//
//	keys := contextprovider.APIKey("s3cret")
//	users, err := contextprovider.JWT(contextprovider.JWTConfig{Issuer: "https://id.example.com", Audience: "menu", JWKSURL: "https://id.example.com/jwks"})
//	flowserver.New(flowserver.Config{Context: []contextprovider.Provider{users}})
//
// A function of one's own is a provider as it is.
package contextprovider

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Request is the part of an HTTP request that a provider sees.
type Request struct {
	Method string
	// Headers has lower-case names; fields that were repeated are joined with
	// ", ".
	Headers map[string]string
	// Input is the flow's input as JSON, nil when there is none. It has not been
	// checked against the flow's schema.
	Input []byte
}

// Values are members of the action context; by convention "auth" says who calls.
// Values must marshal to JSON.
type Values = map[string]any

// Provider returns the members that it adds to the action context. Its error refuses the request
// with the error's status; of errors that are not public the caller sees the status
// alone. It must not keep or change the request, and is called concurrently.
type Provider func(ctx context.Context, r *Request) (Values, error)

// authorization is where Genkit's apiKey looks. It takes the value as it is and strips
// no "Bearer " (genkit/js/core/src/context.ts).
const authorization = "authorization"

func apiKeyValues(r *Request) Values {
	auth := map[string]any{}
	if key, ok := r.Headers[authorization]; ok {
		auth["apiKey"] = key
	}
	return Values{"auth": auth}
}

// AnyAPIKey puts the Authorization header, as it is, into the context as {"auth":
// {"apiKey": …}} and checks nothing: Genkit's apiKey().
func AnyAPIKey() Provider {
	return func(_ context.Context, r *Request) (Values, error) { return apiKeyValues(r), nil }
}

// APIKey is like [AnyAPIKey] and refuses requests whose key is none of keys:
// UNAUTHENTICATED without one, PERMISSION_DENIED with another. It is Genkit's
// apiKey("value"), for several keys, so that one can take over from another. How long
// it takes tells nothing of the keys. Without keys it refuses everything.
func APIKey(keys ...string) Provider {
	sums := make([][sha256.Size]byte, len(keys))
	for i, key := range keys {
		sums[i] = sha256.Sum256([]byte(key)) // of one length, whatever the keys are
	}
	return func(_ context.Context, r *Request) (Values, error) {
		given := r.Headers[authorization]
		if given == "" {
			return nil, status.Publicf(status.Unauthenticated, "Unauthenticated")
		}
		sum, same := sha256.Sum256([]byte(given)), 0
		for i := range sums {
			same |= subtle.ConstantTimeCompare(sum[:], sums[i][:])
		}
		if same != 1 {
			return nil, status.Publicf(status.PermissionDenied, "Permission Denied")
		}
		return apiKeyValues(r), nil
	}
}

// APIKeyPolicy is like [AnyAPIKey] and asks policy about the key, "" when there is
// none: Genkit's apiKey(policy). An error of the policy refuses the request.
func APIKeyPolicy(policy func(ctx context.Context, key string) error) Provider {
	return func(ctx context.Context, r *Request) (Values, error) {
		if err := policy(ctx, r.Headers[authorization]); err != nil {
			return nil, err
		}
		return apiKeyValues(r), nil
	}
}
