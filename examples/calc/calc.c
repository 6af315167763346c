/* calc: two tools in freestanding C, with no libc behind them.
 *
 *   add   {"a": number, "b": number, "pad"?: string} -> {"sum": number}
 *   echo  any JSON -> the same
 *
 * add works on decimal digits, so 0.1 + 0.2 is 0.3 and integers of any length are
 * exact. json.h reads the input, decimal.h adds. */
#include "decimal.h"
#include "genkit.h"
#include "json.h"

GENKIT_DESCRIPTOR({
  "abi": "genkit/1",
  "name": "calc",
  "version": "1.0.0",
  "description": "Exact decimal addition, and an echo.",
  "tools": [
    {
      "name": "add",
      "description": "Adds two numbers exactly, digit by digit: 0.1 + 0.2 is 0.3.",
      "inputSchema": {
        "type": "object",
        "properties": {
          "a": {"type": "number", "description": "the first number"},
          "b": {"type": "number", "description": "the second number"},
          "pad": {"type": "string", "description": "ignored; makes an input of any size, for measurements"}
        },
        "required": ["a", "b"],
        "additionalProperties": false
      },
      "outputSchema": {
        "type": "object",
        "properties": {"sum": {"type": "number", "description": "a + b"}},
        "required": ["sum"],
        "additionalProperties": false
      }
    },
    {"name": "echo", "description": "Returns its input, whatever JSON it is.", "inputSchema": {}, "outputSchema": {}}
  ]
})

static int32_t invalid(genkit_buffer message) { return genkit_fail_code(GENKIT_STRING("INVALID_ARGUMENT"), message); }

/* read_operands finds the numbers "a" and "b" in the object that is the input. The
 * last one counts where a name is there twice. Returns what is wrong, or NULL. */
static const char *read_operands(genkit_buffer input, json_span *a, json_span *b) {
  json_reader r = {input.data, input.data + input.len};
  json_skip_space(&r);
  if (!json_take(&r, '{')) return "the input is not an object";
  json_skip_space(&r);
  if (!json_take(&r, '}')) {
    do {
      json_span key, value;
      json_skip_space(&r);
      key.start = r.at;
      if (!json_skip_string(&r)) return "the input is not JSON";
      key.end = r.at;
      json_skip_space(&r);
      if (!json_take(&r, ':')) return "the input is not JSON";
      json_skip_space(&r);
      value.start = r.at;
      if (!json_skip_value(&r)) return "the input is not JSON";
      value.end = r.at;
      if (json_string_is(key, "a")) *a = value;
      if (json_string_is(key, "b")) *b = value;
      json_skip_space(&r);
    } while (json_take(&r, ','));
    if (!json_take(&r, '}')) return "the input is not JSON";
  }
  json_skip_space(&r);
  if (r.at != r.end) return "the input is not JSON";
  if (!json_is_number(*a)) return "a is not a number";
  if (!json_is_number(*b)) return "b is not a number";
  return NULL;
}

static uint32_t length(const char *s) {
  uint32_t n = 0;
  while (s[n]) n++;
  return n;
}

GENKIT_TOOL(add) {
  json_span a = {NULL, NULL}, b = {NULL, NULL};
  const char *wrong = read_operands(genkit_input(), &a, &b);
  if (wrong != NULL) return invalid(genkit_buffer_of(wrong, length(wrong)));
  decimal x, y, sum;
  if (!decimal_parse(&x, a) || !decimal_parse(&y, b) || !decimal_add(&sum, &x, &y))
    return genkit_fail_code(GENKIT_STRING("OUT_OF_RANGE"), GENKIT_STRING("the sum has too many digits"));
  char *out = (char *)genkit_must_alloc(DECIMAL_MAX_DIGITS + 64);
  uint32_t n = 0;
  for (const char *p = "{\"sum\":"; *p; p++) out[n++] = *p;
  n += decimal_print(out + n, &sum);
  out[n++] = '}';
  genkit_output(genkit_buffer_of(out, n));
  return 0;
}

GENKIT_TOOL(echo) {
  genkit_output(genkit_input());
  return 0;
}
