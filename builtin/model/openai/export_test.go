package openai

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// RetryAfter is retryAfter with a clock.
func RetryAfter(h http.Header, now time.Time) time.Duration { return wire.RetryAfter(h, now) }

// Guard puts the layer that takes API keys away in front of a model.
func Guard(m model.Model) model.Model { return wire.KeyedModel(m) }

// Unlisted returns how many models of unlisted ids are kept.
func (p *Provider) Unlisted() int { return p.shelf.Unlisted() }

// ServerID is serverID.
func ServerID(baseURL string) string { return serverID(baseURL) }

// ProfileTable is the table of docs/models.md.
func ProfileTable() string {
	var b strings.Builder
	b.WriteString("| profile | hosts | `maxOutputTokens` is | reasoning comes in | and goes back in | parts beside text | otherwise |\n|---|---|---|---|---|---|---|\n")
	row := func(hosts []string, p Profile) {
		filler, constrained, auth := p.ReasoningFiller, p.Constrained, p.KeyHeader
		p = p.complete()
		back := "`" + string(p.ReasoningOut) + "`"
		switch p.ReasoningOut {
		case "":
			back = "as it came"
		case NoReasoning:
			back = "not at all"
		}
		var rest []string
		if p.NoStreamOptions {
			rest = append(rest, "no `stream_options`")
		}
		if p.NoToolChoice {
			rest = append(rest, "no `tool_choice: auto`")
		}
		if filler != nil {
			rest = append(rest, fmt.Sprintf("the field is `%q` where there is none", *filler))
		}
		if constrained != "" {
			rest = append(rest, "schemas go into the prompt")
		}
		if auth != "" {
			rest = append(rest, "key in `"+auth+"`")
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %s | %s | %s |\n", p.Name, strings.Join(hosts, ", "), p.MaxTokensKey, quoted(p.ReasoningIn), back, quoted(p.Parts), strings.Join(rest, "; "))
	}
	for _, p := range profiles {
		row(p.hosts, p.Profile)
	}
	row([]string{"any other"}, Profile{})
	return b.String()
}

func quoted[S ~string](names []S) string {
	var all []string
	for _, n := range names {
		all = append(all, "`"+string(n)+"`")
	}
	return strings.Join(all, ", ")
}

// SetClock replaces the clock of a provider's listing.
func SetClock(p *Provider, now func() time.Time) { p.remote.Now = now }
