// Package scripted is a model that answers what its config says, so that anybody
// can try tools, middleware and formats over any face without a key.
//
// It owns the model "test/scripted". The config {"script": [response, …],
// "chunks": [[chunk, …], …]} gives the answers and what is streamed before each,
// turn by turn. Use:
//
//	m, err := scripted.New()
//	err = reg.Register(m)
//
// The model keeps nothing between calls: the turn is the number of model messages
// after the last user message of the request. It is safe for concurrent use.
package scripted

import (
	"context"
	"encoding/json"
	"iter"
	"slices"
	"unicode"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Name is the model's name.
const Name = "test/scripted"

var configSchema = json.RawMessage(`{
"type": "object",
"properties": {
  "script": {
    "description": "The answers, turn by turn: Genkit model responses. A missing finishReason means stop.",
    "type": "array",
    "items": {"type": "object", "properties": {
      "message": {"type": "object", "required": ["content"], "properties": {
        "role": {"type": "string"},
        "content": {"type": "array", "items": {"type": "object"}}
      }},
      "finishReason": {"type": "string"}
    }}
  },
  "chunks": {
    "description": "What is streamed before each answer; without it the answer's text is streamed word by word.",
    "type": "array",
    "items": {"type": "array", "items": {"type": "object", "required": ["content"]}}
  }
}
}`)

type config struct {
	Script []json.RawMessage `json:"script"`
	Chunks [][]*model.Chunk  `json:"chunks"`
}

// New returns the model. It declares every capability, so that requests reach it
// as they are. Without a script it answers "You said: " and the text of the last
// user message. A turn past the end of the script fails with OUT_OF_RANGE.
func New() (model.Model, error) {
	info := model.Info{
		Label: "Scripted test model",
		Supports: model.Supports{
			Multiturn: true, Media: true, Tools: true, SystemRole: true, Context: true,
			Constrained: "all", ToolChoice: true,
		},
		ConfigSchema: configSchema,
	}
	return model.New(Name, info, answer)
}

// Plugin registers the model.
func Plugin() registry.Plugin { return plugin{} }

type plugin struct{}

func (plugin) Name() string { return "test" }

func (plugin) Register(_ context.Context, r *registry.Registry) error {
	m, err := New()
	if err != nil {
		return err
	}
	return r.Register(m)
}

func answer(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) {
	var c config
	if len(req.Config) > 0 {
		if err := json.Unmarshal(req.Config, &c); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "config of %s: %w", Name, err)
		}
	}
	turn := turnOf(req.Messages)
	resp, err := c.response(turn, req)
	if err != nil {
		return nil, err
	}
	if send == nil {
		return resp, nil
	}
	for chunk := range c.stream(turn, resp) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := send(chunk); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

// turnOf counts the model's messages since the user spoke last.
func turnOf(messages []content.Message) int {
	turn := 0
	for _, m := range messages[format.LastUser(messages)+1:] {
		if m.Role == content.RoleModel {
			turn++
		}
	}
	return turn
}

func (c *config) response(turn int, req *model.Request) (*model.Response, error) {
	if c.Script == nil {
		return &model.Response{Message: echo(req.Messages), FinishReason: model.FinishStop}, nil
	}
	if turn >= len(c.Script) {
		return nil, status.Publicf(status.OutOfRange,
			"the script of %s has %d responses and was asked for number %d: add a response to config.script", Name, len(c.Script), turn+1)
	}
	resp := &model.Response{}
	if err := json.Unmarshal(c.Script[turn], resp); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "config.script[%d] of %s: %w", turn, Name, err)
	}
	if resp.FinishReason == "" {
		resp.FinishReason = model.FinishStop
	}
	if resp.Message != nil && resp.Message.Role == "" {
		resp.Message.Role = content.RoleModel
	}
	return resp, nil
}

func echo(messages []content.Message) *content.Message {
	said := ""
	if last := format.LastUser(messages); last >= 0 {
		said = messages[last].Text()
	}
	return new(content.NewModelTextMessage("You said: " + said))
}

// stream returns the chunks that are streamed before resp. Chunks of words are made one at a time: they
// take hundreds of times the bytes of the text.
func (c *config) stream(turn int, resp *model.Response) iter.Seq[*model.Chunk] {
	if c.Chunks != nil {
		if turn < len(c.Chunks) {
			return slices.Values(c.Chunks[turn])
		}
		return func(func(*model.Chunk) bool) {}
	}
	return func(yield func(*model.Chunk) bool) {
		for word := range words(resp.Text()) {
			if !yield(&model.Chunk{Content: []content.Part{content.NewTextPart(word)}}) {
				return
			}
		}
	}
}

// words cuts text before each word; joined, the pieces are the text.
func words(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		start, inSpace, blank := 0, false, true
		for i, r := range text {
			space := unicode.IsSpace(r)
			if !space && inSpace && !blank {
				if !yield(text[start:i]) {
					return
				}
				start, blank = i, true
			}
			inSpace, blank = space, blank && space
		}
		if start < len(text) {
			yield(text[start:])
		}
	}
}
