package storedir

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

const maxFileName = 180

// FileName returns a name of a file for an id, between a prefix and a suffix. Different ids
// have different names, also where the file system does not tell upper from lower case, and
// none is a path: a byte other than a small letter, a digit or a hyphen is written as "_"
// and two hex digits. A name that would be too long is "_-" and a hash.
func FileName(prefix, id, suffix string) string {
	var b strings.Builder
	for i := range len(id) {
		c := id[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('_')
		b.WriteString(hex.EncodeToString([]byte{c}))
	}
	if b.Len() > maxFileName {
		sum := sha256.Sum256([]byte(id))
		return prefix + "_-" + hex.EncodeToString(sum[:]) + suffix
	}
	return prefix + b.String() + suffix
}

// NamedBy returns the id of a name that [FileName] made; false for a hash, and for every
// other name.
func NamedBy(prefix, name, suffix string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return "", false
	}
	if rest, ok = strings.CutSuffix(rest, suffix); !ok {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		if rest[i] != '_' {
			b.WriteByte(rest[i])
			continue
		}
		c, err := hex.DecodeString(rest[min(i+1, len(rest)):min(i+3, len(rest))])
		if err != nil || len(c) != 1 {
			return "", false
		}
		b.Write(c)
		i += 2
	}
	return b.String(), FileName(prefix, b.String(), suffix) == name
}
