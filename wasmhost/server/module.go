package server

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/condition"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
)

func (s *Server) listModules(c echo.Context) error {
	p, err := readPage(c, "modules", 0)
	if err != nil {
		return err
	}
	records, err := s.config.Host.Modules(param(c, "tenant"))
	if err != nil {
		return err
	}
	records, next := cut(p, records, func(rec module.Record) string { return rec.Name }, byText)
	return writeLists(c, next, listOf("modules", records, true))
}

func (s *Server) getUsage(c echo.Context) error {
	usage, err := s.config.Host.Usage(param(c, "tenant"))
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, usage)
}

func (s *Server) getModule(c echo.Context) error {
	rec, err := s.config.Host.Module(param(c, "tenant"), param(c, "name"))
	if err != nil {
		return err
	}
	tag, err := moduleTag(&rec)
	if err != nil {
		return err
	}
	if unchanged(c, tag) {
		return c.NoContent(http.StatusNotModified)
	}
	return writeJSON(c, http.StatusOK, rec)
}

// wants returns a context in which a module is changed only if it is as the request's preconditions say.
func wants(ctx context.Context, h http.Header) context.Context {
	return condition.With(ctx, func(current *module.Record) error {
		tag, err := moduleTag(current)
		if err != nil {
			return err
		}
		return holds(h, tag)
	})
}

func (s *Server) deleteModule(c echo.Context) error {
	ctx := wants(c.Request().Context(), c.Request().Header)
	if err := s.config.Host.Remove(ctx, param(c, "tenant"), param(c, "name")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func (s *Server) listVersions(c echo.Context) error {
	p, err := readPage(c, "versions", 0)
	if err != nil {
		return err
	}
	records, err := s.config.Host.Versions(c.Request().Context(), param(c, "tenant"), param(c, "name"))
	if err != nil {
		return err
	}
	records, next := cut(p, records, func(rec module.Record) string { return strconv.Itoa(rec.Revision) }, newestFirst)
	return writeLists(c, next, listOf("versions", records, true))
}

// rollback reads {"revision": n}, or no body for the revision before the current.
func (s *Server) rollback(c echo.Context) error {
	body, err := s.readJSON(c)
	if err != nil {
		return err
	}
	m, err := members(body)
	if err != nil {
		return err
	}
	if err := onlyMembers(m, "revision"); err != nil {
		return err
	}
	revision := 0
	if raw, ok := m["revision"]; ok {
		if revision, ok = wholeNumber(raw); !ok || revision < 1 {
			return status.Publicf(status.InvalidArgument, "body: \"revision\" wants a whole number from 1")
		}
	}
	rec, err := s.config.Host.Rollback(wants(c.Request().Context(), c.Request().Header), param(c, "tenant"), param(c, "name"), revision)
	if status.Of(err) == status.FailedPrecondition && httpStatusOf(err) != http.StatusPreconditionFailed {
		return withHTTP(http.StatusConflict, err) // it is about what is there, not about the request
	}
	if err != nil {
		return err
	}
	tag, err := moduleTag(&rec)
	if err != nil {
		return err
	}
	c.Response().Header().Set("ETag", tag)
	return writeJSON(c, http.StatusOK, rec)
}

// wholeNumber reads a JSON number that is an integer as JSON Schema has it: 1, 1.0 and
// 1e0 are the same one.
func wholeNumber(raw json.RawMessage) (int, bool) {
	var f *float64 // stays nil for null
	if json.Unmarshal(raw, &f) != nil || f == nil || *f != math.Trunc(*f) || math.Abs(*f) > math.MaxInt32 {
		return 0, false
	}
	return int(*f), true
}

// putModule answers 201 with the new record, 200 with the current one when the
// upload changes nothing.
func (s *Server) putModule(c echo.Context) error {
	tenant, name := param(c, "tenant"), param(c, "name")
	// Errors that can be known before the body is read are sent before it is.
	if err := abi.CheckModuleName(name); err != nil {
		return err
	}
	if _, err := s.config.Host.Modules(tenant); err != nil {
		return err
	}
	if len(c.Request().Header.Values(idempotencyKey)) == 0 { // else it may be the one that was carried out
		if err := s.holdsNow(c, tenant, name); err != nil {
			return err
		}
	}
	release, err := s.arriving.take(tenant)
	if err != nil {
		return err
	}
	defer release()
	arrived := &spool{}
	defer arrived.close()
	if len(c.Request().Header.Values(idempotencyKey)) > 0 {
		arrived.hash = sha256.New()
	}
	up, err := s.readUpload(c, arrived)
	if err != nil {
		return err
	}
	up.Name = name
	a, replayed, err := s.once(c, tenant, s.uploadOf(c, tenant, up, arrived), func(string) (admin.Answer, error) {
		return s.load(c, tenant, up, arrived, release)
	})
	if err != nil {
		return err
	}
	return writeAnswer(c, a, replayed)
}

// holdsNow looks at the preconditions of an upload before its body is read. They are looked at once more when the
// module is changed.
func (s *Server) holdsNow(c echo.Context, tenant, name string) error {
	tag := ""
	rec, err := s.config.Host.Module(tenant, name)
	if err == nil {
		tag, err = moduleTag(&rec)
	}
	if err != nil && !errors.Is(err, status.ErrNotFound) {
		return err
	}
	return holds(c.Request().Header, tag)
}

// uploadOf says in texts what an upload is, where it may be sent again.
func (s *Server) uploadOf(c echo.Context, tenant string, up wasmhost.Upload, arrived *spool) []string {
	if arrived.hash == nil {
		return nil
	}
	id, _ := s.config.Host.TenantID(tenant) // it was there a moment ago
	return []string{http.MethodPut, c.Request().URL.Path, id, string(up.Language), string(up.Descriptor), string(up.Policy), string(arrived.hash.Sum(nil))}
}

// load puts what has arrived into service, and gives its place among those that arrive back.
func (s *Server) load(c echo.Context, tenant string, up wasmhost.Upload, arrived *spool, release func()) (admin.Answer, error) {
	ctx, done, err := s.config.Host.BeginLoad(c.Request().Context(), tenant)
	if err != nil {
		return admin.Answer{}, err
	}
	defer done()
	if up.Wasm, err = arrived.bytes(); err != nil {
		return admin.Answer{}, err
	}
	arrived.close()
	release()
	rec, err := s.config.Host.Load(wants(ctx, c.Request().Header), tenant, up)
	if err != nil {
		return admin.Answer{}, err
	}
	tag, err := moduleTag(&rec.Record)
	if err != nil {
		return admin.Answer{}, err
	}
	raw, err := rawjson.Encode(rec.Record)
	if err != nil {
		return admin.Answer{}, status.Errorf(status.Internal, "encode a record: %w", err)
	}
	if !rec.Changed {
		return admin.Answer{Status: http.StatusOK, ETag: tag, Body: raw}, nil
	}
	return admin.Answer{Status: http.StatusCreated, Location: c.Request().URL.EscapedPath(), ETag: tag, Body: raw}, nil
}

// languages are the media types of scripts.
var languages = map[string]script.Language{
	"text/typescript": script.TypeScript, "application/typescript": script.TypeScript,
	"text/javascript": script.JavaScript, "application/javascript": script.JavaScript,
	"application/x-tar": script.Package, "application/gzip": script.Package, "application/x-gzip": script.Package, "application/zip": script.Package,
}

func scriptTypes() []string { return slices.Sorted(maps.Keys(languages)) }

// readUpload reads the module alone, or a form of module, descriptor and policy.
// The module goes into the spool.
func (s *Server) readUpload(c echo.Context, arrived *spool) (up wasmhost.Upload, err error) {
	mt, params, err := mediaType(c.Request().Header, append([]string{"application/wasm", "application/octet-stream", formType}, scriptTypes()...)...)
	if err != nil {
		return up, err
	}
	up.Language = languages[mt]
	r := c.Request()
	r.Body = &paced{ReadCloser: r.Body, control: http.NewResponseController(c.Response()), start: time.Now(), limit: s.config.ReadTimeout}
	err = s.patient(c, func() (err error) {
		if mt == formType {
			up, err = s.readForm(c, multipart.NewReader(r.Body, params["boundary"]), arrived)
			return err
		}
		return s.readSpool(c, r.Body, arrived, s.config.MaxUploadBytes)
	})
	if err != nil {
		return up, err
	}
	return up, notEmpty(arrived.size)
}

func notEmpty(size int64) error {
	if size == 0 {
		return status.Publicf(status.InvalidArgument, "the upload holds no module")
	}
	return nil
}

// formOverhead is room for the headers and boundaries of a form.
const formOverhead = 64 << 10

func (s *Server) readForm(c echo.Context, form *multipart.Reader, arrived *spool) (wasmhost.Upload, error) {
	var up wasmhost.Upload
	most := s.config.MaxUploadBytes + abi.MaxDescriptorBytes + policy.MaxBytes + formOverhead
	if c.Request().ContentLength > most {
		return up, tooLarge(most)
	}
	seen := map[string]bool{}
	for {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return up, formError(err)
		}
		if len(part.Header.Values("Content-Disposition")) > 1 {
			return up, status.Publicf(status.InvalidArgument, "form: a part has two names")
		}
		name := part.FormName()
		if seen[name] {
			return up, status.Publicf(status.InvalidArgument, "form: the part %q is given twice", abi.Line(name, 80))
		}
		seen[name] = true
		switch name {
		case "module":
			mt, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")) // anything else is taken for a module
			up.Language = languages[mt]
			err = s.readSpool(c, part, arrived, s.config.MaxUploadBytes)
		case "descriptor":
			up.Descriptor, err = s.read(c, part, abi.MaxDescriptorBytes)
		case "policy":
			up.Policy, err = s.read(c, part, policy.MaxBytes)
		default:
			err = status.Publicf(status.InvalidArgument, "form: the part %q is not known here; want \"module\", \"descriptor\", \"policy\"", abi.Line(name, 80))
		}
		if err != nil {
			return up, err
		}
	}
	// Bytes after the form are not read, so the end of the body is checked: one that is
	// cut short is not an upload.
	if _, err := io.CopyN(io.Discard, c.Request().Body, formOverhead); err != nil && !errors.Is(err, io.EOF) {
		return up, readError(err)
	}
	return up, nil
}

func formError(err error) error {
	var timeout interface{ Timeout() bool }
	if why, ok := errors.AsType[*status.Error](err); ok { // what the body's reader says, and not the form's
		return readError(why)
	}
	if errors.As(err, &timeout) || errors.Is(err, io.ErrUnexpectedEOF) {
		return readError(err)
	}
	return status.Publicf(status.InvalidArgument, "form: the body is not a well-formed multipart/form-data").WithCause(err)
}

// readSpool reads a body of at most limit bytes into the spool.
func (s *Server) readSpool(c echo.Context, body io.Reader, into *spool, limit int64) error {
	if n := c.Request().ContentLength; n > limit && body == c.Request().Body {
		return tooLarge(limit)
	}
	target := &spoolError{spool: into}
	_, err := io.Copy(target, io.LimitReader(body, limit+1))
	switch {
	case errors.Is(target.err, fs.ErrNotExist):
		return status.Publicf(status.Unavailable, "keep the upload: the server's temporary folder is not there; its operator finds the place in its log").
			WithCause(target.err)
	case target.err != nil:
		return storedir.Problem("keep the upload", target.err)
	case err != nil:
		return readError(err)
	case into.size > limit:
		return tooLarge(limit)
	}
	return nil
}

// spoolError tells an error of the spool apart from one of the body.
type spoolError struct {
	spool *spool
	err   error
}

func (w *spoolError) Write(p []byte) (int, error) {
	n, err := w.spool.Write(p)
	w.err = err
	return n, err
}
