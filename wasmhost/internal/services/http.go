package services

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// exchange sends a request under the module's rules.
func (v *Call) exchange(ctx context.Context, r egress.Request) (*egress.Response, error) {
	if v.http == nil {
		return nil, status.Publicf(status.PermissionDenied, "capability %q is not granted", abi.CapHTTP)
	}
	resp, err := v.http.Do(ctx, r, egress.Rules{
		Grants: v.config.Grants, MaxRequestBytes: v.config.Limits.HTTPRequestBytes, MaxResponseBytes: v.config.Limits.HTTPResponseBytes,
		Secret: func(ctx context.Context, name string) (secret.Value, error) {
			return v.config.Secrets.Secret(ctx, v.config.Tenant, name)
		},
		Spend: func() error {
			if v.requests.Add(1) > v.config.Limits.HTTPRequests {
				return status.Publicf(status.ResourceExhausted, "http: the call has sent its %d requests", v.config.Limits.HTTPRequests)
			}
			if err := v.config.EgressLeft(); err != nil {
				return err
			}
			v.send(len(r.Body)) // with each redirect, although one that changes the method has no body
			return nil
		},
		Room: func(ctx context.Context, bytes int64) error {
			read, err := v.config.Answers.Wait(ctx, bytes)
			v.read = read
			return err
		},
		Work: schema.InTurn,
	})
	if resp != nil {
		v.send(len(resp.Body))
	}
	return resp, err
}

// send counts the bytes of a body that goes out or has come in.
func (v *Call) send(bytes int) {
	v.sent.Add(int64(bytes))
	v.config.SpendEgress(int64(bytes))
}

// done gives back what is counted of a response that was read.
func (v *Call) done() {
	v.config.Answers.Give(v.read)
	v.read = 0
}

type httpRequest struct {
	Method     string            `json:"method"`
	URL        string            `json:"url"`
	Headers    map[string]string `json:"headers"`
	Body       *string           `json:"body"`
	BodyBase64 *string           `json:"bodyBase64"`
}

type httpResponse struct {
	Status     int               `json:"status"`
	Headers    map[string]string `json:"headers"`
	Body       *string           `json:"body,omitempty"`
	BodyBase64 *string           `json:"bodyBase64,omitempty"`
}

// fetchJSON is the capability http.
func (v *Call) fetchJSON(ctx context.Context, request []byte) (json.RawMessage, error) {
	var in httpRequest
	if err := decode(abi.CapHTTP, request, &in); err != nil {
		return nil, err
	}
	r := egress.Request{Method: in.Method, URL: in.URL, Headers: in.Headers}
	switch {
	case in.Body != nil && in.BodyBase64 != nil:
		return nil, status.Publicf(status.InvalidArgument, "http: give \"body\" or \"bodyBase64\", not both")
	case in.Body != nil:
		r.Body = []byte(*in.Body)
	case in.BodyBase64 != nil:
		var err error
		if r.Body, err = base64.StdEncoding.DecodeString(*in.BodyBase64); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "http: \"bodyBase64\" is not base64")
		}
	}
	defer v.done()
	resp, err := v.exchange(ctx, r)
	if err != nil {
		return nil, err
	}
	size := jsonBytes(resp.Body)
	if err := v.keep(ctx, size); err != nil {
		return nil, err
	}
	var raw json.RawMessage
	err = schema.InTurn(ctx, size, func() (err error) {
		out := httpResponse{Status: resp.Status, Headers: resp.Headers}
		text := ""
		if utf8.Valid(resp.Body) {
			text = string(resp.Body)
			out.Body = &text
		} else {
			text = base64.StdEncoding.EncodeToString(resp.Body)
			out.BodyBase64 = &text
		}
		raw, err = marshal(out)
		return err
	})
	return raw, err
}

// jsonBytes is how long a body may get as text in JSON, or in base64.
func jsonBytes(body []byte) int {
	n := len(body)
	for _, c := range body {
		switch {
		case c < ' ' || c == 0xE2: // an escape; U+2028 and U+2029 begin with 0xE2
			n += 5
		case c == '"' || c == '\\':
			n++
		}
	}
	return max(n, base64.StdEncoding.EncodedLen(len(body)))
}

// Fetch is Extism's http_request, read as leniently as the SDK reads it.
func (v *Call) Fetch(ctx context.Context, request, body []byte) (_ *sandbox.Fetched, err error) {
	defer func() { traced(ctx, abi.CapHTTP, err) }()
	if err := v.admit(abi.CapHTTP); err != nil {
		return nil, err
	}
	v.forget()
	asked, err := v.ask(len(request) + len(body))
	if err != nil {
		return nil, err
	}
	defer asked()
	defer v.done()
	var in struct {
		URL     string            `json:"url"`
		Method  string            `json:"method"`
		Headers map[string]string `json:"headers"`
	}
	// As the Extism SDK reads it: in any case, with members that nobody knows. The
	// result is checked below.
	if err := schema.CheckUnique(request); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "http: request: %w", err)
	}
	if json.Unmarshal(request, &in) != nil {
		return nil, status.Publicf(status.InvalidArgument, "http: request: want {\"url\", \"method\", \"headers\"}, strings and an object of strings")
	}
	resp, err := v.exchange(ctx, egress.Request{Method: in.Method, URL: in.URL, Headers: in.Headers, Body: body})
	if err != nil {
		return nil, err
	}
	if err := v.keep(ctx, len(resp.Body)); err != nil {
		return nil, err
	}
	headers, err := marshal(resp.Headers)
	return &sandbox.Fetched{Status: resp.Status, Headers: headers, Body: resp.Body}, err
}
