// Package wasi is WASI preview 1 for guests that are not trusted.
//
// It owns the import module wasi_snapshot_preview1: all of its functions, with little behind them. A guest's open files
// and the offset of its clock belong to one call: [Process.Reset] restores their state after the initialisation. Every
// function is charged for the work that it makes the host do, bounds the counts and lengths that the guest names, checks
// its pointers before it begins, and gives the host a chance to end the guest while it works. Use:
//
//	p := wasi.New(&wasi.Config{Mounts: mounts}, host)
//	_, err := wasi.Module(runtime, func(ctx context.Context) *wasi.Process { return p }).Instantiate(ctx)
//	… run the guest …
//	p.Reset(nil)
//
// Where it does otherwise than wazero's own WASI, and why, is listed in the tests
// (TestItDoesWhatWazeroDoes) and in RATIONALE.md. A [Process] belongs to the goroutine
// that runs its guest.
package wasi

import (
	"slices"
	"time"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental/sys"
)

// descriptor is something that the guest has open.
type descriptor struct {
	kind   kind
	stream int32 // 0, 1 or 2, of a stream
	// fs and path say where a file or directory was opened. A mount's directory is
	// opened when it is listed, so its file may be nil.
	fs    sys.FS
	path  string
	mount *Mount // the pre-opened directory; nil for other descriptors
	file  sys.File
	flags uint16
	read  bool
	write bool
	list  listing
}

// kind is the kind of a descriptor.
type kind uint8

// memory is the guest's. Pointers and lengths are what stands on the stack: their lower
// 32 bits count.
type memory struct{ m api.Memory }

// listing is a window of a directory's entries: those that were read and that the guest
// has not gone beyond. The number of an entry is its cookie.
type listing struct {
	entries []sys.Dirent
	first   uint64 // the number of entries[0]
	begun   bool
	ended   bool // nothing follows the entries
}

// ModuleName is the name under which guests import WASI.
const ModuleName = "wasi_snapshot_preview1"

// Bounds on what one function call may name.
const (
	// MaxDescriptors is the most descriptors that a guest has open, standard streams and mounts included.
	MaxDescriptors = 256
	// MaxVectors bounds the buffers of one read or write.
	MaxVectors = 1024
	// MaxSubscriptions is the most subscriptions of one poll_oneoff.
	MaxSubscriptions = 1024
	// MaxPath bounds a path in bytes.
	MaxPath = 4096
	// MaxPrinted bounds the bytes that one write to a standard stream prints; the rest is dropped.
	MaxPrinted = 16 << 10
)

// Costs in fuel. A unit is about a simple instruction of a guest.
const (
	callFuel   = 100   // crossing the border
	vectorFuel = 32    // a buffer of a read or write
	eventFuel  = 64    // a subscription of a poll
	entryFuel  = 500   // a directory entry that is read
	fileFuel   = 5_000 // a name in a path, another call into the file system, or a sleep
)

// pieceBytes is how much is moved before the host may end the guest.
const pieceBytes = 256 << 10

// Host runs the guest. All of its functions but Print and Random may panic to end it.
type Host interface {
	// Charge takes fuel from the guest.
	Charge(units int64)
	// Worked counts bytes that were moved for the guest, or what takes as long.
	Worked(bytes int)
	// Print takes the bytes that one write to standard output (fd 1) or standard error (fd 2)
	// printed, at most [MaxPrinted] bytes, which it must not keep.
	Print(fd int32, text []byte)
	// Random fills p with fresh bytes.
	Random(p []byte) error
	// Clock returns what a clock that was granted shows, of which now is the system's.
	Clock(clock uint32, now int64) int64
	// Sleep returns after d, which is positive, or ends the guest.
	Sleep(d time.Duration)
	// Yield lets others run.
	Yield()
	// Exit ends the guest; it does not return.
	Exit(code uint32)
	// FS gives a mount's file system for this guest: mostly the mount's own.
	FS(m *Mount) sys.FS
}

// Config describes the system that a guest sees. It is shared and not changed.
type Config struct {
	Args, Env []string // Env as NAME=value
	Mounts    []Mount
	// Clock gives the guest the time. Without it the clocks stand still, and only the
	// guest's own sleeps move them.
	Clock bool
}

// Mount is a file system at a path of the guest's.
type Mount struct {
	Path string
	FS   sys.FS
}

// Process is a guest's state in WASI during one call. It takes nothing and holds
// nothing before the guest calls the first function that needs it.
type Process struct {
	config *Config
	host   Host
	files  []descriptor // by number; empty until the first use
	slept  int64        // by how many nanoseconds sleeping has moved the standing clock
	looked bool         // at a file system
	// systems are the file systems of mounts that the guest has asked for.
	systems map[*Mount]sys.FS
}

// New makes the state of a guest.
func New(config *Config, host Host) *Process { return &Process{config: config, host: host} }

// State is the state in WASI after a guest's initialisation, with which every call begins: streams and
// mounts that it has closed or moved, flags, the clock.
type State struct {
	files []descriptor
	slept int64
}

// State returns the state as it is; false when it can't be had again, because the guest has
// looked at a file system: what it has seen may change.
func (p *Process) State() (*State, bool) {
	if p.looked {
		return nil, false
	}
	return &State{slices.Clone(p.files), p.slept}, true
}

// Reset closes what the guest has open and puts a state back, which is not changed; nil is
// that of a guest that has done nothing.
func (p *Process) Reset(s *State) {
	for i := range p.files {
		p.files[i].close()
	}
	p.files, p.slept, p.looked = p.files[:0], 0, false
	if s != nil {
		p.files, p.slept = append(p.files, s.files...), s.slept
		for i := range p.files { // the state may be that of another guest
			if m := p.files[i].mount; m != nil {
				p.files[i].fs = p.fs(m)
			}
		}
	}
}

// fs is a mount's file system for this guest: one for each mount, since descriptors of the
// same are told by it.
func (p *Process) fs(m *Mount) sys.FS {
	if p.systems == nil {
		p.systems = map[*Mount]sys.FS{}
	}
	fs, ok := p.systems[m]
	if !ok {
		fs = p.host.FS(m)
		p.systems[m] = fs
	}
	return fs
}

// function is one of WASI's: its parameters are i for i32 and I for i64, its result is an
// errno.
type function struct {
	name, params string
	do           func(p *Process, mem memory, args []uint64) Errno
}

func types(params string) []api.ValueType {
	list := make([]api.ValueType, len(params))
	for i, c := range params {
		list[i] = api.ValueTypeI32
		if c == 'I' {
			list[i] = api.ValueTypeI64
		}
	}
	return list
}

// close closes the file behind a descriptor. Errors concern the host alone.
func (d *descriptor) close() {
	if d.file != nil {
		_ = d.file.Close()
	}
	*d = descriptor{}
}
