package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// chatModel keeps a request's API key away from the model's action, which traces
// its input: the key travels in the context from here to [Provider.generate].
type chatModel struct {
	model.Model
	account accountKey
}

var _ model.Model = (*chatModel)(nil)

type keyContext struct{}

// requestKey is a pointer's worth of secret, so that printing a context shows an
// address.
type requestKey struct {
	key     *string
	account bool // it is an account's, and not the request's
}

func (p *Provider) newModel(id string, kind Kind, info model.Info) (model.Model, error) {
	if id == "" {
		return nil, status.Publicf(status.InvalidArgument, "a model of provider %q has no id", p.cfg.Name)
	}
	_, config := kind.about()
	if info.ConfigSchema == nil {
		info.ConfigSchema = config
	}
	info.Supports.Output = slices.Clone(info.Supports.Output)
	supports := info.Supports
	answer := p.answerer(id, kind)
	if kind == Chat {
		answer = func(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) {
			return p.generate(ctx, id, supports, req, send)
		}
	}
	m, err := model.New(p.cfg.Name+"/"+id, info, func(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) {
		started := time.Now()
		resp, err := answer(ctx, req, send)
		if err != nil {
			return nil, err
		}
		resp.SetLatency(time.Since(started))
		if own, _ := ctx.Value(keyContext{}).(requestKey); own.key != nil && *own.key != "" {
			// An engine that adds the request it knows would add the key with it;
			// it finds this one in its place.
			resp.Request = req
		}
		return resp, nil
	})
	if err != nil {
		return nil, err
	}
	return &chatModel{Model: m}, nil
}

// Generate asks the model.
func (m *chatModel) Generate(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) {
	clean, key, err := takeKey(req)
	if err != nil {
		return nil, err
	}
	if ctx, err = m.account.with(ctx, key); err != nil {
		return nil, err
	}
	return m.Model.Generate(ctx, clean, send)
}

// RunJSON asks the model.
func (m *chatModel) RunJSON(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	if !mayHoldKey(in) || schema.Check(in) != nil { // refuse invalid JSON before it is traced
		ctx, err := m.account.with(ctx, "")
		if err != nil {
			return nil, err
		}
		return m.Model.RunJSON(ctx, in, emit)
	}
	req := &model.Request{}
	if err := json.Unmarshal(in, req); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "model request: %w", err)
	}
	clean, key, err := takeKey(req)
	if err != nil {
		return nil, err
	}
	if in, err = rawjson.Encode(clean); err != nil {
		return nil, status.Errorf(status.Internal, "encode the model request: %w", err)
	}
	if ctx, err = m.account.with(ctx, key); err != nil {
		return nil, err
	}
	return m.Model.RunJSON(ctx, in, emit)
}

// mayHoldKey spares most requests the decoding. An escape could hide the name.
func mayHoldKey(in json.RawMessage) bool {
	lower := bytes.ToLower(in)
	for _, sign := range []string{"apikey", "api_key", "api-key", `\u00`} {
		if bytes.Contains(lower, []byte(sign)) {
			return true
		}
	}
	return false
}

// withKey also hides the key of an outer call from an inner one.
func withKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyContext{}, requestKey{key: &key})
}

// call is one request under way.
type call struct {
	key   string // of the request, else of the provider
	tools *toolset
	body  []byte
}

// generate is one call of a chat model: build, ask, read, answer.
func (p *Provider) generate(ctx context.Context, id string, supports model.Supports, req *model.Request, send model.Send) (*model.Response, error) {
	c := call{key: p.keyOf(ctx)}
	var err error
	if c.body, c.tools, err = p.request(id, supports, req, send != nil); err != nil {
		return nil, err
	}
	return p.ask(ctx, &c, send)
}

// ask sends the request and reads the answer in the form that the server chose:
// some answer a request for a stream with one document.
func (p *Provider) ask(ctx context.Context, c *call, send model.Send) (*model.Response, error) {
	httpCtx, cancel := context.WithCancel(ctx)
	defer cancel() // a reader that left ends the HTTP request
	accept := jsonType
	if send != nil {
		accept = "text/event-stream"
	}
	httpResp, err := p.post(httpCtx, c, accept)
	if err != nil {
		return nil, err
	}
	defer httpResp.Body.Close()
	body := &boundedReader{r: httpResp.Body, left: p.cfg.MaxResponseBytes, limit: p.cfg.MaxResponseBytes}
	if contentType, _, _ := mime.ParseMediaType(httpResp.Header.Get("Content-Type")); send == nil || contentType == jsonType {
		return p.readWhole(ctx, c, body, send)
	}
	resp, err := p.readStream(ctx, c, body, send)
	if err == nil {
		drain(httpResp.Body, cancel)
	}
	return resp, err
}

// post asks once, or twice when the server refuses stream_options: that it does so is
// remembered for the calls that follow. The caller closes the body of the answer,
// which is a success.
func (p *Provider) post(ctx context.Context, c *call, accept string) (*http.Response, error) {
	for {
		resp, err := p.do(ctx, outgoing{method: http.MethodPost, path: "/chat/completions", key: c.key, accept: accept, contentType: jsonType, body: c.body})
		if err != nil {
			return nil, p.networkError(ctx, "ask", c.key, err)
		}
		if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
			return resp, nil
		}
		body, err := p.httpError(resp, c.key)
		resp.Body.Close()
		shorter, found := withoutStreamOptions(c.body)
		if !found || !refusesStreamOptions(resp.StatusCode, body) {
			return nil, err
		}
		p.noStreamOptions.Store(true)
		c.body = shorter
	}
}

// refusesStreamOptions reports whether an error is about the field stream_options.
func refusesStreamOptions(httpStatus int, body []byte) bool {
	return (httpStatus == http.StatusBadRequest || httpStatus == http.StatusUnprocessableEntity) &&
		(bytes.Contains(body, []byte("stream_options")) || bytes.Contains(body, []byte("include_usage")))
}

// withoutStreamOptions returns a body without the field, and whether it had one.
func withoutStreamOptions(body []byte) ([]byte, bool) {
	o, err := parseObject(body)
	if err != nil || !o.has("stream_options") {
		return nil, false
	}
	shorter, err := rawjson.Encode(slices.DeleteFunc(o, func(f field) bool { return f.name == "stream_options" }))
	return shorter, err == nil
}

// readWhole reads an answer that is one document. With a send its parts are
// passed on as chunks.
func (p *Provider) readWhole(ctx context.Context, c *call, body io.Reader, send model.Send) (*model.Response, error) {
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, p.networkError(ctx, "read the answer", c.key, err)
	}
	a := p.newAnswer(c)
	if err := p.decode(a, raw, c.key); err != nil {
		return nil, err
	}
	resp, err := a.response(raw)
	if err != nil || send == nil {
		return resp, err
	}
	for _, part := range resp.Message.Content {
		if err := send(chunk(part)); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

// drain reads to the end of a stream that has said that it is done, so that the
// connection can be used again, but waits for no slow server.
func drain(body io.Reader, cancel func()) {
	const patience, most = 50 * time.Millisecond, 4 << 10
	timer := time.AfterFunc(patience, cancel)
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, body, most) // whatever is wrong now costs a connection, no more
}
