package model

import (
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// provided are the keys that providers write into the metadata of what a model said: the
// shipped ones and Genkit's own plugins. The loop acts on none of them but the first,
// which only ever keeps a tool from running.
var provided = map[string]bool{
	content.MalformedInput: true,
	"thoughtSignature":     true, // googleai; Genkit's googlegenai and anthropic
	"signature":            true, // anthropic; Genkit Go's googlegenai
	"redactedThinking":     true, // anthropic
	"chatCompletions":      true, // openai
	"citations":            true,
	"partial":              true, // a piece of an answer that is not whole yet
}

// reserved are the keys of messages and parts that the loop, formats, resources, prompts and
// sessions write, and read as their own notes or as the caller's.
var reserved = map[string]bool{
	"interrupt": true, "resolvedInterrupt": true, "resumed": true, "replacedInput": true,
	"pendingOutput": true, "pendingContent": true, "pendingMetadata": true, "source": true,
	"preamble": true, "purpose": true, "pending": true, "resource": true, "generate": true,
	"interruptResponse": true,
}

// Admit returns m with the metadata that a model may write; m itself when there is nothing
// to take away. The parts that ask for a tool, or answer for one, keep the keys of the
// shipped and of Genkit's providers, and those with a slash, dot or colon in
// them, which no note of the engine has ("acme/signature"): approvals hang on these parts,
// so all else is dropped. The message and its other parts keep everything but the keys that
// the engine reads.
func Admit(m *content.Message) *content.Message { return AdmitBut(m, nil) }

// AdmitBut is Admit for code that is not trusted and stands around the loop: notes of made,
// the messages that the loop has given it, pass where they stood, on parts that are as they were.
func AdmitBut(m *content.Message, made []*content.Message) *content.Message {
	if m == nil {
		return nil
	}
	parts := admitParts(m.Content, made)
	metadata := without(m.Metadata, func(key string) bool {
		return reserved[key] && !slices.ContainsFunc(made, func(own *content.Message) bool {
			note, noted := own.Metadata[key]
			return noted && rawjson.Equal(note, m.Metadata[key])
		})
	})
	if parts == nil && len(metadata) == len(m.Metadata) {
		return m
	}
	c := *m
	c.Metadata = metadata
	if parts != nil {
		c.Content = parts
	}
	return &c
}

// AdmitChunk is [Admit] for a piece of an answer.
func AdmitChunk(c *Chunk) *Chunk {
	if c == nil {
		return nil
	}
	parts := admitParts(c.Content, nil)
	if parts == nil {
		return c
	}
	changed := *c
	changed.Content = parts
	return &changed
}

// admitParts returns nil when nothing changes.
func admitParts(parts []content.Part, made []*content.Message) (out []content.Part) {
	for i := range parts {
		p := &parts[i]
		drop := reservedKey
		if p.ToolRequest != nil || p.ToolResponse != nil {
			drop = foreignKey
		}
		metadata := without(p.Metadata, drop)
		if len(metadata) == len(p.Metadata) || isPartOf(p, made) {
			continue
		}
		if out == nil {
			out = append([]content.Part{}, parts...)
		}
		out[i].Metadata = metadata
	}
	return out
}

func isPartOf(p *content.Part, made []*content.Message) bool {
	return slices.ContainsFunc(made, func(m *content.Message) bool {
		return slices.ContainsFunc(m.Content, func(own content.Part) bool { return rawjson.EqualAny(p, own) })
	})
}

func reservedKey(key string) bool { return reserved[key] }

func foreignKey(key string) bool { return !provided[key] && !strings.ContainsAny(key, "/.:") }

// without returns m, or a copy that lacks the keys that drop names; nil for an empty one.
func without(m content.Metadata, drop func(string) bool) content.Metadata {
	kept := m
	for key := range m {
		if drop(key) {
			kept = kept.Without(key)
		}
	}
	if len(kept) == 0 && len(m) > 0 {
		return nil
	}
	return kept
}
