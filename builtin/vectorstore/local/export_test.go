package local

import (
	"os"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/journal"
)

// OpenFS opens a store on a file system of a test.
func OpenFS(files storedir.FS, c Config) (*Store, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	return openFS(files, c)
}

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
	_, err = journal.Create(kind, file, []byte(`{"metric":"cosine"}`), [][]byte{payload})
	return err == nil
}
