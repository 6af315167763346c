package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
)

func newTransport() *http.Transport {
	const dial, handshake, idle = 30 * time.Second, 10 * time.Second, 90 * time.Second
	const idlePerHost = 16
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dial}).DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   handshake,
		IdleConnTimeout:       idle,
		MaxIdleConnsPerHost:   idlePerHost,
		ExpectContinueTimeout: time.Second,
	}
}

// maxRedirects bounds those that [sameServer] allows.
const maxRedirects = 3

// sameServer stops at a redirect that would carry the request's key and prompt to
// another server, or turn it into a GET; the caller sees the 3xx then.
func sameServer(next *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > maxRedirects || next.Method != first.Method || next.URL.Scheme != first.URL.Scheme || next.URL.Host != first.URL.Host {
		return http.ErrUseLastResponse
	}
	return nil
}

// do makes one request. The caller closes the answer's body.
func (p *Provider) do(ctx context.Context, method, path, key, accept string, body []byte) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.cfg.BaseURL+path, reader)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "genkit-wasm")
	telemetry.Inject(ctx, req.Header) // a gateway between continues the trace
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", accept)
	for name, values := range p.cfg.Headers {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	return p.client.Do(req)
}

// RemoteModel is a model that the server says it has.
type RemoteModel struct {
	ID      string `json:"id"`
	OwnedBy string `json:"owned_by,omitempty"`
}

// Models asks the server for its models: GET {BaseURL}/models, with the provider's
// key. It blocks until the answer is there or ctx ends, and fails with the codes
// that a model call fails with.
func (p *Provider) Models(ctx context.Context) ([]RemoteModel, error) {
	resp, err := p.do(ctx, http.MethodGet, "/models", p.cfg.APIKey, "application/json", nil)
	if err != nil {
		return nil, p.networkError(ctx, "list the models", p.cfg.APIKey, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, p.httpError(resp, p.cfg.APIKey)
	}
	raw, err := io.ReadAll(&boundedReader{r: resp.Body, left: p.cfg.MaxResponseBytes, limit: p.cfg.MaxResponseBytes})
	if err != nil {
		return nil, p.networkError(ctx, "list the models", p.cfg.APIKey, err)
	}
	var list struct {
		Data []RemoteModel `json:"data"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, status.Publicf(status.Internal, "the server's list of models can't be read").WithCause(err)
	}
	return list.Data, nil
}
