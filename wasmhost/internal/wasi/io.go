package wasi

import "math"

// vectors are the buffers of one read or write, all of them checked.
type vectors struct {
	mem   memory
	table []byte
	total int64
}

// vectors checks count buffers whose table begins at ptr, and the place of the result,
// before anything is moved.
func (p *Process) vectors(mem memory, ptr, count, result uint64) (v vectors, done []byte, errno Errno) {
	n := uint32(count)
	if n > MaxVectors {
		return v, nil, EINVAL
	}
	p.host.Charge(int64(n) * vectorFuel)
	table, ok1 := mem.table(ptr, n, 8)
	done, ok2 := mem.view(result, 4)
	if !ok1 || !ok2 {
		return v, nil, EFAULT
	}
	v = vectors{mem: mem, table: table}
	for at := 0; at < len(table); at += 8 {
		b, ok := v.at(at)
		if !ok {
			return v, nil, EFAULT
		}
		v.total += int64(len(b))
	}
	if v.total > math.MaxInt32 {
		return v, nil, EINVAL
	}
	return v, done, 0
}

// at returns the buffer whose entry begins at a byte of the table.
func (v *vectors) at(at int) ([]byte, bool) {
	return v.mem.view(uint64(little.Uint32(v.table[at:])), uint64(little.Uint32(v.table[at+4:])))
}

// move calls step for pieces of the buffers, until it moves less than it was given or
// fails. An error after some bytes were moved is a success. A table that lies in one of its own
// buffers may change under way, so each entry is checked again.
func (p *Process) move(v *vectors, step func(piece []byte) (int, Errno)) (moved uint32, errno Errno) {
	for at := 0; at < len(v.table); at += 8 {
		b, ok := v.at(at)
		if !ok {
			return moved, orError(moved, EFAULT)
		}
		for len(b) > 0 {
			piece := b[:min(len(b), pieceBytes)]
			p.host.Charge(int64(len(piece)))
			p.host.Worked(len(piece))
			n, errno := step(piece)
			if errno != 0 {
				return moved, orError(moved, errno)
			}
			if moved += uint32(n); n < len(piece) || int64(moved) >= v.total {
				return moved, 0
			}
			b = b[n:]
		}
	}
	return moved, 0
}

func orError(moved uint32, errno Errno) Errno {
	if moved > 0 {
		return 0
	}
	return errno
}

// transfer is the four functions that read and write, whose arguments are alike: with an
// offset they have one more.
func (p *Process) transfer(mem memory, a []uint64, at bool, step func(d *descriptor) (func([]byte) (int, Errno), Errno)) Errno {
	result := a[3]
	if at {
		result = a[4]
	}
	d, errno := p.lookup(a[0])
	if errno != 0 {
		return errno
	}
	do, errno := step(d)
	if errno != 0 {
		return errno
	}
	v, done, errno := p.vectors(mem, a[1], a[2], result)
	if errno != 0 {
		return errno
	}
	if d.kind != stream {
		p.work()
	}
	var n uint32
	if d.kind == stream && d.write {
		n = p.print(d.stream, &v)
	} else if n, errno = p.move(&v, do); errno != 0 {
		return errno
	}
	little.PutUint32(done, n)
	return 0
}

// print takes one write to a standard stream as one text, and says that all of it was
// written.
func (p *Process) print(fd int32, v *vectors) uint32 {
	if v.total == 0 {
		return 0
	}
	var text []byte
	if len(v.table) == 8 { // the usual case copies nothing
		text, _ = v.at(0)
		text = text[:min(len(text), MaxPrinted)]
	} else {
		for at := 0; at < len(v.table) && len(text) < MaxPrinted; at += 8 {
			b, _ := v.at(at)
			text = append(text, b[:min(len(b), MaxPrinted-len(text))]...)
		}
	}
	p.host.Charge(int64(len(text)))
	p.host.Worked(len(text))
	p.host.Print(fd, text)
	return uint32(v.total)
}

func fdRead(p *Process, mem memory, a []uint64) Errno {
	return p.transfer(mem, a, false, func(d *descriptor) (func([]byte) (int, Errno), Errno) {
		switch {
		case d.kind == directory:
			return nil, EISDIR
		case !d.read:
			return nil, EBADF
		case d.kind == stream: // standard input is at its end
			return func([]byte) (int, Errno) { return 0, 0 }, 0
		}
		return func(b []byte) (int, Errno) {
			n, errno := d.file.Read(b)
			return n, errnoOf(errno)
		}, 0
	})
}

func fdPread(p *Process, mem memory, a []uint64) Errno {
	return p.transfer(mem, a, true, func(d *descriptor) (func([]byte) (int, Errno), Errno) {
		offset := int64(a[3])
		switch {
		case d.kind == directory:
			return nil, EISDIR
		case d.kind == stream:
			return nil, ESPIPE
		case !d.read:
			return nil, EBADF
		case offset < 0:
			return nil, EINVAL
		}
		return func(b []byte) (int, Errno) {
			n, errno := d.file.Pread(b, offset)
			offset += int64(n)
			return n, errnoOf(errno)
		}, 0
	})
}

func fdWrite(p *Process, mem memory, a []uint64) Errno {
	return p.transfer(mem, a, false, func(d *descriptor) (func([]byte) (int, Errno), Errno) {
		switch {
		case d.kind == directory:
			return nil, EISDIR
		case !d.write:
			return nil, EBADF
		case d.kind == stream:
			return nil, 0
		}
		return func(b []byte) (int, Errno) {
			n, errno := d.file.Write(b)
			return n, errnoOf(errno)
		}, 0
	})
}

func fdPwrite(p *Process, mem memory, a []uint64) Errno {
	return p.transfer(mem, a, true, func(d *descriptor) (func([]byte) (int, Errno), Errno) {
		offset := int64(a[3])
		switch {
		case d.kind == directory:
			return nil, EISDIR
		case d.kind == stream:
			return nil, ESPIPE
		case !d.write:
			return nil, EBADF
		case offset < 0 || offset > math.MaxInt64-math.MaxInt32:
			return nil, EINVAL
		}
		return func(b []byte) (int, Errno) {
			n, errno := d.file.Pwrite(b, offset)
			offset += int64(n)
			return n, errnoOf(errno)
		}, 0
	})
}
