package openai

import (
	"bytes"
	"context"
	"io"
	"mime"
	"net/http"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

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
	return wire.NewModel(p.cfg.Name+"/"+id, info, answer)
}

// call is one request under way.
type call struct {
	key   string // of the request, else of the provider
	tools *wire.Toolset
	body  []byte
}

// generate is one call of a chat model: build, ask, read, answer.
func (p *Provider) generate(ctx context.Context, id string, supports model.Supports, req *model.Request, send model.Send) (*model.Response, error) {
	c := call{key: p.peer.Key(ctx)}
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
	accept := wire.JSON
	if send != nil {
		accept = wire.EventStream
	}
	httpResp, err := p.post(httpCtx, c, accept)
	if err != nil {
		return nil, err
	}
	defer httpResp.Body.Close()
	body := wire.Bound(httpResp.Body, p.cfg.MaxResponseBytes)
	if contentType, _, _ := mime.ParseMediaType(httpResp.Header.Get("Content-Type")); send == nil || contentType == wire.JSON {
		return p.readWhole(ctx, c, body, send)
	}
	resp, err := p.readStream(ctx, c, body, send)
	if err == nil {
		wire.Drain(httpResp.Body, cancel)
	}
	return resp, err
}

// post asks once, or twice when the server refuses stream_options. That it does so is
// remembered for the calls that follow if it takes the request without them: an error may
// quote what a caller has written, and no caller may end the counting of everybody's tokens.
// The caller closes the body of the answer, which is a success.
func (p *Provider) post(ctx context.Context, c *call, accept string) (*http.Response, error) {
	for again := false; ; again = true {
		resp, err := p.peer.Do(ctx, wire.Outgoing{Path: "/chat/completions", Key: c.key, Accept: accept, Body: c.body})
		if err != nil {
			return nil, p.peer.NetworkError(ctx, "ask", c.key, err)
		}
		if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
			if again {
				p.noStreamOptions.Store(true)
			}
			return resp, nil
		}
		body, err := p.peer.HTTPError(resp, c.key)
		resp.Body.Close()
		shorter, found := withoutStreamOptions(c.body)
		if !found || !refusesStreamOptions(resp.StatusCode, body) {
			return nil, err
		}
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
	o, err := wire.ParseObject(body)
	if err != nil || !o.Has("stream_options") {
		return nil, false
	}
	shorter, err := rawjson.Encode(slices.DeleteFunc(o, func(f wire.Field) bool { return f.Name == "stream_options" }))
	return shorter, err == nil
}

// readWhole reads an answer that is one document. With a send its parts are
// passed on as chunks.
func (p *Provider) readWhole(ctx context.Context, c *call, body io.Reader, send model.Send) (*model.Response, error) {
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, p.peer.NetworkError(ctx, "read the answer", c.key, err)
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
