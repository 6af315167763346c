package vertexai

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// scope is what the access tokens are for.
const scope = "https://www.googleapis.com/auth/cloud-platform"

const (
	// tokenTime bounds one request for a token, which the caller's context does not end.
	tokenTime = 10 * time.Second
	// tokenEarly is how long before its end a token is replaced.
	tokenEarly = time.Minute
)

// DefaultToken gives tokens of Google's application default credentials: the file of
// GOOGLE_APPLICATION_CREDENTIALS (a service account, an authorized user, or a federation of
// identities), that of gcloud, or the machine's own service account in Google's cloud. They
// are looked for whenever a token is needed. client, which may be nil, has the proxy. A
// failure is UNAUTHENTICATED; what it says of the credentials stays in the process.
func DefaultToken(client *http.Client) Token {
	bounded := &http.Client{Timeout: tokenTime}
	if client != nil {
		bounded.Transport = client.Transport
	}
	return func(ctx context.Context) (string, time.Time, error) {
		creds, err := google.FindDefaultCredentials(context.WithValue(ctx, oauth2.HTTPClient, bounded), scope)
		if err != nil {
			return "", time.Time{}, status.Publicf(status.Unauthenticated,
				`no credentials of Google can be read: name a file in GOOGLE_APPLICATION_CREDENTIALS, or run "gcloud auth application-default login"`).WithCause(err)
		}
		token, err := creds.TokenSource.Token()
		switch {
		case ctx.Err() != nil:
			return "", time.Time{}, status.Convert(ctx.Err())
		case err != nil:
			return "", time.Time{}, status.Publicf(status.Unauthenticated, "Google gives no access token for the credentials of this server").WithCause(err)
		}
		return token.AccessToken, token.Expiry, nil
	}
}

// tokens keeps a token while it is good. It is safe for concurrent use.
type tokens struct {
	next  Token
	turn  chan struct{} // holds one value: who has it may use what follows
	token string
	until time.Time
}

func newTokens(next Token) *tokens {
	t := &tokens{next: next, turn: make(chan struct{}, 1)}
	t.turn <- struct{}{}
	return t
}

// get returns a token that is good for a while; one caller at a time asks for a new one.
func (t *tokens) get(ctx context.Context) (string, error) {
	select {
	case <-t.turn:
	case <-ctx.Done():
		return "", status.Convert(ctx.Err())
	}
	defer func() { t.turn <- struct{}{} }()
	if t.token != "" && time.Until(t.until) > tokenEarly {
		return t.token, nil
	}
	token, until, err := t.next(ctx)
	if err != nil {
		return "", err
	}
	if token == "" || wire.CheckKey(token) != nil {
		return "", status.Publicf(status.Unauthenticated, "the access token is empty, or holds characters that a header can't carry")
	}
	t.token, t.until = token, until
	return token, nil
}
