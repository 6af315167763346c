package wasmhost

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// wasmAction runs one exported function as an action of another kind than a tool. Genkit's
// request of the kind is its input, Genkit's response its output. The engine's noun makes
// the action, so its schemas, its checks of options and its metadata are those of an action
// written in Go; what is here is what holds because the answer comes from a guest.
type wasmAction struct {
	guest *guest
	about *abi.Action
	info  actionInfo
}

// actionInfo is a descriptor's "info": the union of what Genkit's kinds tell of themselves.
// Fields that a kind does not have are ignored.
type actionInfo struct {
	Label      string          `json:"label"`
	Supports   json.RawMessage `json:"supports"`
	Dimensions int             `json:"dimensions"`
	BatchSize  int             `json:"batchSize"`
	Definition string          `json:"definition"`
	IsBilled   *bool           `json:"isBilled"`
	Versions   []string        `json:"versions"`
	Stage      string          `json:"stage"`
}

// makers make the action of each kind that a guest runs.
var makers = map[string]func(*wasmAction) (action.Action, error){
	string(action.Embedder):  (*wasmAction).embedder,
	string(action.Evaluator): (*wasmAction).evaluator,
	string(action.Retriever): (*wasmAction).retriever,
	string(action.Indexer):   (*wasmAction).indexer,
	string(action.Reranker):  (*wasmAction).reranker,
	string(action.Resource):  (*wasmAction).resource,
	string(action.Model):     (*wasmAction).model,
}

// newAction makes the action that a registry finds.
func newAction(g *guest, about *abi.Action) (action.Action, error) {
	w := &wasmAction{guest: g, about: about}
	if len(about.Info) > 0 {
		if err := json.Unmarshal(about.Info, &w.info); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "descriptor: \"info\" of %s %q is not of the form that Genkit has", g.kind, about.Name).WithCause(err)
		}
	}
	w.info.Label = cmp.Or(w.info.Label, about.Description)
	return makers[g.kind](w)
}

// supports decodes what an action says that it supports.
func (w *wasmAction) supports(into any) error {
	if len(w.info.Supports) == 0 {
		return nil
	}
	if err := json.Unmarshal(w.info.Supports, into); err != nil {
		return status.Publicf(status.InvalidArgument, "descriptor: \"info.supports\" of %s %q is not of the form that Genkit has", w.guest.kind, w.about.Name).WithCause(err)
	}
	return nil
}

// ask calls the guest with a request and decodes its output into response; nil takes none.
func (w *wasmAction) ask(ctx context.Context, request, response any, weight int, emit func(json.RawMessage) error) error {
	var raw json.RawMessage
	err := work(ctx, weight, func() (err error) {
		raw, err = marshal(request)
		return err
	})
	if err != nil {
		return err
	}
	res, err := w.guest.call(ctx, sandbox.Call{Input: raw, Emit: emit})
	if err != nil {
		return err
	}
	if res.Interrupted {
		return status.Publicf(status.Internal, "%s %q interrupted; only a tool can be interrupted", w.guest.kind, w.guest.name)
	}
	if response == nil {
		return nil
	}
	return work(ctx, len(res.Output), func() error {
		if err := parse(abi.Escape(res.Output), response); err != nil {
			return w.bad(status.Convert(err).Message)
		}
		return nil
	})
}

// bad refuses an output.
func (w *wasmAction) bad(what string) error {
	w.guest.log.Warn("bad output of a guest", slog.String("problem", what))
	return status.Publicf(status.Internal, "the output of %s %q is %s", w.guest.kind, w.guest.name, what)
}

// admit returns parts as a guest may give them: none that asks for a tool, answers for one
// or stands for a resource of somebody else's, and none with a note that only the engine makes.
func (w *wasmAction) admit(parts []content.Part) ([]content.Part, error) {
	for i := range parts {
		if parts[i].ToolRequest != nil || parts[i].ToolResponse != nil || parts[i].Resource != nil {
			return nil, w.bad("content with a part that only a model, a tool or a caller makes")
		}
	}
	return model.Admit(&content.Message{Content: parts}).Content, nil
}

func (w *wasmAction) admitDocuments(docs []content.Document) (err error) {
	for i := range docs {
		if docs[i].Content, err = w.admit(docs[i].Content); err != nil {
			return err
		}
	}
	return nil
}

// weighDocuments returns about the bytes of documents, as JSON.
func weighDocuments(docs ...content.Document) (bytes int) {
	for i := range docs {
		bytes += weigh([]content.Message{{Content: docs[i].Content}})
	}
	return bytes
}

func (w *wasmAction) embedder() (action.Action, error) {
	info := embed.Info{Label: w.info.Label, Dimensions: w.info.Dimensions, BatchSize: w.info.BatchSize, ConfigSchema: w.about.ConfigSchema}
	if len(w.info.Supports) > 0 {
		info.Supports = &embed.Supports{}
	}
	if err := w.supports(info.Supports); err != nil {
		return nil, err
	}
	return embed.New(w.guest.name, info, func(ctx context.Context, req *embed.Request) (*embed.Response, error) {
		resp := &embed.Response{}
		if err := w.ask(ctx, req, resp, weighDocuments(req.Input...), nil); err != nil {
			return nil, err
		}
		if len(resp.Embeddings) < len(req.Input) {
			return nil, w.bad("fewer embeddings than documents")
		}
		for i := range resp.Embeddings {
			if n := len(resp.Embeddings[i].Vector); n == 0 || info.Dimensions > 0 && n != info.Dimensions {
				return nil, w.bad("an embedding of another length than \"dimensions\" says")
			}
		}
		return resp, nil
	})
}

// evaluator gives the guest one case at a time, as a dataset of one: the limits of a call
// are those of a case, and a failure stays with it.
func (w *wasmAction) evaluator() (action.Action, error) {
	info := evaluate.Info{
		DisplayName: cmp.Or(w.info.Label, w.about.Name), Definition: cmp.Or(w.info.Definition, w.about.Description),
		Free: w.info.IsBilled == nil || !*w.info.IsBilled, ConfigSchema: w.about.ConfigSchema,
	}
	return evaluate.New(w.guest.name, info, func(ctx context.Context, c *evaluate.Case, options json.RawMessage) ([]evaluate.Score, error) {
		req := evaluate.Request{Dataset: []evaluate.Case{*c}, EvalRunID: c.TestCaseID, Options: options}
		var results []evaluate.Result
		if err := w.ask(ctx, req, &results, len(c.Input)+len(c.Output)+len(c.Reference), nil); err != nil {
			return nil, err
		}
		if len(results) != 1 || results[0].TestCaseID != c.TestCaseID {
			return nil, w.bad("not the result of the one case that was asked for")
		}
		return results[0].Evaluation, nil
	})
}

// retrieval is what retrievers and rerankers tell of themselves.
func (w *wasmAction) retrieval() (retrieve.Info, error) {
	info := retrieve.Info{Label: w.info.Label, OptionsSchema: w.about.ConfigSchema}
	if len(w.info.Supports) > 0 {
		info.Supports = &retrieve.Supports{}
	}
	return info, w.supports(info.Supports)
}

func (w *wasmAction) retriever() (action.Action, error) {
	info, err := w.retrieval()
	if err != nil {
		return nil, err
	}
	return retrieve.New(w.guest.name, info, func(ctx context.Context, query content.Document, options json.RawMessage) ([]content.Document, error) {
		resp := &retrieve.Response{}
		if err := w.ask(ctx, retrieve.Request{Query: query, Options: options}, resp, weighDocuments(query), nil); err != nil {
			return nil, err
		}
		return resp.Documents, w.admitDocuments(resp.Documents)
	})
}

func (w *wasmAction) indexer() (action.Action, error) {
	info := retrieve.IndexerInfo{OptionsSchema: w.about.ConfigSchema}
	return retrieve.NewIndexer(w.guest.name, info, func(ctx context.Context, docs []content.Document, options json.RawMessage) error {
		return w.ask(ctx, retrieve.IndexRequest{Documents: docs, Options: options}, nil, weighDocuments(docs...), nil)
	})
}

// reranker takes only documents that it has given.
func (w *wasmAction) reranker() (action.Action, error) {
	info, err := w.retrieval()
	if err != nil {
		return nil, err
	}
	return retrieve.NewReranker(w.guest.name, info, func(ctx context.Context, query content.Document, docs []content.Document, options json.RawMessage) ([]retrieve.Ranked, error) {
		resp := &retrieve.RerankResponse{}
		if err := w.ask(ctx, retrieve.RerankRequest{Query: query, Documents: docs, Options: options}, resp, weighDocuments(query)+weighDocuments(docs...), nil); err != nil {
			return nil, err
		}
		if len(resp.Documents) > len(docs) {
			return nil, w.bad("more documents than it was given")
		}
		if err := w.admitDocuments(resp.Documents); err != nil {
			return nil, err
		}
		ranked := make([]retrieve.Ranked, len(resp.Documents))
		for i, d := range resp.Documents {
			ranked[i].Document = d
			if json.Unmarshal(d.Metadata["score"], &ranked[i].Score) != nil {
				return nil, w.bad("a document without a score in its metadata")
			}
		}
		return ranked, nil
	})
}

// resource has an address below the module's own: no module answers for the URI of another.
func (w *wasmAction) resource() (action.Action, error) {
	c := resource.Config{Description: w.about.Description}
	below := "wasm://" + w.guest.of + "/"
	if w.about.URI != "" {
		c.URI = below + w.about.URI
	} else {
		c.Template = below + w.about.Template
	}
	a, err := resource.New(w.guest.name, c, func(ctx context.Context, in resource.Input) ([]content.Part, error) {
		var out resource.Output
		if err := w.ask(ctx, in, &out, len(in.URI), nil); err != nil {
			return nil, err
		}
		return w.admit(out.Content)
	})
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "descriptor: resource %q: %s", w.about.Name, status.Convert(err).Message).WithCause(err)
	}
	return a, nil
}

// model is not shown the credentials of a request's config. Its answers are the model's and
// nobody else's: no other role, no note of the engine, no operation in the background.
func (w *wasmAction) model() (action.Action, error) {
	info := model.Info{Label: w.info.Label, Versions: w.info.Versions, Stage: w.info.Stage, ConfigSchema: w.about.ConfigSchema}
	if err := w.supports(&info.Supports); err != nil {
		return nil, err
	}
	info.Supports.LongRunning = false
	return model.New(w.guest.name, info, func(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) {
		resp := &model.Response{}
		if err := w.ask(ctx, req.WithoutSecrets(), resp, weigh(req.Messages), modelChunks(send)); err != nil {
			return nil, err
		}
		if len(resp.Operation) > 0 {
			return nil, w.bad("an operation in the background, which modules do not have")
		}
		if m := resp.Message; m != nil && m.Role != content.RoleModel {
			return nil, w.bad("a message of the role " + abi.Line(string(m.Role), 40))
		}
		resp.Message, resp.Request, resp.Candidates = model.Admit(resp.Message), nil, nil
		return resp, nil
	})
}

// modelChunks lets a guest stream as a model.
func modelChunks(send model.Send) func(json.RawMessage) error {
	if send == nil {
		return nil
	}
	return func(raw json.RawMessage) error {
		chunk := &model.Chunk{}
		if err := parse(abi.Escape(raw), chunk); err != nil {
			return err
		}
		if chunk.Role != "" && chunk.Role != content.RoleModel {
			return status.Publicf(status.PermissionDenied, "chunk: a model speaks as the model, not as %q", abi.Line(string(chunk.Role), 40))
		}
		return send(model.AdmitChunk(chunk))
	}
}
