// Package faultfs is a disk in memory for tests of stores in directories: it fails when it
// is told to, and after a power cut it has no more than what was synced, and of the rest
// whatever may be left.
//
// It owns the model of a disk, and [Exhaust], which does a store's work once for each
// operation on the disk and lets that operation fail, or be the last. Use:
//
//	faultfs.Exhaust(t, faultfs.Case[*session.Dir]{Open: …, Steps: …, State: …})
//
// The model: bytes that were written and names that were given, changed or removed are
// seen at once and last once the file, or the directory, is synced. Until then a power cut
// keeps any of them, sector by sector and name by name; only a rename is one thing, and
// keeps or loses both of its names. After a sync that failed, what was written before may
// never reach the disk, although it is seen: a later sync does not write it again.
//
// It is never imported by code that is not a test.
package faultfs

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
)

// ErrCrashed is the error of every operation once the machine has stopped.
var ErrCrashed = errors.New("faultfs: the machine has stopped")

// Fault says which operation fails. Operations count from 1; the zero Fault fails none.
type Fault struct {
	At int
	// Err is the error with which it fails; [ErrCrashed] stops the machine.
	Err error
	// After has the operation done, or half done for a write, before it fails.
	After bool
	// Sticky has all later ones fail too.
	Sticky bool
}

// Disk is a disk. It is safe for concurrent use.
type Disk struct {
	mu    sync.Mutex // guards the fields below and all nodes
	root  *node
	ops   int
	fault Fault
	dead  bool
	quiet bool // operations now do not count
	boot  int  // the one whose handles are valid
	rand  *rand.Rand
	trace []string
}

// node is a file or a directory.
type node struct {
	isDir bool

	data    []byte  // as it is seen
	disk    []byte  // as it lasts
	pending []write // since the last sync

	entries map[string]*node
	lasting map[string]*node
	changes []change // since the last sync
}

// write is a write at a place, or a truncation to it.
type write struct {
	at       int64
	b        []byte
	truncate bool
}

// change removes a name, gives one, or does both.
type change struct {
	remove, add string
	node        *node
}

func newDir() *node {
	return &node{isDir: true, entries: map[string]*node{}, lasting: map[string]*node{}}
}

// New returns an empty disk; seed decides what a failed sync has written.
func New(seed uint64) *Disk {
	return &Disk{root: newDir(), rand: rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // a test repeats itself
}

// Inject sets the fault; the operations count on.
func (d *Disk) Inject(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
}

// Ops returns how many operations there were.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// Quietly does something of which the operations on the disk don't count. They fail only
// where all do.
func (d *Disk) Quietly(do func()) {
	d.setQuiet(true)
	defer d.setQuiet(false)
	do()
}

func (d *Disk) setQuiet(quiet bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.quiet = quiet
}

// Last names the last operations, for messages.
func (d *Disk) Last() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.trace[max(0, len(d.trace)-4):], ", ")
}

// begin counts an operation. When it is to fail, fail says so, and whether the operation
// happens all the same. d.mu is held.
func (d *Disk) begin(boot int, op string) (happens bool, fail error) {
	if d.dead {
		return false, ErrCrashed
	}
	if boot != d.boot {
		return false, fs.ErrClosed
	}
	f := d.fault
	if d.quiet {
		if f.At > 0 && f.Sticky && d.ops >= f.At {
			return false, &fs.PathError{Op: op, Err: f.Err}
		}
		return true, nil
	}
	d.ops++
	d.trace = append(d.trace, op)
	if f.At == 0 || d.ops < f.At || d.ops > f.At && !f.Sticky {
		return true, nil
	}
	if errors.Is(f.Err, ErrCrashed) {
		d.dead = true
	}
	return f.After, &fs.PathError{Op: op, Path: "", Err: f.Err}
}

func (n *node) find(name string) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, fs.ErrInvalid
	}
	if name == "." {
		return n, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if !n.isDir {
			return nil, fs.ErrNotExist
		}
		next, ok := n.entries[part]
		if !ok {
			return nil, fs.ErrNotExist
		}
		n = next
	}
	return n, nil
}

func (d *Disk) parent(name string) (*node, string, error) {
	dir, err := d.root.find(path.Dir(name))
	if err != nil {
		return nil, "", err
	}
	if !dir.isDir || path.Base(name) == "." {
		return nil, "", fs.ErrInvalid
	}
	return dir, path.Base(name), nil
}

func (n *node) change(c change) {
	if c.remove != "" {
		delete(n.entries, c.remove)
	}
	if c.add != "" {
		n.entries[c.add] = c.node
	}
	n.changes = append(n.changes, c)
}

func (n *node) apply(c change) {
	if c.remove != "" {
		delete(n.lasting, c.remove)
	}
	if c.add != "" {
		n.lasting[c.add] = c.node
	}
}

func grown(b []byte, size int64) []byte {
	if int64(len(b)) < size {
		return append(b, make([]byte, size-int64(len(b)))...)
	}
	return b[:size]
}

func (w write) on(b []byte) []byte {
	if w.truncate {
		return grown(b, w.at)
	}
	b = grown(b, max(int64(len(b)), w.at+int64(len(w.b))))
	copy(b[w.at:], w.b)
	return b
}

const sector = 512

// torn is the part of a write that may be left: some of its sectors.
func (w write) torn(b []byte, r *rand.Rand) []byte {
	if w.truncate {
		if r.IntN(2) == 0 {
			return w.on(b)
		}
		return b
	}
	end := w.at + int64(len(w.b))
	for at := w.at; at < end; {
		next := min(end, (at/sector+1)*sector)
		if r.IntN(2) == 0 {
			b = write{at: at, b: w.b[at-w.at : next-w.at]}.on(b)
		} else if r.IntN(2) == 0 && int64(len(b)) < next {
			b = grown(b, next) // the file has grown, without its content
		}
		at = next
	}
	return b
}

func (n *node) sync(failed bool, r *rand.Rand) {
	for _, w := range n.pending {
		if failed {
			n.disk = w.torn(n.disk, r)
		} else {
			n.disk = w.on(n.disk)
		}
	}
	n.pending = nil
}

// Left says how much of the unsynced data a power cut leaves.
type Left int

// Nothing and everything; from Left(2) on it is chosen at random, by that number.
const (
	Nothing    Left = 0
	Everything Left = 1
)

// Cut returns the disk as it is after a power cut now. The disk itself goes on.
func (d *Disk) Cut(left Left) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := New(uint64(left)) //nolint:gosec // small
	after.root = (&survivors{left: left, rand: after.rand, made: map[*node]*node{}}).node(d.root)
	return after
}

type survivors struct {
	left Left
	rand *rand.Rand
	made map[*node]*node
}

func (s *survivors) keeps() bool {
	return s.left == Everything || s.left != Nothing && s.rand.IntN(2) == 0
}

func (s *survivors) node(n *node) *node {
	if made, ok := s.made[n]; ok {
		return made
	}
	if !n.isDir {
		b := slices.Clone(n.disk)
		for _, w := range n.pending {
			switch s.left {
			case Nothing:
			case Everything:
				b = w.on(b)
			default:
				b = w.torn(b, s.rand)
			}
		}
		made := &node{data: b, disk: slices.Clone(b)}
		s.made[n] = made
		return made
	}
	left := newDir()
	s.made[n] = left
	was := &node{lasting: map[string]*node{}}
	maps.Copy(was.lasting, n.lasting)
	for _, c := range n.changes {
		if s.keeps() {
			was.apply(c)
		}
	}
	names := make([]string, 0, len(was.lasting))
	for name := range was.lasting {
		names = append(names, name)
	}
	slices.Sort(names) // so that a seed gives the same each time
	for _, name := range names {
		child := s.node(was.lasting[name])
		left.entries[name], left.lasting[name] = child, child
	}
	return left
}

// Restart ends the process: its handles are of no use any more, faults are over, and what
// is seen stays as it is.
func (d *Disk) Restart() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.boot++
	d.dead, d.fault = false, Fault{}
}

// Files returns the paths of all files, sorted.
func (d *Disk) Files() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	var walk func(at string, n *node)
	walk = func(at string, n *node) {
		if !n.isDir {
			all = append(all, at)
		}
		for name, child := range n.entries {
			walk(path.Join(at, name), child)
		}
	}
	walk("", d.root)
	slices.Sort(all)
	return all
}

// Edit changes a file's content, as decay does.
func (d *Disk) Edit(name string, edit func([]byte) []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.root.find(name)
	if err != nil {
		panic(err)
	}
	n.data = edit(slices.Clone(n.data))
	n.disk, n.pending = slices.Clone(n.data), nil
}

// Size returns the length of a file.
func (d *Disk) Size(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.root.find(name)
	if err != nil {
		panic(err)
	}
	return len(n.data)
}
