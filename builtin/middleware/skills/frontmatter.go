package skills

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// frontmatter reads name and description from the YAML between two lines of dashes:
// plain and quoted scalars, their continuation lines, and block scalars. Newlines
// become spaces, since the list has one line for each skill.
func frontmatter(text string) (name, description string) {
	lines := strings.Split(strings.ReplaceAll(strings.TrimPrefix(text, "\uFEFF"), "\r\n", "\n"), "\n")
	if len(lines) == 0 || strings.TrimRight(lines[0], " \t") != "---" {
		return "", ""
	}
	lines = lines[1:]
	end := -1
	for i, line := range lines {
		if strings.TrimRight(line, " \t") == "---" {
			end = i
			break
		}
	}
	if end < 0 {
		return "", ""
	}
	lines = lines[:end]
	for i, line := range lines {
		key, value, found := strings.Cut(line, ":")
		if !found {
			continue
		}
		switch key {
		case "name":
			name = scalar(value, lines[i+1:])
		case "description":
			description = scalar(value, lines[i+1:])
		}
	}
	return name, description
}

// scalar returns a value that starts on its key's line and goes on in the indented
// lines after it.
func scalar(value string, rest []string) string {
	value = strings.TrimSpace(value)
	if value == "" || value[0] == '|' || value[0] == '>' {
		value = ""
	}
	for _, line := range rest {
		trimmed := strings.TrimSpace(line)
		if trimmed != "" && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			break
		}
		value += " " + trimmed
	}
	value = unquote(strings.TrimSpace(value))
	return cut(strings.Join(strings.Fields(value), " "))
}

func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		var text string
		if json.Unmarshal([]byte(s), &text) == nil {
			return text
		}
		return s[1 : len(s)-1]
	}
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return strings.ReplaceAll(s[1:len(s)-1], "''", "'")
	}
	if before, _, comment := strings.Cut(s, " #"); comment {
		return before
	}
	return s
}

func cut(s string) string {
	if len(s) <= MaxDescriptionBytes {
		return s
	}
	s = s[:MaxDescriptionBytes]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}
