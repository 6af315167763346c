// Package host holds the imports of the native convention: the real ones in a
// WebAssembly build, a fake that package pdktest fills in a native one.
package host
