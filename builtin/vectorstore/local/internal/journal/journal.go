// Package journal is a file that only grows, by whole commits.
//
// It owns the framing: what was acknowledged is there after a crash, what was not is
// gone as a whole, and damage is told apart from a crash. Use:
//
//	j, err := journal.Open(file, size, func(j *journal.Journal) error { … }, func(payload []byte, at int64) error { … })
//	places, err := j.Commit(payloads)   // on the disk when it returns
//
// The format, all numbers little-endian:
//
//	file    magic [8]  salt [16]  length u32  header  sum u32
//	frame   magic u32  commit u64  last u8  length u32  payload  sum u32
//
// A commit is one or more frames with its number, which counts up from 1; the last one
// says so. A sum is CRC-32C of the salt, the frame's place in the file and all before
// the sum, so that a payload can't hold what looks like a frame. When a file is opened,
// what follows the last whole commit is a crash's if no frame of a later commit is
// among it: it is cut off. Otherwise something that was acknowledged is damaged, and
// the file is refused with DATA_LOSS. Damage inside the very last commit looks like a
// crash.
//
// A *Journal may be read by many at once beside the one who commits.
package journal

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Limits of a file.
const (
	MaxHeader = 4 << 10
	// MaxPayload bounds a frame's payload, and with it what is read at once.
	MaxPayload = 16 << 20
)

const (
	fileMagic  = "gkwvec\x00\x01"
	frameMagic = 0x6b9e57c1
	saltBytes  = 16
	headBytes  = 4 + 8 + 1 + 4
	sumBytes   = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// File is what a journal needs of an *os.File.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

// Journal is an open file.
type Journal struct {
	file   File
	salt   [saltBytes]byte
	header []byte
	end    int64  // of the last commit
	commit uint64 // its number
	broken error
	// Cut is how many bytes of an unfinished commit Open has cut off.
	Cut int64
}

// Create makes a new file of one commit, which may have no frames, and syncs it.
func Create(file File, header []byte, frames [][]byte) (*Journal, error) {
	if len(header) > MaxHeader {
		return nil, status.Errorf(status.InvalidArgument, "journal header of %d bytes exceeds the limit of %d", len(header), MaxHeader)
	}
	j := &Journal{file: file, header: bytes.Clone(header)}
	_, _ = rand.Read(j.salt[:]) // never fails
	head := append([]byte(fileMagic), j.salt[:]...)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(header))) //nolint:gosec // bounded
	head = append(head, header...)
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
	if _, err := file.WriteAt(head, 0); err != nil {
		return nil, err
	}
	j.end = int64(len(head))
	if len(frames) == 0 {
		return j, file.Sync()
	}
	_, err := j.Commit(frames)
	return j, err
}

// Open reads a file of the given size. check looks at the header first; each gets the payloads of all whole commits, in
// their order, and where in the file each begins; it must not keep them.
func Open(file File, size int64, check func(j *Journal) error, each func(payload []byte, at int64) error) (*Journal, error) {
	j := &Journal{file: file}
	if err := j.readHeader(size); err != nil {
		return nil, err
	}
	if err := check(j); err != nil {
		return nil, err
	}
	first := j.end
	if err := j.findEnd(size); err != nil {
		return nil, err
	}
	if err := j.replay(first, each); err != nil {
		return nil, err
	}
	if size > j.end {
		j.Cut = size - j.end
		if err := errors.Join(file.Truncate(j.end), file.Sync()); err != nil {
			return nil, status.Errorf(status.Unavailable, "cut off an unfinished commit: %w", err)
		}
	}
	return j, nil
}

func damaged(format string, args ...any) error {
	return status.Errorf(status.DataLoss, format, args...)
}

func (j *Journal) readHeader(size int64) error {
	const fixed = len(fileMagic) + saltBytes + 4
	head := make([]byte, min(size, int64(fixed+MaxHeader+sumBytes)))
	if _, err := j.file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return status.Errorf(status.Unavailable, "read the header: %w", err)
	}
	if len(head) < fixed || string(head[:len(fileMagic)]) != fileMagic {
		return damaged("this is no vector file of version 1")
	}
	n := binary.LittleEndian.Uint32(head[fixed-4:])
	if n > MaxHeader || len(head) < fixed+int(n)+sumBytes {
		return damaged("the header is cut off")
	}
	end := fixed + int(n)
	if crc32.Checksum(head[:end], castagnoli) != binary.LittleEndian.Uint32(head[end:]) {
		return damaged("the header is damaged")
	}
	copy(j.salt[:], head[len(fileMagic):])
	j.header, j.end = head[fixed:end:end], int64(end+sumBytes)
	return nil
}

// frame is the head of a frame.
type frame struct {
	commit uint64
	last   bool
	length int
}

func parseHead(head []byte) (f frame, ok bool) {
	if len(head) < headBytes || binary.LittleEndian.Uint32(head) != frameMagic || head[12] > 1 {
		return f, false
	}
	n := binary.LittleEndian.Uint32(head[13:])
	return frame{binary.LittleEndian.Uint64(head[4:]), head[12] == 1, int(n)}, n <= MaxPayload
}

func (j *Journal) sum(head, payload []byte, at int64) uint32 {
	place := binary.LittleEndian.AppendUint64(j.salt[:len(j.salt):len(j.salt)], uint64(at)) //nolint:gosec // a place in a file
	s := crc32.Checksum(place, castagnoli)
	s = crc32.Update(s, castagnoli, head)
	return crc32.Update(s, castagnoli, payload)
}

// readFrame reads the frame at r; whole is false when it is not whole and unharmed.
func (j *Journal) readFrame(r io.Reader, at, size int64, buf *[]byte) (f frame, payload []byte, whole bool, err error) {
	var head [headBytes]byte
	if size-at < headBytes+sumBytes {
		return f, nil, false, nil
	}
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, nil, false, err
	}
	f, ok := parseHead(head[:])
	if !ok || int64(f.length) > size-at-headBytes-sumBytes {
		return f, nil, false, nil
	}
	need := f.length + sumBytes
	if cap(*buf) < need {
		*buf = make([]byte, need)
	}
	payload = (*buf)[:need]
	if _, err := io.ReadFull(r, payload); err != nil {
		return f, nil, false, err
	}
	sum := binary.LittleEndian.Uint32(payload[f.length:])
	payload = payload[:f.length]
	return f, payload, j.sum(head[:], payload, at) == sum, nil
}

func (j *Journal) reader(from, to int64) *bufio.Reader {
	return bufio.NewReaderSize(io.NewSectionReader(j.file, from, to-from), 1<<20)
}

// findEnd sets end to that of the last whole commit, or fails when a later one exists.
func (j *Journal) findEnd(size int64) error {
	r, buf := j.reader(j.end, size), []byte(nil)
	at := j.end
	for {
		f, _, whole, err := j.readFrame(r, at, size, &buf)
		if err != nil {
			return status.Errorf(status.Unavailable, "read the file: %w", err)
		}
		if !whole || f.commit != j.commit+1 {
			break
		}
		at += int64(headBytes + f.length + sumBytes)
		if f.last {
			j.end, j.commit = at, f.commit
		}
	}
	if at == size && at == j.end {
		return nil
	}
	return j.refuseLater(at, size)
}

// searchWork bounds what refuseLater reads for each byte it searches.
const searchWork = 8

// refuseLater looks for a frame that was begun after the commit at a damaged place was
// acknowledged.
func (j *Journal) refuseLater(from, size int64) error {
	magic := binary.LittleEndian.AppendUint32(nil, frameMagic)
	work := searchWork * (size - from + MaxPayload)
	window, buf := make([]byte, 1<<20), []byte(nil)
	for at := from; size-at >= headBytes+sumBytes; {
		n, err := j.file.ReadAt(window[:min(int64(len(window)), size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return status.Errorf(status.Unavailable, "read the file: %w", err)
		}
		i := bytes.Index(window[:n], magic)
		if i < 0 {
			at += max(int64(n)-int64(len(magic))+1, 1)
			work -= int64(n)
			continue
		}
		at += int64(i)
		f, _, whole, err := j.readFrame(io.NewSectionReader(j.file, at, size-at), at, size, &buf)
		if err != nil {
			return status.Errorf(status.Unavailable, "read the file: %w", err)
		}
		if whole && f.commit > j.commit+1 {
			return damaged("byte %d and what follows is damaged: commit %d is whole, but %d before it is not", from, f.commit, j.commit+1)
		}
		work -= int64(i) + headBytes
		if f.length <= MaxPayload {
			work -= int64(f.length)
		}
		if work < 0 {
			return damaged("byte %d and what follows is damaged, and too tangled to search", from)
		}
		at++
	}
	return nil
}

func (j *Journal) replay(at int64, each func([]byte, int64) error) error {
	r, buf := j.reader(at, j.end), []byte(nil)
	for at < j.end {
		f, payload, whole, err := j.readFrame(r, at, j.end, &buf)
		if err != nil || !whole {
			return status.Errorf(status.Unavailable, "the file changed while it was read: %w", errors.Join(err, io.ErrUnexpectedEOF))
		}
		if err := each(payload, at+headBytes); err != nil {
			return err
		}
		at += int64(headBytes + f.length + sumBytes)
	}
	return nil
}

// Header returns what the file was made with. The caller must not change it.
func (j *Journal) Header() []byte { return j.header }

// Salt returns random bytes that are the file's own.
func (j *Journal) Salt() [saltBytes]byte { return j.salt }

// Size returns the length of the file.
func (j *Journal) Size() int64 { return j.end }

// ReadAt reads from the file.
func (j *Journal) ReadAt(p []byte, at int64) error {
	_, err := j.file.ReadAt(p, at)
	if err != nil {
		return status.Errorf(status.Unavailable, "read the vector file: %w", err)
	}
	return nil
}

// Commit appends payloads as one commit and syncs the file. It returns where each
// payload begins. After an error nothing of it is in the file, or the journal takes no
// more commits until it is opened again.
func (j *Journal) Commit(payloads [][]byte) (places []int64, err error) {
	if j.broken != nil {
		return nil, status.Errorf(status.FailedPrecondition, "an earlier write failed and its outcome is unknown; open the store again: %w", j.broken)
	}
	if len(payloads) == 0 {
		return nil, nil
	}
	at := j.end
	for i, payload := range payloads {
		if len(payload) > MaxPayload {
			return nil, j.undo(status.Errorf(status.InvalidArgument, "payload of %d bytes exceeds the limit of %d", len(payload), MaxPayload))
		}
		b := j.frame(payload, at, i == len(payloads)-1)
		if _, err := j.file.WriteAt(b, at); err != nil {
			return nil, j.undo(status.Errorf(status.Unavailable, "write to the vector file: %w", err))
		}
		places = append(places, at+headBytes)
		at += int64(len(b))
	}
	if err := j.file.Sync(); err != nil {
		// What a failed sync has left on the disk is unknown, and a second one may
		// succeed without having written it.
		j.broken = err
		return nil, status.Errorf(status.Unavailable, "sync the vector file: %w", err)
	}
	j.end = at
	j.commit++
	return places, nil
}

func (j *Journal) frame(payload []byte, at int64, last bool) []byte {
	b := make([]byte, headBytes, headBytes+len(payload)+sumBytes)
	binary.LittleEndian.PutUint32(b, frameMagic)
	binary.LittleEndian.PutUint64(b[4:], j.commit+1)
	if last {
		b[12] = 1
	}
	binary.LittleEndian.PutUint32(b[13:], uint32(len(payload))) //nolint:gosec // bounded
	sum := j.sum(b, payload, at)
	b = append(b, payload...)
	return binary.LittleEndian.AppendUint32(b, sum)
}

// undo cuts off what a failed commit has written.
func (j *Journal) undo(err error) error {
	if cut := j.file.Truncate(j.end); cut != nil {
		j.broken = cut
		return errors.Join(err, cut)
	}
	return err
}

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }

var _ File = (*os.File)(nil)
