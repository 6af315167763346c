package openai

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// soundTypes are the types of the API's sound formats.
var soundTypes = map[string]string{
	"mp3": "audio/mpeg", "opus": "audio/opus", "aac": "audio/aac", "flac": "audio/flac", "wav": "audio/wav", "pcm": "audio/L16",
}

// speak answers with one media part: the first message's text, spoken.
func (p *Provider) speak(ctx context.Context, id string, req *model.Request) (*model.Response, error) {
	version, fields, err := plainConfig(req.Config, append(chatKeys, "temperature"), []string{"model", "input", "stream", "stream_format"})
	if err != nil {
		return nil, err
	}
	text := prompt(req)
	if text == "" {
		return nil, status.Publicf(status.InvalidArgument, "messages[0] holds no text to speak")
	}
	format := or(jsonString(fields["response_format"]), "mp3")
	if isNull(fields["voice"]) {
		fields["voice"] = json.RawMessage(`"alloy"`)
	}
	body, err := bodyWith(fields, map[string]any{"model": or(version, id), "input": text})
	if err != nil {
		return nil, err
	}
	sound, err := p.fetch(ctx, outgoing{method: http.MethodPost, path: "/audio/speech", key: p.keyOf(ctx), accept: "*/*", contentType: jsonType, body: body})
	if err != nil {
		return nil, err
	}
	contentType := or(soundTypes[format], "application/octet-stream")
	part := content.Part{Media: &content.Media{ContentType: contentType, URL: "data:" + contentType + ";base64," + base64.StdEncoding.EncodeToString(sound)}}
	return mediaResponse([]content.Part{part}), nil
}

func mediaResponse(parts []content.Part) *model.Response {
	return &model.Response{Message: &content.Message{Role: content.RoleModel, Content: parts}, FinishReason: model.FinishStop}
}

// bodyWith encodes the fields of a config and those of a request.
func bodyWith(fields map[string]json.RawMessage, own map[string]any) ([]byte, error) {
	for name, value := range own {
		raw, err := rawjson.Encode(value)
		if err != nil {
			return nil, status.Publicf(status.InvalidArgument, "encode the request: %w", err)
		}
		fields[name] = raw
	}
	body, err := rawjson.Encode(fields)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "encode the request: %w", err)
	}
	return body, nil
}
