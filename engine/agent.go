package engine

import (
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/agent"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
)

// DefineAgent makes and registers a prompt and the agent of the same name that it leads; see
// [DefinePrompt] and [agent.DefinePrompt]. [Engine.Close] waits for its turns in the background. It
// panics when the name is taken, or an option or a template is broken.
func DefineAgent(e *Engine, name string, c agent.Config, options ...PromptOption) *agent.Agent {
	DefinePrompt(e, name, options...)
	return DefinePromptAgent(e, name, agent.PromptConfig{}, c)
}

// DefinePromptAgent makes and registers an agent of a prompt that is registered, or will be
// when the agent runs. It panics like [DefineAgent].
func DefinePromptAgent(e *Engine, name string, p agent.PromptConfig, c agent.Config) *agent.Agent {
	p.Options = append([]generate.Option{generate.WithLogger(e.logger)}, slices.Clone(p.Options)...)
	a, err := agent.DefinePrompt(e.reg, name, p, e.agentConfig(c))
	return e.keep(a, err)
}

// DefineCustomAgent makes and registers an agent of a function. It panics like [DefineAgent].
func DefineCustomAgent(e *Engine, name string, fn agent.Func, c agent.Config) *agent.Agent {
	a, err := agent.Define(e.reg, name, fn, e.agentConfig(c))
	return e.keep(a, err)
}

func (e *Engine) agentConfig(c agent.Config) agent.Config {
	if c.Logger == nil {
		c.Logger = e.logger
	}
	return c
}

func (e *Engine) keep(a *agent.Agent, err error) *agent.Agent {
	must(err)
	e.running.onClose(a.Close)
	return a
}
