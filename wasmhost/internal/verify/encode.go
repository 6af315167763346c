package verify

import "encoding/binary"

func appendU32(dst []byte, v uint32) []byte { return binary.AppendUvarint(dst, uint64(v)) }

func appendS64(dst []byte, v int64) []byte {
	for {
		low := byte(v) & 0x7f
		if v >>= 7; v == 0 && low < 0x40 || v == -1 && low >= 0x40 {
			return append(dst, low)
		}
		dst = append(dst, low|0x80)
	}
}

// u32 reads an unsigned number; ok is false when it is cut off or too long.
func u32(src []byte) (v uint32, size int, ok bool) {
	if len(src) > 0 && src[0] < 0x80 {
		return uint32(src[0]), 1, true
	}
	n, size := binary.Uvarint(src[:min(len(src), 5)])
	return uint32(n), size, size > 0 && n < 1<<32
}

// s64 reads a signed number.
func s64(src []byte) (v int64, size int, ok bool) {
	for shift := 0; size < len(src) && shift < 70; shift += 7 {
		b := src[size]
		size++
		v |= int64(b&0x7f) << shift
		if b < 0x80 {
			if shift < 57 && b >= 0x40 {
				v |= -1 << (shift + 7)
			}
			return v, size, true
		}
	}
	return 0, 0, false
}
