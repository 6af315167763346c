//go:build !unix

package descriptors

// Limit is how many descriptors this process may have.
func Limit() int64 { return usual }
