package scripted_test

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/scripted"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func generate(t *testing.T, config string, messages ...content.Message) (*model.Response, []string, error) {
	t.Helper()
	m, err := scripted.New()
	require.NoError(t, err)
	var chunks []string
	resp, err := m.Generate(t.Context(), &model.Request{Messages: messages, Config: json.RawMessage(config)}, func(c *model.Chunk) error {
		chunks = append(chunks, c.Text())
		return nil
	})
	return resp, chunks, err
}

func TestTheScriptIsPlayedTurnByTurn(t *testing.T) {
	config := `{"temperature":1,"script":[{"message":{"content":[{"text":"one"}]}},{"message":{"role":"model","content":[{"text":"two"}]},"finishReason":"length"}]}`
	user, model1, tool := content.NewUserTextMessage("u"), content.NewModelTextMessage("m"), content.Message{Role: content.RoleTool}
	for name, c := range map[string]struct {
		messages []content.Message
		want     string
		finish   model.FinishReason
	}{
		"the first turn":                   {[]content.Message{user}, "one", "stop"},
		"the second":                       {[]content.Message{user, model1, tool}, "two", "length"},
		"earlier exchanges do not count":   {[]content.Message{user, model1, tool, model1, user}, "one", "stop"},
		"without a user all answers count": {[]content.Message{content.NewSystemTextMessage("s"), model1}, "two", "length"},
	} {
		resp, _, err := generate(t, config, c.messages...)
		require.NoError(t, err, name)
		assert.Equal(t, c.want, resp.Text(), name)
		assert.Equal(t, c.finish, resp.FinishReason, name)
		assert.Equal(t, content.RoleModel, resp.Message.Role, name)
	}
	_, _, err := generate(t, config, user, model1, model1)
	require.ErrorIs(t, err, status.ErrOutOfRange)
	assert.Equal(t, "the script of test/scripted has 2 responses and was asked for number 3: add a response to config.script", status.ToWire(err, false).Message)
	_, _, err = generate(t, `{"script":[]}`, user)
	require.ErrorIs(t, err, status.ErrOutOfRange)
}

func TestWhatIsStreamed(t *testing.T) {
	user := content.NewUserTextMessage("u")
	script := `"script":[{"message":{"content":[{"text":" final  response,\nnow "},{"toolRequest":{"name":"t"}}]}}]`
	_, chunks, err := generate(t, `{`+script+`}`, user)
	require.NoError(t, err)
	assert.Equal(t, []string{" final  ", "response,\n", "now "}, chunks)
	assert.Equal(t, " final  response,\nnow ", strings.Join(chunks, ""))
	_, chunks, err = generate(t, `{`+script+`,"chunks":[[{"content":[{"text":"3"}]},{"content":[{"text":"2"}]}]]}`, user)
	require.NoError(t, err)
	assert.Equal(t, []string{"3", "2"}, chunks)
	_, chunks, err = generate(t, `{`+script+`,"chunks":[]}`, user)
	require.NoError(t, err)
	assert.Empty(t, chunks)

	m, err := scripted.New()
	require.NoError(t, err)
	gone := errors.New("gone")
	_, err = m.Generate(t.Context(), &model.Request{Messages: []content.Message{user}}, func(*model.Chunk) error { return gone })
	require.ErrorIs(t, err, gone)
}

func TestWithoutAScriptItEchoes(t *testing.T) {
	resp, chunks, err := generate(t, ``, content.NewUserTextMessage("first"), content.NewModelTextMessage("x"), content.NewUserTextMessage("second thing"))
	require.NoError(t, err)
	assert.Equal(t, "You said: second thing", resp.Text())
	assert.Equal(t, []string{"You ", "said: ", "second ", "thing"}, chunks)
	resp, _, err = generate(t, `{}`, content.NewSystemTextMessage("s"))
	require.NoError(t, err)
	assert.Equal(t, "You said: ", resp.Text())
}

func TestBrokenScriptsAreRefused(t *testing.T) {
	for _, config := range []string{
		`[]`, `{"script":{}}`, `{"script":[1]}`, `{"script":[{"message":{}}]}`, `{"script":[{"message":{"content":[1]}}]}`,
		`{"chunks":[{}]}`, `{"chunks":[[{}]]}`, `{"script":[{"message":{"content":[{"text":1}]}}]}`,
	} {
		_, _, err := generate(t, config, content.NewUserTextMessage("u"))
		require.ErrorIs(t, err, status.ErrInvalidArgument, config)
	}
}

func TestOneModelServesManyConversations(t *testing.T) {
	m, err := scripted.New()
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			resp, err := m.Generate(t.Context(), &model.Request{Messages: []content.Message{content.NewUserTextMessage("x")}}, nil)
			if assert.NoError(t, err) {
				assert.Equal(t, "You said: x", resp.Text())
			}
		})
	}
	wg.Wait()
	assert.Equal(t, "all", m.Info().Supports.Constrained)
}

// A reader who leaves after the first word of a long text has not cost what all of its
// chunks would.
func TestChunksAreMadeOneAtATime(t *testing.T) {
	m, err := scripted.New()
	require.NoError(t, err)
	config, err := json.Marshal(map[string]any{"script": []any{map[string]any{"message": map[string]any{"content": []any{map[string]any{"text": strings.Repeat("a ", 500_000)}}}}}})
	require.NoError(t, err)
	left := errors.New("the reader left")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = m.Generate(t.Context(), &model.Request{Messages: []content.Message{content.NewUserTextMessage("u")}, Config: config}, func(*model.Chunk) error { return left })
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, left)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(60<<20), "of a text of 1 MB")
}
