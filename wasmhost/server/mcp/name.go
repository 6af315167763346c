package mcp

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// maxName is how long a name may be for models' providers.
const maxName = 64

// wireName is an action's name as clients see it: of letters, digits, "_" and "-", which is what all clients and models
// take, with "__" for each slash. A name that can't be read back from that has a hash of the whole at its end, and "__"
// after it, which no other name ends in. So a name depends on nothing but its action's own.
func wireName(name string) string {
	plain := strings.ReplaceAll(name, "/", "__")
	if len(plain) <= maxName && valid(plain) && readName(plain) == name && !strings.HasSuffix(name, "/") {
		return plain
	}
	sum := sha256.Sum256([]byte(name))
	plain = strings.Map(func(r rune) rune {
		if !validRune(r) {
			return '_'
		}
		return r
	}, plain)
	hash := "-" + hex.EncodeToString(sum[:6]) + "__"
	return plain[:min(len(plain), maxName-len(hash))] + hash
}

// readName is the action's name where the name that a client has used was not shortened.
func readName(wire string) string { return strings.ReplaceAll(wire, "__", "/") }

// hashed reports whether only a list tells which action the name means.
func hashed(wire string) bool { return strings.HasSuffix(wire, "__") }

func valid(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return !validRune(r) })
}

func validRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
}
