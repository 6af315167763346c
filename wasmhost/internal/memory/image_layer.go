package memory

import (
	"cmp"
	"os"
	"slices"
)

// layer is an image as the difference between it and another one, the base. Many images that began as the same one,
// such as those of the scripts of one engine, hold little each, and no file: memories map the base's file.
type layer struct {
	base    *Image // has a file, and no layer itself
	size    int    // what lies beyond the base's size is zero, but for the patches
	patches []patch
	bytes   []byte // of the patches, one after the other
	outside bool   // bytes came from allocate
}

// patch is a stretch of bytes that are not the base's. Memories end below 4 GiB.
type patch struct{ at, from, length uint32 }

// A patch consists of pieces of grain bytes which differ. Another one within joinWithin bytes belongs to the same patch:
// what a patch costs beside its bytes is as much.
const (
	grain      = 64
	joinWithin = 64
)

// difference makes the layer that turns base into memory, which differ in the pages of changed alone; these are in
// order.
func difference(memory []byte, base *Image, changed []extent) *layer {
	l := &layer{base: base, size: len(memory)}
	for _, c := range changed {
		for at := c.start; at < c.end; at += sparsePage {
			was := base.page(at)
			for i := 0; i < sparsePage; i += grain {
				now := memory[at+i : at+i+grain]
				if string(now) == string(was[i:i+grain]) {
					continue
				}
				start := at + i
				if n := len(l.patches); n > 0 && start-l.patches[n-1].end() <= joinWithin {
					last := &l.patches[n-1]
					l.bytes = append(l.bytes, memory[last.end():start+grain]...)
					last.length = uint32(start + grain - int(last.at))
					continue
				}
				l.patches = append(l.patches, patch{uint32(start), uint32(len(l.bytes)), grain})
				l.bytes = append(l.bytes, now...)
			}
		}
	}
	l.patches = slices.Clone(l.patches) // without the room to grow
	// Go's collector paces itself by what is on its heap, and thousands of layers would have it wait for long.
	if outside := allocate(uint64(len(l.bytes))); outside != nil {
		copy(outside, l.bytes)
		l.bytes, l.outside = outside, true
	} else {
		l.bytes = slices.Clone(l.bytes)
	}
	return l
}

func (p patch) end() int { return int(p.at) + int(p.length) }

// held returns the bytes that the layer keeps.
func (l *layer) held() int64 {
	const perPatch = 12
	return int64(len(l.bytes)+sparsePage-1)/sparsePage*sparsePage + perPatch*int64(len(l.patches))
}

func (l *layer) free() {
	if l.outside {
		unallocate(l.bytes)
	}
	l.bytes, l.patches, l.outside = nil, nil, false
}

// between returns the patches that have a byte from from on and before to.
func (l *layer) between(from, to int) []patch {
	first, _ := slices.BinarySearchFunc(l.patches, from, func(p patch, at int) int { return cmp.Compare(p.end(), at+1) })
	last, _ := slices.BinarySearchFunc(l.patches[first:], to, func(p patch, at int) int { return cmp.Compare(int(p.at), at) })
	return l.patches[first : first+last]
}

// within counts the bytes of patches in a stretch of the memory; none without a layer.
func (l *layer) within(from, to int) int {
	if l == nil {
		return 0
	}
	n := 0
	for _, p := range l.between(from, to) {
		n += min(p.end(), to) - max(int(p.at), from)
	}
	return n
}

// patch writes the patches of a stretch of the memory. It does nothing without a layer.
func (l *layer) patch(buf []byte, from, to int) {
	if l == nil {
		return
	}
	for _, p := range l.between(from, to) {
		start, end := max(int(p.at), from), min(p.end(), to)
		copy(buf[start:end], l.bytes[int(p.from)+start-int(p.at):])
	}
}

// pages appends the system's pages in which patches of a stretch lie.
func (l *layer) pages(from, to int, list []extent) []extent {
	if l == nil {
		return list
	}
	own := len(list)
	for _, p := range l.between(from, to) {
		start, end := max(int(p.at), from)/systemPage*systemPage, (min(p.end(), to)+systemPage-1)/systemPage*systemPage
		if n := len(list); n > own && start <= list[n-1].end {
			list[n-1].end = max(list[n-1].end, end)
		} else {
			list = append(list, extent{start, end})
		}
	}
	return list
}

// systemPage is the unit, in bytes, in which the system shares memory.
var systemPage = max(sparsePage, os.Getpagesize())
