package server

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
)

// backupTable has the route of a server that can back up what it keeps.
func (s *Server) backupTable() []route {
	if s.config.Backup == nil {
		return nil
	}
	return []route{{http.MethodGet, "/v1/backup", access.Admin, s.getBackup, docGetBackup}}
}

const tarType = "application/x-tar"

var docGetBackup = operation{
	id: "getBackup", tag: "server", summary: "Back up all that the server keeps",
	text: "An archive of the data directory as it is at one moment, while the server goes on: \"genkit-wasm restore\" reads it. It has secrets as they are encrypted, and hashes of keys. " +
		"One that breaks off lacks its last file, SHA256SUMS, and is refused.",
	responses: map[int]answerDoc{http.StatusOK: {text: "The archive, a tar.", content: map[string]any{tarType: map[string]any{}}}},
	failures:  []int{403, 429, 503},
}

// getBackup answers an archive. What fails once it has begun ends the connection.
func (s *Server) getBackup(c echo.Context) error {
	w := c.Response()
	if c.Request().Method == http.MethodHead {
		w.Header().Set("Content-Type", tarType)
		w.WriteHeader(http.StatusOK)
		return nil
	}
	ended, err := s.noteBackup(c)
	if err != nil {
		return err
	}
	err = status.Errorf(status.Internal, "the backup has not come to its end") // what counts when something panics
	defer func() { ended(err) }()
	if err = s.sendBackup(c.Request().Context(), w); err == nil || !w.Committed {
		return err
	}
	s.log.WarnContext(c.Request().Context(), "a backup has broken off", slog.Any("error", err), slog.String("request_id", requestID(c)))
	panic(http.ErrAbortHandler) // so that its reader does not take it for whole
}

// sendBackup makes a snapshot, writes it as the answer, and closes it, also when writing panics: until
// it is closed there is no other backup.
func (s *Server) sendBackup(ctx context.Context, w *echo.Response) error {
	snapshot, err := s.config.Backup.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if failed := snapshot.Close(); failed != nil {
			s.log.ErrorContext(ctx, "what a backup has left in the data directory can't be removed; the next start tries again", slog.Any("error", failed))
		}
	}()
	bounded, cancel := context.WithTimeout(ctx, backupTime+time.Duration(snapshot.Info.Bytes/backupRate)*time.Second)
	defer cancel()
	w.Header().Set("Content-Type", tarType)
	out := bufio.NewWriterSize(boundedWriter{bounded, w}, 64<<10)
	if err := snapshot.WriteTo(bounded, out); err != nil {
		return err
	}
	return out.Flush()
}

// noteBackup has in the audit log that a backup begins: all that the server keeps leaves it.
func (s *Server) noteBackup(c echo.Context) (ended func(err error), err error) {
	if s.config.Audit == nil {
		return func(error) {}, nil
	}
	entry := s.entry(c, docGetBackup.id)
	entry.Result = audit.Begun
	begun, err := s.config.Audit.Append(entry)
	if err != nil {
		return nil, err
	}
	return func(err error) {
		entry.Of, entry.Result = begun.Seq, strconv.Itoa(http.StatusOK)
		if err != nil {
			entry.Result = strconv.Itoa(httpStatusOf(err)) + " " + status.Of(err).String()
		}
		if _, failed := s.config.Audit.Append(entry); failed != nil {
			s.log.ErrorContext(c.Request().Context(), "the result of a backup is not in the audit log", slog.Uint64("of", begun.Seq), slog.Any("error", failed))
		}
	}, nil
}

// The time in which a reader has to take an archive: some, and what a slow line needs.
const (
	backupTime = 2 * time.Minute
	backupRate = 256 << 10 // bytes a second
)

// boundedWriter writes until a context ends.
type boundedWriter struct {
	ctx context.Context
	w   io.Writer
}

func (b boundedWriter) Write(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, status.Convert(err)
	}
	n, err := b.w.Write(p)
	if err != nil {
		err = status.Errorf(status.Cancelled, "write an answer: %w", err)
	}
	return n, err
}
