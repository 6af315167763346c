//go:build !wasm && !amd64 && !arm64

package codec

import "encoding/binary"

func load(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }
