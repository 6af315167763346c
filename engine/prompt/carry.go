package prompt

import (
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Carry makes a prompt of a file's source that no registry holds: for a
// [registry.Provider], whose prompts come and go. A prompt of that kind has to be whole by
// itself: the schemas that it names are not looked up. edit may check and change what
// the file says before the prompt is made; its error is returned. find returns the registry
// whose partials, helpers, tools and default model the prompt uses; it is asked for each rendering.
//
// It fails with INVALID_ARGUMENT, naming the line, when the source is broken.
func Carry(name, source string, edit func(*Config) error, find func() (*registry.Registry, error)) (*Prompt, error) {
	f, err := ParseFile(name, source)
	if err != nil {
		return nil, err
	}
	c, err := f.config(splitVariant(name))
	if err != nil {
		return nil, err
	}
	if edit != nil {
		if err := edit(&c); err != nil {
			return nil, err
		}
	}
	d, err := newDefinition(c, f)
	if err != nil {
		return nil, err
	}
	p := &Prompt{reg: registry.New(nil), find: find, name: d.key()}
	if _, err := d.resolve(p.reg); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "%s", status.Convert(err).Message).WithCause(err)
	}
	p.definition.Store(d)
	return p, nil
}

// Actions returns the two actions of the prompt: /prompt/<name> and
// /executable-prompt/<name>.
func (p *Prompt) Actions() []action.Action {
	return []action.Action{&promptAction{p, action.Prompt}, &promptAction{p, action.ExecutablePrompt}}
}

// registry is that whose partials, helpers and tools a rendering uses.
func (p *Prompt) registry() (*registry.Registry, error) {
	if p.find == nil {
		return p.reg, nil
	}
	return p.find()
}
