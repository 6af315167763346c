// Package models holds what this project sends to model servers, and reads from them,
// against the clients of Anthropic and Google, as package vendors does with OpenAI's. It is a
// module of its own, because those clients and the other peers need different versions of one
// module. The tests of the module above run it.
package models
