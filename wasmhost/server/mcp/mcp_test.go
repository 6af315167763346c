package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/mcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// revisions are the newest one and the last one with a handshake.
var revisions = []string{"2026-07-28", "2025-11-25"}

type raw = json.RawMessage

// made is a registry with tools that do what can be done in MCP, and what can go wrong.
func made(t *testing.T) *registry.Registry {
	t.Helper()
	r := registry.New(nil)
	add := func(d action.Desc, fn action.Func) {
		a, err := action.New(d, fn)
		require.NoError(t, err)
		require.NoError(t, r.Register(a))
	}
	object := raw(`{"type":"object","properties":{"n":{"type":"number"}},"required":["n"]}`)
	echo := func(_ context.Context, in raw, _ action.Emit) (raw, error) { return in, nil }
	add(action.Desc{Kind: action.Tool, Name: "kit/object", Description: "Takes\u202e an object.", InputSchema: object, OutputSchema: object}, echo)
	add(action.Desc{Kind: action.Tool, Name: "kit/text", InputSchema: raw(`{"$defs":{"t":{"type":"string"}},"$ref":"#/$defs/t","type":"string"}`)}, echo)
	add(action.Desc{Kind: action.Tool, Name: "kit/any"}, echo)
	add(action.Desc{Kind: action.Tool, Name: "kit/Ünï code!"}, echo)
	add(action.Desc{Kind: action.Tool, Name: "kit/private"}, func(context.Context, raw, action.Emit) (raw, error) {
		return nil, status.Errorf(status.Internal, "the secret is 42")
	})
	add(action.Desc{Kind: action.Tool, Name: "kit/emits"}, func(_ context.Context, _ raw, emit action.Emit) (raw, error) {
		for _, chunk := range []string{`"one"`, `{"step":2}`} {
			if emit != nil {
				if err := emit(raw(chunk)); err != nil {
					return nil, err
				}
			}
		}
		return raw(`"done\u202e"`), nil
	})
	add(action.Desc{Kind: action.Tool, Name: "kit/asks"}, func(ctx context.Context, _ raw, _ action.Emit) (raw, error) {
		if answer, ok := tool.Resumed(ctx); ok {
			return answer, nil
		}
		return nil, tool.Interrupt(raw(`{"message":"Really?"}`))
	})
	shot, err := tool.NewMultipart("kit/shot", "Takes a picture.", func(context.Context, struct{}) (*tool.Result, error) {
		return &tool.Result{Output: map[string]int{"w": 1}, Content: []content.Part{
			content.NewTextPart("see"), content.NewMediaPart("", "data:image/png;base64,iVBORw0K"), content.NewMediaPart("audio/wav", "data:audio/wav;base64,UklG"),
			content.NewMediaPart("", "data:application/pdf;base64,JVBE"), content.NewMediaPart("video/mp4", "https://x.example/a.mp4"), content.NewMediaPart("", "data:image/png;base64,%%"),
		}}, nil
	})
	require.NoError(t, err)
	require.NoError(t, r.Register(shot))
	add(action.Desc{Kind: action.Prompt, Name: "greet", InputSchema: raw(`{"type":"object","properties":{"name":{"type":"string","description":"Who."},"times":{"type":"integer"}},"required":["name"]}`)},
		func(_ context.Context, in raw, _ action.Emit) (raw, error) {
			return json.Marshal(map[string]any{"messages": []content.Message{content.NewUserTextMessage("hi " + string(in)), content.NewModelTextMessage("ho")}})
		})
	menu, err := resource.New("menu", resource.Config{URI: "menu://today"}, func(context.Context, resource.Input) ([]content.Part, error) {
		return []content.Part{content.NewTextPart("soup")}, nil
	})
	require.NoError(t, err)
	require.NoError(t, r.Register(menu))
	note, err := resource.New("note", resource.Config{Template: "note://{id}"}, func(_ context.Context, in resource.Input) ([]content.Part, error) {
		return []content.Part{content.NewMediaPart("", "data:image/png;base64,iVBORw0K"), content.NewTextPart(in.Variables["id"])}, nil
	})
	require.NoError(t, err)
	require.NoError(t, r.Register(note))
	return r
}

// connect returns a client of a face, over HTTP or over a stream.
func connect(t *testing.T, c mcp.Config, http bool, revision string, o *sdk.ClientOptions) *sdk.ClientSession {
	t.Helper()
	var transport sdk.Transport
	if http {
		web := httptest.NewServer(mcp.New(c))
		t.Cleanup(web.Close)
		transport = &sdk.StreamableClientTransport{Endpoint: web.URL, HTTPClient: web.Client(), MaxRetries: -1}
	} else {
		near, far := sdk.NewInMemoryTransports()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = mcp.New(c).Serve(ctx, far)
		}()
		t.Cleanup(func() {
			cancel()
			<-served
		})
		transport = near
	}
	session, err := sdk.NewClient(&sdk.Implementation{Name: "test"}, o).Connect(t.Context(), transport, &sdk.ClientSessionOptions{ProtocolVersion: revision})
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// each runs a test over both transports and revisions.
func each(t *testing.T, test func(t *testing.T, connect func(mcp.Config, *sdk.ClientOptions) *sdk.ClientSession, http bool, revision string)) {
	t.Helper()
	for _, http := range []bool{true, false} {
		for _, revision := range revisions {
			t.Run(fmt.Sprintf("http=%v/%s", http, revision), func(t *testing.T) {
				test(t, func(c mcp.Config, o *sdk.ClientOptions) *sdk.ClientSession { return connect(t, c, http, revision, o) }, http, revision)
			})
		}
	}
}

func call(t *testing.T, s *sdk.ClientSession, name, arguments string) string {
	t.Helper()
	params := &sdk.CallToolParams{Name: name}
	if arguments != "" {
		params.Arguments = raw(arguments)
	}
	result, err := s.CallTool(t.Context(), params)
	if err != nil {
		return "error: " + err.Error()
	}
	result.Meta = nil
	b, err := json.Marshal(result)
	require.NoError(t, err)
	return strings.Replace(string(b), `,"resultType":"complete"`, "", 1)
}

func TestToolsAreListedAndCalled(t *testing.T) {
	each(t, func(t *testing.T, connect func(mcp.Config, *sdk.ClientOptions) *sdk.ClientSession, _ bool, revision string) {
		s := connect(mcp.Config{Registry: made(t), Version: "7", Hints: func(key action.Key) (mcp.Hints, bool) {
			return mcp.Hints{ReadOnly: true}, key.Name == "kit/any"
		}}, nil)
		assert.Equal(t, revision, s.InitializeResult().ProtocolVersion)
		list, err := s.ListTools(t.Context(), nil)
		require.NoError(t, err)
		tools := map[string]*sdk.Tool{}
		var odd string
		for _, tool := range list.Tools {
			assert.Regexp(t, `^[a-zA-Z0-9_-]{1,64}$`, tool.Name)
			assert.NotContains(t, tools, tool.Name)
			tools[tool.Name] = tool
			assert.Equal(t, "object", tool.InputSchema.(map[string]any)["type"], tool.Name)
			if strings.HasPrefix(tool.Name, "kit__") && strings.HasSuffix(tool.Name, "__") {
				odd = tool.Name
			}
		}
		assert.Len(t, tools, 8)
		assert.Equal(t, "Takes an object.", tools["kit__object"].Description)
		assert.NotNil(t, tools["kit__object"].OutputSchema)
		assert.Nil(t, tools["kit__text"].OutputSchema)
		assert.Nil(t, tools["kit__object"].Annotations)
		assert.True(t, tools["kit__any"].Annotations.ReadOnlyHint)
		assert.False(t, *tools["kit__any"].Annotations.OpenWorldHint)

		for name, c := range map[string][3]string{
			"an object":             {"kit__object", `{"n":12345678901234567890}`, `{"content":[{"type":"text","text":"{\"n\":12345678901234567890}"}],"structuredContent":{"n":12345678901234567890}}`},
			"a text":                {"kit__text", `{"input":"<x>"}`, `{"content":[{"type":"text","text":"<x>"}]}`},
			"nothing":               {"kit__any", ``, `{"content":[{"type":"text","text":"{}"}],"structuredContent":{}}`},
			"an odd name":           {odd, `{"a":1}`, `{"content":[{"type":"text","text":"{\"a\":1}"}],"structuredContent":{"a":1}}`},
			"hidden characters":     {"kit__emits", `{}`, `{"content":[{"type":"text","text":"done"}]}`},
			"a broken schema":       {"kit__object", `{"n":"x"}`, `"isError":true`},
			"an input that is none": {"kit__text", `{"text":"x"}`, `"isError":true`},
			"a private error":       {"kit__private", `{}`, `INTERNAL`},
			"an unknown tool":       {"kit__none", `{}`, `unknown tool: "kit__none" is not known here`},
			"the face's own tool":   {"any", `{}`, `unknown tool: "`},
			"another kind's name":   {"greet", `{}`, `unknown tool: "`},
			"a name with a break":   {"kit\n__any", `{}`, `error: `},
		} {
			got := call(t, s, c[0], c[1])
			if strings.HasPrefix(c[2], "{") {
				assert.JSONEq(t, c[2], got, name)
				continue
			}
			assert.Contains(t, got, c[2], name)
			assert.NotContains(t, got, "secret", name)
		}
	})
}

func TestContentOfMultipartTools(t *testing.T) {
	each(t, func(t *testing.T, connect func(mcp.Config, *sdk.ClientOptions) *sdk.ClientSession, _ bool, _ string) {
		got := call(t, connect(mcp.Config{Registry: made(t)}, nil), "kit__shot", `{}`)
		assert.JSONEq(t, `{"content":[{"type":"text","text":"{\"w\":1}"},{"type":"text","text":"see"},{"type":"image","mimeType":"image/png","data":"iVBORw0K"},
			{"type":"audio","mimeType":"audio/wav","data":"UklG"},
			{"type":"resource","resource":{"uri":"genkit-wasm:part/3","mimeType":"application/pdf","blob":"JVBE"}},
			{"type":"resource_link","uri":"https://x.example/a.mp4","name":"https://x.example/a.mp4","mimeType":"video/mp4"},
			{"type":"text","text":"(media that can't be read)"}],"structuredContent":{"w":1}}`, got)
	})
}

func TestChunksAreProgress(t *testing.T) {
	each(t, func(t *testing.T, connect func(mcp.Config, *sdk.ClientOptions) *sdk.ClientSession, _ bool, _ string) {
		got := make(chan string, 4)
		s := connect(mcp.Config{Registry: made(t)}, &sdk.ClientOptions{ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) {
			got <- fmt.Sprintf("%v %v %s", r.Params.ProgressToken, r.Params.Progress, r.Params.Message)
		}})
		params := &sdk.CallToolParams{Name: "kit__emits", Arguments: raw(`{}`)}
		params.SetProgressToken("p")
		_, err := s.CallTool(t.Context(), params)
		require.NoError(t, err)
		assert.Equal(t, "p 1 one", <-got)
		assert.Equal(t, `p 2 {"step":2}`, <-got)
	})
}

func TestInterruptsAskTheUser(t *testing.T) {
	each(t, func(t *testing.T, connect func(mcp.Config, *sdk.ClientOptions) *sdk.ClientSession, http bool, revision string) {
		answers := map[string]*sdk.ElicitResult{
			`{"answer":"yes"}`: {Action: "accept", Content: map[string]any{"answer": "yes"}},
			`true`:             {Action: "accept"},
			`ABORTED`:          {Action: "decline"},
		}
		for want, answer := range answers {
			s := connect(mcp.Config{Registry: made(t)}, &sdk.ClientOptions{ElicitationHandler: func(_ context.Context, r *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
				assert.Equal(t, "Really?", r.Params.Message)
				return answer, nil
			}})
			got := call(t, s, "kit__asks", `{}`)
			if http && revision < "2026-07-28" {
				want = "this client can't be asked: Really?"
			}
			text := strings.ReplaceAll(got, `\"`, `"`)
			assert.Contains(t, text, want)
		}
		assert.Contains(t, call(t, connect(mcp.Config{Registry: made(t)}, nil), "kit__asks", `{}`), "can't be asked: Really?")
	})
}

func TestPromptsAndResources(t *testing.T) {
	each(t, func(t *testing.T, connect func(mcp.Config, *sdk.ClientOptions) *sdk.ClientSession, _ bool, _ string) {
		s := connect(mcp.Config{Registry: made(t)}, nil)
		prompts, err := s.ListPrompts(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, prompts.Prompts, 1)
		assert.Equal(t, []*sdk.PromptArgument{{Name: "name", Description: "Who.", Required: true}, {Name: "times"}}, prompts.Prompts[0].Arguments)
		p, err := s.GetPrompt(t.Context(), &sdk.GetPromptParams{Name: "greet", Arguments: map[string]string{"name": "Ada", "times": "2"}})
		require.NoError(t, err)
		require.Len(t, p.Messages, 2)
		assert.Equal(t, `hi {"name":"Ada","times":2}`, p.Messages[0].Content.(*sdk.TextContent).Text)
		assert.Equal(t, sdk.Role("assistant"), p.Messages[1].Role)
		for _, bad := range []*sdk.GetPromptParams{{Name: "none"}, {Name: "greet"}, {Name: "greet", Arguments: map[string]string{"name": "x", "times": "two"}}} {
			_, err = s.GetPrompt(t.Context(), bad)
			require.Error(t, err)
		}

		resources, err := s.ListResources(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, resources.Resources, 1)
		assert.Equal(t, "menu://today", resources.Resources[0].URI)
		templates, err := s.ListResourceTemplates(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, templates.ResourceTemplates, 1)
		assert.Equal(t, "note://{id}", templates.ResourceTemplates[0].URITemplate)
		read, err := s.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "note://7"})
		require.NoError(t, err)
		require.Len(t, read.Contents, 2)
		assert.Equal(t, []byte("\x89PNG\r\n"), read.Contents[0].Blob)
		assert.Equal(t, "7", read.Contents[1].Text)
		_, err = s.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "none://"})
		require.ErrorContains(t, err, "there is no resource")
	})
}

func TestListsComeInPages(t *testing.T) {
	r := registry.New(nil)
	for i := range 450 {
		a, err := action.New(action.Desc{Kind: action.Tool, Name: fmt.Sprintf("many/t%03d", i)}, nil)
		require.NoError(t, err)
		require.NoError(t, r.Register(a))
	}
	s := connect(t, mcp.Config{Registry: r}, false, "", nil)
	seen := 0
	for tool, err := range s.Tools(t.Context(), nil) {
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("many__t%03d", seen), tool.Name)
		seen++
	}
	assert.Equal(t, 450, seen)
	first, err := s.ListTools(t.Context(), nil)
	require.NoError(t, err)
	assert.Len(t, first.Tools, 200)
	_, err = s.ListTools(t.Context(), &sdk.ListToolsParams{Cursor: "?"})
	require.ErrorContains(t, err, "cursor")
}

func TestClientsAreToldOfChanges(t *testing.T) {
	each(t, func(t *testing.T, connect func(mcp.Config, *sdk.ClientOptions) *sdk.ClientSession, http bool, revision string) {
		if http && revision < "2026-07-28" {
			return // it would need a session: the server does not offer it
		}
		var now atomic.Pointer[chan struct{}]
		change := make(chan struct{})
		now.Store(&change)
		asked, told := make(chan struct{}, 8), make(chan struct{}, 8)
		c := mcp.Config{Registry: made(t), Changed: func() <-chan struct{} {
			asked <- struct{}{}
			return *now.Load()
		}}
		connect(c, &sdk.ClientOptions{ToolListChangedHandler: func(context.Context, *sdk.ToolListChangedRequest) { told <- struct{}{} }})
		<-asked
		next := make(chan struct{})
		now.Store(&next)
		close(change)
		<-told
	})
}

func TestACallEndsWithItsClient(t *testing.T) {
	each(t, func(t *testing.T, connect func(mcp.Config, *sdk.ClientOptions) *sdk.ClientSession, http bool, revision string) {
		r := registry.New(nil)
		began, ended := make(chan struct{}), make(chan error, 1)
		a, err := action.New(action.Desc{Kind: action.Tool, Name: "kit/waits"}, func(ctx context.Context, _ raw, _ action.Emit) (raw, error) {
			close(began)
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, ctx.Err()
		})
		require.NoError(t, err)
		require.NoError(t, r.Register(a))
		s := connect(mcp.Config{Registry: r}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-began
			cancel()
		}()
		_, err = s.CallTool(ctx, &sdk.CallToolParams{Name: "kit__waits"})
		require.Error(t, err)
		require.Error(t, <-ended)
	})
}

// A list that has to wait for others refuses in words, also where a tool's name needs it.
func TestListsThatAreRefusedSayWhy(t *testing.T) {
	busy := status.Publicf(status.ResourceExhausted, "too many lists").WithRetryAfter(1)
	s := connect(t, mcp.Config{Registry: made(t), List: func(context.Context) (func(), error) { return nil, busy }}, true, "", nil)
	for _, list := range []func() error{
		func() error { _, err := s.ListTools(t.Context(), nil); return err },
		func() error { _, err := s.ListPrompts(t.Context(), nil); return err },
		func() error { _, err := s.ListResources(t.Context(), nil); return err },
		func() error {
			_, err := s.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "menu://today"})
			return err
		},
	} {
		require.ErrorContains(t, list(), "too many lists")
	}
	assert.Contains(t, call(t, s, "kit__odd-0123456789ab__", `{}`), "RESOURCE_EXHAUSTED: too many lists (try again in 1 s)")
	assert.Contains(t, call(t, s, "kit__any", `{}`), `{}`, "a name that can be read back needs no list")
}

// A panic of code that the face calls answers one request, and ends nothing else.
func TestPanicsAnswerOneRequest(t *testing.T) {
	s := connect(t, mcp.Config{Registry: made(t), List: func(context.Context) (func(), error) { panic("the secret is 42") }}, true, "", nil)
	_, err := s.ListTools(t.Context(), nil)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
	assert.Contains(t, call(t, s, "kit__any", `{}`), "{}")
}
