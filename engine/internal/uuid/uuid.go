// Package uuid makes random ids in the form of UUIDs, as Genkit's SDKs give them: 122 bits
// that nobody guesses.
package uuid

import (
	"crypto/rand"
	"fmt"
)

// New returns a random UUID, version 4.
func New() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
