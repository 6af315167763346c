package audit

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// OpenFS opens a log in a directory of any kind.
func OpenFS(files storedir.FS, c Config) (*Log, error) { return open(files, c) }

// NameOf returns the name of the file that begins with an entry.
func NameOf(first uint64) string { return nameOf(first) }

// Decode reads what is stored of an entry.
func Decode(payload []byte) (Entry, error) {
	e, _, err := decode(payload)
	return e, err
}

// Seal returns what is stored of the first entry of a log.
func Seal(e Entry) []byte {
	payload, _, err := seal(&e, head{})
	if err != nil {
		panic(err)
	}
	return payload
}

// Bounded returns the entry as it is written.
func Bounded(e Entry) Entry { return e.bounded() }

// Header returns the header of a file.
func Header(first uint64, before string) []byte {
	raw, err := json.Marshal(header{first, before})
	if err != nil {
		panic(err) // a number and a text always encode
	}
	return raw
}
