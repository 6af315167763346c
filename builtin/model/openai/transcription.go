package openai

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"mime/multipart"
	"net/textproto"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// transcribe answers with the text of the sound in the first message, whose text is a
// hint to the model. The sound must be a data: URL.
func (p *Provider) transcribe(ctx context.Context, id string, kind Kind, req *model.Request) (*model.Response, error) {
	version, fields, err := plainConfig(req.Config, chatKeys, []string{"model", "file", "prompt", "stream"})
	if err != nil {
		return nil, err
	}
	path := "/audio/transcriptions"
	if translate, set := fields["translate"]; set && kind == Whisper {
		delete(fields, "translate")
		if string(translate) == "true" {
			path = "/audio/translations"
		}
	}
	name := wire.Or(version, id)
	if fields["response_format"], err = answerFormat(name, fields["response_format"], req.Output); err != nil {
		return nil, err
	}
	form, contentType, err := soundForm(name, req, fields)
	if err != nil {
		return nil, err
	}
	key := p.peer.Key(ctx)
	raw, err := p.peer.Fetch(ctx, wire.Outgoing{Path: path, Key: key, Accept: "*/*", ContentType: contentType, Body: form})
	if err != nil {
		return nil, err
	}
	return p.transcript(raw, wire.String(fields["response_format"]), key)
}

// answerFormat is the config's response_format, else the request's output format, else
// text, which the gpt-4o models do not know: they write JSON.
func answerFormat(name string, asked json.RawMessage, out *model.Output) (json.RawMessage, error) {
	wanted := ""
	if out != nil {
		wanted = out.Format
	}
	switch custom := wire.String(asked); {
	case wanted == "media":
		return nil, status.Publicf(status.InvalidArgument, "output format %q is not supported by a model that transcribes", wanted)
	case wanted == "json" && custom != "" && custom != "json" && custom != "verbose_json":
		return nil, status.Publicf(status.InvalidArgument, "response_format %q does not go with output format %q", custom, wanted)
	case custom != "":
		return asked, nil
	case wanted == "json", strings.Contains(name, "transcribe"):
		return json.RawMessage(`"json"`), nil
	}
	return json.RawMessage(`"text"`), nil
}

// soundForm is the body: multipart/form-data. Lists have a field for each item, called
// name[]; objects one for each member, called name[member].
func soundForm(name string, req *model.Request, fields map[string]json.RawMessage) (body []byte, contentType string, err error) {
	sound, mime, err := soundOf(req.Messages[0].Content)
	if err != nil {
		return nil, "", err
	}
	var buf bytes.Buffer
	form := multipart.NewWriter(&buf)
	header := textproto.MIMEHeader{}
	header.Set("Content-Disposition", `form-data; name="file"; filename="input`+soundExtensions[mime]+`"`)
	header.Set("Content-Type", wire.Or(mime, "application/octet-stream"))
	file, err := form.CreatePart(header)
	if err == nil {
		_, err = file.Write(sound)
	}
	write := func(name, value string) {
		if err == nil {
			err = form.WriteField(name, value)
		}
	}
	write("model", name)
	if hint := prompt(req); hint != "" {
		write("prompt", hint)
	}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		formField(write, field, fields[field])
	}
	if err == nil {
		err = form.Close()
	}
	if err != nil {
		return nil, "", status.Errorf(status.Internal, "encode the request: %w", err)
	}
	return buf.Bytes(), form.FormDataContentType(), nil
}

func formField(write func(name, value string), name string, value json.RawMessage) {
	var list []json.RawMessage
	var object map[string]json.RawMessage
	switch {
	case json.Unmarshal(value, &list) == nil:
		for _, item := range list {
			write(name+"[]", wire.TextOf(item))
		}
	case json.Unmarshal(value, &object) == nil:
		for _, member := range slices.Sorted(maps.Keys(object)) {
			write(name+"["+member+"]", wire.TextOf(object[member]))
		}
	default:
		write(name, wire.TextOf(value))
	}
}

// soundExtensions are the file name extensions by which the API recognises formats.
var soundExtensions = map[string]string{
	"audio/flac": ".flac", "audio/mp4": ".mp4", "audio/mpeg": ".mp3", "audio/mp3": ".mp3", "audio/mpga": ".mpga", "audio/oga": ".oga",
	"audio/wav": ".wav", "audio/x-wav": ".wav", "audio/wave": ".wav", "audio/webm": ".webm", "audio/ogg": ".ogg", "video/mp4": ".mp4", "video/webm": ".webm",
}

// soundOf returns the first media of a message and its type.
func soundOf(parts []content.Part) (sound []byte, contentType string, err error) {
	for i := range parts {
		m := parts[i].Media
		if m == nil {
			continue
		}
		if _, isData := wire.CutScheme(m.URL, "data"); !isData {
			return nil, "", status.Publicf(status.InvalidArgument, "messages[0]: content[%d]: the sound must be a data: URL", i)
		}
		data, err := wire.Base64Of(m.URL)
		if err == nil {
			sound, err = base64.StdEncoding.DecodeString(data)
		}
		if err != nil {
			return nil, "", status.Publicf(status.InvalidArgument, "messages[0]: content[%d]: %w", i, err)
		}
		contentType = wire.MediaType(m)
		if strings.ContainsAny(contentType, "\r\n\"") {
			return nil, "", status.Publicf(status.InvalidArgument, "messages[0]: content[%d]: the type of the sound is not usable", i)
		}
		return sound, contentType, nil
	}
	return nil, "", status.Publicf(status.InvalidArgument, "messages[0] holds no media to transcribe")
}

// transcript reads an answer: JSON with a text, or the text itself.
func (p *Provider) transcript(raw []byte, format, key string) (*model.Response, error) {
	text := string(raw)
	resp := mediaResponse(nil)
	if format == "json" || format == "verbose_json" {
		var answer struct {
			Text  *string         `json:"text"`
			Usage json.RawMessage `json:"usage"`
		}
		if err := p.peer.Read(raw, &answer, "transcriptions", key); err != nil {
			return nil, err
		}
		if answer.Text == nil {
			return nil, status.Publicf(status.Internal, "the server's answer holds no text")
		}
		text = *answer.Text
		resp.Usage = usage(answer.Usage)
		if len(raw) <= maxRawBytes {
			resp.Raw = raw
		}
	}
	resp.Message.Content = []content.Part{content.NewTextPart(strings.ToValidUTF8(text, "\uFFFD"))}
	return resp, nil
}
