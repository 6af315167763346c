#include "genkit.h"
#include "json.h"

GENKIT_DESCRIPTOR({
  "abi": "genkit/1",
  "name": "-x",
  "version": "0.1.0",
  "tools": [
    {
      "name": "greet",
      "description": "Greets somebody by name.",
      "inputSchema": {
        "type": "object",
        "properties": {
          "name": {"type": "string", "description": "who to greet"},
          "formal": {"type": "boolean", "description": "whether to be formal"}
        },
        "required": ["name"],
        "additionalProperties": false
      },
      "outputSchema": {
        "type": "object",
        "properties": {"greeting": {"type": "string", "description": "the greeting"}},
        "required": ["greeting"],
        "additionalProperties": false
      }
    }
  ]
})

typedef struct {
  json_span name; /* a JSON string, with its quotes */
  int formal;
} greet_input;

/* read_input reads {"name": string, "formal"?: boolean}; 0 when the text is something else. */
static int read_input(genkit_buffer text, greet_input *in) {
  json_reader r = {text.data, text.data + text.len};
  json_skip_space(&r);
  if (!json_take(&r, '{')) return 0;
  json_skip_space(&r);
  if (json_take(&r, '}')) return 0; /* there is no name */
  do {
    json_span key, value;
    json_skip_space(&r);
    key.start = r.at;
    if (!json_skip_string(&r)) return 0;
    key.end = r.at;
    json_skip_space(&r);
    if (!json_take(&r, ':')) return 0;
    json_skip_space(&r);
    value.start = r.at;
    if (!json_skip_value(&r)) return 0;
    value.end = r.at;
    if (json_string_is(key, "name")) in->name = value;
    if (json_string_is(key, "formal")) in->formal = *value.start == 't';
    json_skip_space(&r);
  } while (json_take(&r, ','));
  return json_take(&r, '}') && in->name.start != NULL && *in->name.start == '"';
}

static void append(genkit_buffer *out, const char *from, uint32_t len) {
  for (uint32_t i = 0; i < len; i++) out->data[out->len++] = from[i];
}

#define APPEND(out, literal) append((out), (literal), (uint32_t)(sizeof(literal) - 1))

GENKIT_TOOL(greet) {
  greet_input in = {{NULL, NULL}, 0};
  if (!read_input(genkit_input(), &in))
    return genkit_fail_code(GENKIT_STRING("INVALID_ARGUMENT"), GENKIT_STRING("the input is not {\"name\": string}"));
  if (json_string_is(in.name, "nobody"))
    return genkit_fail_code(GENKIT_STRING("NOT_FOUND"), GENKIT_STRING("there is nobody to greet"));
  /* What is between the quotes is valid JSON and goes out as it came. */
  uint32_t len = (uint32_t)(in.name.end - in.name.start) - 2;
  genkit_buffer out = {(char *)genkit_must_alloc(len + 64), 0};
  APPEND(&out, "{\"greeting\":\"");
  if (in.formal) APPEND(&out, "Good day, ");
  else APPEND(&out, "Hello, ");
  append(&out, in.name.start + 1, len);
  if (in.formal) APPEND(&out, ".\"}");
  else APPEND(&out, "!\"}");
  genkit_output(out);
  return 0;
}
