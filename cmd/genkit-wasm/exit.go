package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// Exit codes; the root command's help documents them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitRefused     = 4
	exitUnreachable = 5
	exitBusy        = 6
	exitInterrupted = 130
)

// failure is an error in the form that a user needs: one sentence, what to do about it,
// and the exit code.
type failure struct {
	exit    int
	code    string // the status name, when there is one
	text    string
	hint    string
	details json.RawMessage
	request string // the server's request id
	cause   error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }

func usage(err error) error { return &failure{exit: exitUsage, text: err.Error(), cause: err} }

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

// exitOf gives the exit code of a status: refusing says that a module was to be
// checked.
func exitOf(code status.Code, refusing bool) int {
	switch code {
	case status.NotFound:
		return exitNotFound
	case status.ResourceExhausted, status.Unavailable:
		return exitBusy
	case status.InvalidArgument, status.PermissionDenied, status.Unimplemented, status.FailedPrecondition:
		if refusing {
			return exitRefused
		}
	}
	return exitFailed
}

// local makes a failure of an error that arose in this process. Its text is shown
// whole: the user is the operator.
func local(err error, refusing bool) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*failure](err); ok {
		return err
	}
	e := status.Convert(err)
	text := e.Message
	if path, ok := errors.AsType[*fs.PathError](err); ok && !strings.Contains(text, path.Error()) {
		text = strings.TrimSuffix(text, storedir.ForOperator) + ": " + path.Error()
	}
	return &failure{exit: exitOf(e.Code, refusing), code: e.Code.String(), text: text, details: e.Details, cause: err}
}

func (a *app) report(err error) int {
	if errors.Is(err, context.Canceled) || errors.Is(err, status.ErrCancelled) {
		a.note("interrupted")
		return exitInterrupted
	}
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{exit: exitFailed, text: err.Error()}
		if strings.HasPrefix(f.text, "unknown command") {
			f.exit = exitUsage
		}
	}
	if f.exit == exitUsage && f.hint == "" {
		f.hint = "see " + strings.TrimSpace("genkit-wasm "+a.running) + " --help"
	}
	if a.json() {
		a.reportJSON(f)
		return f.exit
	}
	a.note("%s %s", colour(a.err, red, "error:"), f.text)
	if f.hint != "" {
		a.note("       %s", f.hint)
	}
	if f.request != "" && f.code == status.Internal.String() {
		a.note("       the server's log says more; look for request_id=%s", f.request)
	}
	return f.exit
}

func (a *app) reportJSON(f *failure) {
	enc := json.NewEncoder(a.err)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(map[string]any{"error": struct {
		Status    string          `json:"status,omitempty"`
		Message   string          `json:"message"`
		Hint      string          `json:"hint,omitempty"`
		Details   json.RawMessage `json:"details,omitempty"`
		RequestID string          `json:"request_id,omitempty"`
		ExitCode  int             `json:"exit_code"`
	}{f.code, f.text, f.hint, f.details, f.request, f.exit}})
}
