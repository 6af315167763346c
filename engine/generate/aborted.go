package generate

import (
	"encoding/json"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const abortedText = "The call was cancelled before the model had finished."

// known is what a call has come to so far: what its caller gets when the context ends.
type known struct {
	mu      sync.Mutex // guards what follows; chunks may come from any goroutine
	request *model.Request
	message *content.Message // of the turn under way, as far as it was streamed
}

// asked begins a turn.
func (k *known) asked(req *model.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.request, k.message = req, nil
}

// answered notes the message of the turn.
func (k *known) answered(resp *model.Response) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.message = resp.Message
}

// watch returns a Send that notes the chunks of the turn on their way.
func (k *known) watch(send model.Send) model.Send {
	if send == nil {
		return nil
	}
	return func(c *model.Chunk) error {
		k.mu.Lock()
		if k.message == nil {
			k.message = &content.Message{Role: content.RoleModel}
		}
		for _, part := range c.Content {
			k.message.Content = join(k.message.Content, part)
		}
		k.mu.Unlock()
		return send(c)
	}
}

// join appends a part; plain text goes on where plain text has ended.
func join(parts []content.Part, part content.Part) []content.Part {
	if n := len(parts); n > 0 && isPlainText(parts[n-1]) && isPlainText(part) {
		text := *parts[n-1].Text + *part.Text
		parts[n-1] = content.Text(text)
		return parts
	}
	return append(parts, part)
}

func isPlainText(p content.Part) bool {
	return p.Text != nil && len(p.Metadata) == 0 && len(p.Data) == 0 && len(p.Custom) == 0 && len(p.Extra) == 0
}

// response returns what is known, with finishReason aborted; nil when no model was
// asked yet.
func (k *known) response() *model.Response {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.request == nil {
		return nil
	}
	return &model.Response{
		Message: k.message, FinishReason: model.FinishAborted, FinishMessage: abortedText,
		Usage: &model.Usage{}, Custom: json.RawMessage("{}"), Request: withoutKey(k.request),
	}
}

// explain adds what is known to the error's details.
func (k *known) explain(err error) error {
	e, resp := status.Convert(err), k.response()
	if resp == nil || !e.Public() {
		return err
	}
	return e.WithDetails(map[string]any{"response": wire(resp)}).WithCause(err)
}
