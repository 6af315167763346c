package memory

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// On Linux a memory of sharedFrom bytes or more is a private mapping of its image: pages that a
// call has written to are copies of its own, the others are shared by all instances of the
// module, and the kernel reports which are which (PAGEMAP_SCAN, Linux 6.7). Restoring the image
// then costs as much as the call has touched. On an older kernel, and for a smaller memory, all
// of it is copied.
//
// A page becomes a copy by a fault of the thread that writes to it. A call whose thread
// had no fault has written to nothing but pages that were copies before, and those are
// known: the kernel need not be asked again.

// sharedFrom is the size from which sharing is cheaper than copying.
const sharedFrom = 64 << 10

// dropFrom is the length from which a range of copies is given back to the system instead
// of being overwritten: it takes a quarter of the time, the memory serves others, and a
// guest that writes to all it has does not hold up the end of its call.
const dropFrom = 256 << 10

// keepFor is how many bytes of a range are worth keeping for each that the call took in or
// gave out: a guest that was handed a megabyte will be handed the next one, and finds the
// pages for it. The first call that moves little gives them back.
const keepFor = 4

// populateMost is how much of what a guest grows by is made present at once: it asked for
// it because it is about to write there, and a fault for each page would cost three times
// as much.
const populateMost = 2 << 20

// pages is a reserved range of addresses that backs one memory.
type pages struct {
	base     unsafe.Pointer // nil when the memory is an ordinary slice
	reserved int
	size     int    // bytes that are readable and writable
	root     *Image // the image whose file share has mapped
	// copies are the ranges whose pages are copies, as of the last look. More can only
	// have come by a page fault.
	copies []extent
	known  bool // look has succeeded
}

// FaultWatch counts the page faults of a call. It belongs to the call's goroutine, which it binds to
// its thread from Begin to End or Drop, because the kernel counts by thread. A caller that is
// about to wait calls Drop first. The zero value is off.
type FaultWatch struct {
	on     bool
	before int64
}

// Begin starts counting, when it can be told which of the memory's pages were copies before.
func (w *FaultWatch) Begin(m *Linear) {
	if !m.pages.known || !faultsTold() {
		return
	}
	runtime.LockOSThread()
	w.on, w.before = true, threadFaults()
}

// Drop stops counting.
func (w *FaultWatch) Drop() {
	if w.on {
		w.on = false
		runtime.UnlockOSThread()
	}
}

// End stops counting and reports whether the call is known to have had no fault.
func (w *FaultWatch) End() bool {
	calm := w.on && threadFaults() == w.before
	w.Drop()
	return calm
}

// trialPages maps a file of two pages of zeroes privately, as an instance maps its image; nil when it can't.
func trialPages() (m []byte, free func()) {
	size := 2 * os.Getpagesize()
	f, _ := imageFile(make([]byte, size))
	if f == nil {
		return nil, nil
	}
	defer func() { _ = f.Close() }() // the mapping stays
	m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil
	}
	return m, func() { _ = unix.Munmap(m) }
}

// faultsTold tries once whether the system counts the faults that make copies.
var faultsTold = sync.OnceValue(func() bool {
	m, free := trialPages()
	if m == nil {
		return false
	}
	defer free()
	if m[0] != 0 { // the first page is read before it is written to
		return false
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, at := range []int{0, len(m) - 1} {
		before := threadFaults()
		if m[at] = 1; threadFaults() <= before {
			return false
		}
	}
	return true
})

// threadFaults returns how many page faults this thread has had. If the kernel cannot tell,
// it returns a fresh negative number, so that no two readings compare equal.
func threadFaults() int64 {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &usage) != nil {
		return -faultless.Add(1)
	}
	return usage.Minflt + usage.Majflt
}

var faultless atomic.Int64

// grow makes the first size bytes usable, in place. It reports false when the memory
// is to be an ordinary slice.
func (p *pages) grow(size, limit uint64) ([]byte, bool) {
	if p.base == nil {
		if size < sharedFrom || !scanWorks() {
			return nil, false
		}
		base, err := unix.MmapPtr(-1, 0, nil, uintptr(limit), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
		if err != nil {
			return nil, false
		}
		p.base, p.reserved = base, int(limit)
	}
	all := unsafe.Slice((*byte)(p.base), p.reserved)
	if err := unix.Mprotect(all[:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return nil, false
	}
	if grown := int(size) - p.size; p.size > 0 && grown <= populateMost {
		_ = unix.Madvise(all[p.size:size], unix.MADV_POPULATE_WRITE) // or page by page, when it is written to
	}
	p.size = int(size)
	return all[:size:size], true
}

func (p *pages) free() {
	if p.base != nil {
		_ = unix.MunmapPtr(p.base, uintptr(p.reserved)) // the range is ours
	}
	*p = pages{}
}

// share maps the image's file over the memory's addresses and puts its layer on top, if it has one. Afterwards the
// memory has the image's content, and copies are the pages of that layer.
func (p *pages) share(buf []byte, img *Image) bool {
	root := img.root()
	if p.base == nil || root.file == nil {
		return false
	}
	_, err := unix.MmapPtr(int(root.file.Fd()), 0, p.base, uintptr(len(root.memory)),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE)
	if err != nil {
		return false
	}
	p.root, p.known, p.copies = root, false, p.copies[:0]
	if img.layer == nil {
		return true
	}
	if rest := buf[len(root.memory):]; len(rest) > 0 {
		keepPagesSmall(rest)
		if unix.Madvise(rest, unix.MADV_DONTNEED) != nil {
			clear(rest)
		}
	}
	img.layer.patch(buf, 0, len(buf))
	p.copies = img.layer.pages(0, len(buf), p.copies)
	return true
}

// keepPagesSmall has the kernel not make huge pages of memory that is no file's: a page of which nothing was written
// would become this memory's own without a fault.
func keepPagesSmall(rest []byte) {
	_ = unix.Madvise(rest, unix.MADV_NOHUGEPAGE) // refused where the kernel has none
}

// restore copies the image's content to the pages that have been written to, by a call
// that moved so many bytes in and out and, when it was calm, had no page fault. It reports
// false when it can't tell them.
func (p *pages) restore(buf []byte, img *Image, moved int, calm bool) bool {
	if p.root != img.root() {
		return p.share(buf, img)
	}
	if !calm || !p.known {
		if p.known = p.look(len(buf)); !p.known {
			return false
		}
	}
	kept := p.copies[:0]
	var again []extent // copies that the image's layer makes anew
	for _, c := range p.copies {
		if length := c.end - c.start; length >= dropFrom {
			length -= img.layer.within(c.start, c.end)
			if length >= dropFrom && length > keepFor*moved && unix.Madvise(buf[c.start:c.end], unix.MADV_DONTNEED) == nil {
				img.layer.patch(buf, c.start, c.end) // onto the base, which the mapping shows again
				again = img.layer.pages(c.start, c.end, again)
				continue
			}
		}
		img.put(buf, c.start, c.end)
		kept = append(kept, c)
	}
	p.copies = append(kept, again...)
	return true
}

// own is [Linear.Own].
func (p *pages) own() (bytes int64, ok bool) {
	if p.root == nil {
		return 0, false
	}
	for _, c := range p.copies {
		bytes += int64(c.end - c.start)
	}
	return bytes, true
}

// look asks the kernel which pages of the first size bytes are copies.
func (p *pages) look(size int) bool {
	scan := scanners.Get().(*scanner)
	defer scanners.Put(scan)
	p.copies = p.copies[:0]
	start := uintptr(p.base)
	for at, end := start, start+uintptr(size); at < end; {
		regions, next, ok := scan.private(at, end)
		if !ok {
			return false
		}
		for _, r := range regions {
			p.copies = append(p.copies, extent{int(uintptr(r.start) - start), int(uintptr(r.end) - start)})
		}
		at = next
	}
	return true
}

// mappedImage copies the memory's content to a memory file that others can map; nil when
// the memory is an ordinary slice, or the system does not give one.
func mappedImage(m *Linear) *Image {
	if m.pages.base == nil {
		return nil
	}
	file, filled := imageFile(m.buf)
	if file == nil {
		return nil
	}
	shared, err := unix.Mmap(int(file.Fd()), 0, len(m.buf), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		_ = file.Close()
		return nil
	}
	return &Image{memory: shared, file: file, filled: filled}
}

// layeredImage keeps what differs from base in a memory that maps it; nil when that can't be told.
func layeredImage(m *Linear, base *Image) *Image {
	if base == nil || base.file == nil || m.pages.root != base || len(m.buf) < len(base.memory) {
		return nil
	}
	if rest := m.buf[len(base.memory):]; len(rest) > 0 {
		keepPagesSmall(rest)
	}
	if m.pages.known = m.pages.look(len(m.buf)); !m.pages.known {
		return nil
	}
	return &Image{layer: difference(m.buf, base, m.pages.copies)}
}

// imageFile keeps the content in a file in memory. Pages of zeroes are left out: they
// take room when somebody reads them, and most are never read.
func imageFile(content []byte) (*os.File, []extent) {
	fd, err := unix.MemfdCreate("genkit-image", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil
	}
	f := os.NewFile(uintptr(fd), "genkit-image")
	filled, err := writeSparse(f, content)
	if err != nil {
		_ = f.Close()
		return nil, nil
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		_ = f.Close()
		return nil, nil
	}
	return f, filled
}

func writeSparse(f *os.File, content []byte) (filled []extent, err error) {
	if err := f.Truncate(int64(len(content))); err != nil {
		return nil, err
	}
	page := func(at int) []byte { return content[at:min(at+sparsePage, len(content))] }
	for start := 0; start < len(content); {
		if isZero(page(start)) {
			start += sparsePage
			continue
		}
		end := start + sparsePage
		for end < len(content) && !isZero(page(end)) {
			end += sparsePage
		}
		end = min(end, len(content))
		if _, err := f.WriteAt(content[start:end], int64(start)); err != nil {
			return nil, err
		}
		filled = append(filled, extent{start, end})
		start = end
	}
	return filled, nil
}

// Free gives the file back. Memories that map it keep what they have.
func (img *Image) Free() {
	if img.layer != nil {
		img.layer.free()
	}
	if img.file != nil {
		_ = unix.Munmap(img.memory)
		_ = img.file.Close()
	}
}

// scanner asks the kernel which pages are private copies.
type scanner struct {
	arg     scanArg
	regions [128]region
}

// scanArg is the kernel's struct pm_scan_arg, region its struct page_region
// (include/uapi/linux/fs.h).
type scanArg struct {
	size, flags, start, end, walkEnd, vec, vecLen, maxPages           uint64
	categoryInverted, categoryMask, categoryAnyOfMask, categoryReturn uint64
}

type region struct{ start, end, categories uint64 }

const (
	pagemapScan = 0xc0606610 // _IOWR('f', 16, struct pm_scan_arg)

	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4
)

var scanners = sync.Pool{New: func() any { return new(scanner) }}

// pagemap is the kernel's view of this process's pages (/proc/self/pagemap), opened once; nil where it
// can't be opened.
var pagemap = sync.OnceValue(func() *os.File {
	if f := givenPagemap.Load(); f != nil {
		return f
	}
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil
	}
	return f
})

var givenPagemap atomic.Pointer[os.File]

// UsePagemap takes an open /proc/PID/pagemap of this process, for one that can't open it
// itself. It is called before the first sandbox is made.
func UsePagemap(f *os.File) { givenPagemap.Store(f) }

// private returns ranges between start and end whose pages are no longer the file's,
// and where to go on.
func (s *scanner) private(start, end uintptr) (found []region, next uintptr, ok bool) {
	s.arg = scanArg{
		size: uint64(unsafe.Sizeof(s.arg)), start: uint64(start), end: uint64(end),
		vec: uint64(uintptr(unsafe.Pointer(&s.regions[0]))), vecLen: uint64(len(s.regions)),
		categoryInverted: pageIsFile, categoryMask: pageIsFile, categoryAnyOfMask: pageIsPresent | pageIsSwapped, categoryReturn: pageIsPresent,
	}
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, pagemap().Fd(), pagemapScan, uintptr(unsafe.Pointer(&s.arg)))
	if errno != 0 || int(n) > len(s.regions) {
		return nil, 0, false
	}
	next = uintptr(s.arg.walkEnd)
	return s.regions[:n], next, next > start
}

// scanWorks tries it once: map a file of two pages privately, write to one, and see
// whether the kernel tells them apart.
var scanWorks = sync.OnceValue(func() bool {
	if pagemap() == nil {
		return false
	}
	m, free := trialPages()
	if m == nil {
		return false
	}
	defer free()
	size := len(m)
	if m[0] != 0 { // only read
		return false
	}
	m[size-1] = 1
	start := uintptr(unsafe.Pointer(&m[0]))
	found, _, ok := new(scanner).private(start, start+uintptr(size))
	return ok && len(found) == 1 && uintptr(found[0].start) == start+uintptr(size/2) && uintptr(found[0].end) == start+uintptr(size)
})
