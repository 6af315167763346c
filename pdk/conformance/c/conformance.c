/* The conformance module in C: the tools that ../../vectors runs. */
#include "genkit.h"

GENKIT_DESCRIPTOR_FILE("descriptor.json")

GENKIT_TOOL(echo) {
  genkit_output(genkit_input());
  return 0;
}

GENKIT_TOOL(upper) {
  genkit_buffer text = genkit_input();
  for (uint32_t i = 0; i < text.len; i++)
    if (text.data[i] >= 'a' && text.data[i] <= 'z') text.data[i] -= 'a' - 'A';
  genkit_output(text);
  return 0;
}

GENKIT_TOOL(textjson) {
  genkit_output(genkit_input());
  return 0;
}

GENKIT_TOOL(fail) {
  return genkit_fail(GENKIT_STRING("{\"code\":\"NOT_FOUND\",\"message\":\"no such thing: \\\"x\\\"\",\"details\":{\"id\":42}}"));
}

GENKIT_TOOL(failtext) { return genkit_fail(GENKIT_STRING("it did not work")); }

GENKIT_TOOL(nonzero) { return 7; }

GENKIT_TOOL(silent) { return 0; }

GENKIT_TOOL(replace) {
  genkit_output(GENKIT_STRING("{\"first\":"));
  genkit_output(GENKIT_STRING("\"second\""));
  return 0;
}

GENKIT_TOOL(badoutput) {
  genkit_output(GENKIT_STRING("{\"unfinished\":"));
  return 0;
}

GENKIT_TOOL(invalidutf8) {
  genkit_output(GENKIT_STRING("\"\xff\xfe\""));
  return 0;
}

GENKIT_TOOL(wrongshape) {
  genkit_output(GENKIT_STRING("\"not an integer\""));
  return 0;
}

GENKIT_TOOL(emit3) {
  if (genkit_emit(GENKIT_STRING("{\"n\":1}")) || genkit_emit(GENKIT_STRING("{\"n\":2}")) ||
      genkit_emit(GENKIT_STRING("\"drei é\"")))
    return genkit_fail_code(GENKIT_STRING("UNAVAILABLE"), GENKIT_STRING("emit was refused"));
  genkit_output(GENKIT_STRING("{\"chunks\":3}"));
  return 0;
}

GENKIT_TOOL(badchunk) {
  genkit_output(genkit_call(genkit_import_emit, GENKIT_STRING("{\"n\":")));
  return 0;
}

GENKIT_TOOL(interrupt) {
  if (genkit_interrupt(genkit_input())) return genkit_fail(GENKIT_STRING("interrupt was refused"));
  genkit_output(GENKIT_STRING("\"nobody sees this\""));
  return 0;
}

GENKIT_TOOL(interrupt_fail) {
  genkit_interrupt(GENKIT_STRING("{\"reason\":\"ask\"}"));
  return genkit_fail(GENKIT_STRING("nobody sees this"));
}

GENKIT_TOOL(interrupt_trap) {
  genkit_interrupt(GENKIT_STRING("null"));
  __builtin_trap();
}

GENKIT_TOOL(context) {
  genkit_output(genkit_context());
  return 0;
}

GENKIT_TOOL(log) {
  genkit_log(GENKIT_TRACE, GENKIT_STRING("a trace line"));
  genkit_log(GENKIT_DEBUG, GENKIT_STRING("a debug line"));
  genkit_log(GENKIT_INFO, GENKIT_STRING("an info line: é"));
  genkit_log(GENKIT_WARN, GENKIT_STRING("a warn line"));
  genkit_log(GENKIT_ERROR, GENKIT_STRING("an error line"));
  genkit_output(GENKIT_STRING("{\"lines\":5}"));
  return 0;
}

static int count;

GENKIT_TOOL(counter) {
  count++;
  if (count != 1) return genkit_fail_code(GENKIT_STRING("FAILED_PRECONDITION"), GENKIT_STRING("state of an earlier call was seen"));
  genkit_output(GENKIT_STRING("{\"count\":1}"));
  return 0;
}

GENKIT_TOOL(trap) { __builtin_trap(); }

GENKIT_TOOL(oob) {
  genkit_import_output((const void *)0xfffffff0u, 0x20);
  return 0;
}

GENKIT_TOOL(spin) {
  volatile uint32_t turns = 0;
  for (;;) turns = turns + 1;
}

GENKIT_TOOL(hog) {
  for (;;) {
    char *page = (char *)genkit_alloc(65536);
    if (page == NULL) return genkit_fail_code(GENKIT_STRING("RESOURCE_EXHAUSTED"), GENKIT_STRING("out of memory"));
    page[0] = page[65535] = 1;
  }
}

/* The host has checked that the input is {"size": n}; n may be written as 1e2, too,
 * which no vector does. */
GENKIT_TOOL(big) {
  genkit_buffer in = genkit_input();
  uint32_t size = 0;
  for (uint32_t i = 0; i < in.len; i++)
    if (in.data[i] >= '0' && in.data[i] <= '9') size = size * 10 + (uint32_t)(in.data[i] - '0');
  char *out = (char *)genkit_must_alloc(size);
  for (uint32_t i = 0; i < size; i++) out[i] = 'x';
  out[0] = out[size - 1] = '"';
  genkit_output(genkit_buffer_of(out, size));
  return 0;
}
