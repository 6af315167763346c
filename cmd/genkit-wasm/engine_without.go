//go:build !javascript

package main

// builtinEngine is the JavaScript engine that the program was built with.
var builtinEngine []byte
