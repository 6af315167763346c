package wasmhost

import "github.com/genkit-wasm/genkit-wasm/wasmhost/module"

// revision is the size of a stored revision.
type revision struct {
	number int
	digest string
	bytes  int64 // of the module
	record int64 // of its descriptor and policy
}

// kept is the size of a tenant's modules, by name, oldest revision first.
type kept map[string][]revision

// recordBytes is the size of a tenant's own texts in a record.
func recordBytes(rec *module.Record) int64 { return int64(len(rec.Descriptor) + len(rec.Policy)) }

// bytes is the sum of the stored bytes; modules that several revisions share are stored once,
// descriptors and policies are each revision's own.
func (k kept) bytes() (sum int64) {
	seen := map[string]bool{}
	for _, revisions := range k {
		for _, r := range revisions {
			sum += r.record
			if !seen[r.digest] {
				seen[r.digest] = true
				sum += r.bytes
			}
		}
	}
	return sum
}

func (k kept) revisions() (n int) {
	for _, revisions := range k {
		n += len(revisions)
	}
	return n
}
