package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Report says what [Verify] has found.
type Report struct {
	// Files and Entries are how many were read.
	Files, Entries int
	// First is the number of the first entry: more than 1 where earlier ones were removed or moved away.
	First uint64
	// Unexplained is how many entries before First are missing of which no entry says that they were
	// removed because they were old: somebody has moved or deleted their files.
	Unexplained uint64
	// Repairs are how many files were set aside by [Repair], as entries say.
	Repairs int
	// Head is the end of the log. Kept elsewhere, it tells later whether the end was cut off.
	Head Head
	// Unfinished is how many bytes follow the last entry: of a server that is writing, or
	// was killed while it wrote.
	Unfinished int64
}

// Verify reads all files of the log in a directory and checks the chain from the first entry
// to the last. It fails with DATA_LOSS for an entry that was changed, removed or moved, for bytes after the last one
// that are not the beginning of another, and,
// where known is the hash of an entry, in hexadecimal digits, when no entry has it: then the
// end was cut off, or all was written anew. It changes nothing, and works beside a server.
func Verify(dir, known string) (Report, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Report{}, status.Errorf(status.NotFound, "open the audit log: %w", err)
	}
	defer func() { _ = root.Close() }()
	names, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return Report{}, status.Errorf(status.Unavailable, "read the audit log: %w", err)
	}
	all := firsts(names)
	if len(all) == 0 {
		return Report{}, status.Errorf(status.NotFound, "%s has no audit log", dir)
	}
	report := Report{First: all[0]}
	found := known == ""
	var at head
	ends := map[uint64]string{} // the hashes of the last entries of files, by number
	var removals []Removal
	for i, first := range all {
		part := strings.ToLower(known)
		end, before, err := verifyFile(root, first, &report, func(e Entry) {
			found = found || e.Hash == part
			if e.What == RepairWhat {
				report.Repairs++
			}
			if e.Removed != nil {
				removals = append(removals, *e.Removed)
			}
		})
		if err != nil {
			return report, fmt.Errorf("%s: %w", nameOf(first), err)
		}
		if i > 0 && before != at {
			return report, status.Errorf(status.DataLoss, "%s goes on after entry %d, and the file before it ends with entry %d or another one of that number", nameOf(first), before.seq, at.seq)
		}
		if i == 0 {
			found = found || hex.EncodeToString(before.hash[:]) == part
		}
		ends[before.seq] = hex.EncodeToString(before.hash[:])
		at = end
		report.Head = at.show()
	}
	if err := report.explain(removals, ends); err != nil {
		return report, err
	}
	if !found {
		return report, status.Errorf(status.DataLoss, "no entry has the hash %s: the end of the log was cut off, or it was written anew", known)
	}
	return report, nil
}

// explain compares what entries say of those that were removed with those that are there.
func (r *Report) explain(removals []Removal, ends map[uint64]string) error {
	r.Unexplained = r.First - 1
	for _, gone := range removals {
		if gone.Through+1 < r.First {
			continue // later ones were removed, too
		}
		if end, there := ends[gone.Through]; there && end != gone.Hash {
			return status.Errorf(status.DataLoss, "an entry says that entry %d, which was removed, had the hash %s, and the chain goes on from %s", gone.Through, gone.Hash, end)
		}
		r.Unexplained = 0
	}
	return nil
}

func verifyFile(root *os.Root, first uint64, report *Report, each func(Entry)) (end, before head, err error) {
	file, err := root.Open(nameOf(first))
	if err != nil {
		return end, before, status.Errorf(status.Unavailable, "open the file: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	report.Files++
	j, end, err := read(file, readOnly{file}, first, func(e Entry) {
		report.Entries++
		each(e)
	})
	if err != nil {
		return end, before, err
	}
	report.Unfinished = j.Cut
	if j.Foreign {
		return end, before, status.Errorf(status.DataLoss, "%d bytes follow the last entry that no server has written", j.Cut)
	}
	before, err = headerOf(j)
	return end, before, err
}
