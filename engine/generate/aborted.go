package generate

import (
	"encoding/json"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const abortedText = "The call was cancelled before the model had finished."

// known is the outcome of a call so far, which its caller gets when the context ends.
type known struct {
	mu      sync.Mutex // guards the fields below; chunks may come from any goroutine
	request *model.Request
	message *content.Message // of the turn under way, as far as it was streamed
	// text is that of the message's last part while it may go on: a part made anew for
	// each chunk would cost the square of a stream's length.
	text []byte
}

// asked begins a turn.
func (k *known) asked(req *model.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.request, k.message, k.text = req, nil, nil
}

// answered notes the message of the turn.
func (k *known) answered(resp *model.Response) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.message, k.text = resp.Message, nil
}

// sent notes a chunk of the turn on its way to the reader. It is called before answered.
func (k *known) sent(c *model.Chunk) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.message == nil {
		k.message = &content.Message{Role: content.RoleModel}
	}
	for _, part := range c.Content {
		if isPlainText(part) {
			if k.text == nil {
				k.message.Content, k.text = append(k.message.Content, part), []byte{}
			}
			k.text = append(k.text, *part.Text...)
			continue
		}
		k.endText()
		k.message.Content = append(k.message.Content, part)
	}
}

// endText gives the last part the text that has come for it.
func (k *known) endText() {
	if k.text != nil {
		k.message.Content[len(k.message.Content)-1] = content.NewTextPart(string(k.text))
		k.text = nil
	}
}

func isPlainText(p content.Part) bool {
	return p.Text != nil && len(p.Metadata) == 0 && len(p.Data) == 0 && len(p.Custom) == 0 && len(p.Extra) == 0
}

// response returns the outcome so far, with finishReason aborted; nil when no model was
// asked yet.
func (k *known) response() *model.Response {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.request == nil {
		return nil
	}
	k.endText()
	return &model.Response{
		Message: k.message, FinishReason: model.FinishAborted, FinishMessage: abortedText,
		Usage: &model.Usage{}, Custom: json.RawMessage("{}"), Request: k.request.WithoutSecrets(),
	}
}

// failed returns the outcome of a call that has failed, with finishReason failed: the
// history up to the last round of tools that was completed; nil when no model was asked yet.
func (k *known) failed() *model.Response {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.request == nil {
		return nil
	}
	return &model.Response{FinishReason: model.FinishFailed, Usage: &model.Usage{}, Custom: json.RawMessage("{}"), Request: k.request.WithoutSecrets()}
}

// explain adds the outcome so far to the error's details.
func (k *known) explain(err error) error {
	e, resp := status.Convert(err), k.response()
	if resp == nil || !e.Public() {
		return err
	}
	return e.WithDetails(map[string]any{"response": wire(resp)}).WithCause(err)
}
