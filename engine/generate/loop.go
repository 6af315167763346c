package generate

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// loop is the state that all turns of one call share.
type loop struct {
	reg      *registry.Registry
	chain    *middleware.Chain
	logger   *slog.Logger
	parallel int
	known    *known
	schemas  *sync.Map // schema text → *schema.Schema; each is compiled once a call
}

// iterate runs one turn inside the generate hooks. As in Genkit JS, a hook's next
// returns the outcome of this turn and those after it.
func (l *loop) iterate(ctx context.Context, call *middleware.GenerateCall) (*model.Response, error) {
	c := *call
	c.Send = labelled(call.Send, call.MessageIndex)
	return l.chain.Generate(ctx, &c, l.turn)
}

// turn is the list of steps of one iteration.
func (l *loop) turn(ctx context.Context, call *middleware.GenerateCall) (*model.Response, error) {
	if err := check(call.Options); err != nil { // a hook may have changed them
		return nil, err
	}
	p, err := l.plan(ctx, call.Options)
	if err != nil {
		return nil, err
	}
	if p.opts.Resume != nil {
		return l.resume(ctx, call, p)
	}
	out := newStream(call.Send, call.MessageIndex)
	resp, err := l.ask(ctx, p, out)
	if err != nil || len(resp.Operation) > 0 {
		return resp, err
	}
	if err := usable(resp); err != nil {
		return nil, err
	}
	if len(resp.ToolRequests()) == 0 {
		return l.parse(ctx, p, resp)
	}
	if p.opts.ReturnToolRequests {
		return resp, nil
	}
	if err := checkTurn(call.Turn, p.opts, resp); err != nil {
		return nil, err
	}
	done, err := l.execute(ctx, p, resp.Message, out)
	if err != nil {
		return nil, err
	}
	if done.interrupted {
		return interrupted(resp, done.message), nil
	}
	return l.next(ctx, call, p, out, resp.Message, done.responses)
}

// next appends the messages of this turn and starts the following one.
func (l *loop) next(ctx context.Context, call *middleware.GenerateCall, p *plan, out *stream, asked *content.Message, responses []content.Part) (*model.Response, error) {
	opts := *p.opts
	opts.Messages = append(append(make([]content.Message, 0, len(p.opts.Messages)+2), p.opts.Messages...), *asked)
	if len(responses) > 0 {
		answer := content.Message{Role: content.RoleTool, Content: responses}
		opts.Messages = append(opts.Messages, answer)
		if err := out.send(ctx, content.RoleTool, &model.Chunk{Content: responses}); err != nil {
			return nil, err
		}
	}
	return l.step(ctx, &middleware.GenerateCall{
		Options: &opts, Turn: call.Turn + 1, MessageIndex: out.close() + 1, Send: call.Send,
	})
}

// ask calls the model through its hooks.
func (l *loop) ask(ctx context.Context, p *plan, out *stream) (*model.Response, error) {
	req := p.request()
	l.known.asked(req)
	resp, err := l.chain.Model(ctx, &middleware.ModelCall{
		Request: req, Send: out.model(ctx, l.known.sent), Model: p.model,
	}, p.start)
	out.end()
	if err != nil {
		return nil, err
	}
	if resp == nil {
		return nil, status.Errorf(status.Internal, "model %q returned nothing", p.model.Desc().Name)
	}
	resp = seal(resp, req)
	resp.Message = withRefs(model.Admit(resp.Message), len(p.opts.Messages))
	l.known.answered(resp)
	return resp, nil
}

// start ends the chain of model hooks for a background model: the operation begins.
func (p *plan) start(ctx context.Context, call *middleware.ModelCall) (*model.Response, error) {
	if err := middleware.Validate(p.model, call.Request); err != nil {
		return nil, err
	}
	in, err := rawjson.Encode(middleware.Fit(p.model, call.Request))
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the model request: %w", err)
	}
	operation, err := p.model.RunJSON(ctx, in, nil)
	return &model.Response{Operation: operation}, err
}

// seal returns a copy of a model's response as the loop passes it on.
func seal(resp *model.Response, req *model.Request) *model.Response {
	c := *resp
	if c.Message == nil {
		fromCandidate(&c)
	}
	if c.Usage == nil {
		c.Usage = &model.Usage{}
	}
	if len(c.Custom) == 0 || string(c.Custom) == "null" {
		c.Custom = json.RawMessage("{}")
	}
	if len(c.Operation) > 0 {
		c.Usage, c.Custom = nil, nil
	}
	c.Request = req.WithoutSecrets()
	c.Parsed = nil
	return &c
}

// fromCandidate reads the deprecated candidates[0].
func fromCandidate(resp *model.Response) {
	var candidates []struct {
		Message       *content.Message   `json:"message"`
		FinishReason  model.FinishReason `json:"finishReason"`
		FinishMessage string             `json:"finishMessage"`
	}
	if json.Unmarshal(resp.Candidates, &candidates) != nil || len(candidates) == 0 {
		return
	}
	resp.Message = candidates[0].Message
	if resp.FinishReason == "" {
		resp.FinishReason = candidates[0].FinishReason
	}
	if resp.FinishMessage == "" {
		resp.FinishMessage = candidates[0].FinishMessage
	}
}

// usable refuses a response that is blocked or holds no message.
func usable(resp *model.Response) error {
	if resp.FinishReason == model.FinishBlocked {
		text := "Generation blocked."
		if resp.FinishMessage != "" {
			text = "Generation blocked: " + resp.FinishMessage
		}
		return responseError(status.FailedPrecondition, text, resp)
	}
	if resp.Message == nil {
		return responseError(status.FailedPrecondition,
			"Model did not generate a message. Finish reason: '"+string(resp.FinishReason)+"': "+resp.FinishMessage, resp)
	}
	return nil
}

// responseError carries the response and the request that led to it as details
// (Genkit JS: GenerationResponseError).
func responseError(code status.Code, text string, resp *model.Response) *status.Error {
	shown := wire(resp)
	shown.Request = nil
	return status.Publicf(code, "%s", text).WithDetails(map[string]any{"response": shown, "request": resp.Request})
}

// withRefs returns m with a ref on each tool request, unique in this response; refs
// that the model left out are not used before in a conversation of n messages.
func withRefs(m *content.Message, n int) *content.Message {
	if m == nil {
		return nil
	}
	m = model.UniqueRefs(m) // the model's are unique, a hook's may not be
	used, missing := map[string]bool{}, false
	for i := range m.Content {
		if r := m.Content[i].ToolRequest; r != nil {
			used[r.Ref] = true
			missing = missing || r.Ref == ""
		}
	}
	if !missing {
		return m
	}
	c := *m
	c.Content = append([]content.Part{}, m.Content...)
	for i := range c.Content {
		r := c.Content[i].ToolRequest
		if r == nil || r.Ref != "" {
			continue
		}
		ref := "call_" + strconv.Itoa(n) + "_" + strconv.Itoa(i)
		for used[ref] {
			ref += "_"
		}
		used[ref] = true
		named := *r
		named.Ref = ref
		c.Content[i].ToolRequest = &named
	}
	return &c
}

// maxTurns reads the limit; INVALID_ARGUMENT unless it is a whole number from 0 to
// [MaxTurnsLimit].
func maxTurns(opts *model.GenerateOptions) (int, error) {
	odd, said := opts.Extra["maxTurns"]
	switch {
	case opts.MaxTurns != nil && *opts.MaxTurns >= 0 && *opts.MaxTurns <= MaxTurnsLimit:
		return *opts.MaxTurns, nil
	case opts.MaxTurns != nil:
		odd = json.RawMessage(strconv.Itoa(*opts.MaxTurns))
	case !said || string(odd) == "null":
		return DefaultMaxTurns, nil
	}
	return 0, status.Publicf(status.InvalidArgument, "maxTurns %s: want a whole number from 0 to %d", odd, MaxTurnsLimit)
}

// checkTurn refuses to execute tools once the turns are used up.
func checkTurn(turn int, opts *model.GenerateOptions, resp *model.Response) error {
	limit, err := maxTurns(opts)
	if err != nil {
		return err
	}
	if turn+1 > limit {
		return responseError(status.Aborted, "Exceeded maximum tool call iterations ("+strconv.Itoa(limit)+")", resp)
	}
	return nil
}
