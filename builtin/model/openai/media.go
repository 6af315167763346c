package openai

import (
	"path"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
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
		return wirePart{}, invalid("media of the scheme %q is not supported, only data:, http: and https: URLs", wire.Clip(scheme, 32))
	}
	contentType := wire.MediaType(m)
	family, _, _ := strings.Cut(contentType, "/")
	kind := map[string]PartKind{"": ImagePart, "image": ImagePart, "audio": AudioPart, "video": VideoPart}[family]
	kind = wire.Or(kind, FilePart)
	if !c.profile.takes(kind) {
		return wirePart{}, invalid("media of the type %q is not supported by this server", wire.Clip(contentType, 64))
	}
	if (kind == AudioPart || kind == FilePart) && scheme != "data" {
		return wirePart{}, invalid("media of the type %q must be a data: URL", wire.Clip(contentType, 64))
	}
	switch kind {
	case AudioPart:
		data, err := wire.Base64Of(m.URL)
		return wirePart{Type: string(kind), InputAudio: &wireAudio{Data: data, Format: audioFormat(contentType)}}, err
	case FilePart:
		data, err := wire.Base64Of(m.URL)
		return wirePart{Type: string(kind), File: &wireFile{Filename: fileName(part, contentType), FileData: "data:" + contentType + ";base64," + data}}, err
	case VideoPart:
		return wirePart{Type: string(kind), VideoURL: &wireURL{typed(m.URL, contentType)}}, nil
	}
	return wirePart{Type: string(kind), ImageURL: &wireURL{typed(m.URL, contentType)}}, nil
}

// typed puts a type into a data: URL that has none.
func typed(rawURL, contentType string) string {
	if rest, isData := wire.CutScheme(rawURL, "data"); isData && contentType != "" && strings.HasPrefix(rest, ";") {
		return "data:" + contentType + rest
	}
	return rawURL
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
	if name := wire.Clip(wire.String(part.Metadata["filename"]), longest); name != "" {
		return path.Base(strings.ReplaceAll(name, `\`, "/"))
	}
	return "file" + fileExtensions[contentType]
}
