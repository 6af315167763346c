package middleware

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Serve calls a, a model, after the request has been made to fit its declared capabilities:
// it refuses a request that needs others ([Validate]) and puts into the messages
// everything that the model does not take natively ([Fit]). Middleware that was attached to it
// runs before both. Tool requests that share a ref get refs of their own, in the
// history ([model.PairRefs]) and in the answer ([model.Refs]). req is not changed.
func Serve(ctx context.Context, a action.Action, req *model.Request, send model.Send) (*model.Response, error) {
	if at, ok := a.(*attached); ok {
		return at.Generate(ctx, req, send)
	}
	return serve(ctx, a, declares(a), req, send)
}

func serve(ctx context.Context, a action.Action, d declaration, req *model.Request, send model.Send) (*model.Response, error) {
	m := model.From(a)
	if err := d.validate(m, req); err != nil {
		return nil, err
	}
	return generate(ctx, m, d.fit(paired(req), m.Info().Supports), send)
}

// generate calls m and gives each tool request of its answer a ref of its own, in the
// chunks as in the message, before any hook or caller sees them.
func generate(ctx context.Context, m model.Model, req *model.Request, send model.Send) (*model.Response, error) {
	refs, sent := &model.Refs{}, &streamed{}
	if inner := send; inner != nil {
		send = func(c *model.Chunk) error {
			sent.add(c)
			return inner(refs.Chunk(c))
		}
	}
	if err := allowance.ModelCall(ctx); err != nil {
		return nil, status.Convert(err).WithCause(ErrFinal) // retries within retries would never end
	}
	settle, err := allowance.Reserve(ctx, m.Desc().Name, model.Asked(m, req.Config))
	if err != nil {
		return nil, status.Convert(err).WithCause(ErrFinal) // it is not the model that is busy
	}
	var use *allowance.Use
	defer func() {
		if use == nil { // the model panicked
			u := unfinished(ctx, m, req, sent, status.Internal)
			use = &u
		}
		allowance.Used(ctx, use.Total)
		settle(*use)
	}()
	sent.late = ctx.Err() != nil
	resp, err := m.Generate(ctx, req, send)
	if err != nil || resp == nil {
		u := unfinished(ctx, m, req, sent, status.Of(err))
		use = &u
		return resp, err
	}
	u := used(req, resp.Usage)
	use = &u
	message := refs.Message(resp.Message)
	if message == resp.Message {
		return resp, nil
	}
	c := *resp
	c.Message = message
	return &c, nil
}

// Bounds of what is believed of the tokens that a model reports. No tokeniser makes more
// tokens of a text than it has bytes; what a picture or a film costs is not known here.
const (
	// believedInput is how many input tokens are believed of any request, believedMedia how
	// many of each part with media.
	believedInput, believedMedia = 64 << 10, 1 << 20
	// believedOutput is how many output tokens are believed: more than any model writes.
	believedOutput = 1 << 20
)

// used is what a model call has used, by what the model reports and the request bounds.
func used(req *model.Request, u *model.Usage) allowance.Use {
	if u == nil || u.InputTokens <= 0 && u.OutputTokens <= 0 && u.TotalTokens <= 0 {
		return allowance.Use{Code: status.OK}
	}
	use := allowance.Use{Code: status.OK, Reported: true}
	input := int64(believedInput)
	if int64(max(u.InputTokens, u.CachedContentTokens, u.TotalTokens)) > input { // otherwise the bound need not be known
		input = mostInput(req)
	}
	believe := func(n int, most int64) int64 {
		use.Capped = use.Capped || int64(n) > most
		return min(max(0, int64(n)), most)
	}
	use.Input, use.Output = believe(u.InputTokens, input), believe(u.OutputTokens, believedOutput)
	use.Cached = min(use.Input, max(0, int64(u.CachedContentTokens)))
	use.Total = max(believe(u.TotalTokens, input+believedOutput), use.Input+use.Output)
	return use
}

// mostInput bounds the input tokens of a request by its bytes and its media.
func mostInput(req *model.Request) int64 {
	most := int64(believedInput)
	for i := range req.Messages {
		for _, p := range req.Messages[i].Content {
			if p.Media != nil {
				most += believedMedia
			}
		}
	}
	for i := range req.Docs {
		for _, p := range req.Docs[i].Content {
			if p.Media != nil {
				most += believedMedia
			}
		}
	}
	if raw, err := rawjson.Encode(req); err == nil {
		most += int64(len(raw))
	}
	return most
}

// paired returns req with a history in which no two tool requests share a ref.
func paired(req *model.Request) *model.Request {
	messages := model.PairRefs(req.Messages)
	if len(messages) == 0 || &messages[0] == &req.Messages[0] {
		return req
	}
	c := *req
	c.Messages = messages
	return &c
}

// Validate refuses a request that needs capabilities which the model a does not declare: INVALID_ARGUMENT
// that names the model and the feature (Genkit JS: validateSupport). Only an explicit
// no counts: a false in the descriptor of a model that speaks JSON. In Go a false and
// silence are the same, so that models written in Go say no through Supports.Denied or
// [Strict].
func Validate(a action.Action, req *model.Request) error {
	return declares(a).validate(model.From(a), req)
}

// Fit returns req as the model a can serve it: system messages, documents and
// schemas that it does not take natively are put into other messages. req is not
// changed.
func Fit(a action.Action, req *model.Request) *model.Request {
	return declares(a).fit(req, model.From(a).Info().Supports)
}

// declaration is the features that a model explicitly has or has not.
type declaration map[string]bool

func declares(a action.Action) declaration {
	if at, ok := a.(*attached); ok {
		if at.strict {
			return flags(a)
		}
		return declares(at.inner)
	}
	if m, native := a.(model.Model); native {
		d := declaration{}
		for _, feature := range m.Info().Supports.Denied {
			d[feature] = false
		}
		return d
	}
	return flags(a)
}

func flags(a action.Action) declaration {
	var info struct {
		Supports map[string]json.RawMessage `json:"supports"`
	}
	if json.Unmarshal(a.Desc().Metadata["model"], &info) != nil {
		return nil // it declares nothing that can be read
	}
	d := declaration{}
	for key, raw := range info.Supports {
		if text := string(raw); text == "true" || text == "false" {
			d[key] = text == "true"
		}
	}
	return d
}

func (d declaration) denies(feature string) bool {
	yes, told := d[feature]
	return told && !yes
}

func (d declaration) validate(m model.Model, req *model.Request) error {
	refuse := func(feature string) error {
		return status.Publicf(status.InvalidArgument, "model %q does not support %s", m.Desc().Name, feature)
	}
	switch {
	case d.denies("media") && hasMedia(req.Messages):
		return refuse("media, but media was provided")
	case d.denies("tools") && len(req.Tools) > 0:
		return refuse("tool use, but tools were provided")
	case d.denies("multiturn") && turns(req.Messages) > 1:
		return refuse("multiple messages, but a conversation was provided")
	case d.denies("toolChoice") && req.ToolChoice != "" && req.ToolChoice != model.ToolChoiceAuto:
		return refuse("tool choice, but toolChoice " + string(req.ToolChoice) + " was provided")
	}
	return validVersion(m, req)
}

// validVersion refuses a config.version that is not among those of a model that
// lists its versions.
func validVersion(m model.Model, req *model.Request) error {
	versions := m.Info().Versions
	if len(versions) == 0 || len(req.Config) == 0 {
		return nil
	}
	var config struct {
		Version *string `json:"version"`
	}
	if json.Unmarshal(req.Config, &config) != nil || config.Version == nil || *config.Version == "" || slices.Contains(versions, *config.Version) {
		return nil
	}
	return status.Publicf(status.InvalidArgument, "model %q does not support version %q, supported versions: %s",
		m.Desc().Name, *config.Version, strings.Join(versions, ", "))
}

func hasMedia(messages []content.Message) bool {
	return slices.ContainsFunc(messages, func(m content.Message) bool {
		return slices.ContainsFunc(m.Content, func(p content.Part) bool { return p.Media != nil })
	})
}

// turns counts the messages that are not the system's.
func turns(messages []content.Message) int {
	n := 0
	for i := range messages {
		if messages[i].Role != content.RoleSystem {
			n++
		}
	}
	return n
}

func (d declaration) fit(req *model.Request, supports model.Supports) *model.Request {
	if !supports.Context {
		req = AugmentWithContext(req, AugmentConfig{})
	}
	req = format.Simulate(req, supports)
	if d.denies("systemRole") {
		req = SimulateSystemPrompt(req, SystemConfig{})
	}
	return req
}

// AugmentConfig says how documents are put into a message. The zero value gives
// Genkit's texts.
type AugmentConfig struct {
	// Preface stands before the documents; nil means [ContextPreface].
	Preface *string
	// CitationKey is the metadata that a document is cited by; empty means its
	// ref, else its id, else its place.
	CitationKey string
	// OmitCitation leaves the bracket out.
	OmitCitation bool
	// Item writes a document, its line end included; nil means "- [citation]: text".
	Item func(doc content.Document, index int) string
}

// ContextPreface stands before the documents that are put into a message.
const ContextPreface = "\n\nUse the following information to complete your task:\n\n"

// AugmentWithContext returns req with its documents in the last user message, as a
// text part of purpose "context"; a part that waits for it is replaced, one that is
// there already stays (Genkit: js/ai/src/model/middleware.ts, augmentWithContext).
// The documents stay on the request.
func AugmentWithContext(req *model.Request, config AugmentConfig) *model.Request {
	target := format.LastUser(req.Messages)
	if len(req.Docs) == 0 || target < 0 || format.HasPart(req.Messages[target], "context") {
		return req
	}
	var text strings.Builder
	if config.Preface == nil {
		text.WriteString(ContextPreface)
	} else {
		text.WriteString(*config.Preface)
	}
	for i, doc := range req.Docs {
		text.WriteString(config.item(doc, i))
	}
	text.WriteString("\n")
	part := content.NewTextPart(text.String())
	part.Metadata = content.Metadata{"purpose": json.RawMessage(`"context"`)}
	c := *req
	c.Messages = format.PutPart(req.Messages, target, part, "context")
	return &c
}

func (c AugmentConfig) item(doc content.Document, index int) string {
	if c.Item != nil {
		return c.Item(doc, index)
	}
	text := content.TextOf(doc.Content) + "\n"
	if c.OmitCitation {
		return "- " + text
	}
	keys := []string{"ref", "id"}
	if c.CitationKey != "" {
		keys = []string{c.CitationKey, "ref", "id"}
	}
	return "- [" + citation(doc, index, keys) + "]: " + text
}

func citation(doc content.Document, index int, keys []string) string {
	for _, key := range keys {
		if !doc.Metadata.Truthy(key) {
			continue
		}
		var text string
		if json.Unmarshal(doc.Metadata[key], &text) == nil {
			return text
		}
		return string(doc.Metadata[key])
	}
	place, _ := rawjson.Encode(index) // an int always encodes
	return string(place)
}

// SystemConfig gives the texts of a simulated system prompt; the zero value is
// Genkit's.
type SystemConfig struct {
	Preface         string // empty means [SystemPreface]
	Acknowledgement string // empty means [SystemAcknowledgement]
}

// The texts around a system prompt for a model without the role (Genkit JS:
// simulateSystemPrompt).
const (
	SystemPreface         = "SYSTEM INSTRUCTIONS:\n"
	SystemAcknowledgement = "Understood."
)

// SimulateSystemPrompt returns req with its first system message turned into a user
// message, which the model acknowledges.
func SimulateSystemPrompt(req *model.Request, config SystemConfig) *model.Request {
	at := slices.IndexFunc(req.Messages, func(m content.Message) bool { return m.Role == content.RoleSystem })
	if at < 0 {
		return req
	}
	if config.Preface == "" {
		config.Preface = SystemPreface
	}
	if config.Acknowledgement == "" {
		config.Acknowledgement = SystemAcknowledgement
	}
	asked := req.Messages[at]
	asked.Role = content.RoleUser
	asked.Content = append([]content.Part{content.NewTextPart(config.Preface)}, asked.Content...)
	c := *req
	c.Messages = slices.Concat(req.Messages[:at], []content.Message{asked, content.NewModelTextMessage(config.Acknowledgement)}, req.Messages[at+1:])
	return &c
}
