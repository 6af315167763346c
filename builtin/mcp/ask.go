package mcp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Bounds of questions.
const (
	maxParkedCalls = 64
	maxParked      = 5 * time.Minute // for which a call waits for the answer to a question
	maxQuestion    = 4 << 10
)

// call is a tool's call that is under way. It does not belong to the run that began it: when the server asks the user something, the
// run ends with an interrupt and the call waits, parked, for the run that brings the answer.
type call struct {
	id        string
	tool      string
	input     [sha256.Size]byte
	conn      *conn
	cancel    context.CancelFunc
	done      chan struct{} // closed when result and err are set
	result    *sdk.CallToolResult
	err       error
	questions chan *question

	asked *question // guarded by client.mu; set while the call is parked
}

// question is what a server wants to know of the user.
type question struct {
	params *sdk.ElicitParams
	schema json.RawMessage
	reply  chan *sdk.ElicitResult
}

type callKey struct{}

// begin sends a call.
func (c *client) begin(ctx context.Context, name string, in json.RawMessage, n *conn) (*call, error) {
	working, cancel := context.WithCancel(withNote(context.WithoutCancel(ctx)))
	p := &call{
		id: rand.Text(), tool: name, input: sha256.Sum256(in), conn: n, cancel: cancel,
		done: make(chan struct{}), questions: make(chan *question),
	}
	working = context.WithValue(working, callKey{}, p)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		cancel()
		return nil, c.failure(status.Unavailable, "the host is closed")
	}
	c.calls[p] = true
	c.work.Go(func() {
		defer cancel()
		p.result, p.err = n.session.CallTool(working, &sdk.CallToolParams{Name: name, Arguments: in})
		if p.err != nil {
			p.err = c.convert(working, p.err)
		}
		c.mu.Lock()
		delete(c.calls, p)
		c.mu.Unlock()
		close(p.done)
	})
	c.mu.Unlock()
	return p, nil
}

// await waits for the result of a call, or for a question, which becomes an interrupt.
func (c *client) await(ctx context.Context, p *call) (*sdk.CallToolResult, error) {
	timer := time.NewTimer(c.timeout())
	defer timer.Stop()
	select {
	case <-p.done:
		if p.err == nil && p.result.NeedsInput() {
			return nil, c.failure(status.Unimplemented, "it asks for what can't be given")
		}
		return p.result, p.err
	case q := <-p.questions:
		return nil, c.park(p, q)
	case <-ctx.Done():
		p.cancel()
		return nil, status.Convert(ctx.Err())
	case <-timer.C:
		p.cancel()
		return nil, c.failure(status.DeadlineExceeded, "the tool %q took longer than %s", p.tool, c.timeout())
	}
}

// park lets a call wait for an answer.
func (c *client) park(p *call, q *question) error {
	c.mu.Lock()
	waiting := 0
	for other := range c.calls {
		if other.asked != nil {
			waiting++
		}
	}
	if waiting >= maxParkedCalls {
		c.mu.Unlock()
		p.cancel()
		return c.failure(status.ResourceExhausted, "more than %d of its calls wait for answers", maxParkedCalls)
	}
	p.asked = q
	c.mu.Unlock()
	about := map[string]any{"server": c.name, "tool": p.tool, "id": p.id}
	metadata := map[string]any{"message": abi.Clean(q.params.Message, maxQuestion), "mcp": about}
	if q.schema != nil {
		metadata["requestedSchema"] = q.schema
	}
	if q.params.URL != "" {
		about["url"] = abi.Line(q.params.URL, 8<<10)
	}
	return tool.InterruptWith(metadata)
}

// parked returns the call that a resumed run answers, which has the answer then; nil when there is none.
func (c *client) parked(ctx context.Context, name string, in json.RawMessage) (*call, error) {
	raw, again := tool.Resumed(ctx)
	if !again {
		return nil, nil //nolint:nilnil // no call is a value here
	}
	var answer struct {
		ID      string         `json:"id"`
		Action  string         `json:"action"`
		Content map[string]any `json:"content"`
	}
	_ = json.Unmarshal(raw, &answer) // true is an answer, too
	input := sha256.Sum256(in)
	c.mu.Lock()
	defer c.mu.Unlock()
	var found *call
	for p := range c.calls {
		if p.asked == nil || p.tool != name || p.input != input || (answer.ID != "" && answer.ID != p.id) {
			continue
		}
		if found != nil {
			return nil, c.failure(status.InvalidArgument, "several calls of the tool %q wait for an answer; say which one with \"id\"", name)
		}
		found = p
	}
	if found == nil {
		return nil, nil //nolint:nilnil // it has expired, or something else was asked
	}
	given := &sdk.ElicitResult{Action: answer.Action, Content: answer.Content}
	switch answer.Action {
	case "accept", "decline", "cancel":
	case "":
		given.Action = "accept"
		if given.Content == nil {
			_ = json.Unmarshal(raw, &given.Content) // nothing is left of true
			delete(given.Content, "id")
		}
	default:
		return nil, c.failure(status.InvalidArgument, "the answer's action is %q, want accept, decline or cancel", abi.Line(answer.Action, 40))
	}
	if given.Action == "accept" && found.asked.schema != nil {
		if err := fits(given, found.asked.schema); err != nil {
			return nil, c.failure(status.InvalidArgument, "the answer does not fit what was asked: %s", abi.Line(err.Error(), maxErrorText))
		}
	} else {
		given.Content = nil
	}
	q := found.asked
	found.asked = nil
	q.reply <- given // there is room for one
	return found, nil
}

func fits(given *sdk.ElicitResult, want json.RawMessage) error {
	s, err := schema.Compile(want)
	if err != nil {
		return err
	}
	if given.Content == nil {
		given.Content = map[string]any{}
	}
	raw, err := json.Marshal(given.Content)
	if err != nil {
		return err
	}
	return s.Validate(raw)
}

// owner is the call that a request of the server belongs to: the one that the context names, else the only one that runs on the
// connection. Revisions before 2026-07-28 don't say which one they mean.
func (c *client) owner(ctx context.Context, session *sdk.ClientSession) *call {
	if p, ok := ctx.Value(callKey{}).(*call); ok {
		return p
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var found *call
	for p := range c.calls {
		if p.conn.session != session || p.asked != nil {
			continue
		}
		if found != nil {
			return nil
		}
		found = p
	}
	return found
}

// elicit puts a server's question to the run of the call that it belongs to, and waits for the answer. Where there is no such run, or no
// answer in time, the question is cancelled.
func (c *client) elicit(ctx context.Context, req *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
	none := &sdk.ElicitResult{Action: "cancel"}
	p := c.owner(ctx, req.Session)
	if p == nil {
		return none, nil
	}
	q := &question{params: req.Params, reply: make(chan *sdk.ElicitResult, 1)}
	if req.Params.RequestedSchema != nil {
		cleaned, _, err := schemaOf(req.Params.RequestedSchema)
		if err != nil {
			return none, nil //nolint:nilerr // a form that can't be shown is not answered
		}
		q.schema = cleaned
	}
	timer := time.NewTimer(maxParked)
	defer timer.Stop()
	select {
	case p.questions <- q:
	case <-p.done:
		return none, nil
	case <-ctx.Done():
		return none, nil
	}
	select {
	case given := <-q.reply:
		return given, nil
	case <-timer.C:
		p.cancel()
	case <-p.done:
	case <-ctx.Done():
	}
	return none, nil
}
