/* Exact addition of decimal numbers as JSON writes them. */
#ifndef CALC_DECIMAL_H
#define CALC_DECIMAL_H

#include "genkit.h"
#include "json.h"

/* More than any two float64 span: 1e308 + 5e-324 has 633. */
#define DECIMAL_MAX_DIGITS 1200
#define DECIMAL_MAX_EXPONENT 100000

/* The value is ±digits × 10^exponent; digits[0] is the most significant and is 0
 * to 9, not '0' to '9'. Neither end is 0. Zero has no digits. */
typedef struct {
  int negative;
  uint8_t *digits;
  int32_t count;
  int32_t exponent;
} decimal;

static void decimal_trim(decimal *d) {
  while (d->count > 0 && d->digits[d->count - 1] == 0) d->count--, d->exponent++;
  while (d->count > 0 && d->digits[0] == 0) d->digits++, d->count--;
  if (d->count == 0) d->exponent = d->negative = 0;
}

/* decimal_parse reads a valid JSON number. 0 when it is out of range. */
static int decimal_parse(decimal *d, json_span s) {
  const char *p = s.start;
  d->digits = (uint8_t *)genkit_must_alloc((uint32_t)(s.end - s.start));
  d->count = d->exponent = 0;
  d->negative = *p == '-';
  int fraction = 0;
  for (p += d->negative; p < s.end && *p != 'e' && *p != 'E'; p++) {
    if (*p == '.') {
      fraction = 1;
      continue;
    }
    d->digits[d->count++] = (uint8_t)(*p - '0');
    d->exponent -= fraction;
  }
  int32_t e = 0;
  if (p < s.end) {
    p++;
    int negative = *p == '-';
    if (*p == '-' || *p == '+') p++;
    for (; p < s.end; p++)
      if (e <= DECIMAL_MAX_EXPONENT) e = e * 10 + (*p - '0');
    if (negative) e = -e;
  }
  decimal_trim(d);
  if (d->count == 0) return 1;
  d->exponent += e;
  return e <= DECIMAL_MAX_EXPONENT && e >= -DECIMAL_MAX_EXPONENT && d->count <= DECIMAL_MAX_DIGITS;
}

/* decimal_spread lays d out over size digits, the last of which counts 10^low. */
static uint8_t *decimal_spread(const decimal *d, int32_t low, int32_t size) {
  uint8_t *out = (uint8_t *)genkit_must_alloc((uint32_t)size);
  for (int32_t i = 0; i < size; i++) out[i] = 0;
  int32_t first = size - d->count - (d->exponent - low);
  for (int32_t i = 0; i < d->count; i++) out[first + i] = d->digits[i];
  return out;
}

/* decimal_add sets sum to x + y. 0 when the sum has too many digits. */
static int decimal_add(decimal *sum, const decimal *x, const decimal *y) {
  if (x->count == 0 || y->count == 0) {
    *sum = x->count == 0 ? *y : *x;
    return 1;
  }
  int32_t low = x->exponent < y->exponent ? x->exponent : y->exponent;
  int32_t xtop = x->exponent + x->count, ytop = y->exponent + y->count;
  int32_t size = (xtop > ytop ? xtop : ytop) - low + 1; /* one for the carry */
  if (size > DECIMAL_MAX_DIGITS) return 0;
  uint8_t *a = decimal_spread(x, low, size), *b = decimal_spread(y, low, size);
  sum->negative = x->negative;
  if (x->negative == y->negative) {
    int carry = 0;
    for (int32_t i = size - 1; i >= 0; i--) {
      int v = a[i] + b[i] + carry;
      carry = v > 9;
      a[i] = (uint8_t)(carry ? v - 10 : v);
    }
  } else {
    int32_t i = 0;
    while (i < size && a[i] == b[i]) i++;
    if (i < size && a[i] < b[i]) { /* |x| < |y|: subtract the other way round */
      uint8_t *t = a;
      a = b;
      b = t;
      sum->negative = y->negative;
    }
    int borrow = 0;
    for (i = size - 1; i >= 0; i--) {
      int v = a[i] - b[i] - borrow;
      borrow = v < 0;
      a[i] = (uint8_t)(borrow ? v + 10 : v);
    }
  }
  sum->digits = a;
  sum->count = size;
  sum->exponent = low;
  decimal_trim(sum);
  return 1;
}

/* decimal_print writes d as JavaScript would: plain between 1e-7 and 1e21, with an
 * exponent outside. All digits are kept. At most DECIMAL_MAX_DIGITS + 32 bytes. */
static uint32_t decimal_print(char *out, const decimal *d) {
  uint32_t n = 0;
  int32_t point = d->count + d->exponent; /* digits before the decimal point */
  if (d->count == 0) {
    out[n++] = '0';
    return n;
  }
  if (d->negative) out[n++] = '-';
  if (point > -6 && point <= 21) {
    if (point <= 0) {
      out[n++] = '0';
      out[n++] = '.';
      for (int32_t i = point; i < 0; i++) out[n++] = '0';
    }
    for (int32_t i = 0; i < d->count; i++) {
      if (i == point && i > 0) out[n++] = '.';
      out[n++] = (char)('0' + d->digits[i]);
    }
    for (int32_t i = d->count; i < point; i++) out[n++] = '0';
    return n;
  }
  for (int32_t i = 0; i < d->count; i++) {
    if (i == 1) out[n++] = '.';
    out[n++] = (char)('0' + d->digits[i]);
  }
  int32_t e = point - 1;
  out[n++] = 'e';
  out[n++] = e < 0 ? '-' : '+';
  if (e < 0) e = -e;
  char reversed[12];
  int32_t k = 0;
  for (; e > 0; e /= 10) reversed[k++] = (char)('0' + e % 10);
  while (k > 0) out[n++] = reversed[--k];
  return n;
}

#endif
