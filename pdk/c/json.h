/* json.h: a JSON reader (RFC 8259) that copies nothing: it checks the text and says where
 * values begin and end. It recurses nowhere. The host has checked the UTF-8. */
#ifndef GENKIT_JSON_H
#define GENKIT_JSON_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  const char *at, *end;
} json_reader;

typedef struct {
  const char *start, *end;
} json_span;

#define JSON_MAX_DEPTH 512

static inline void json_skip_space(json_reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) r->at++;
}

/* json_take moves past c, when it is next. */
static inline int json_take(json_reader *r, char c) {
  if (r->at >= r->end || *r->at != c) return 0;
  r->at++;
  return 1;
}

static inline int json_hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* json_stop8 looks at the eight bytes at p, which are in a string: the lowest bit that is set stands in the first byte that is a
 * quote, a backslash or a control character; 0 means that there is none. Subtracting n from each byte sets the top bit of one
 * that was below n, unless it had been set; a borrow can only come from a byte that was below n, and so behind the first. */
static inline uint64_t json_stop8(const char *p) {
  const uint64_t each = 0x0101010101010101u;
  uint64_t x;
  __builtin_memcpy(&x, p, 8);
  uint64_t quotes = (x ^ each * '"') - each, slashes = (x ^ each * '\\') - each;
  return (quotes | slashes | (x - each * 0x20)) & ~x & each * 0x80;
}

/* json_skip_string keeps its place in a local, which a compiler can hold in a register:
 * through r it would be written and read again for every byte. */
static int json_skip_string(json_reader *r) {
  if (!json_take(r, '"')) return 0;
  const char *at = r->at, *end = r->end;
  while (at < end) {
    while (end - at >= 8) {
      uint64_t stop = json_stop8(at);
      if (stop != 0) {
        at += __builtin_ctzll(stop) >> 3;
        break;
      }
      at += 8;
    }
    if (at == end) return 0;
    unsigned char c = (unsigned char)*at++;
    if (c == '"') {
      r->at = at;
      return 1;
    }
    if (c < 0x20) return 0;
    if (c != '\\') continue;
    if (at >= end) return 0;
    switch (*at++) {
      case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
        break;
      case 'u':
        for (int i = 0; i < 4; i++, at++)
          if (at >= end || json_hex(*at) < 0) return 0;
        break;
      default:
        return 0;
    }
  }
  return 0;
}

static inline int json_skip_digits(json_reader *r) {
  const char *start = r->at;
  while (r->at < r->end && *r->at >= '0' && *r->at <= '9') r->at++;
  return r->at > start;
}

static int json_skip_number(json_reader *r) {
  json_take(r, '-');
  if (!json_take(r, '0') && !json_skip_digits(r)) return 0;
  if (json_take(r, '.') && !json_skip_digits(r)) return 0;
  if (json_take(r, 'e') || json_take(r, 'E')) {
    if (!json_take(r, '+')) json_take(r, '-');
    if (!json_skip_digits(r)) return 0;
  }
  return 1;
}

static int json_skip_word(json_reader *r, const char *word) {
  for (; *word; word++)
    if (!json_take(r, *word)) return 0;
  return 1;
}

static int json_skip_scalar(json_reader *r) {
  if (r->at >= r->end) return 0;
  switch (*r->at) {
    case '"': return json_skip_string(r);
    case 't': return json_skip_word(r, "true");
    case 'f': return json_skip_word(r, "false");
    case 'n': return json_skip_word(r, "null");
    default: return json_skip_number(r);
  }
}

/* json_skip_value moves past one value, nested ones included. */
static int json_skip_value(json_reader *r) {
  uint8_t is_object[JSON_MAX_DEPTH];
  int depth = 0;
  for (;;) {
    /* A value starts here. */
    json_skip_space(r);
    int opened = 0;
    if (json_take(r, '{')) {
      if (depth == JSON_MAX_DEPTH) return 0;
      is_object[depth++] = 1;
      json_skip_space(r);
      opened = !json_take(r, '}');
      if (!opened) depth--;
    } else if (json_take(r, '[')) {
      if (depth == JSON_MAX_DEPTH) return 0;
      is_object[depth++] = 0;
      json_skip_space(r);
      opened = !json_take(r, ']');
      if (!opened) depth--;
    } else if (!json_skip_scalar(r)) {
      return 0;
    }
    /* A value has ended here, unless one was opened: close what it ends. */
    while (!opened) {
      if (depth == 0) return 1;
      json_skip_space(r);
      if (json_take(r, ',')) break;
      if (!json_take(r, is_object[depth - 1] ? '}' : ']')) return 0;
      depth--;
    }
    if (is_object[depth - 1]) {
      json_skip_space(r);
      if (!json_skip_string(r)) return 0;
      json_skip_space(r);
      if (!json_take(r, ':')) return 0;
    }
  }
}

/* json_string_is compares a valid string, quotes included, with ASCII text. */
static int json_string_is(json_span s, const char *text) {
  const char *p = s.start + 1, *end = s.end - 1;
  for (; *text; text++) {
    if (p >= end) return 0;
    int c = (unsigned char)*p++;
    if (c == '\\') {
      c = *p++;
      if (c == 'u') {
        c = json_hex(p[0]) << 12 | json_hex(p[1]) << 8 | json_hex(p[2]) << 4 | json_hex(p[3]);
        p += 4;
      } else if (c != '"' && c != '\\' && c != '/') {
        return 0; /* a control character */
      }
    }
    if (c != *text) return 0;
  }
  return p == end;
}

static inline int json_is_number(json_span s) { return s.start != NULL && (*s.start == '-' || (*s.start >= '0' && *s.start <= '9')); }

#endif
