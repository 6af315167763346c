//go:build !unix

package script

// seal has no means here: that esbuild opens no files is left to the plugin that answers all imports.
func seal() error { return nil }
