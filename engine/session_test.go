package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/session"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

func newChat(t testing.TB, e *engine.Engine, thread string, options ...engine.GenerateOption) *engine.Chat {
	t.Helper()
	s, err := session.New(t.Context(), session.Config{})
	require.NoError(t, err)
	c, err := engine.NewChat(e, s, thread, options...)
	require.NoError(t, err)
	return c
}

func conversation(t testing.TB, c *engine.Chat) []string {
	t.Helper()
	messages, err := c.Messages()
	require.NoError(t, err)
	var list []string
	for _, m := range messages {
		list = append(list, string(m.Role)+": "+m.Text())
	}
	return list
}

// counting registers model "counts", which says how many messages it was given, and to
// "wait" nothing more until its caller leaves.
func counting(e *engine.Engine) {
	engine.DefineModel(e, "counts", model.Info{Supports: model.Supports{Multiturn: true, SystemRole: true, Tools: true}}, func(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) {
		msg := content.NewModelTextMessage(fmt.Sprintf("%d messages", len(req.Messages)))
		if send != nil {
			if err := send(&model.Chunk{Content: msg.Content}); err != nil {
				return nil, err
			}
		}
		if req.Messages[len(req.Messages)-1].Text() == "wait" {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &model.Response{Message: &msg, FinishReason: model.FinishStop}, nil
	})
}

func TestAChatGoesOnWhereItWas(t *testing.T) {
	e := start(t, engine.Config{DefaultModel: "counts"})
	counting(e)
	c := newChat(t, e, "", engine.WithSystem("be brief"))
	resp, err := c.Send(t.Context(), "one")
	require.NoError(t, err)
	assert.Equal(t, "2 messages", resp.Text())
	streamed := ""
	for event, err := range c.SendStream(t.Context(), "two") {
		require.NoError(t, err)
		if event.Done {
			streamed += "!"
		} else {
			streamed += event.Chunk.Text()
		}
	}
	assert.Equal(t, "4 messages!", streamed)
	_, err = c.Send(t.Context(), "", engine.WithPromptParts(content.NewTextPart("three")))
	require.NoError(t, err)
	assert.Equal(t, []string{"system: be brief", "user: one", "model: 2 messages", "user: two", "model: 4 messages", "user: three", "model: 6 messages"}, conversation(t, c))

	again, err := engine.NewChat(e, c.Session(), "", engine.WithSystem("be long"))
	require.NoError(t, err)
	resp, err = again.Send(t.Context(), "four")
	require.NoError(t, err)
	assert.Equal(t, "8 messages", resp.Text())
	assert.Equal(t, "system: be long", conversation(t, again)[0])

	for event, err := range c.SendStream(t.Context(), "wait") {
		require.NoError(t, err)
		_ = event
		break
	}
	assert.Len(t, conversation(t, c), 9, "a turn whose reader leaves is not kept")
	_, err = engine.NewChat(e, c.Session(), "", engine.WithTools(nil))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = c.Send(t.Context(), "x", engine.WithTools(nil))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = c.Send(t.Context(), "x", engine.WithModelName("nope"))
	require.ErrorIs(t, err, status.ErrNotFound)
	require.NoError(t, e.Close(t.Context()))
	_, err = c.Send(t.Context(), "x")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
}

func TestToolsSeeTheSessionAndInterruptsAreResumed(t *testing.T) {
	e := start(t, engine.Config{})
	engine.DefineTool(e, "visit", "", func(ctx context.Context, _ any) (string, error) {
		s, ok := session.From(ctx)
		if !ok {
			return "", status.ErrNotFound
		}
		return "noted", s.UpdateState(ctx, map[string]int{"visits": 1})
	})
	ask := engine.DefineInterrupt[any, string](e, "ask", "", func(context.Context, any) (any, error) { return map[string]string{"q": "sure?"}, nil })
	c := newChat(t, e, "", engine.WithTools(engine.ToolName("visit"), engine.ToolName("ask")))
	_, err := c.Send(t.Context(), "hello", callsTool("visit"))
	require.NoError(t, err)
	state, err := c.Session().State()
	require.NoError(t, err)
	assert.JSONEq(t, `{"visits":1}`, string(state))
	assert.Len(t, conversation(t, c), 4)

	resp, err := c.Send(t.Context(), "and now?", callsTool("ask"))
	require.NoError(t, err)
	require.Len(t, resp.Interrupts(), 1)
	messages, err := c.Session().Messages("main")
	require.NoError(t, err)
	pending := messages[len(messages)-1].Interrupts()
	require.Len(t, pending, 1, "an interrupt is kept in the thread")
	reply, err := tool.Respond(pending[0], json.RawMessage(`"yes"`))
	require.NoError(t, err)
	_ = ask
	resp, err = c.Send(t.Context(), "", engine.WithToolResponses(reply), callsTool("ask"))
	require.NoError(t, err)
	assert.Equal(t, "done", resp.Text())
	list := conversation(t, c)
	assert.Equal(t, []string{"user: hello", "model: ", "tool: ", "model: done", "user: and now?", "model: ", "tool: ", "model: done"}, list)
}

func TestSendsAtOnceOnOneThreadAreAllKept(t *testing.T) {
	e := start(t, engine.Config{DefaultModel: "counts"})
	counting(e)
	store := session.NewMemory(session.MemoryConfig{})
	s, err := session.New(t.Context(), session.Config{Store: store, ID: "a"})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i := range 8 {
		mine := s
		if i >= 4 { // as another process would
			mine, err = session.Load(t.Context(), session.Config{Store: store, ID: "a"})
			require.NoError(t, err)
		}
		c, err := engine.NewChat(e, mine, "")
		require.NoError(t, err)
		wg.Go(func() {
			for j := range 5 {
				_, err := c.Send(t.Context(), fmt.Sprintf("%d.%d", i, j))
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	require.NoError(t, s.Refresh(t.Context()))
	messages, err := s.Messages("main")
	require.NoError(t, err)
	require.Len(t, messages, 80)
	seen := map[string]bool{}
	for i, m := range messages {
		if i%2 == 0 {
			assert.Equal(t, content.RoleUser, m.Role)
			seen[m.Text()] = true
		} else {
			assert.True(t, strings.HasSuffix(m.Text(), "messages"))
		}
	}
	assert.Len(t, seen, 40)
}

func TestEvaluatorsAreDefinedAndRun(t *testing.T) {
	e := start(t, engine.Config{})
	a := engine.DefineEvaluator(e, "acme/short", evaluate.Info{DisplayName: "Short", Definition: "Is short."}, func(_ context.Context, c *evaluate.Case, _ json.RawMessage) ([]evaluate.Score, error) {
		return []evaluate.Score{evaluate.Verdict(len(c.Output) < 6)}, nil
	})
	assert.Equal(t, action.Evaluator, a.Desc().Kind)
	engine.DefineBatchEvaluator(e, "acme/none", evaluate.Info{}, func(context.Context, *evaluate.Request) ([]evaluate.Result, error) { return nil, nil })
	results, err := engine.Evaluate(t.Context(), e.Child(), engine.WithEvaluatorName("short"), engine.WithDataset(evaluate.Case{Output: json.RawMessage(`"a"`)}, evaluate.Case{Output: json.RawMessage(`"abcdefgh"`)}), engine.WithParallel(2))
	require.NoError(t, err)
	assert.Equal(t, evaluate.Pass, results[0].Evaluation[0].Status)
	assert.Equal(t, evaluate.Fail, results[1].Evaluation[0].Status)
	results, err = engine.Evaluate(t.Context(), e, engine.WithEvaluatorName("/evaluator/acme/none"))
	require.NoError(t, err)
	assert.Empty(t, results)
	_, err = engine.Evaluate(t.Context(), e, engine.WithEvaluatorName("nope"))
	require.ErrorIs(t, err, status.ErrNotFound)
	assert.Panics(t, func() { engine.DefineEvaluator(e, "acme/short", evaluate.Info{}, nil) })
	require.NoError(t, e.Close(t.Context()))
	_, err = engine.Evaluate(t.Context(), e, engine.WithEvaluatorName("short"))
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
}

func ExampleNewChat() {
	ctx := context.Background()
	eng := newEngine(ctx)
	defer eng.Close(ctx)
	s, err := session.New(ctx, session.Config{State: map[string]string{"name": "Ada"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	chat, err := engine.NewChat(eng, s, "", engine.WithSystem("Be brief."))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, text := range []string{"hello", "and good night"} {
		resp, err := chat.Send(ctx, text)
		fmt.Println(resp.Text(), err)
	}
	messages, err := chat.Messages()
	fmt.Println(len(messages), err)
	// Output:
	// You said: hello <nil>
	// You said: and good night <nil>
	// 5 <nil>
}

// Two requests of one ref stay two through a session's store.
func TestAChatAnswersRequestsOfOneRefOneByOne(t *testing.T) {
	e := start(t, engine.Config{DefaultModel: "twice"})
	var answered []content.Part
	engine.DefineModel(e, "twice", model.Info{Supports: model.Supports{Multiturn: true, Tools: true}}, func(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
		if last := req.Messages[len(req.Messages)-1]; last.Role == content.RoleTool {
			answered = last.Content
			return &model.Response{Message: new(content.NewModelTextMessage("done"))}, nil
		}
		request := content.Part{ToolRequest: &content.ToolRequest{Name: "ask", Ref: "call_1"}}
		return &model.Response{Message: &content.Message{Role: content.RoleModel, Content: []content.Part{request, request}}}, nil
	})
	engine.DefineInterrupt[any, string](e, "ask", "", nil)
	c := newChat(t, e, "", engine.WithTools(engine.ToolName("ask")))
	_, err := c.Send(t.Context(), "hello")
	require.NoError(t, err)
	messages, err := c.Messages()
	require.NoError(t, err)
	pending := messages[len(messages)-1].Interrupts()
	require.Len(t, pending, 2)
	yes, err := tool.Respond(pending[0], json.RawMessage(`"yes"`))
	require.NoError(t, err)
	_, err = c.Send(t.Context(), "", engine.WithToolResponses(yes))
	require.ErrorIs(t, err, status.ErrInvalidArgument, "the other one was not answered")
	no, err := tool.Respond(pending[1], json.RawMessage(`"no"`))
	require.NoError(t, err)
	_, err = c.Send(t.Context(), "", engine.WithToolResponses(no, yes))
	require.NoError(t, err)
	require.Len(t, answered, 2)
	assert.Equal(t, `"yes"`, string(answered[0].ToolResponse.Output))
	assert.Equal(t, `"no"`, string(answered[1].ToolResponse.Output))
}
