/* genkit.h: write genkit-wasm tools in C or C++. One file, no libc needed.
 *
 * It speaks the native convention ("genkit_v1", see ../abi.md). A tool:
 *
 *     #include "genkit.h"
 *
 *     GENKIT_DESCRIPTOR({ "abi": "genkit/1", "name": "hello", "version": "1.0.0",
 *       "tools": [{ "name": "greet", "description": "Greets.", "io": "text" }] })
 *
 *     GENKIT_TOOL(greet) {
 *       genkit_buffer in = genkit_input();
 *       genkit_log(GENKIT_INFO, GENKIT_STRING("greeting"));
 *       genkit_output(in);
 *       return 0;
 *     }
 *
 * Build (clang and wasm-ld; -s strips names and keeps the descriptor):
 *
 *     clang --target=wasm32 -nostdlib -ffreestanding -O2 -Wl,--no-entry -Wl,--stack-first -s \
 *       -o hello.wasm hello.c
 *
 * --stack-first puts the stack below the data: a stack that grows too far then traps
 * instead of overwriting them.
 *
 * With wasi-libc use --target=wasm32-wasi -mexec-model=reactor instead.
 *
 * Every call starts from the same state: a variable that one call sets is back to
 * its first value in the next. An import is only in the module when a function
 * that needs it is used, so a module asks for just the capabilities that it calls.
 */
#ifndef GENKIT_H
#define GENKIT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes with their length; not terminated. */
typedef struct {
  char *data;
  uint32_t len;
} genkit_buffer;

/* A string literal as a buffer. */
#define GENKIT_STRING(literal) genkit_buffer_of((literal), (uint32_t)(sizeof(literal) - 1))

/* GENKIT_TOOL(name) { … return 0; } defines and exports the tool's function. */
#define GENKIT_TOOL(name)                                                                  \
  static int32_t genkit_body_##name(void);                                                 \
  GENKIT_EXTERN __attribute__((export_name(#name))) int32_t genkit_export_##name(void);    \
  GENKIT_EXTERN int32_t genkit_export_##name(void) {                                       \
    genkit_free_all();                                                                     \
    return genkit_body_##name();                                                           \
  }                                                                                        \
  static int32_t genkit_body_##name(void)

/* GENKIT_DESCRIPTOR({ … }) puts the JSON, written as it is, into the custom section
 * "genkit.module". Once, at file scope; no macro in it is expanded.
 * GENKIT_DESCRIPTOR_FILE("genkit.json") takes it from a file, which is looked for in
 * the current directory and in those of -I. */
#define GENKIT_DESCRIPTOR(...) GENKIT_DESCRIPTOR_(.ascii, #__VA_ARGS__)
#define GENKIT_DESCRIPTOR_FILE(path) GENKIT_DESCRIPTOR_(.incbin, path)
/* clang and wasm-ld make the custom section "x" of a section ".custom_section.x". */
#define GENKIT_DESCRIPTOR_(directive, text) \
  __asm__(".section .custom_section.genkit.module,\"\",@\n\t" #directive " " #text "\n\t.text\n");

#ifdef __cplusplus
#define GENKIT_EXTERN extern "C"
#else
#define GENKIT_EXTERN
#endif

#define GENKIT_IMPORT(name) __attribute__((import_module("genkit_v1"), import_name(name)))

GENKIT_IMPORT("input_len") extern uint32_t genkit_import_input_len(void);
GENKIT_IMPORT("input") extern void genkit_import_input(void *ptr);
GENKIT_IMPORT("output") extern void genkit_import_output(const void *ptr, uint32_t len);
GENKIT_IMPORT("error") extern void genkit_import_error(const void *ptr, uint32_t len);
GENKIT_IMPORT("log") extern void genkit_import_log(int32_t level, const void *ptr, uint32_t len);
GENKIT_IMPORT("reply") extern void genkit_import_reply(void *ptr);
/* The capabilities, all with the same form. */
GENKIT_IMPORT("emit") extern uint32_t genkit_import_emit(const void *ptr, uint32_t len);
GENKIT_IMPORT("interrupt") extern uint32_t genkit_import_interrupt(const void *ptr, uint32_t len);
GENKIT_IMPORT("context") extern uint32_t genkit_import_context(const void *ptr, uint32_t len);
GENKIT_IMPORT("resumed") extern uint32_t genkit_import_resumed(const void *ptr, uint32_t len);
GENKIT_IMPORT("next") extern uint32_t genkit_import_next(const void *ptr, uint32_t len);
GENKIT_IMPORT("now") extern uint32_t genkit_import_now(const void *ptr, uint32_t len);
GENKIT_IMPORT("http") extern uint32_t genkit_import_http(const void *ptr, uint32_t len);
GENKIT_IMPORT("kv_get") extern uint32_t genkit_import_kv_get(const void *ptr, uint32_t len);
GENKIT_IMPORT("kv_set") extern uint32_t genkit_import_kv_set(const void *ptr, uint32_t len);
GENKIT_IMPORT("kv_delete") extern uint32_t genkit_import_kv_delete(const void *ptr, uint32_t len);
GENKIT_IMPORT("kv_list") extern uint32_t genkit_import_kv_list(const void *ptr, uint32_t len);
GENKIT_IMPORT("generate") extern uint32_t genkit_import_generate(const void *ptr, uint32_t len);
GENKIT_IMPORT("run") extern uint32_t genkit_import_run(const void *ptr, uint32_t len);

enum { GENKIT_TRACE, GENKIT_DEBUG, GENKIT_INFO, GENKIT_WARN, GENKIT_ERROR };

#define GENKIT_FN static inline __attribute__((unused))

GENKIT_FN genkit_buffer genkit_buffer_of(const char *data, uint32_t len) {
  genkit_buffer b;
  b.data = (char *)(uintptr_t)data;
  b.len = len;
  return b;
}

/* Memory. One arena that grows from the end of the module's data and that
 * GENKIT_TOOL empties before each call. Do not use it beside a malloc that grows
 * memory from the same place: with a libc, #define GENKIT_MALLOC malloc before the
 * #include (what is allocated then lives as long as the instance). */
#ifndef GENKIT_MALLOC
extern unsigned char __heap_base;
__attribute__((weak)) uintptr_t genkit_arena_end; /* 0: nothing allocated yet */

GENKIT_FN void genkit_free_all(void) { genkit_arena_end = 0; }

/* genkit_alloc gives size bytes, aligned to 16, or NULL when memory may not grow
 * any further. */
GENKIT_FN void *genkit_alloc(uint32_t size) {
  uint64_t start = genkit_arena_end ? genkit_arena_end : (uintptr_t)&__heap_base;
  start = (start + 15) & ~(uint64_t)15;
  uint64_t end = start + size;
  uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) << 16;
  if (end > 0xffffffffu) return NULL;
  if (end > have && __builtin_wasm_memory_grow(0, (size_t)((end - have + 0xffff) >> 16)) == (size_t)-1) return NULL;
  genkit_arena_end = (uintptr_t)end;
  return (void *)(uintptr_t)start;
}
#else
GENKIT_FN void genkit_free_all(void) {}
GENKIT_FN void *genkit_alloc(uint32_t size) { return GENKIT_MALLOC(size ? size : 1); }
#endif

/* genkit_must_alloc is genkit_alloc that ends the call when there is no memory. */
GENKIT_FN void *genkit_must_alloc(uint32_t size) {
  void *p = genkit_alloc(size);
  if (p == NULL) __builtin_trap();
  return p;
}

/* The call's input: the raw JSON, or the text of a tool whose io is "text". */
GENKIT_FN genkit_buffer genkit_input(void) {
  genkit_buffer b;
  b.len = genkit_import_input_len();
  b.data = (char *)genkit_must_alloc(b.len);
  genkit_import_input(b.data);
  return b;
}

/* Sets the call's output; copied at once, a later call replaces an earlier one. */
GENKIT_FN void genkit_output(genkit_buffer b) { genkit_import_output(b.data, b.len); }

GENKIT_FN void genkit_log(int32_t level, genkit_buffer message) {
  genkit_import_log(level, message.data, message.len);
}

/* Fails the call with a text, or with JSON {"code","message","details"}:
 *     return genkit_fail(GENKIT_STRING("no such city")); */
GENKIT_FN int32_t genkit_fail(genkit_buffer error) {
  genkit_import_error(error.data, error.len);
  return 1;
}

/* Writes s as a JSON string with its quotes to out (room for 6 * s.len + 2 bytes)
 * and returns how many bytes it wrote. */
GENKIT_FN uint32_t genkit_quote(char *out, genkit_buffer s) {
  static const char hex[] = "0123456789abcdef";
  uint32_t n = 0;
  out[n++] = '"';
  for (uint32_t i = 0; i < s.len; i++) {
    unsigned char c = (unsigned char)s.data[i];
    if (c == '"' || c == '\\') {
      out[n++] = '\\';
      out[n++] = (char)c;
    } else if (c < 0x20) {
      out[n++] = '\\';
      out[n++] = 'u';
      out[n++] = '0';
      out[n++] = '0';
      out[n++] = hex[c >> 4];
      out[n++] = hex[c & 15];
    } else {
      out[n++] = (char)c;
    }
  }
  out[n++] = '"';
  return n;
}

/* Fails the call with a Genkit status name ("NOT_FOUND", …) and a message. */
GENKIT_FN int32_t genkit_fail_code(genkit_buffer code, genkit_buffer message) {
  static const char middle[] = ",\"message\":";
  char *out = (char *)genkit_must_alloc(6 * (code.len + message.len) + 64);
  uint32_t n = 0;
  for (const char *p = "{\"code\":"; *p; p++) out[n++] = *p;
  n += genkit_quote(out + n, code);
  for (const char *p = middle; *p; p++) out[n++] = *p;
  n += genkit_quote(out + n, message);
  out[n++] = '}';
  return genkit_fail(genkit_buffer_of(out, n));
}

/* Calls a capability, genkit_call(genkit_import_emit, request), and returns its
 * reply, {"ok": value} or {"error": {"code","message"}}. */
GENKIT_FN genkit_buffer genkit_call(uint32_t (*capability)(const void *, uint32_t), genkit_buffer request) {
  genkit_buffer b;
  b.len = capability(request.data, request.len);
  b.data = (char *)genkit_must_alloc(b.len);
  genkit_import_reply(b.data);
  return b;
}

/* Whether a reply is {"ok": …}, and its value. */
GENKIT_FN int genkit_ok(genkit_buffer reply, genkit_buffer *value) {
  static const char prefix[] = "{\"ok\":";
  if (reply.len < sizeof(prefix)) return 0;
  for (uint32_t i = 0; i < sizeof(prefix) - 1; i++)
    if (reply.data[i] != prefix[i]) return 0;
  if (value != NULL) *value = genkit_buffer_of(reply.data + sizeof(prefix) - 1, reply.len - (uint32_t)sizeof(prefix));
  return 1;
}

/* Streams one chunk, any JSON value. 0 when it was taken. */
GENKIT_FN int genkit_emit(genkit_buffer json) { return !genkit_ok(genkit_call(genkit_import_emit, json), NULL); }

/* Marks the call as interrupted, with a JSON object or null; return at once then.
 * 0 when it was taken. */
GENKIT_FN int genkit_interrupt(genkit_buffer metadata) {
  return !genkit_ok(genkit_call(genkit_import_interrupt, metadata), NULL);
}

/* The caller's context, a JSON object; "{}" when it is refused. */
GENKIT_FN genkit_buffer genkit_context(void) {
  genkit_buffer value = GENKIT_STRING("{}");
  genkit_ok(genkit_call(genkit_import_context, genkit_buffer_of("", 0)), &value);
  return value;
}

/* What the caller answered to this tool's interrupt, {"resumed": …, "originalInput": …};
 * "null" in a first run. */
GENKIT_FN genkit_buffer genkit_resumed(void) {
  genkit_buffer value = GENKIT_STRING("null");
  genkit_ok(genkit_call(genkit_import_resumed, genkit_buffer_of("", 0)), &value);
  return value;
}

/* Continues what a middleware's hook wraps; the reply is {"ok": the answer} or {"error": …}. */
GENKIT_FN genkit_buffer genkit_next(genkit_buffer request) {
  return genkit_call(genkit_import_next, request);
}

/* Builds a request: a JSON object with one member more, its value quoted or, with
 * json set, as it is. Start with GENKIT_STRING("{}"). The name is not escaped. */
GENKIT_FN genkit_buffer genkit_member(genkit_buffer object, genkit_buffer name, genkit_buffer value, int json) {
  char *out = (char *)genkit_must_alloc(object.len + name.len + 6 * value.len + 8);
  uint32_t n = 0;
  for (uint32_t i = 0; i + 1 < object.len; i++) out[n++] = object.data[i];
  if (object.len > 2) out[n++] = ',';
  n += genkit_quote(out + n, name);
  out[n++] = ':';
  if (json)
    for (uint32_t i = 0; i < value.len; i++) out[n++] = value.data[i];
  else
    n += genkit_quote(out + n, value);
  out[n++] = '}';
  return genkit_buffer_of(out, n);
}

/* Sends an HTTP request, {"method","url","headers","body"}, and returns the reply:
 * {"ok":{"status","headers","body"}}. Write {{secret:NAME}} in a header for a secret. */
GENKIT_FN genkit_buffer genkit_http(genkit_buffer request) { return genkit_call(genkit_import_http, request); }

/* Reads the value of a key, "null" when there is none. 0 when the host answered. */
GENKIT_FN int genkit_kv_get(genkit_buffer key, genkit_buffer *value) {
  return !genkit_ok(genkit_call(genkit_import_kv_get, genkit_member(GENKIT_STRING("{}"), GENKIT_STRING("key"), key, 0)), value);
}

/* Sets a key to a JSON value; "null" removes it. 0 when it was kept. */
GENKIT_FN int genkit_kv_set(genkit_buffer key, genkit_buffer json) {
  genkit_buffer request = genkit_member(GENKIT_STRING("{}"), GENKIT_STRING("key"), key, 0);
  return !genkit_ok(genkit_call(genkit_import_kv_set, genkit_member(request, GENKIT_STRING("value"), json, 1)), NULL);
}

/* The time, a JSON string such as "2026-01-02T15:04:05.000000006Z"; "null" when it is
 * refused. */
GENKIT_FN genkit_buffer genkit_now(void) {
  genkit_buffer value = GENKIT_STRING("null");
  genkit_ok(genkit_call(genkit_import_now, genkit_buffer_of("", 0)), &value);
  return value;
}

/* Runs an action by its key, such as "/tool/calc/add", on a JSON input, and returns the
 * reply. */
GENKIT_FN genkit_buffer genkit_run(genkit_buffer key, genkit_buffer json) {
  genkit_buffer request = genkit_member(GENKIT_STRING("{}"), GENKIT_STRING("key"), key, 0);
  return genkit_call(genkit_import_run, genkit_member(request, GENKIT_STRING("input"), json, 1));
}

/* Asks a model: Genkit's GenerateActionOptions in, the reply with a GenerateResponse
 * out. */
GENKIT_FN genkit_buffer genkit_generate(genkit_buffer options) { return genkit_call(genkit_import_generate, options); }

#ifdef __cplusplus
}
#endif
#endif
