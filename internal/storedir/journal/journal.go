// Package journal is a file that only grows, by whole commits.
//
// It owns the framing: what was acknowledged is there after a crash, what was not is
// gone as a whole, and damage is told apart from a crash. Use:
//
//	j, err := journal.Open("gkwvec", file, size, func(j *journal.Journal) error { … }, func(payload []byte, at int64) error { … })
//	places, err := j.Commit(payloads)   // on the disk when it returns
//
// The format, all numbers little-endian:
//
//	file    kind [6]  0  version u8  salt [16]  length u32  header  sum u32  ack  ack
//	ack     commit u64  sum u32
//	frame   magic u32  commit u64  last u8  length u32  payload  sum u32
//
// A commit is one or more frames with its number, which counts up from 1; the last one
// says so. A sum is CRC-32C of the salt, the place in the file and all before the sum, so
// that a payload can't hold what looks like a frame. Once a commit is synced, its number is
// written over one of the two acks, by turns: it reaches the disk with the next commit, or
// when the system writes it. So when a file is opened,
//
//   - what follows the last whole commit, and was never acknowledged as far as acks and
//     frames of later commits tell, is left from a crash and cut off;
//   - otherwise something that was acknowledged is damaged or lost, and the file is refused
//     with DATA_LOSS. Damage inside the very last commit looks like a crash only if its ack
//     did not reach the disk.
//
// Files of version 1 have no acks and are read and written as they are.
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
	// MaxHead bounds the bytes at the beginning of a file that are changed in place: all others
	// are written once, but for those of a commit that failed.
	MaxHead = fileMagic + saltBytes + 4 + MaxHeader + sumBytes + 2*ackBytes
	// MaxPayload bounds a frame's payload, and with it what is read at once.
	MaxPayload = 16 << 20
)

const (
	kindBytes  = 6
	withoutAck = 1 // the version
	version    = 2
	fileMagic  = kindBytes + 2 // its bytes
	ackBytes   = 8 + 4
	frameMagic = 0x6b9e57c1
	saltBytes  = 16
	headBytes  = 4 + 8 + 1 + 4
	sumBytes   = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// File is the part of *os.File that a journal needs.
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
	acks   int64  // the place of the first; 0 when the file has none
	acked  uint64 // the highest commit that an ack tells
	last   int64  // the place of the last commit
	end    int64  // of the last commit
	commit uint64 // its number
	// broken says that there may be something behind the end.
	broken bool
	// Cut is how many bytes of an unfinished commit Open has cut off.
	Cut int64
	// Foreign says that these bytes do not begin as the next commit does: no crash has left them, somebody else has
	// written them.
	Foreign bool
}

// Create makes a new file of one commit, which may have no frames, and syncs it. kind says
// whose file it is, in six bytes.
func Create(kind string, file File, header []byte, frames [][]byte) (*Journal, error) {
	if len(header) > MaxHeader || len(kind) != kindBytes {
		return nil, status.Errorf(status.InvalidArgument, "journal of kind %q with a header of %d bytes, want %d bytes and at most %d", kind, len(header), kindBytes, MaxHeader)
	}
	j := &Journal{file: file, header: bytes.Clone(header)}
	_, _ = rand.Read(j.salt[:]) // never fails
	head := append([]byte(kind), 0, version)
	head = append(head, j.salt[:]...)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(header))) //nolint:gosec // bounded
	head = append(head, header...)
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
	j.acks = int64(len(head))
	head = append(head, make([]byte, 2*ackBytes)...)
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
func Open(kind string, file File, size int64, check func(j *Journal) error, each func(payload []byte, at int64) error) (*Journal, error) {
	j := &Journal{file: file}
	if err := j.readHeader(kind, size); err != nil {
		return nil, err
	}
	if err := check(j); err != nil {
		return nil, err
	}
	first := j.end
	if err := j.findEnd(size); err != nil {
		return nil, err
	}
	if j.commit < j.acked {
		return nil, damaged("commit %d was acknowledged, and the file ends after commit %d", j.acked, j.commit)
	}
	if err := j.replay(first, each); err != nil {
		return nil, err
	}
	if size > j.end {
		j.Cut = size - j.end
		if err := j.lookAtCut(); err != nil {
			return nil, err
		}
		if err := errors.Join(file.Truncate(j.end), file.Sync()); err != nil {
			return nil, status.Errorf(status.Unavailable, "cut off an unfinished commit: %w", err)
		}
	}
	return j, j.secure()
}

// lookAtCut sets Foreign. Of what a crash has left, each byte is the one that was written or, where the disk had not got it, zero.
func (j *Journal) lookAtCut() error {
	begins := binary.LittleEndian.AppendUint32(nil, frameMagic)
	begins = binary.LittleEndian.AppendUint64(begins, j.commit+1)
	cut := make([]byte, min(j.Cut, int64(len(begins))))
	if _, err := j.file.ReadAt(cut, j.end); err != nil && !errors.Is(err, io.EOF) {
		return status.Errorf(status.Unavailable, "read the file: %w", err)
	}
	for i, b := range cut {
		j.Foreign = j.Foreign || b != 0 && b != begins[i]
	}
	return nil
}

// secure has the last commit on the disk. If it was never acknowledged, its sync may have
// failed; then the system shows it, and does not write it with the next sync, unless it is
// written anew.
func (j *Journal) secure() error {
	if j.commit == 0 || j.acked == j.commit {
		return nil
	}
	buf := make([]byte, min(1<<20, j.end-j.last))
	for at := j.last; at < j.end; {
		n, err := j.file.ReadAt(buf[:min(int64(len(buf)), j.end-at)], at)
		if err == nil || errors.Is(err, io.EOF) && n > 0 {
			_, err = j.file.WriteAt(buf[:n], at)
		}
		if err != nil {
			return status.Errorf(status.Unavailable, "secure the last commit: %w", err)
		}
		at += int64(n)
	}
	if err := j.file.Sync(); err != nil {
		return status.Errorf(status.Unavailable, "secure the last commit: %w", err)
	}
	j.ack()
	return nil
}

// ack notes that the last commit is on the disk. A note that can't be written is none: the
// commit stands without it.
func (j *Journal) ack() {
	if j.acks == 0 {
		return
	}
	place := j.acks + int64(j.commit%2)*ackBytes //nolint:gosec // 0 or 1
	b := binary.LittleEndian.AppendUint64(nil, j.commit)
	b = binary.LittleEndian.AppendUint32(b, j.sum(b, nil, place))
	if _, err := j.file.WriteAt(b, place); err == nil {
		j.acked = j.commit
	}
}

func damaged(format string, args ...any) error {
	return status.Errorf(status.DataLoss, format, args...)
}

func (j *Journal) readHeader(kind string, size int64) error {
	const fixed = fileMagic + saltBytes + 4
	head := make([]byte, min(size, int64(fixed+MaxHeader+sumBytes+2*ackBytes)))
	if _, err := j.file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return status.Errorf(status.Unavailable, "read the header: %w", err)
	}
	if len(head) < fixed || string(head[:kindBytes]) != kind || head[kindBytes] != 0 || head[kindBytes+1] != withoutAck && head[kindBytes+1] != version {
		return damaged("this is no file of the kind %q", kind)
	}
	n := binary.LittleEndian.Uint32(head[fixed-4:])
	if n > MaxHeader || len(head) < fixed+int(n)+sumBytes {
		return damaged("the header is cut off")
	}
	end := fixed + int(n)
	if crc32.Checksum(head[:end], castagnoli) != binary.LittleEndian.Uint32(head[end:]) {
		return damaged("the header is damaged")
	}
	copy(j.salt[:], head[fileMagic:])
	j.header, j.end = head[fixed:end:end], int64(end+sumBytes)
	if head[kindBytes+1] == version {
		return j.readAcks(head[end+sumBytes:])
	}
	return nil
}

// readAcks reads the two acks. One that is torn or damaged says nothing.
func (j *Journal) readAcks(b []byte) error {
	if len(b) < 2*ackBytes {
		return damaged("the header is cut off")
	}
	j.acks = j.end
	for range 2 {
		if j.sum(b[:8], nil, j.end) == binary.LittleEndian.Uint32(b[8:]) {
			j.acked = max(j.acked, binary.LittleEndian.Uint64(b))
		}
		j.end, b = j.end+ackBytes, b[ackBytes:]
	}
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
	return bufio.NewReaderSize(io.NewSectionReader(j.file, from, to-from), int(min(1<<20, max(to-from, 16))))
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
			j.last, j.end, j.commit = j.end, at, f.commit
		}
	}
	if at == size && at == j.end {
		return nil
	}
	return j.refuseLater(at, size)
}

// searchWork bounds the bytes that refuseLater reads for each byte it searches.
const searchWork = 8

// refuseLater looks for a frame that was begun after the commit at a damaged place was
// acknowledged.
func (j *Journal) refuseLater(from, size int64) error {
	magic := binary.LittleEndian.AppendUint32(nil, frameMagic)
	work := searchWork * (size - from + MaxPayload)
	window, buf := make([]byte, min(1<<20, max(size-from, 1))), []byte(nil)
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

// Header returns the header with which the file was made. The caller must not change it.
func (j *Journal) Header() []byte { return j.header }

// Salt returns random bytes that are the file's own.
func (j *Journal) Salt() [saltBytes]byte { return j.salt }

// Size returns the length of the file.
func (j *Journal) Size() int64 { return j.end }

// ReadAt reads from the file.
func (j *Journal) ReadAt(p []byte, at int64) error {
	_, err := j.file.ReadAt(p, at)
	if err != nil {
		return status.Errorf(status.Unavailable, "read the file: %w", err)
	}
	return nil
}

// Commit appends payloads as one commit and syncs the file. It returns where each
// payload begins. After an error nothing of it is in the file; where the disk refuses that
// too, the journal takes no commit until it can be, and it is open whether the one that
// failed is found when the file is opened again.
func (j *Journal) Commit(payloads [][]byte) (places []int64, err error) {
	if err := j.Settle(); err != nil {
		return nil, err
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
			return nil, j.undo(status.Errorf(status.Unavailable, "write to the file: %w", err))
		}
		places = append(places, at+headBytes)
		at += int64(len(b))
	}
	if err := j.file.Sync(); err != nil {
		// After a failed sync the content of the disk is unknown, and a second sync may
		// succeed without having written it.
		return nil, j.undo(status.Errorf(status.Unavailable, "sync the file: %w", err))
	}
	j.last, j.end = j.end, at
	j.commit++
	j.ack()
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

// undo cuts off the bytes of a failed commit.
func (j *Journal) undo(err error) error {
	j.broken = true
	return errors.Join(err, j.Settle())
}

// Settle cuts off the bytes of a failed commit, if there are any; UNAVAILABLE while
// it can't.
func (j *Journal) Settle() error {
	if !j.broken {
		return nil
	}
	if err := errors.Join(j.file.Truncate(j.end), j.file.Sync()); err != nil {
		return status.Errorf(status.Unavailable, "an earlier write failed and can't be undone yet: %w", err)
	}
	j.broken = false
	return nil
}

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }

var _ File = (*os.File)(nil)
