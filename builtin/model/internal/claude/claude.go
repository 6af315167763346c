// Package claude maps Genkit's model request to the JSON of Anthropic's Messages API, and
// reads its answers, for the servers that speak it: Anthropic's own and Vertex AI. It asks
// nobody. Use:
//
//	d := &claude.Dialect{Version: claude.Version2023, MaxTokens: 4096}
//	r, err := d.Request(id, supports, req, send != nil)
//	…
//	resp, err := server.Converse(ctx, wire.Outgoing{Path: …, Body: r.Body}, maxEvent, claude.NewAnswer(r, clean), send)
package claude
