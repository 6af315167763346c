package sandbox

import "bytes"

// BuildFactor is more than 1 under the race detector.
const BuildFactor = buildFactor

// ReadArtifact reads what a cache or a compiling process hands over, and WriteArtifact
// writes it again.
func ReadArtifact(raw []byte, entry, engine string) ([]byte, error) {
	a, err := readArtifact(bytes.NewReader(raw), entry, engine)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = a.write(&b, entry, engine)
	return b.Bytes(), err
}
