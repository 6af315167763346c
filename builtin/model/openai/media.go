package openai

import (
	"encoding/base64"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
)

type wirePart struct {
	Type       string     `json:"type"`
	Text       string     `json:"text,omitempty"`
	ImageURL   *wireURL   `json:"image_url,omitempty"`
	VideoURL   *wireURL   `json:"video_url,omitempty"`
	InputAudio *wireAudio `json:"input_audio,omitempty"`
	File       *wireFile  `json:"file,omitempty"`
	Thinking   []wirePart `json:"thinking,omitempty"`
}

type wireURL struct {
	URL string `json:"url"`
}

// wireAudio is base64 and a format such as "wav" or "mp3".
type wireAudio struct {
	Data   string `json:"data"`
	Format string `json:"format"`
}

// wireFile holds a data URL.
type wireFile struct {
	Filename string `json:"filename"`
	FileData string `json:"file_data"`
}

// mediaPart maps media to the content part of its type: pictures and what has no known
// type to image_url, films to video_url, both by any URL; sounds to input_audio and
// everything else, such as PDF, to file, both by data: URL only, for the API has no other
// form. A part that the server's profile does not accept is an error.
func (c *conversation) mediaPart(part *content.Part) (wirePart, error) {
	m := part.Media
	scheme, _, _ := strings.Cut(m.URL, ":")
	scheme = strings.ToLower(scheme)
	if scheme != "data" && scheme != "http" && scheme != "https" {
		return wirePart{}, invalid("media of the scheme %q is not supported, only data:, http: and https: URLs", clip(scheme, 32))
	}
	contentType := mediaType(m)
	family, _, _ := strings.Cut(contentType, "/")
	kind := map[string]PartKind{"": ImagePart, "image": ImagePart, "audio": AudioPart, "video": VideoPart}[family]
	kind = or(kind, FilePart)
	if !c.profile.takes(kind) {
		return wirePart{}, invalid("media of the type %q is not supported by this server", clip(contentType, 64))
	}
	if (kind == AudioPart || kind == FilePart) && scheme != "data" {
		return wirePart{}, invalid("media of the type %q must be a data: URL", clip(contentType, 64))
	}
	switch kind {
	case AudioPart:
		data, err := base64Of(m.URL)
		return wirePart{Type: string(kind), InputAudio: &wireAudio{Data: data, Format: audioFormat(contentType)}}, err
	case FilePart:
		data, err := base64Of(m.URL)
		return wirePart{Type: string(kind), File: &wireFile{Filename: fileName(part, contentType), FileData: "data:" + contentType + ";base64," + data}}, err
	case VideoPart:
		return wirePart{Type: string(kind), VideoURL: &wireURL{typed(m.URL, contentType)}}, nil
	}
	return wirePart{Type: string(kind), ImageURL: &wireURL{typed(m.URL, contentType)}}, nil
}

// mediaType is the declared type of media, else that of its data: URL or of its path's
// extension, without parameters and in lower case. It is empty when nothing is known: a
// page or a script may well serve a picture.
func mediaType(m *content.Media) string {
	contentType := m.ContentType
	if contentType == "" {
		if rest, isData := cutScheme(m.URL, "data"); isData {
			contentType, _, _ = strings.Cut(rest, ",")
		} else if u, err := url.Parse(m.URL); err == nil {
			contentType = mediaTypes[strings.ToLower(path.Ext(u.Path))]
		}
	}
	contentType, _, _ = strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(contentType))
}

// cutScheme cuts a scheme off a URL, in any case.
func cutScheme(rawURL, scheme string) (rest string, found bool) {
	if len(rawURL) > len(scheme) && strings.EqualFold(rawURL[:len(scheme)], scheme) && rawURL[len(scheme)] == ':' {
		return rawURL[len(scheme)+1:], true
	}
	return rawURL, false
}

// typed puts a type into a data: URL that has none.
func typed(rawURL, contentType string) string {
	if rest, isData := cutScheme(rawURL, "data"); isData && contentType != "" && strings.HasPrefix(rest, ";") {
		return "data:" + contentType + rest
	}
	return rawURL
}

// base64Of returns the data of a data: URL in base64.
func base64Of(rawURL string) (string, error) {
	rest, _ := cutScheme(rawURL, "data")
	head, data, found := strings.Cut(rest, ",")
	if !found {
		return "", invalid("a data: URL lacks its comma")
	}
	if strings.HasSuffix(strings.ToLower(head), ";base64") {
		if _, err := base64.StdEncoding.DecodeString(data); err != nil {
			return "", invalid("a data: URL is not valid base64")
		}
		return data, nil
	}
	text, err := url.PathUnescape(data)
	if err != nil {
		return "", invalid("a data: URL can't be decoded")
	}
	return base64.StdEncoding.EncodeToString([]byte(text)), nil
}

// mediaTypes are the extensions that are known.
var mediaTypes = map[string]string{
	".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm", ".mp3": "audio/mpeg", ".wav": "audio/wav",
	".ogg": "audio/ogg", ".m4a": "audio/mp4", ".flac": "audio/flac", ".pdf": "application/pdf",
	".txt": "text/plain", ".csv": "text/csv",
}

// audioFormat is the API's name of a sound's type: its subtype, where it has no other.
func audioFormat(contentType string) string {
	_, subtype, _ := strings.Cut(contentType, "/")
	subtype = strings.TrimPrefix(subtype, "x-")
	if name, ok := map[string]string{"mpeg": "mp3", "mpga": "mp3", "wave": "wav", "vnd.wave": "wav", "mp4": "m4a", "l16": "pcm16"}[subtype]; ok {
		return name
	}
	return subtype
}

// fileExtensions name files as Genkit JS does.
var fileExtensions = map[string]string{
	"application/pdf": ".pdf", "application/msword": ".doc", "text/plain": ".txt", "text/csv": ".csv",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
}

// fileName is the part's metadata.filename, else "file" with the extension of its type.
func fileName(part *content.Part, contentType string) string {
	const longest = 255
	if name := clip(jsonString(part.Metadata["filename"]), longest); name != "" {
		return path.Base(strings.ReplaceAll(name, `\`, "/"))
	}
	return "file" + fileExtensions[contentType]
}

// placeholder replaces a part of a tool's answer that can't be sent, so that the answer
// still follows its request.
func placeholder(part *content.Part) wirePart {
	what := "a part"
	switch {
	case part.Media != nil:
		what = "media of the type " + strconv.Quote(or(clip(mediaType(part.Media), 64), "unknown"))
	case part.Resource != nil:
		what = "a resource"
	case part.Custom != nil:
		what = "a custom part"
	}
	return wirePart{Type: "text", Text: "[The tool also returned " + what + ", which can't be shown here.]"}
}
