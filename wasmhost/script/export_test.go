package script

// Original is the search in a source map's mappings.
func Original(mappings string, line, column int) (int, int, bool) {
	return original(mappings, line, column)
}

// MaxHere bounds what is transformed in this process.
const MaxHere = maxHere
