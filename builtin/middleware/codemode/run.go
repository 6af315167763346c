package codemode

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// run is one run of code.
type run struct {
	mode    *mode
	ref     string
	next    middleware.ToolFunc
	resumed json.RawMessage // the caller's answer; nil in a first run

	code    string
	names   []string                 // of the tools, as the code has them
	tools   map[string]action.Action // by name
	log     runLog                   // of the run that is continued, and then of this one
	replay  int                      // calls of the log that are still to be met
	answers map[int]answer           // of pending calls, by number
	calls   int                      // that the code has made
	cancel  context.CancelFunc       // ends the guest
	stopped error                    // why it was ended: a tool has interrupted, or the replay differs
}

// halt ends the guest, whatever its code makes of the error.
func (r *run) halt(why error) error {
	r.stopped = why
	r.cancel()
	return why
}

// runLog is what a run has done, for the one that continues it.
type runLog struct {
	Seed  uint32       `json:"seed"`
	Tools []loggedTool `json:"tools"`
	Calls []loggedCall `json:"calls"`
}

type loggedTool struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// loggedCall is a call of a tool: one with an output or an error has run, and one with neither has interrupted.
type loggedCall struct {
	Tool      string          `json:"tool"`
	Input     json.RawMessage `json:"input"`
	Output    json.RawMessage `json:"output,omitempty"`
	Error     *toolError      `json:"error,omitempty"`
	Interrupt json.RawMessage `json:"interrupt,omitempty"`
}

func (c *loggedCall) pending() bool { return c.Output == nil && c.Error == nil }

// toolError is what a failed tool throws.
type toolError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// run is the tool's function.
func (m *mode) run(ctx context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
	r, ok := ctx.Value(runKey{}).(*run)
	if !ok {
		return nil, status.Publicf(status.FailedPrecondition, "%s runs in a generate call with the middleware %q", ToolName, Name)
	}
	if err := allowance.ToolRun(ctx); err != nil {
		return nil, err
	}
	var input struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal(in, &input); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "%s: %w", ToolName, err)
	}
	if len(input.Code) > MaxCodeBytes {
		return failure(fmt.Sprintf("the code has %d bytes, and may have %d", len(input.Code), MaxCodeBytes)), nil
	}
	r.code = input.Code
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	return r.evaluate(ctx)
}

// begin finds the tools and, of a run that is continued, its log.
func (r *run) begin(ctx context.Context) error {
	m := r.mode
	r.tools = map[string]action.Action{}
	if r.resumed == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, e := range m.tools {
			r.names, r.tools[e.definition.Name] = append(r.names, e.definition.Name), e.action
			r.log.Tools = append(r.log.Tools, loggedTool{e.definition.Name, e.key})
		}
		h := fnv.New32a()
		_, _ = h.Write([]byte(r.ref + r.code)) // it never fails
		r.log.Seed = h.Sum32()
		return nil
	}
	m.mu.Lock()
	sealed := m.pending[r.ref]
	m.mu.Unlock()
	log, err := m.sealer.open(sealed, binding(m.scope, r.ref, r.code))
	if err != nil {
		return err
	}
	for _, t := range log.Tools {
		a := find(ctx, m.reg, t.Key)
		if a == nil {
			return status.Publicf(status.NotFound, "the code calls tool %q, which is not there any more", t.Name)
		}
		r.names, r.tools[t.Name] = append(r.names, t.Name), a
	}
	r.log, r.replay = *log, len(log.Calls)
	r.answers, err = answersOf(r.resumed, log.Calls)
	return err
}

// evaluate runs the code and makes the tool's output of how it ended.
func (r *run) evaluate(ctx context.Context) (json.RawMessage, error) {
	request, err := json.Marshal(struct {
		Code  string   `json:"code"`
		Tools []string `json:"tools"`
		Seed  uint32   `json:"seed"`
	}{unfenced(r.code), orEmpty(r.names), r.log.Seed})
	if err != nil {
		return nil, status.Errorf(status.Internal, "code mode: %w", err)
	}
	inside, cancel := context.WithCancel(ctx)
	defer cancel()
	r.cancel = cancel
	raw, err := r.mode.runs.Run(inside, request, r.round)
	if r.stopped != nil {
		return nil, r.stopped
	}
	if err == nil && r.replay > 0 {
		return nil, r.diverged("it ended after %d calls, and had made %d", r.calls, len(r.log.Calls))
	}
	if err != nil {
		return ended(ctx, err)
	}
	var out struct {
		Result  *string  `json:"result"`
		Error   string   `json:"error"`
		Console []string `json:"console"`
	}
	if err := json.Unmarshal(raw, &out); err != nil || (out.Result != nil && !json.Valid([]byte(*out.Result))) {
		return failure("the code spoilt what its result is made of"), nil
	}
	shown := output{Error: out.Error, Console: out.Console}
	if out.Error == "" {
		shown.Result = json.RawMessage("null")
		if out.Result != nil {
			shown.Result = json.RawMessage(*out.Result)
		}
	}
	return json.Marshal(shown)
}

// output is what the model gets.
type output struct {
	Result  json.RawMessage `json:"result,omitempty"`
	Error   string          `json:"error,omitempty"`
	Console []string        `json:"console,omitempty"`
}

func failure(text string) json.RawMessage {
	raw, err := json.Marshal(output{Error: text})
	if err != nil {
		return json.RawMessage(`{"error":"the code failed"}`)
	}
	return raw
}

// ended tells the model of limits that its code has met, so that it writes other code. What is no fault of the
// code is the call's error.
func ended(ctx context.Context, err error) (json.RawMessage, error) {
	e := status.Convert(err)
	if ctx.Err() != nil || e.RetryAfter > 0 {
		return nil, err
	}
	switch e.Code {
	case status.ResourceExhausted, status.Internal, status.DeadlineExceeded:
		return failure(status.ToWire(err, false).Message), nil
	}
	return nil, err
}

// round answers the calls that the code has made before it waited.
func (r *run) round(ctx context.Context, asked json.RawMessage) (json.RawMessage, error) {
	var in struct {
		Calls []struct {
			Tool  string `json:"tool"`
			Input string `json:"input"`
		} `json:"calls"`
	}
	if err := json.Unmarshal(asked, &in); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "calls of tools: %w", err)
	}
	if r.stopped != nil { // code may catch what it is told
		return nil, r.stopped
	}
	first := r.calls
	if r.calls += len(in.Calls); r.calls > MaxCalls {
		return nil, status.Publicf(status.ResourceExhausted, "the code called tools more than %d times", MaxCalls)
	}
	made := make([]loggedCall, len(in.Calls))
	for i, c := range in.Calls {
		var input bytes.Buffer
		if err := json.Compact(&input, []byte(c.Input)); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "the input of a tool is no JSON")
		}
		made[i] = loggedCall{Tool: c.Tool, Input: input.Bytes()}
		if r.tools[c.Tool] == nil {
			made[i].Error = &toolError{status.NotFound.String(), "there is no tool " + strconv.Quote(c.Tool)}
		}
		if r.replay == 0 {
			continue
		}
		logged := r.log.Calls[first+i]
		if logged.Tool != c.Tool || !bytes.Equal(logged.Input, input.Bytes()) {
			err := r.diverged("call %d was %s(%s), and is now %s(%s)", first+i+1, logged.Tool, brief(logged.Input), c.Tool, brief(input.Bytes()))
			return nil, r.halt(err)
		}
		made[i].Output, made[i].Error = logged.Output, logged.Error
		r.replay--
	}
	r.runAll(ctx, first, made)
	for i := range made {
		if first+i < len(r.log.Calls) {
			r.log.Calls[first+i] = made[i]
		} else {
			r.log.Calls = append(r.log.Calls, made[i])
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(context.Cause(ctx))
	}
	if err := r.interrupt(); err != nil {
		return nil, r.halt(err)
	}
	type outcome struct {
		Output json.RawMessage `json:"output,omitempty"`
		Error  *toolError      `json:"error,omitempty"`
	}
	outcomes := make([]outcome, len(made))
	for i := range made {
		outcomes[i] = outcome{made[i].Output, made[i].Error}
	}
	return json.Marshal(map[string]any{"outcomes": outcomes})
}

// runAll runs the calls that have no outcome yet, side by side.
func (r *run) runAll(ctx context.Context, first int, calls []loggedCall) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, MaxTogether)
	for i := range calls {
		if !calls[i].pending() {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			r.callTool(ctx, first+i, &calls[i])
		})
	}
	wg.Wait()
}

// callTool runs a tool through the middleware behind this one. The caller's answer is for the call that asked for it.
func (r *run) callTool(ctx context.Context, number int, c *loggedCall) {
	given := r.answers[number]
	if given.output != nil || given.err != nil {
		c.Output, c.Error = given.output, given.err
		return
	}
	part := content.Part{ToolRequest: &content.ToolRequest{Name: c.Tool, Ref: r.ref + "/" + strconv.Itoa(number+1), Input: c.Input}}
	if given.resumed != nil {
		part.Metadata = content.Metadata{"resumed": given.resumed}
	}
	response, err := r.guarded(ctx, &middleware.ToolCall{Part: part, Tool: answered{r.tools[c.Tool], given.resumed}})
	if interrupt, ok := tool.AsInterrupt(err); ok {
		c.Interrupt = interrupt.Pause()
		return
	}
	c.Interrupt = nil
	switch {
	case err != nil:
		wire := status.ToWire(err, false)
		c.Error = &toolError{wire.Status, wire.Message}
	case response == nil || response.ToolResponse == nil:
		c.Output = json.RawMessage("null")
	default:
		c.Output = result(response.ToolResponse)
	}
}

// guarded lets a tool or a hook that panics fail its call alone.
func (r *run) guarded(ctx context.Context, call *middleware.ToolCall) (part *content.Part, err error) {
	defer func() {
		if p := recover(); p != nil {
			part, err = nil, status.Errorf(status.Internal, "a tool or its middleware panicked: %v", p)
		}
	}()
	return r.next(ctx, call)
}

// result is a response as the code gets it: its output, or both where there are parts.
func result(response *content.ToolResponse) json.RawMessage {
	out := response.Output
	if len(out) == 0 {
		out = json.RawMessage("null")
	}
	if len(response.Content) == 0 {
		return out
	}
	raw, err := json.Marshal(map[string]any{"output": out, "content": response.Content})
	if err != nil {
		return out
	}
	return raw
}

// answered is a tool that sees the caller's answer to its own call, and to no other one.
type answered struct {
	action.Action
	resumed json.RawMessage
}

func (a answered) RunJSON(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	return a.Action.RunJSON(tool.WithResumed(ctx, a.resumed), in, emit)
}

// interrupt is how the run asks for the answers that its pending calls need; nil where there is none.
func (r *run) interrupt() error {
	type pending struct {
		Call      int             `json:"call"`
		Tool      string          `json:"tool"`
		Input     json.RawMessage `json:"input"`
		Interrupt json.RawMessage `json:"interrupt"`
	}
	var list []pending
	for i := range r.log.Calls[:r.calls] { // what follows in a log is still to be met
		if c := &r.log.Calls[i]; c.pending() {
			list = append(list, pending{i + 1, c.Tool, c.Input, c.Interrupt})
		}
	}
	if len(list) == 0 {
		return nil
	}
	sealed, err := r.mode.sealer.seal(&r.log, binding(r.mode.scope, r.ref, r.code))
	if err != nil {
		return err
	}
	return tool.InterruptWith(map[string]any{"codeMode": map[string]any{"pending": list, "log": sealed}})
}

func (r *run) diverged(format string, args ...any) error {
	return status.Publicf(status.Aborted, "the code did not do again what it had done before it was interrupted: "+format, args...)
}

// answer is what the caller says to a pending call: an answer for the tool, or its outcome.
type answer struct {
	resumed, output json.RawMessage
	err             *toolError
}

// answersOf reads the caller's answer. {"calls": {"2": {"resumed": …}, "3": {"output": …}, "4": {"error": "…"}}} answers each pending call by
// its number; anything else is for the tool of the only one.
func answersOf(resumed json.RawMessage, calls []loggedCall) (map[int]answer, error) {
	open := map[int]bool{}
	only := 0
	for i := range calls {
		if calls[i].pending() {
			open[i], only = true, i
		}
	}
	var by map[string]json.RawMessage
	_ = json.Unmarshal(resumed, &by) // true is an answer, too
	if by["calls"] == nil {
		if len(open) != 1 {
			return nil, status.Publicf(status.InvalidArgument, `%d calls wait for an answer: give each its own, as {"calls": {"1": {"resumed": …}, …}}`, len(open))
		}
		return map[int]answer{only: {resumed: resumed}}, nil
	}
	var given map[string]struct {
		Resumed json.RawMessage `json:"resumed"`
		Output  json.RawMessage `json:"output"`
		Error   *string         `json:"error"`
	}
	if err := json.Unmarshal(by["calls"], &given); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "the answers to the code's calls: %w", err)
	}
	answers := map[int]answer{}
	for text, g := range given {
		n, err := strconv.Atoi(text)
		if err != nil || !open[n-1] {
			return nil, status.Publicf(status.InvalidArgument, "an answer is for call %q, which does not wait for one", text)
		}
		a := answer{resumed: g.Resumed, output: g.Output}
		if g.Error != nil {
			a.err = &toolError{status.PermissionDenied.String(), *g.Error}
		}
		answers[n-1] = a
	}
	return answers, nil
}

func brief(raw json.RawMessage) string {
	if len(raw) > 100 {
		return strings.ToValidUTF8(string(raw[:100]), "") + "…"
	}
	return string(raw)
}

func orEmpty(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

// unfenced takes the marks off that models put around code.
func unfenced(code string) string {
	text := strings.TrimSpace(code)
	if !strings.HasPrefix(text, "```") || !strings.HasSuffix(text, "```") || len(text) < 6 {
		return code
	}
	_, body, ok := strings.Cut(strings.TrimSuffix(text, "```"), "\n")
	if !ok {
		return code
	}
	return body
}
