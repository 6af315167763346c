package wire

import (
	"encoding/base64"
	"errors"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
)

// MediaType is the declared type of media, else that of its data: URL or of its path's
// extension, without parameters and in lower case. It is empty when nothing is known: a
// page or a script may well serve a picture.
func MediaType(m *content.Media) string {
	contentType := m.ContentType
	if contentType == "" {
		if rest, isData := CutScheme(m.URL, "data"); isData {
			contentType, _, _ = strings.Cut(rest, ",")
		} else if u, err := url.Parse(m.URL); err == nil {
			contentType = mediaTypes[strings.ToLower(path.Ext(u.Path))]
		}
	}
	contentType, _, _ = strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(contentType))
}

// CutScheme cuts a scheme off a URL, in any case.
func CutScheme(rawURL, scheme string) (rest string, found bool) {
	if len(rawURL) > len(scheme) && strings.EqualFold(rawURL[:len(scheme)], scheme) && rawURL[len(scheme)] == ':' {
		return rawURL[len(scheme)+1:], true
	}
	return rawURL, false
}

// Base64Of returns the data of a data: URL in base64.
func Base64Of(rawURL string) (string, error) {
	rest, _ := CutScheme(rawURL, "data")
	head, data, found := strings.Cut(rest, ",")
	if !found {
		return "", errors.New("a data: URL lacks its comma")
	}
	if strings.HasSuffix(strings.ToLower(head), ";base64") {
		if _, err := base64.StdEncoding.DecodeString(data); err != nil {
			return "", errors.New("a data: URL is not valid base64")
		}
		return data, nil
	}
	text, err := url.PathUnescape(data)
	if err != nil {
		return "", errors.New("a data: URL can't be decoded")
	}
	return base64.StdEncoding.EncodeToString([]byte(text)), nil
}

// mediaTypes are the extensions that are known.
var mediaTypes = map[string]string{
	".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm", ".mp3": "audio/mpeg", ".wav": "audio/wav",
	".ogg": "audio/ogg", ".m4a": "audio/mp4", ".flac": "audio/flac", ".pdf": "application/pdf",
	".txt": "text/plain", ".csv": "text/csv",
}

// Placeholder replaces a part of a tool's answer that can't be sent, so that the answer
// still follows its request.
func Placeholder(part *content.Part) string {
	what := "a part"
	switch {
	case part.Media != nil:
		what = "media of the type " + strconv.Quote(Or(Clip(MediaType(part.Media), 64), "unknown"))
	case part.Resource != nil:
		what = "a resource"
	case part.Custom != nil:
		what = "a custom part"
	}
	return "[The tool also returned " + what + ", which can't be shown here.]"
}
