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

/* json_root makes a span of a text that holds one JSON value; its start is NULL when it does not. */
static inline json_span json_root(const char *text, size_t len) {
  json_reader r = {text, text + len};
  json_span s = {NULL, NULL};
  json_skip_space(&r);
  const char *start = r.at;
  if (!json_skip_value(&r)) return s;
  s.start = start;
  s.end = r.at;
  json_skip_space(&r);
  if (r.at != r.end) s.start = s.end = NULL;
  return s;
}

/* json_items begins to go through the items of an array, or the members of an object: json_next and json_next_member
 * give one after the other. Anything else has none. */
static inline json_reader json_items(json_span list) {
  json_reader r = {list.start, list.end};
  if (list.start == NULL || (*r.at != '[' && *r.at != '{')) r.end = r.at;
  else r.at++;
  return r;
}

static inline int json_next(json_reader *r, json_span *item) {
  if (r->at == r->end) return 0;
  json_skip_space(r);
  json_take(r, ',');
  json_skip_space(r);
  item->start = r->at;
  if (r->at == r->end || *r->at == ']' || *r->at == '}' || !json_skip_value(r)) return 0;
  item->end = r->at;
  return 1;
}

static inline int json_next_member(json_reader *r, json_span *name, json_span *value) {
  if (!json_next(r, name)) return 0;
  json_skip_space(r);
  json_take(r, ':');
  return json_next(r, value);
}

/* json_get gives the value of a member, the last one where a name is there twice; start is NULL when there is none. The
 * span is one of a text that json_root or json_skip_value has read. */
static inline json_span json_get(json_span object, const char *name) {
  json_span found = {NULL, NULL}, key, value;
  if (object.start == NULL || *object.start != '{') return found;
  json_reader r = json_items(object);
  while (json_next_member(&r, &key, &value))
    if (json_string_is(key, name)) found = value;
  return found;
}

static inline int json_is_string(json_span s) { return s.start != NULL && *s.start == '"'; }

/* json_put writes a character in UTF-8 and returns how many bytes. */
static inline uint32_t json_put(char *out, uint32_t c) {
  if (c < 0x80) {
    out[0] = (char)c;
    return 1;
  }
  uint32_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  out[0] = (char)((0xf00 >> more & 0xff) | c >> (6 * more));
  for (uint32_t i = 1; i <= more; i++) out[i] = (char)(0x80 | (c >> (6 * (more - i)) & 0x3f));
  return more + 1;
}

static inline uint32_t json_hex4(const char *p) {
  return (uint32_t)(json_hex(p[0]) << 12 | json_hex(p[1]) << 8 | json_hex(p[2]) << 4 | json_hex(p[3]));
}

/* json_unquote writes the text of a string in UTF-8, which is no longer than the string, and returns its length. Half a
 * surrogate pair becomes U+FFFD. */
static inline uint32_t json_unquote(char *out, json_span s) {
  uint32_t n = 0;
  if (!json_is_string(s)) return 0;
  for (const char *p = s.start + 1; p < s.end - 1; p++) {
    if (*p != '\\') {
      out[n++] = *p;
      continue;
    }
    uint32_t c = (unsigned char)*++p;
    switch (c) {
      case 'b': c = '\b'; break;
      case 'f': c = '\f'; break;
      case 'n': c = '\n'; break;
      case 'r': c = '\r'; break;
      case 't': c = '\t'; break;
      case 'u':
        c = json_hex4(p + 1);
        p += 4;
        if (c >= 0xd800 && c < 0xdc00 && p[1] == '\\' && p[2] == 'u') {
          uint32_t low = json_hex4(p + 3);
          if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            p += 6;
          }
        }
        if (c >= 0xd800 && c < 0xe000) c = 0xfffd;
    }
    n += json_put(out + n, c);
  }
  return n;
}

static inline int json_is_number(json_span s) { return s.start != NULL && (*s.start == '-' || (*s.start >= '0' && *s.start <= '9')); }

#endif
