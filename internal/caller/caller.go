// Package caller tells who sends a request, for every handler that asks: the API of a server, and its profiles. What the parts of
// a request mean is decided here, and what a caller may do where it is used.
//
//	tokens := caller.TakeTokens(r) // so that nothing behind sees them
//	identity, err := caller.Authenticate(ctx, auth, tokens, caller.Address(r.RemoteAddr), w.Header())
package caller

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

const (
	// Challenge is the header of a 401 that is about the request's identity (RFC 6750, 3). A 401 without it is about
	// something else, such as a model's key.
	Challenge = "WWW-Authenticate"
	// ChallengeNone is its value where no token came, or none that could be one.
	ChallengeNone = `Bearer realm="genkit-wasm"`
	// ChallengeWrong is its value where the token is not good, or not any more.
	ChallengeWrong = `Bearer realm="genkit-wasm", error="invalid_token"`
)

// TakeTokens returns the Authorization headers of a request, and removes them: no handler, log or guest sees them.
func TakeTokens(r *http.Request) []string {
	given := r.Header.Values("Authorization")
	r.Header.Del("Authorization")
	return given
}

// Authenticate returns the identity that the Authorization headers of a request are of, never nil without an error. A failure
// that is about the identity is UNAUTHENTICATED, and comes with a challenge in the headers of the answer. from is where the
// request came from; the zero value where that is not known.
func Authenticate(ctx context.Context, auth access.Authenticator, given []string, from netip.Addr, answer http.Header) (*access.Identity, error) {
	token, err := bearer(given)
	if err != nil {
		answer.Set(Challenge, ChallengeNone)
		return nil, err
	}
	identity, err := auth.Authenticate(ctx, access.Credentials{Token: token, From: from})
	switch {
	case err == nil && identity == nil:
		return nil, status.Errorf(status.Internal, "the authenticator returned neither an identity nor an error")
	case err == nil && access.CheckSubject(identity.Subject) != nil:
		return nil, status.Errorf(status.Internal, "the authenticator returned an identity whose subject %w", access.CheckSubject(identity.Subject))
	case err == nil && identity.Life.Err() != nil:
		answer.Set(Challenge, ChallengeWrong)
		return nil, over(identity.Life.Err())
	case err == nil:
		return identity, nil
	case status.Of(err) == status.Unauthenticated:
		answer.Set(Challenge, ChallengeWrong)
	}
	return nil, err
}

// over is the answer to a caller whose identity has ended with err, of an authenticator that may say so in any words.
func over(err error) error {
	if status.Of(err) == status.Unauthenticated {
		return err
	}
	return status.Publicf(status.Unauthenticated, "the identity has ended").WithCause(err)
}

// bearer returns the token of the Authorization headers (RFC 6750, 2.1).
func bearer(given []string) (string, error) {
	if len(given) == 0 {
		return "", status.Publicf(status.Unauthenticated, "an API key or a token is wanted, as \"Authorization: Bearer …\"")
	}
	scheme, token, _ := strings.Cut(given[0], " ")
	token = strings.TrimSpace(token)
	if len(given) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > access.MaxTokenBytes {
		return "", status.Publicf(status.Unauthenticated, "the Authorization header is malformed; want one, \"Bearer …\"")
	}
	return token, nil
}

// HostName returns the name of a Host header: lower case, without port, brackets
// and the final full stop.
func HostName(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// Address reads an address, with a port or without; the zero value for what is none. An IPv4 address in the form of IPv6 is
// one of IPv4, and there are no zones.
func Address(text string) netip.Addr {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}
