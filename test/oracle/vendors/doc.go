//go:build peers

// Package vendors holds what this project sends to model servers, and reads from them,
// against the vendors' own clients, over HTTP and with a recording server between. No
// vendor's client is linked outside of this module.
//
//	go test -tags peers ./vendors
package vendors
