package audit

// Keeper is what a server wants of a log of changes. A [Log] is one. An embedder brings another,
// perhaps around a Log, that hands entries on to a place of its own. The package audittest checks this contract.
//
// Its methods are called by many goroutines at a time.
type Keeper interface {
	// Append adds an entry, and returns it with its number, which is greater than those of all before, and its
	// time. Once it has returned the entry is kept, also when the process is killed. It fails with
	// UNAVAILABLE when that is not possible now: the server then makes no change.
	Append(e Entry) (Entry, error)
	// Count notes an entry that anybody can cause. It does not wait; equal ones may be kept as one, with
	// their number in Count, some time later.
	Count(e Entry)
	// List returns entries, the newest first; see [Log.List].
	List(q Query) (entries []Entry, next uint64, err error)
}

var _ Keeper = (*Log)(nil)
