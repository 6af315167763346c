package audit

import (
	"io/fs"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// A file that is set aside is renamed twice: to a name with asidePrefix, at which the next opening of the log adds an entry
// that says so, and then to one with damagedPrefix. So no crash leaves a file that was set aside without its entry.
const (
	asidePrefix   = "aside-"
	damagedPrefix = "damaged-"
)

// noteAside adds an entry for each file that was set aside.
func (l *Log) noteAside(entries []fs.DirEntry) error {
	for _, e := range entries {
		name, found := strings.CutPrefix(e.Name(), asidePrefix)
		if !found {
			continue
		}
		if _, err := l.Append(Entry{Who: removalWho, What: RepairWhat, On: damagedPrefix + name, Result: "OK"}); err != nil {
			return err
		}
		if err := storedir.Rename(l.files, ".", e.Name(), damagedPrefix+name); err != nil {
			return storedir.Problem("name a file that was set aside", err)
		}
	}
	return nil
}
