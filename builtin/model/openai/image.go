package openai

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// draw answers with one media part for each picture of the first message's text.
func (p *Provider) draw(ctx context.Context, id string, req *model.Request) (*model.Response, error) {
	version, fields, err := plainConfig(req.Config, append(chatKeys, "temperature"), []string{"model", "prompt", "stream", "partial_images"})
	if err != nil {
		return nil, err
	}
	text := prompt(req)
	if text == "" {
		return nil, status.Publicf(status.InvalidArgument, "messages[0] holds no text to draw from")
	}
	name := wire.Or(version, id)
	if strings.Contains(name, "gpt-image") {
		delete(fields, "response_format") // these models know data only, and refuse the field
	} else if wire.IsNull(fields["response_format"]) {
		fields["response_format"] = json.RawMessage(`"b64_json"`)
	}
	contentType := "image/" + wire.Or(wire.String(fields["output_format"]), "png")
	body, err := bodyWith(fields, map[string]any{"model": name, "prompt": text})
	if err != nil {
		return nil, err
	}
	key := p.peer.Key(ctx)
	raw, err := p.peer.Fetch(ctx, wire.Outgoing{Path: "/images/generations", Key: key, Accept: wire.JSON, Body: body})
	if err != nil {
		return nil, err
	}
	return p.pictures(raw, contentType, key)
}

func (p *Provider) pictures(raw json.RawMessage, contentType, key string) (*model.Response, error) {
	var answer struct {
		Data []struct {
			URL     string `json:"url"`
			Base64  string `json:"b64_json"`
			Revised string `json:"revised_prompt"`
		} `json:"data"`
		Usage json.RawMessage `json:"usage"`
	}
	if err := p.peer.Read(raw, &answer, "images", key); err != nil {
		return nil, err
	}
	var parts []content.Part
	for _, picture := range answer.Data {
		media := &content.Media{ContentType: contentType, URL: picture.URL}
		if media.URL == "" {
			if _, err := base64.StdEncoding.DecodeString(picture.Base64); err != nil || picture.Base64 == "" {
				return nil, status.Publicf(status.Internal, "a picture of the server's answer is neither an address nor base64")
			}
			media.URL = "data:" + contentType + ";base64," + picture.Base64
		}
		part := content.Part{Media: media}
		if picture.Revised != "" {
			revised, err := rawjson.Encode(picture.Revised)
			if err != nil {
				return nil, status.Errorf(status.Internal, "map the answer: %w", err)
			}
			part.Metadata = content.Metadata{"revisedPrompt": revised}
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return nil, status.Publicf(status.Internal, "the server's answer holds no pictures")
	}
	resp := mediaResponse(parts)
	resp.Usage = usage(answer.Usage)
	return resp, nil
}
