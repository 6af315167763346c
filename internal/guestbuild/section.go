package guestbuild

import (
	"encoding/binary"
	"slices"
)

// WithSection returns a module with a custom section more, at its end. The module must be one in the binary
// format of version 1; its bytes are copied.
func WithSection(module []byte, name string, content []byte) []byte {
	body := binary.AppendUvarint(nil, uint64(len(name))) // LEB128 of WebAssembly is that of Go's varints
	body = append(append(body, name...), content...)
	section := binary.AppendUvarint([]byte{0}, uint64(len(body)))
	return slices.Concat(module, section, body)
}
