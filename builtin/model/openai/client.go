package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
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

// jsonType is the content type of most bodies.
const jsonType = "application/json"

// outgoing is a request to be made; body may be nil.
type outgoing struct {
	method, path, key, accept, contentType string
	body                                   []byte
}

// do makes one request. The caller closes the answer's body.
func (p *Provider) do(ctx context.Context, out outgoing) (*http.Response, error) {
	var reader io.Reader
	if out.body != nil {
		reader = bytes.NewReader(out.body)
	}
	req, err := http.NewRequestWithContext(ctx, out.method, p.cfg.BaseURL+out.path, reader)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "genkit-wasm")
	req.Header.Set("X-Goog-Api-Client", registry.ClientHeaderOf(ctx))
	telemetry.Inject(ctx, req.Header) // a gateway between continues the trace
	if out.body != nil {
		req.Header.Set("Content-Type", out.contentType)
	}
	req.Header.Set("Accept", out.accept)
	for name, values := range p.cfg.Headers {
		if isAccountHeader(name) && ofAccount(ctx) {
			continue
		}
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if out.key != "" {
		value := "Bearer " + out.key
		if p.profile.KeyHeader != "Authorization" {
			value = out.key
		}
		req.Header.Set(p.profile.KeyHeader, value)
	}
	return p.client.Do(req)
}

// fetch makes a request and returns the whole body of a success.
func (p *Provider) fetch(ctx context.Context, out outgoing) ([]byte, error) {
	resp, err := p.do(ctx, out)
	if err != nil {
		return nil, p.networkError(ctx, "ask", out.key, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		_, err := p.httpError(resp, out.key)
		return nil, err
	}
	raw, err := io.ReadAll(&boundedReader{r: resp.Body, left: p.cfg.MaxResponseBytes, limit: p.cfg.MaxResponseBytes})
	if err != nil {
		return nil, p.networkError(ctx, "read the answer", out.key, err)
	}
	return raw, nil
}

// read decodes a document of one of the server's APIs, of which api is the name. An error
// object in it fails the call.
func (p *Provider) read(raw []byte, v any, api, key string) error {
	if err := schema.Check(raw); err != nil {
		return status.Publicf(status.Internal, "the server's answer can't be read: %w", err)
	}
	var head wireAnswer
	_ = json.Unmarshal(raw, &head) // only its error counts
	if !isNull(head.Error) || jsonString(head.Object) == "error" {
		return p.bodyError(raw, key)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return status.Publicf(status.Internal, "the server's answer does not have the form of the %s API", api).WithCause(err)
	}
	return nil
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
	raw, err := p.fetch(ctx, outgoing{method: http.MethodGet, path: "/models", key: p.cfg.APIKey, accept: jsonType})
	if err != nil {
		return nil, err
	}
	var list struct {
		Data []RemoteModel `json:"data"`
	}
	if err := p.read(raw, &list, "models", p.cfg.APIKey); err != nil {
		return nil, err
	}
	return list.Data, nil
}
