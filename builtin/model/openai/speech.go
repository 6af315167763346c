package openai

import (
	"context"
	"encoding/base64"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
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
	format := wire.Or(wire.String(fields["response_format"]), "mp3")
	if wire.IsNull(fields["voice"]) {
		fields["voice"] = json.RawMessage(`"alloy"`)
	}
	body, err := bodyWith(fields, map[string]any{"model": wire.Or(version, id), "input": text})
	if err != nil {
		return nil, err
	}
	sound, err := p.peer.Fetch(ctx, wire.Outgoing{Path: "/audio/speech", Key: p.peer.Key(ctx), Accept: "*/*", Body: body})
	if err != nil {
		return nil, err
	}
	contentType := wire.Or(soundTypes[format], "application/octet-stream")
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
