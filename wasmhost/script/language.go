package script

import "strings"

// Language is the language of a script.
type Language string

// The languages.
const (
	JavaScript Language = "javascript"
	TypeScript Language = "typescript"
	// Package is an archive (tar, tar.gz or zip) of several files of both, and of the npm packages that they import.
	Package Language = "package"
)

// LanguageOf returns the language of a file by its name; empty for what is no script.
func LanguageOf(file string) Language {
	switch at := strings.LastIndexByte(file, '.'); strings.ToLower(file[max(at, 0):]) {
	case ".ts", ".mts":
		return TypeScript
	case ".js", ".mjs":
		return JavaScript
	case ".tar", ".tgz", ".zip":
		return Package
	}
	if strings.HasSuffix(strings.ToLower(file), ".tar.gz") {
		return Package
	}
	return ""
}

// Bounds of a script.
const (
	// MaxBytes bounds a script's text.
	MaxBytes = 1 << 20
	// maxHere bounds a script that is transformed in this process, where time and memory are not bounded.
	maxHere = 64 << 10
	// maxErrors bounds how many of a script's errors are told.
	maxErrors = 5
)

// Bounds of a package: of its archive, and of what that holds, whether the script imports it or not.
const (
	MaxPackageBytes         = 8 << 20
	MaxPackageFiles         = 10_000 // and directories
	MaxPackageFileBytes     = 4 << 20
	MaxPackageExpandedBytes = 32 << 20
	// maxBundledBytes bounds the files that the script imports.
	maxBundledBytes = 4 << 20
)
