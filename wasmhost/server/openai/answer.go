package openai

import (
	"encoding/json"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// Completion is the answer to a request that does not stream: OpenAI's chat.completion.
type Completion struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"` // in seconds since 1970
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   *usage   `json:"usage,omitempty"`
}

type choice struct {
	Index        int      `json:"index"`
	Message      *message `json:"message,omitempty"`
	Delta        *message `json:"delta,omitempty"`
	LogProbs     *bool    `json:"logprobs"`
	FinishReason *string  `json:"finish_reason"`
}

type message struct {
	Role      string        `json:"role,omitempty"`
	Content   *string       `json:"content,omitempty"`
	Refusal   *string       `json:"refusal,omitempty"`
	Reasoning string        `json:"reasoning_content,omitempty"` // as DeepSeek and others have it
	ToolCalls []writtenCall `json:"tool_calls,omitempty"`
}

// MarshalJSON has the message of a whole answer keep the members that OpenAI always writes.
func (m message) MarshalJSON() ([]byte, error) {
	type plain message
	if m.Role == "" || m.Content != nil || len(m.ToolCalls) == 0 {
		return json.Marshal(plain(m))
	}
	return json.Marshal(struct {
		plain
		Content *string `json:"content"`
	}{plain: plain(m)})
}

type writtenCall struct {
	Index *int `json:"index,omitempty"` // in a stream
	toolCall
}

type usage struct {
	Prompt        int           `json:"prompt_tokens"`
	Completion    int           `json:"completion_tokens"`
	Total         int           `json:"total_tokens"`
	PromptDetails promptDetails `json:"prompt_tokens_details"`
	Details       details       `json:"completion_tokens_details"`
}

type promptDetails struct {
	Cached int `json:"cached_tokens"`
}

type details struct {
	Reasoning int `json:"reasoning_tokens"`
}

// Answer writes a response as a whole.
func (c *Chat) Answer(id string, created time.Time, resp *model.Response) *Completion {
	text := ""
	m := &message{Role: "assistant", ToolCalls: callsOf(resp, false)}
	if resp.Message != nil {
		text, m.Reasoning = resp.Message.Text(), resp.Message.Reasoning()
	}
	if text != "" || len(m.ToolCalls) == 0 {
		m.Content = &text
	}
	return &Completion{
		ID: id, Object: "chat.completion", Created: created.Unix(), Model: c.Options.Model,
		Choices: []choice{{Message: m, FinishReason: finishOf(resp)}}, Usage: usageOf(resp),
	}
}

// callsOf returns the calls that the caller is to answer: all that a response has left open.
func callsOf(resp *model.Response, indexed bool) []writtenCall {
	if resp.Message == nil {
		return nil
	}
	var calls []writtenCall
	for _, p := range resp.Message.Content {
		if p.ToolRequest == nil {
			continue
		}
		in := string(p.ToolRequest.Input)
		if in == "" {
			in = "{}"
		}
		call := writtenCall{toolCall: toolCall{ID: p.ToolRequest.Ref, Type: "function", Function: functionCall{p.ToolRequest.Name, in}}}
		if indexed {
			call.Index = new(len(calls))
		}
		calls = append(calls, call)
	}
	return calls
}

// finishOf returns OpenAI's reason for the end: a response with open calls waits for them, whatever the model said.
func finishOf(resp *model.Response) *string {
	reason := "stop"
	switch {
	case resp.Message != nil && len(resp.Message.ToolRequests()) > 0:
		reason = "tool_calls"
	case resp.FinishReason == model.FinishLength:
		reason = "length"
	case resp.FinishReason == model.FinishBlocked:
		reason = "content_filter"
	}
	return &reason
}

func usageOf(resp *model.Response) *usage {
	u := resp.Usage
	if u == nil {
		return nil
	}
	total := u.TotalTokens
	if total == 0 {
		total = u.InputTokens + u.OutputTokens
	}
	return &usage{
		Prompt: u.InputTokens, Completion: u.OutputTokens, Total: total,
		PromptDetails: promptDetails{u.CachedContentTokens}, Details: details{u.ThoughtsTokens},
	}
}

// Chunk is one event of a stream: OpenAI's chat.completion.chunk.
type Chunk struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   *usage   `json:"usage,omitempty"`
}

// Done is the data of the event that ends a stream.
const Done = "[DONE]"

// Stream writes the events of one answer. It is not safe for concurrent use.
type Stream struct {
	chat    *Chat
	id      string
	created time.Time
	begun   bool
	text    bool // whether a chunk has brought some of it
}

// NewStream begins the events of an answer.
func (c *Chat) NewStream(id string, created time.Time) *Stream {
	return &Stream{chat: c, id: id, created: created}
}

func (s *Stream) chunk(m *message, finish *string) *Chunk {
	if !s.begun {
		s.begun, m.Role = true, "assistant"
	}
	return &Chunk{
		ID: s.id, Object: "chat.completion.chunk", Created: s.created.Unix(), Model: s.chat.Options.Model,
		Choices: []choice{{Delta: m, FinishReason: finish}},
	}
}

// Next is the event of a chunk of the model's; nil where the chunk has nothing that OpenAI's stream would show, such as
// the answer of a tool that the server has run. Calls come with the end, when they are whole.
func (s *Stream) Next(chunk *model.Chunk) *Chunk {
	if chunk.Role != "" && chunk.Role != content.RoleModel {
		return nil
	}
	m := &message{}
	if text := content.TextOf(chunk.Content); text != "" {
		m.Content, s.text = &text, true
	}
	for _, p := range chunk.Content {
		if p.Reasoning != nil {
			m.Reasoning += *p.Reasoning
		}
	}
	if m.Content == nil && m.Reasoning == "" {
		return nil
	}
	return s.chunk(m, nil)
}

// End are the last events before [Done]: what the chunks have not brought, the reason for the end, and, where the
// request asks for it, the usage.
func (s *Stream) End(resp *model.Response) []*Chunk {
	var list []*Chunk
	m := &message{ToolCalls: callsOf(resp, true)}
	if resp.Message != nil && !s.text { // a model that does not stream
		if text := resp.Message.Text(); text != "" {
			m.Content = &text
		}
	}
	if m.Content != nil || len(m.ToolCalls) > 0 {
		list = append(list, s.chunk(m, nil))
	}
	list = append(list, s.chunk(&message{}, finishOf(resp)))
	if s.chat.Usage {
		last := s.chunk(&message{}, nil)
		last.Choices, last.Usage = []choice{}, usageOf(resp)
		list = append(list, last)
	}
	return list
}
