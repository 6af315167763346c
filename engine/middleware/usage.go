package middleware

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// CountUsage is a [ModelHook] that counts the characters and media of request and
// answer into the usage, where the model has not done so itself (Genkit JS:
// getBasicUsageStats).
func CountUsage() ModelHook {
	return func(ctx context.Context, call *ModelCall, next ModelFunc) (*model.Response, error) {
		resp, err := next(ctx, call)
		if err != nil || resp == nil {
			return resp, err
		}
		c := *resp
		c.Usage = Usage(call.Request, resp)
		return &c, nil
	}
}

// Usage returns the usage of resp with the counts it lacks: characters as JavaScript
// counts them (UTF-16 units), images, videos and audio files.
func Usage(req *model.Request, resp *model.Response) *model.Usage {
	u := resp.Usage.Clone()
	if u == nil {
		u = &model.Usage{}
	}
	var in, out counts
	for i := range req.Messages {
		in.add(req.Messages[i].Content)
	}
	if resp.Message != nil {
		out.add(resp.Message.Content)
	}
	for _, c := range []struct {
		name string
		n    int
	}{
		{"inputCharacters", in.characters},
		{"inputImages", in.images},
		{"inputVideos", in.videos},
		{"inputAudioFiles", in.audio},
		{"outputCharacters", out.characters},
		{"outputImages", out.images},
		{"outputVideos", out.videos},
		{"outputAudioFiles", out.audio},
	} {
		if _, told := u.Told(c.name); !told {
			u.Tell(c.name, json.Number(strconv.Itoa(c.n)))
		}
	}
	return u
}

type counts struct{ characters, images, videos, audio int }

func (c *counts) add(parts []content.Part) {
	for _, p := range parts {
		if p.Text != nil {
			for _, r := range *p.Text {
				c.characters += max(utf16.RuneLen(r), 1)
			}
		}
		if p.Media == nil {
			continue
		}
		kind := p.Media.ContentType
		if rest, inline := strings.CutPrefix(p.Media.URL, "data:"); inline && kind == "" {
			kind = rest
		}
		switch {
		case strings.HasPrefix(kind, "image"):
			c.images++
		case strings.HasPrefix(kind, "video"):
			c.videos++
		case strings.HasPrefix(kind, "audio"):
			c.audio++
		}
	}
}
