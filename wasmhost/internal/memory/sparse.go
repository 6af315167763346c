package memory

import "bytes"

// sparse is the content of a memory without its zero pages: most of a small guest's memory was
// never written to.
type sparse struct {
	size int
	runs []run
}

// run is a stretch of pages of which each has a byte other than zero.
type run struct {
	at    int
	bytes []byte
}

// sparsePage is the unit, in bytes, in which zeroes are looked for.
const sparsePage = 4 << 10

var zeroPage [sparsePage]byte // never written to

func isZero(page []byte) bool { return bytes.Equal(page, zeroPage[:len(page)]) }

// newSparse copies the pages that are not zero; neighbours become one run.
func newSparse(memory []byte) *sparse {
	s := &sparse{size: len(memory)}
	for at := 0; at < len(memory); at += sparsePage {
		page := memory[at:min(at+sparsePage, len(memory))]
		switch last := len(s.runs) - 1; {
		case isZero(page):
		case last >= 0 && s.runs[last].at+len(s.runs[last].bytes) == at:
			s.runs[last].bytes = append(s.runs[last].bytes, page...)
		default:
			s.runs = append(s.runs, run{at, bytes.Clone(page)})
		}
	}
	for i, r := range s.runs {
		s.runs[i].bytes = bytes.Clone(r.bytes) // without the room to grow
	}
	return s
}

// held returns the bytes that sparse keeps.
func (s *sparse) held() int64 {
	n := 0
	for _, r := range s.runs {
		n += len(r.bytes)
	}
	return int64(n)
}

// restore puts a memory of the same size back. It looks at every page and writes to those
// that differ, so that one that was never written to still takes no room.
func (s *sparse) restore(memory []byte) {
	at := 0
	for _, r := range s.runs {
		wipe(memory[at:r.at])
		at = r.at + len(r.bytes)
		for from := 0; from < len(r.bytes); from += sparsePage {
			to := min(from+sparsePage, len(r.bytes))
			if page := memory[r.at+from : r.at+to]; !bytes.Equal(page, r.bytes[from:to]) {
				copy(page, r.bytes[from:to])
			}
		}
	}
	wipe(memory[at:])
}

// wipe zeroes memory. It writes to pages that are not zero only.
func wipe(memory []byte) {
	for at := 0; at < len(memory); at += sparsePage {
		if page := memory[at:min(at+sparsePage, len(memory))]; !isZero(page) {
			clear(page)
		}
	}
}
