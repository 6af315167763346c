package audit

import (
	"errors"
	"os"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// Repaired says what [Repair] has set aside.
type Repaired struct {
	// Files are the names in the log's directory that the files have now, or would have.
	Files []string
	// Problem is what is wrong with the first of them.
	Problem error
	// Head is the last entry that is kept.
	Head Head
}

// Repair makes a damaged log of a stopped server one that can be written again: the first file that does not verify and all after
// it are set aside in the directory, where they can still be looked at, and the log goes on after the last entry before them,
// with an entry for each file. Nothing is deleted. Where dry is set it only says what it would do. It fails with
// FAILED_PRECONDITION when the log is whole, when there is none, and when a server has it.
func Repair(path string, dry bool) (Repaired, error) {
	files, err := storedir.Open(path, "audit log")
	if err != nil {
		return Repaired{}, err
	}
	r, err := setAside(files, dry)
	if err = errors.Join(err, files.Close()); err != nil || dry {
		return r, err
	}
	log, err := Open(path, Config{}) // which adds the entries
	if err != nil {
		return r, err
	}
	return r, log.Close()
}

func setAside(files storedir.FS, dry bool) (r Repaired, err error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return r, status.Errorf(status.Unavailable, "read the audit log: %w", err)
	}
	all := firsts(entries)
	var at head
	good := 0
	for ; good < len(all); good++ {
		end, err := follows(files, all[good], at, good == 0)
		if err != nil && status.Of(err) != status.DataLoss {
			return r, err
		}
		if err != nil {
			r.Problem = err
			break
		}
		at = end
	}
	if len(all) == 0 {
		return r, status.Publicf(status.FailedPrecondition, "there is no audit log, and nothing to repair: the next start of the server begins a new one")
	}
	if r.Head = at.show(); good == len(all) {
		return r, status.Publicf(status.FailedPrecondition, "the audit log is whole: there is nothing to repair")
	}
	stamp := time.Now().UTC().Format("20060102T150405Z-")
	for i := len(all) - 1; i >= good; i-- { // newest first: what is left is a log at each moment
		name := nameOf(all[i])
		r.Files = append(r.Files, damagedPrefix+stamp+name)
		if dry {
			continue
		}
		if err := storedir.Rename(files, ".", name, asidePrefix+stamp+name); err != nil {
			return r, storedir.Problem("set a file of the audit log aside", err)
		}
	}
	return r, nil
}

// follows reads a file, and reports whether it goes on where the one before ends.
func follows(files storedir.FS, first uint64, before head, begins bool) (end head, err error) {
	file, err := files.OpenFile(nameOf(first), os.O_RDONLY, 0)
	if err != nil {
		return end, status.Errorf(status.Unavailable, "open the file: %w", err)
	}
	defer func() { _ = file.Close() }()
	j, end, err := read(file, readOnly{file}, first, nil)
	if err != nil {
		return end, err
	}
	from, err := headerOf(j)
	if err == nil && !begins && from != before {
		err = status.Errorf(status.DataLoss, "%s goes on after entry %d, and the file before it ends with entry %d or another one of that number", nameOf(first), from.seq, before.seq)
	}
	return end, err
}
