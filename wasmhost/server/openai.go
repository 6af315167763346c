package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/negotiation"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/openai"
)

var (
	docChat = operation{
		id: "createChatCompletion", tag: "openai", summary: "Ask a model, as OpenAI's clients do",
		text: "OpenAI's chat completions, with this path's \".../openai/v1\" as the base URL and an API key of this server. Tools of the request are returned for its caller to run. A request without " +
			"tools is offered the tenant's, which run here: all of them, or those that the member server_tools names, an array; none with tool_choice \"none\". " +
			"A tool that stops to ask is returned as a call. Failures are problems with OpenAI's member \"error\" besides.",
		params:  []string{"heartbeat"},
		request: jsonOf("ChatRequest"),
		responses: map[int]answerDoc{http.StatusOK: {
			text: "A chat.completion; with stream, an event for each chat.completion.chunk, and at the end one of [DONE].", headers: rateHeaders,
			content: map[string]any{"application/json": ref("Object"), eventStream: map[string]any{"type": "string"}},
		}},
		failures: runFailures,
	}
	docEmbeddings = operation{
		id: "createEmbedding", tag: "openai", summary: "Embed texts, as OpenAI's clients do",
		text:      "OpenAI's embeddings, by the embedders of modules. Embedders tell no tokens: the usage is 0.",
		request:   jsonOf("EmbeddingsRequest"),
		responses: map[int]answerDoc{http.StatusOK: {text: "A list of embeddings.", content: jsonOf("Object"), headers: rateHeaders}},
		failures:  runFailures,
	}
	docOpenAIModels = operation{
		id: "listOpenAIModels", tag: "openai", summary: "List models, as OpenAI's clients do",
		text:      "OpenAI's list of models: the models and the embedders that the tenant's actions have, at once, as OpenAI does it.",
		responses: map[int]answerDoc{http.StatusOK: {text: "A list of models.", content: jsonOf("Object")}},
		failures:  []int{401, 403, 404, 429},
	}
)

func (s *Server) openAITable() []route {
	return []route{
		{http.MethodPost, openAIPath + "/chat/completions", access.Invoke, s.createChat, docChat},
		{http.MethodPost, openAIPath + "/embeddings", access.Invoke, s.createEmbedding, docEmbeddings},
		{http.MethodGet, openAIPath + "/models", access.Read, s.listing(s.listOpenAIModels), docOpenAIModels},
	}
}

// readObject reads a body that has to be there.
func (s *Server) readObject(c echo.Context, want string) (json.RawMessage, error) {
	body, err := s.readJSON(c)
	if err != nil {
		return nil, err
	}
	if body == nil {
		return nil, status.Publicf(status.InvalidArgument, "body: want %s", want)
	}
	return body, nil
}

// createChat runs a chat completion as a generate request of the tenant.
func (s *Server) createChat(c echo.Context) error {
	ctx := c.Request().Context()
	reg, err := s.generating(c)
	if err != nil {
		return err
	}
	done, err := s.config.Host.BeginGenerate(param(c, "tenant"))
	if err != nil {
		return err
	}
	defer done()
	body, err := s.readObject(c, `OpenAI's request, such as {"model": …, "messages": […]}`)
	if err != nil {
		return err
	}
	// What is counted has the same names in OpenAI's requests as in Genkit's: messages and tools.
	if err := generate.CheckSize(ctx, reg, body); err != nil {
		return err
	}
	var chat *openai.Chat
	err = schema.InTurn(ctx, len(body), func() (err error) {
		chat, err = openai.ReadChat(body)
		return err
	})
	if err != nil {
		return err
	}
	if chat.Options.Tools, err = s.offered(c, reg, chat); err != nil {
		return err
	}
	id := "chatcmpl-" + rand.Text()
	if chat.Stream {
		return s.streamChat(ctx, c, reg, chat, id, done)
	}
	resp, err := generate.Run(ctx, reg, chat.Options, nil, generate.WithTools(chat.Tools...))
	done()
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, chat.Answer(id, time.Now(), resp))
}

// generating returns the tenant's registry, where it generates.
func (s *Server) generating(c echo.Context) (*registry.Registry, error) {
	reg, err := s.config.Registry(param(c, "tenant"))
	if err != nil {
		return nil, err
	}
	_, err = reg.Lookup(c.Request().Context(), action.Key{Kind: action.Util, Name: "generate"})
	if status.Of(err) == status.NotFound {
		return nil, errGeneratesNot()
	}
	return reg, err
}

// offered returns the names of the server's tools that a request is offered.
func (s *Server) offered(c echo.Context, reg *registry.Registry, chat *openai.Chat) ([]string, error) {
	if !chat.All {
		return chat.ServerTools, nil
	}
	descs, err := s.listed(c, reg)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range descs {
		if d.Kind == action.Tool || d.Kind == action.ToolV2 {
			names = append(names, d.Key().String())
		}
	}
	if len(names) > openai.MaxTools {
		return nil, status.Publicf(status.InvalidArgument, "the tenant has %d tools, more than the %d that a request may have: name some with server_tools, such as [\"calc/add\"]", len(names), openai.MaxTools)
	}
	slices.Sort(names)
	return names, nil
}

// listed describes the tenant's actions. Those that can't be listed are left out, and logged.
func (s *Server) listed(c echo.Context, reg *registry.Registry) ([]action.Desc, error) {
	descs, failed := reg.List(c.Request().Context())
	if failed != nil && c.Request().Context().Err() != nil {
		return nil, failed
	}
	s.logUnlisted(c, failed)
	return descs, nil
}

// streamChat sends the chunks of a chat completion. A failure before the first is answered as if nothing had been
// asked to stream.
func (s *Server) streamChat(ctx context.Context, c echo.Context, reg *registry.Registry, chat *openai.Chat, id string, done func()) error {
	every, err := negotiation.Heartbeat(c.Request())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := &events{c: c, gone: cancel}
	e.watch(every)
	defer e.end()
	ctx = wasmhost.WithWriteBy(ctx, e.writeBy)
	stream := chat.NewStream(id, time.Now())
	send := func(chunk *openai.Chunk) error {
		raw, err := marshal(chunk)
		if err != nil {
			return err
		}
		return e.send("", raw, false)
	}
	resp, err := generate.Run(ctx, reg, chat.Options, func(chunk *model.Chunk) error {
		if out := stream.Next(chunk); out != nil {
			return send(out)
		}
		return nil
	}, generate.WithTools(chat.Tools...))
	done()
	if err != nil {
		if !e.begun() {
			return err
		}
		wire := s.tell(c, err)
		raw, marshalErr := marshal(openai.ErrorOf(status.Of(err), wire.Message))
		if marshalErr != nil {
			return marshalErr
		}
		return e.send("error", raw, true)
	}
	for _, chunk := range stream.End(resp) {
		if err := send(chunk); err != nil {
			return err
		}
	}
	return e.send("", json.RawMessage(openai.Done), true)
}

// createEmbedding runs an embedder of a module.
func (s *Server) createEmbedding(c echo.Context) error {
	ctx := c.Request().Context()
	reg, err := s.config.Registry(param(c, "tenant"))
	if err != nil {
		return err
	}
	body, err := s.readObject(c, `OpenAI's request, such as {"model": …, "input": …}`)
	if err != nil {
		return err
	}
	request, err := openai.ReadEmbeddings(body)
	if err != nil {
		return err
	}
	a, err := reg.Resolve(ctx, request.Model, action.Embedder)
	if err != nil {
		return err
	}
	slot, err := s.config.Host.BeginCall(ctx, param(c, "tenant"), a.Desc().Key())
	if err != nil {
		return err
	}
	defer slot.Done()
	if !slot.OfModule() {
		return status.Publicf(status.NotFound, "embedder %q is not of a module", a.Desc().Name)
	}
	resp, err := embed.Do(slot.Context, a, request.Request)
	slot.Done()
	if err != nil {
		return err
	}
	list, err := request.Answer(resp)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, list)
}

// listOpenAIModels lists models and embedders.
func (s *Server) listOpenAIModels(c echo.Context) error {
	reg, err := s.config.Registry(param(c, "tenant"))
	if err != nil {
		return err
	}
	descs, err := s.listed(c, reg)
	if err != nil {
		return err
	}
	models := []openai.Model{}
	for _, d := range descs {
		if d.Kind == action.Model || d.Kind == action.Embedder {
			provider, _, _ := strings.Cut(d.Name, "/")
			models = append(models, openai.ModelOf(d.Name, provider))
		}
	}
	slices.SortFunc(models, func(a, b openai.Model) int { return strings.Compare(a.ID, b.ID) })
	return writeJSON(c, http.StatusOK, struct {
		Object string         `json:"object"`
		Data   []openai.Model `json:"data"`
	}{"list", models})
}
