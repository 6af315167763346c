package audit

import (
	"os"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// present fails when the last file was removed, replaced or cut while it is open. What is written to such a file
// is acknowledged by the system and found by nobody: it has no name any more.
func (t *tail) present(files storedir.FS) error {
	named, err := files.OpenFile(nameOf(t.first), os.O_RDONLY, 0)
	if err != nil {
		return status.Errorf(status.DataLoss, "open the last file of the audit log once more: %w", err)
	}
	defer named.Close() //nolint:errcheck // nothing is written
	is, err := named.Stat()
	if err != nil {
		return status.Errorf(status.Unavailable, "look at the last file of the audit log: %w", err)
	}
	own, err := t.file.Stat()
	if err != nil {
		return status.Errorf(status.Unavailable, "look at the last file of the audit log: %w", err)
	}
	if is.Sys() != nil && own.Sys() != nil && !os.SameFile(is, own) {
		return status.Errorf(status.DataLoss, "the last file of the audit log is another one: it was replaced while the server runs")
	}
	if is.Size() < t.journal.Size() {
		return status.Errorf(status.DataLoss, "the last file of the audit log has %d bytes, and %d were written", is.Size(), t.journal.Size())
	}
	return nil
}
