package main

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
)

// codeKeyBytes is the length of the key that seals what code of models had done when a tool asked for an answer.
const codeKeyBytes = 32

// codeKey reads the key from a file, and makes one where there is none, or part of one. Code that another key has
// sealed is not continued.
func codeKey(file string) ([]byte, error) {
	key, err := os.ReadFile(file)
	if err == nil && len(key) == codeKeyBytes {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key = make([]byte, codeKeyBytes)
	_, _ = rand.Read(key) // it never fails
	if err := os.WriteFile(file+".new", key, 0o600); err != nil {
		return nil, err
	}
	return key, os.Rename(file+".new", file)
}
