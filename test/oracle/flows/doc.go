// Package flows holds the test of this engine's client against Genkit Go's flow handler.
// It is behind the build tag "peers".
package flows
