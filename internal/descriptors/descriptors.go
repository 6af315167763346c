// Package descriptors tells how many files and connections this process may have open.
//
// It owns that question alone: who may have how many of them is decided by those who open
// them. Use:
//
//	most := descriptors.Limit() / 2
//
// Limit is safe for concurrent use.
package descriptors

// usual stands in where a system does not tell.
const usual = 8192
