package wasmhost

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// wasmPrompt checks what a prompt file of a module asks for. The generate call that is made of
// it runs with its caller's rights, so the file names no more than the module itself could
// reach: its own tools, middleware and models, and what its policy grants to the capabilities run and
// generate. Nothing of the guest runs for a prompt.
type wasmPrompt struct {
	module     string
	descriptor *abi.Descriptor
	grants     policy.Grants
	about      *abi.Action
}

// newPrompt makes the two actions of a prompt. find returns the registry of its tenant.
func newPrompt(w *wasmPrompt, find func() (*registry.Registry, error)) ([]action.Action, error) {
	p, err := prompt.Carry(w.module+"/"+w.about.Name, w.about.Source, w.edit, find)
	if err != nil {
		return nil, err
	}
	return p.Actions(), nil
}

func (w *wasmPrompt) edit(c *prompt.Config) error {
	if c.Description == "" {
		c.Description = w.about.Description
	}
	c.Description = abi.Clean(c.Description, abi.MaxDescriptionBytes)
	if _, secrets := model.SplitConfig(c.Config); secrets != nil {
		return w.refuse(status.InvalidArgument, "its config holds a credential")
	}
	if err := w.editModel(c); err != nil {
		return err
	}
	for i, name := range c.Tools {
		own, ok := w.own(name, string(action.Tool))
		if !ok && !policy.Matches(w.grants.Actions, strings.TrimPrefix(own, "/")) {
			return w.refuse(status.PermissionDenied, "the tool %q is neither the module's own nor granted by \"actions\"", abi.Line(name, 100))
		}
		c.Tools[i] = own
	}
	for i := range c.Use {
		own, ok := w.own(c.Use[i].Name, middleware.Kind)
		if !ok {
			return w.refuse(status.PermissionDenied, "the middleware %q is not the module's own", abi.Line(c.Use[i].Name, 100))
		}
		c.Use[i].Name = strings.TrimPrefix(own, "/"+middleware.Kind+"/")
	}
	return nil
}

// editModel wants a model that the module could ask by itself, also where config.version names
// another one.
func (w *wasmPrompt) editModel(c *prompt.Config) error {
	var config struct {
		Version json.RawMessage `json:"version"`
	}
	if len(c.Config) > 0 && json.Unmarshal(c.Config, &config) != nil {
		return w.refuse(status.InvalidArgument, "its config is no object")
	}
	if config.Version != nil {
		return w.refuse(status.PermissionDenied, "its config has a \"version\", which may be another model; name that as \"model\"")
	}
	if c.Model == "" { // the default, or the caller's
		return nil
	}
	own, ok := w.own(c.Model, string(action.Model))
	if name := strings.TrimPrefix(own, "/model/"); !ok && !policy.Matches(w.grants.Generate, name) {
		return w.refuse(status.PermissionDenied, "the model %q is neither the module's own nor granted by \"generate\"", abi.Line(name, 100))
	}
	c.Model = own
	return nil
}

// own returns the key of what a name means, and whether that is a part of the module. A bare name
// is the module's own where it has one of that name.
func (w *wasmPrompt) own(name, kind string) (key string, own bool) {
	short := strings.TrimPrefix(name, "/"+kind+"/")
	short = strings.TrimPrefix(short, w.module+"/")
	if name := w.descriptor.Name; name != "" { // the module may be uploaded under another one
		short = strings.TrimPrefix(short, name+"/")
	}
	if slices.Contains(w.names(kind), short) {
		return "/" + w.kindOf(kind, short) + "/" + w.module + "/" + short, true
	}
	if strings.HasPrefix(name, "/") {
		return name, false
	}
	return "/" + kind + "/" + name, false
}

// kindOf is the kind of a part; a multipart tool has another one than a plain one.
func (w *wasmPrompt) kindOf(kind, name string) string {
	multipart := func(t abi.Tool) bool { return t.Name == name && t.Multipart }
	if kind == string(action.Tool) && slices.ContainsFunc(w.descriptor.Tools, multipart) {
		return string(action.ToolV2)
	}
	return kind
}

// names are those of the module's parts of a kind.
func (w *wasmPrompt) names(kind string) (names []string) {
	switch kind {
	case string(action.Tool):
		for i := range w.descriptor.Tools {
			names = append(names, w.descriptor.Tools[i].Name)
		}
	case middleware.Kind:
		for _, m := range w.descriptor.Middleware {
			names = append(names, m.Name)
		}
	default:
		for of, a := range w.descriptor.Actions() {
			if of == kind {
				names = append(names, a.Name)
			}
		}
	}
	return names
}

func (w *wasmPrompt) refuse(code status.Code, format string, args ...any) error {
	return status.Publicf(code, "prompt %q: "+format, append([]any{w.about.Name}, args...)...)
}
