/* The part of pdk/c/genkit.h that examples/calc uses, over Extism's host/env instead
 * of genkit_v1, so that one source measures both conventions. */
#ifndef BENCH_EXTISM_H
#define BENCH_EXTISM_H

#include <stddef.h>
#include <stdint.h>

#define EXTISM(name) __attribute__((import_module("extism:host/env"), import_name(name)))
EXTISM("input_length") uint64_t extism_input_length(void);
EXTISM("input_load_u8") uint32_t extism_input_load_u8(uint64_t at);
EXTISM("input_load_u64") uint64_t extism_input_load_u64(uint64_t at);
EXTISM("alloc") uint64_t extism_alloc(uint64_t len);
EXTISM("store_u8") void extism_store_u8(uint64_t at, uint32_t value);
EXTISM("store_u64") void extism_store_u64(uint64_t at, uint64_t value);
EXTISM("output_set") void extism_output_set(uint64_t at, uint64_t len);
EXTISM("error_set") void extism_error_set(uint64_t at);

typedef struct {
  const char *data;
  uint32_t len;
} genkit_buffer;

#define GENKIT_STRING(s) ((genkit_buffer){(s), sizeof(s) - 1})
#define GENKIT_DESCRIPTOR(...)
#define GENKIT_TOOL(name) __attribute__((export_name(#name))) int32_t name(void)

static inline genkit_buffer genkit_buffer_of(const char *data, uint32_t len) { return (genkit_buffer){data, len}; }

extern uint8_t __heap_base;
static uintptr_t bench_top;

static inline void *genkit_must_alloc(uint32_t len) {
  if (bench_top == 0) bench_top = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
  uintptr_t at = bench_top;
  bench_top += (len + 15) & ~(uint32_t)15;
  uintptr_t have = (uintptr_t)__builtin_wasm_memory_size(0) << 16;
  if (bench_top > have && __builtin_wasm_memory_grow(0, (bench_top - have + 65535) >> 16) == (size_t)-1) __builtin_trap();
  return (void *)at;
}

static inline genkit_buffer genkit_input(void) {
  uint32_t len = (uint32_t)extism_input_length(), i = 0;
  char *data = (char *)genkit_must_alloc(len + 8);
  for (; i + 8 <= len; i += 8) *(uint64_t *)(data + i) = extism_input_load_u64(i);
  for (; i < len; i++) data[i] = (char)extism_input_load_u8(i);
  return genkit_buffer_of(data, len);
}

static inline uint64_t bench_put(genkit_buffer b) {
  uint64_t at = extism_alloc(b.len);
  uint32_t i = 0;
  for (; i + 8 <= b.len; i += 8) extism_store_u64(at + i, *(const uint64_t *)(b.data + i));
  for (; i < b.len; i++) extism_store_u8(at + i, (uint8_t)b.data[i]);
  return at;
}

static inline void genkit_output(genkit_buffer b) { extism_output_set(bench_put(b), b.len); }

static inline int32_t genkit_fail_code(genkit_buffer code, genkit_buffer message) {
  (void)code;
  extism_error_set(bench_put(message));
  return 1;
}
#endif
