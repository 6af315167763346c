package main

import (
	"encoding/csv"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
)

type config struct {
	Words []string `json:"words,omitempty" jsonschema_description:"Words to hide besides e-mail addresses."`
}

var address = regexp.MustCompile(`[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`)

// secrets gives each hidden text a name, and the text back for its name.
type secrets struct {
	names map[string]string
	texts []string
}

func (s *secrets) hide(text string) string {
	name, known := s.names[text]
	if !known {
		name = "[hidden-" + strconv.Itoa(len(s.texts)+1) + "]"
		s.names[text] = name
		s.texts = append(s.texts, text)
	}
	return name
}

func (s *secrets) show(text string) string {
	for i, hidden := range s.texts {
		text = strings.ReplaceAll(text, "[hidden-"+strconv.Itoa(i+1)+"]", hidden)
	}
	return text
}

var _ = pdk.WarmMiddleware(redact)

// redact hides texts from the model. System messages stay as they are: they are the
// operator's, and a module may not write them.
func redact(h *pdk.Hook[config]) (any, error) {
	var request pdk.ModelRequest
	if err := h.Decode(&request); err != nil {
		return nil, err
	}
	hidden := &secrets{names: map[string]string{}}
	for i := range request.Messages {
		if request.Messages[i].Role == "system" {
			continue
		}
		err := rewrite(&request.Messages[i], func(text string) string {
			text = address.ReplaceAllStringFunc(text, hidden.hide)
			for _, word := range h.Config.Words {
				if word != "" && strings.Contains(text, word) {
					text = strings.ReplaceAll(text, word, hidden.hide(word))
				}
			}
			return text
		})
		if err != nil {
			return nil, err
		}
	}
	var answer pdk.ModelResponse
	if err := h.Next(request, &answer); err != nil {
		return nil, err
	}
	if len(hidden.texts) > 0 {
		pdk.Log(pdk.LevelInfo, "hid "+strconv.Itoa(len(hidden.texts))+" texts from "+h.Model)
	}
	if answer.Message == nil {
		return answer, nil
	}
	return answer, rewrite(answer.Message, hidden.show)
}

// rewrite changes the text parts of a message.
func rewrite(m *pdk.Message, change func(string) string) error {
	for i, part := range m.Content {
		text, ok := part.Text()
		if !ok {
			continue
		}
		changed, err := part.WithText(change(text))
		if err != nil {
			return err
		}
		m.Content[i] = changed
	}
	return nil
}

func csvInstructions(json.RawMessage) (string, error) {
	return "Answer with comma-separated values only: a header line, then a line for each record.", nil
}

// parseCSV reads each record as an object by the header's names.
func parseCSV(_ json.RawMessage, m pdk.Message) (any, error) {
	text := strings.TrimSpace(m.Text())
	text = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(text, "```csv"), "```"), "```")
	lines, err := csv.NewReader(strings.NewReader(strings.TrimSpace(text))).ReadAll()
	if err != nil {
		return nil, &pdk.Error{Code: pdk.InvalidArgument, Message: "not comma-separated values: " + err.Error()}
	}
	records := []map[string]string{}
	for i, line := range lines {
		if i == 0 {
			continue
		}
		record := map[string]string{}
		for column, name := range lines[0] {
			record[name] = line[column]
		}
		records = append(records, record)
	}
	return records, nil
}
