package contextprovider

// ParseSet reads a key set and returns the number of keys.
func ParseSet(raw []byte) (int, error) {
	list, err := parseSet(raw)
	return len(list), err
}
