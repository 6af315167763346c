package local

import (
	"os"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local/internal/journal"
)

// AppendPut appends the operation that stores a document of one vector.
func AppendPut(b []byte, id string, document []byte, vector []float32, metadata []byte) []byte {
	return appendPut(b, id, document, []putVector{{values: vector, metadata: metadata}})
}

// WriteFile writes a file of one payload; false when it does not fit.
func WriteFile(name string, payload []byte) bool {
	file, err := os.Create(name)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	_, err = journal.Create(file, []byte(`{"metric":"cosine"}`), [][]byte{payload})
	return err == nil
}
