/* number.h: numbers of 64 bits from JSON and to JSON, without a libc. Reading gives the nearest number, writing the
 * shortest text that is read as the same one. It works on whole decimal expansions, which is exact and not fast: about
 * 2000 instructions a number; whole numbers below 2^53, and short decimals that are read, take few. */
#ifndef GENKIT_NUMBER_H
#define GENKIT_NUMBER_H

#include "json.h"

#define NUMBER_LIMBS 90 /* of nine digits each; 5^1076 * 2^55 has 769 digits */
#define NUMBER_DIGITS (NUMBER_LIMBS * 9)

/* The text of a number, and how many digits of it there are. */
#define NUMBER_MAX_TEXT 32

static inline uint64_t number_bits(double x) {
  uint64_t bits;
  __builtin_memcpy(&bits, &x, 8);
  return bits;
}

static inline double number_of_bits(uint64_t bits) {
  double x;
  __builtin_memcpy(&x, &bits, 8);
  return x;
}

/* number_expand writes the digits of m * 2^e, as NUMBER_DIGITS characters from '0' to '9', the last of which counts
 * 10^(the result). m is below 2^56. */
static inline int number_expand(char *digits, uint64_t m, int e) {
  uint32_t limb[NUMBER_LIMBS]; /* the lowest first */
  for (int i = 0; i < NUMBER_LIMBS; i++) {
    limb[i] = (uint32_t)(m % 1000000000);
    m /= 1000000000;
  }
  int exponent = e < 0 ? e : 0;
  while (e != 0) {
    uint32_t factor = 1;
    for (; e > 0 && factor < (1u << 28); e--) factor *= 2;
    for (; e < 0 && factor < 244140625u; e++) factor *= 5; /* 2^e = 5^-e * 10^e */
    uint64_t carry = 0;
    for (int i = 0; i < NUMBER_LIMBS; i++) {
      carry += (uint64_t)limb[i] * factor;
      limb[i] = (uint32_t)(carry % 1000000000);
      carry /= 1000000000;
    }
  }
  for (int i = 0; i < NUMBER_LIMBS; i++)
    for (int j = 0; j < 9; j++, limb[i] /= 10) digits[NUMBER_DIGITS - 1 - 9 * i - j] = (char)('0' + limb[i] % 10);
  return exponent;
}

/* number_parts takes apart a finite number that is not negative: m * 2^e. */
static inline uint64_t number_parts(uint64_t bits, int *e) {
  int exponent = (int)(bits >> 52);
  uint64_t m = bits & 0xfffffffffffffu;
  *e = (exponent ? exponent : 1) - 1075;
  return exponent ? m | 1ull << 52 : m;
}

/* number_edges gives four times the borders of the texts that are read as m * 2^e. */
static inline void number_edges(uint64_t m, int e, uint64_t *low, uint64_t *high) {
  *low = 4 * m - (m == 1ull << 52 && e > -1074 ? 1 : 2);
  *high = 4 * m + 2;
}

static inline int number_less(const char *a, const char *b) {
  int i = 0;
  while (i < NUMBER_DIGITS - 1 && a[i] == b[i]) i++;
  return a[i] < b[i];
}

/* number_shortest finds the shortest digits that are read as the number, and returns how many; the first one counts
 * 10^*first. */
static inline int number_shortest(char *out, uint64_t bits, int *first) {
  char value[NUMBER_DIGITS], low[NUMBER_DIGITS], high[NUMBER_DIGITS], near[NUMBER_DIGITS];
  uint64_t under, over;
  int e, start = 0;
  uint64_t m = number_parts(bits, &e);
  number_edges(m, e, &under, &over);
  int exponent = number_expand(value, 4 * m, e - 2);
  number_expand(low, under, e - 2);
  number_expand(high, over, e - 2);
  while (value[start] == '0') start++;
  for (int n = 1;; n++) {
    int end = start + n; /* the digits from start to end, rounded; a carry may put one before them */
    for (int i = 0; i < NUMBER_DIGITS; i++) near[i] = i < end ? value[i] : '0';
    if (end < NUMBER_DIGITS && value[end] >= '5') {
      int i = end - 1;
      while (near[i] == '9') near[i--] = '0';
      near[i]++;
    }
    /* A text on the border is read as the neighbour with an even m. */
    int in = m % 2 ? number_less(low, near) && number_less(near, high) : !number_less(near, low) && !number_less(high, near);
    if (n < 17 && !in) continue;
    int at = near[start - 1] == '0' ? start : start - 1;
    n = 0;
    for (int i = at; i < end; i++) out[n++] = near[i];
    while (n > 1 && out[n - 1] == '0') n--;
    *first = NUMBER_DIGITS - 1 - at + exponent;
    return n;
  }
}

/* number_write writes a number as JSON, NUMBER_MAX_TEXT bytes at most, and returns how many. What is no finite number
 * is null, as JSON knows none. */
static inline uint32_t number_write(char *out, double x) {
  char digits[20];
  uint32_t at = 0;
  uint64_t bits = number_bits(x);
  if ((bits >> 52 & 0x7ff) == 0x7ff) {
    for (const char *p = "null"; *p; p++) out[at++] = *p;
    return at;
  }
  if (bits >> 63) out[at++] = '-';
  bits &= ~(1ull << 63);
  x = number_of_bits(bits);
  int n = 0, first = 0;
  if (x < 9007199254740992.0 && x == (double)(uint64_t)x) {
    uint64_t whole = (uint64_t)x;
    do digits[19 - n++] = (char)('0' + whole % 10);
    while (whole /= 10);
    for (int i = 0; i < n; i++) out[at++] = digits[20 - n + i];
    return at;
  }
  n = number_shortest(digits, bits, &first);
  if (first < -7 || first > 20) {
    for (int i = 0; i < n; i++) {
      if (i == 1) out[at++] = '.';
      out[at++] = digits[i];
    }
    out[at++] = 'e';
    if (first < 0) out[at++] = '-', first = -first;
    if (first >= 100) out[at++] = (char)('0' + first / 100);
    if (first >= 10) out[at++] = (char)('0' + first / 10 % 10);
    out[at++] = (char)('0' + first % 10);
    return at;
  }
  if (first < 0) {
    out[at++] = '0', out[at++] = '.';
    for (int i = -1; i > first; i--) out[at++] = '0';
    for (int i = 0; i < n; i++) out[at++] = digits[i];
    return at;
  }
  for (int i = 0; i < n || i <= first; i++) {
    if (i == first + 1) out[at++] = '.';
    out[at++] = i < n ? digits[i] : '0';
  }
  return at;
}

/* number_compare compares a decimal, n digits of which the first counts 10^first, with m * 2^e: -1, 0 or 1. */
static inline int number_compare(const char *digits, int n, int first, uint64_t m, int e) {
  char other[NUMBER_DIGITS];
  int exponent = number_expand(other, m, e), at = 0;
  while (at < NUMBER_DIGITS && other[at] == '0') at++;
  if (at == NUMBER_DIGITS) return 1;
  int theirs = NUMBER_DIGITS - 1 - at + exponent;
  if (first != theirs) return first < theirs ? -1 : 1;
  for (int i = 0; i < n || at + i < NUMBER_DIGITS; i++) {
    char a = i < n ? digits[i] : '0', b = at + i < NUMBER_DIGITS ? other[at + i] : '0';
    if (a != b) return a < b ? -1 : 1;
  }
  return 0;
}

/* number_nearest finds the number nearest to a decimal, beginning with a guess. */
static inline uint64_t number_nearest(const char *digits, int n, int first, double guess) {
  uint64_t bits = number_bits(guess);
  if (bits >> 52 == 0x7ff) bits--;
  for (;;) {
    uint64_t under, over;
    int e;
    uint64_t m = number_parts(bits, &e);
    number_edges(m, e, &under, &over);
    int c = number_compare(digits, n, first, over, e - 2);
    if (c > 0 || (c == 0 && m % 2)) {
      bits++;
      if (c == 0 || bits >> 52 == 0x7ff) return bits;
      continue;
    }
    if (m == 0) return bits;
    c = number_compare(digits, n, first, under, e - 2);
    if (c > 0 || (c == 0 && m % 2 == 0)) return bits;
    bits--;
    if (c == 0) return bits;
  }
}

/* number_read reads a JSON number that json_skip_value has passed; 0 for anything else. Beyond what 64 bits hold it is
 * infinite, or 0. */
static inline double number_read(json_span s) {
  static const double powers[] = {1e1, 1e2, 1e4, 1e8, 1e16, 1e32, 1e64, 1e128, 1e256};
  char digits[NUMBER_DIGITS];
  if (!json_is_number(s)) return 0;
  const char *p = s.start;
  int negative = *p == '-', n = 0, more = 0, exponent = 0, fraction = 0;
  uint64_t lead = 0; /* of up to 19 digits */
  for (p += negative; p < s.end && *p != 'e' && *p != 'E'; p++) {
    if (*p == '.') {
      fraction = 1;
      continue;
    }
    exponent -= fraction;
    if (n == 0 && *p == '0') continue;
    if (n < NUMBER_DIGITS - 1) digits[n++] = *p;
    else more |= *p != '0', exponent++;
    if (n <= 19) lead = lead * 10 + (uint64_t)(*p - '0');
  }
  if (p < s.end) {
    p++;
    int down = *p == '-', given = 0;
    if (*p == '-' || *p == '+') p++;
    for (; p < s.end; p++)
      if (given < 1000000) given = given * 10 + (*p - '0');
    exponent += down ? -given : given;
  }
  double x;
  if (more) digits[n - 1] = digits[n - 1] == '0' || digits[n - 1] == '5' ? (char)(digits[n - 1] + 1) : digits[n - 1];
  int first = exponent + n - 1;
  if (n == 0 || first < -330) {
    x = 0;
  } else if (first > 310) {
    x = __builtin_inf();
  } else if (n <= 15 && exponent >= -22 && exponent <= 22) {
    double power = 1; /* exact, as lead is: one operation rounds */
    for (int i = 0; i < exponent || i < -exponent; i++) power *= 10;
    x = exponent < 0 ? (double)lead / power : (double)lead * power;
  } else {
    int scale = first + 1 - (n < 19 ? n : 19);
    x = (double)lead;
    for (int i = 0, rest = scale < 0 ? -scale : scale; rest; i++, rest >>= 1)
      if (rest & 1) x = scale < 0 ? x / powers[i] : x * powers[i];
    x = number_of_bits(number_nearest(digits, n, first, x));
  }
  return negative ? -x : x;
}

#endif
