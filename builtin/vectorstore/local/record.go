package local

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"math"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/journal"
)

// Limits of stored documents.
const (
	// MaxDimensions bounds a vector.
	MaxDimensions = 8192
	// MaxDocument bounds a document's JSON, in bytes.
	MaxDocument = 4 << 20
	// MaxID bounds an id, in bytes.
	MaxID = 512
	// maxVectors bounds the embeddings of one document.
	maxVectors = 4096
)

// A payload of the journal is a row of operations:
//
//	put     1  id  document  vectors uvarint  { dims uvarint  float32…  metadata }…
//	delete  2  id
//
// id, document and metadata are a length (uvarint) and bytes; the document and the
// metadata of an embedding, which may be missing, are JSON objects.
const (
	opPut    = 1
	opDelete = 2
)

// operation is one decoded operation; places count from the start of the payload, or,
// once it is installed, of the file.
type operation struct {
	delete   bool
	id       string
	document span
	vectors  []vector
	at       int64
	size     int64
	sum      uint32 // of all of it
	docSum   uint32
}

type vector struct {
	at       int64
	values   []float32
	metadata span
	metaSum  uint32
}

type span struct {
	at  int64
	len int
}

func appendBytes[S string | []byte](b []byte, s S) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendPut(b []byte, id string, document []byte, vectors []putVector) []byte {
	b = appendBytes(append(b, opPut), id)
	b = appendBytes(b, document)
	b = binary.AppendUvarint(b, uint64(len(vectors)))
	for _, v := range vectors {
		b = binary.AppendUvarint(b, uint64(len(v.values)))
		for _, f := range v.values {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
		}
		b = appendBytes(b, v.metadata)
	}
	return b
}

type putVector struct {
	values   []float32
	metadata []byte
}

func appendDelete(b []byte, id string) []byte { return appendBytes(append(b, opDelete), id) }

// operations decodes a payload. It allocates in proportion to the payload, whatever
// that claims.
func operations(payload []byte) ([]operation, error) {
	r := &reader{b: payload}
	var ops []operation
	for r.at < len(payload) && r.err == nil {
		from := r.at
		op := r.operation()
		op.at, op.size = int64(from), int64(r.at-from)
		op.sum = checksum(payload[from:r.at])
		ops = append(ops, op)
	}
	return ops, r.err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = status.Errorf(status.DataLoss, "vector file: operation at byte %d of a payload: %s", r.at, what)
	}
}

func (r *reader) uvarint(limit int, what string) int {
	n, used := binary.Uvarint(r.b[r.at:])
	if used <= 0 || n > uint64(limit) { //nolint:gosec // limits are positive
		r.fail(what)
		return 0
	}
	r.at += used
	return int(n) //nolint:gosec // within the limit
}

func (r *reader) span(limit int, what string) span {
	n := r.uvarint(min(limit, len(r.b)-r.at), what)
	if r.err != nil || n > len(r.b)-r.at {
		r.fail(what)
		return span{}
	}
	s := span{int64(r.at), n}
	r.at += n
	return s
}

func (r *reader) bytes(s span) []byte { return r.b[s.at : s.at+int64(s.len)] }

func (r *reader) operation() (op operation) {
	kind := r.b[r.at]
	r.at++
	if kind != opPut && kind != opDelete {
		r.fail("it is of no known kind")
		return op
	}
	op.delete = kind == opDelete
	id := r.bytes(r.span(MaxID, "its id is too long"))
	if r.err != nil || len(id) == 0 || !utf8.Valid(id) {
		r.fail("its id is no text")
		return op
	}
	op.id = string(id)
	if op.delete {
		return op
	}
	op.document = r.span(MaxDocument, "its document is too long")
	op.docSum = checksum(r.bytes(op.document))
	n := r.uvarint(maxVectors, "it has too many vectors")
	for i := 0; i < n && r.err == nil; i++ {
		op.vectors = append(op.vectors, r.vector())
	}
	if r.err == nil && (len(op.vectors) == 0 || !isObject(r.bytes(op.document))) {
		r.fail("its document is no JSON object, or it has no vector")
	}
	return op
}

func (r *reader) vector() (v vector) {
	dims := r.uvarint(MaxDimensions, "its vector is too long")
	if r.err != nil || dims == 0 || dims*4 > len(r.b)-r.at {
		r.fail("its vector is cut off")
		return v
	}
	v.at, v.values = int64(r.at), make([]float32, dims)
	if !floats(v.values, r.b[r.at:]) {
		r.fail("its vector holds what is no number or too great a one")
	}
	r.at += 4 * dims
	v.metadata = r.span(MaxDocument, "the metadata of its vector is too long")
	v.metaSum = checksum(r.bytes(v.metadata))
	if r.err == nil && v.metadata.len > 0 && !isObject(r.bytes(v.metadata)) {
		r.fail("the metadata of its vector is no JSON object")
	}
	return v
}

// maxCoordinate bounds a stored coordinate, so that no sum of squares is infinite in a
// float32.
const maxCoordinate = 1e15

// floats reads len(v) numbers, and reports whether all are within maxCoordinate.
func floats(v []float32, b []byte) bool {
	b = b[:4*len(v)]
	ok := true
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		ok = ok && v[i] <= maxCoordinate && v[i] >= -maxCoordinate
	}
	return ok
}

func isObject(b []byte) bool { return len(b) > 0 && b[0] == '{' && json.Valid(b) }

// payloads packs operations into payloads of about a megabyte.
func payloads(ops [][]byte) ([][]byte, error) {
	const enough = 1 << 20
	var all [][]byte
	var last []byte
	for _, op := range ops {
		if len(op) > journal.MaxPayload {
			return nil, status.Publicf(status.InvalidArgument, "a document with its embeddings takes %d bytes, more than %d", len(op), journal.MaxPayload)
		}
		if len(last) > 0 && len(last)+len(op) > enough {
			all, last = append(all, last), nil
		}
		last = append(last, op...)
	}
	if len(last) > 0 {
		all = append(all, last)
	}
	return all, nil
}
