// Package oracle compares this engine with Genkit's SDKs and with eino.
//
// It is a module of its own, so that users of the engine do not inherit what it
// requires, and everything that needs a peer is behind the build tag "peers": talk
// holds conversations and the list of differences, retrieval the same for embedders,
// retrievers, indexers and rerankers, vendors what goes to model servers and comes from
// them; bench and vectors measure. This package owns
// the door to them that needs nothing:
//
//	go test ./...                  # skips when the peers can't be had
//	go test -tags peers ./...      # the same without the door
//	go run -tags peers ./bench     # measures generate calls
//	go run -tags peers ./vectors   # measures the vector store
package oracle
