// Package gemini maps Genkit's model request to the JSON of Gemini's generateContent, and
// reads its answers, for the servers that speak it: Google's Gemini API and Vertex AI. It asks
// nobody. Use:
//
//	r, err := gemini.NewRequest(id, supports, req)
//	…
//	resp, err := server.Converse(ctx, wire.Outgoing{Path: …, Body: r.Body}, maxEvent, gemini.NewAnswer(r, clean), send)
package gemini
