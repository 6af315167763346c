package abi

import (
	"encoding/json"
	"iter"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Action describes one action of a kind other than a tool: an embedder, an evaluator, a
// retriever, an indexer, a reranker, a model, a resource or a prompt. The list that it
// stands in says which.
type Action struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Export      string `json:"export,omitempty"` // the function; Name when empty; none for a prompt
	// ConfigSchema is what the options of a request obey, or a model's config. Resources
	// and prompts have none.
	ConfigSchema json.RawMessage `json:"configSchema,omitempty"`
	// Info is what Genkit's lists tell of the kind: an object such as
	// {"label": …, "supports": …, "dimensions": …}.
	Info json.RawMessage `json:"info,omitempty"`
	// URI or Template is the address of a resource below wasm://<module>/.
	URI      string `json:"uri,omitempty"`
	Template string `json:"template,omitempty"`
	// Source is the text of a prompt: a file in the dotprompt format.
	Source string `json:"source,omitempty"`
}

// door is a row of the table of what a descriptor offers as actions besides tools.
type door struct {
	kind  string // Genkit's name of the kind
	list  func(*Descriptor) []Action
	check func(*Action) error // what is particular to the kind, or nil
}

var doors = []door{
	{"embedder", func(d *Descriptor) []Action { return d.Embedders }, nil},
	{"evaluator", func(d *Descriptor) []Action { return d.Evaluators }, nil},
	{"retriever", func(d *Descriptor) []Action { return d.Retrievers }, nil},
	{"indexer", func(d *Descriptor) []Action { return d.Indexers }, nil},
	{"reranker", func(d *Descriptor) []Action { return d.Rerankers }, nil},
	{"model", func(d *Descriptor) []Action { return d.Models }, nil},
	{"resource", func(d *Descriptor) []Action { return d.Resources }, (*Action).checkResource},
	{"prompt", func(d *Descriptor) []Action { return d.Prompts }, (*Action).checkPrompt},
}

// Actions returns what a descriptor offers besides tools, middleware and formats: each
// action with Genkit's name of its kind, such as "embedder", kind by kind in the order of
// the contract.
func (d *Descriptor) Actions() iter.Seq2[string, *Action] {
	return func(yield func(string, *Action) bool) {
		for _, row := range doors {
			list := row.list(d)
			for i := range list {
				if !yield(row.kind, &list[i]) {
					return
				}
			}
		}
	}
}

func (d *Descriptor) checkActions(options []schema.Option) error {
	addresses := map[string]bool{}
	for _, row := range doors {
		err := checkList(row.kind, row.list(d), func(a *Action) error {
			if err := a.check(row, options); err != nil {
				return err
			}
			address := a.URI + a.Template
			if row.kind == "resource" && addresses[address] {
				return status.Publicf(status.InvalidArgument, "descriptor: two resources have the address %q", Line(address, 80))
			}
			addresses[address] = true
			return nil
		}, func(a *Action) string { return a.Name })
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *Action) check(row door, options []schema.Option) error {
	if a.Export == "" && row.kind != "prompt" {
		a.Export = a.Name
	}
	a.Description = Clean(a.Description, MaxDescriptionBytes)
	for _, s := range []*json.RawMessage{&a.ConfigSchema, &a.Info} {
		cleaned, err := CleanSchema(*s)
		if err != nil {
			return status.Publicf(status.InvalidArgument, "descriptor: %s %q: %w", row.kind, a.Name, err)
		}
		*s = cleaned
	}
	if _, err := schema.Compile(a.ConfigSchema, options...); err != nil {
		return status.Publicf(status.InvalidArgument, "descriptor: config schema of %s %q: %w", row.kind, a.Name, err)
	}
	var info map[string]json.RawMessage
	if len(a.Info) > 0 && json.Unmarshal(a.Info, &info) != nil {
		return status.Publicf(status.InvalidArgument, "descriptor: \"info\" of %s %q wants an object", row.kind, a.Name)
	}
	if row.check == nil {
		return nil
	}
	return row.check(a)
}

// maxAddressBytes bounds the address of a resource.
const maxAddressBytes = 512

func (a *Action) checkResource() error {
	address := a.URI + a.Template
	switch {
	case (a.URI == "") == (a.Template == ""):
		return status.Publicf(status.InvalidArgument, "descriptor: resource %q wants one of \"uri\" and \"template\"", a.Name)
	case len(address) > maxAddressBytes || Hides(address):
		return status.Publicf(status.InvalidArgument, "descriptor: resource %q: the address is longer than %d bytes, or holds characters that can't be shown", a.Name, maxAddressBytes)
	case strings.HasPrefix(address, "/") || strings.Contains(address, "://"):
		return status.Publicf(status.InvalidArgument, "descriptor: resource %q: write its address without scheme and module, such as \"notes/{id}\"; the host puts wasm://<module>/ before it", a.Name)
	}
	return nil
}

func (a *Action) checkPrompt() error {
	if strings.TrimSpace(a.Source) == "" {
		return status.Publicf(status.InvalidArgument, "descriptor: prompt %q has no \"source\", the text of its file", a.Name)
	}
	if a.Export != "" {
		return status.Publicf(status.InvalidArgument, "descriptor: prompt %q names an export; a prompt is text and runs nothing of its module", a.Name)
	}
	return nil
}
