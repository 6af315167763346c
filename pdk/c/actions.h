/* actions.h: the parts of a module that are no tools, in C or C++: embedders, evaluators, retrievers, indexers,
 * rerankers, models, resources, middleware and formats (../abi.md, sections 9 to 11).
 *
 *     #include "actions.h"
 *
 *     GENKIT_EMBEDDER(letters) {
 *       genkit_document d;
 *       while (genkit_next_document(&documents, &d)) {
 *         double vector[1] = {genkit_document_text(d).len};
 *         genkit_put_embedding(out, vector, 1);
 *       }
 *       return 0;
 *     }
 *
 * Each macro defines and exports a function, as GENKIT_TOOL does. The comment above it names what its body finds; it
 * returns 0, or what genkit_fail_code gives. `options` is the JSON of the request's options, of which json_get gives the
 * members. What the body writes to `out` is the answer. Values are spans of the input: nothing is copied, and what
 * Genkit's requests and documents have besides goes out as it came.
 *
 * Memory is that of genkit_alloc, which is free again with the next call.
 */
#ifndef GENKIT_ACTIONS_H
#define GENKIT_ACTIONS_H

#include "genkit.h"
#include "json.h"
#include "number.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Text and JSON */

/* A text that grows. Start with GENKIT_WRITER. */
typedef struct {
  char *data;
  uint32_t len, size;
  uint32_t items; /* that genkit_item has begun */
} genkit_writer;

#define GENKIT_WRITER {NULL, 0, 0, 0}

/* Makes room for more bytes and returns where they go; add to len what was written there. */
GENKIT_FN char *genkit_room(genkit_writer *w, uint32_t more) {
  if (w->size - w->len < more) {
    uint32_t size = w->size * 2 + more + 256;
    char *data = (char *)genkit_must_alloc(size);
    for (uint32_t i = 0; i < w->len; i++) data[i] = w->data[i];
    w->data = data;
    w->size = size;
  }
  return w->data + w->len;
}

/* Writes bytes as they are. */
GENKIT_FN void genkit_write(genkit_writer *w, genkit_buffer b) {
  char *to = genkit_room(w, b.len);
  for (uint32_t i = 0; i < b.len; i++) to[i] = b.data[i];
  w->len += b.len;
}

GENKIT_FN genkit_buffer genkit_cstring(const char *text) {
  uint32_t n = 0;
  while (text[n]) n++;
  return genkit_buffer_of(text, n);
}

/* Writes a text that ends with a zero byte, such as a literal. */
GENKIT_FN void genkit_write_literal(genkit_writer *w, const char *text) { genkit_write(w, genkit_cstring(text)); }

/* Writes a text as a JSON string. */
GENKIT_FN void genkit_write_string(genkit_writer *w, genkit_buffer text) {
  w->len += genkit_quote(genkit_room(w, 6 * text.len + 2), text);
}

/* Writes a JSON value, null for none. */
GENKIT_FN void genkit_write_json(genkit_writer *w, json_span value) {
  if (value.start == NULL) genkit_write_literal(w, "null");
  else genkit_write(w, genkit_buffer_of(value.start, (uint32_t)(value.end - value.start)));
}

GENKIT_FN void genkit_write_number(genkit_writer *w, double x) { w->len += number_write(genkit_room(w, NUMBER_MAX_TEXT), x); }

/* Writes the comma between items of a list. */
GENKIT_FN void genkit_item(genkit_writer *w) {
  if (w->items++) genkit_write_literal(w, ",");
}

GENKIT_FN genkit_buffer genkit_written(const genkit_writer *w) { return genkit_buffer_of(w->data, w->len); }

GENKIT_FN json_span genkit_span(genkit_buffer json) { return json_root(json.data, json.len); }

/* The text of a JSON string; empty for anything else. */
GENKIT_FN genkit_buffer genkit_text(json_span string) {
  genkit_buffer b = {NULL, 0};
  if (!json_is_string(string)) return b;
  b.data = (char *)genkit_must_alloc((uint32_t)(string.end - string.start));
  b.len = json_unquote(b.data, string);
  return b;
}

GENKIT_FN int genkit_equal(genkit_buffer a, genkit_buffer b) {
  if (a.len != b.len) return 0;
  for (uint32_t i = 0; i < a.len; i++)
    if (a.data[i] != b.data[i]) return 0;
  return 1;
}

/* An object with one member set to a JSON value; the others stay as they are. */
GENKIT_FN genkit_buffer genkit_with(json_span object, const char *name, genkit_buffer json) {
  genkit_writer w = GENKIT_WRITER;
  json_span key, value;
  json_reader r = json_items(object);
  genkit_write_literal(&w, "{");
  while (json_next_member(&r, &key, &value)) {
    if (json_string_is(key, name)) continue;
    genkit_item(&w);
    genkit_write_json(&w, key);
    genkit_write_literal(&w, ":");
    genkit_write_json(&w, value);
  }
  genkit_item(&w);
  genkit_write_string(&w, genkit_cstring(name));
  genkit_write_literal(&w, ":");
  genkit_write(&w, json);
  genkit_write_literal(&w, "}");
  return genkit_written(&w);
}

/* ---- Parts, documents, messages */

/* The texts of parts, one after the other. */
GENKIT_FN genkit_buffer genkit_parts_text(json_span parts) {
  genkit_writer w = GENKIT_WRITER;
  json_span part;
  json_reader r = json_items(parts);
  while (json_next(&r, &part)) genkit_write(&w, genkit_text(json_get(part, "text")));
  return genkit_written(&w);
}

/* Writes a part with a text as the next item of a list. */
GENKIT_FN void genkit_put_text(genkit_writer *parts, genkit_buffer text) {
  genkit_item(parts);
  genkit_write_literal(parts, "{\"text\":");
  genkit_write_string(parts, text);
  genkit_write_literal(parts, "}");
}

typedef struct {
  json_span json, content, metadata;
} genkit_document;

GENKIT_FN genkit_document genkit_document_of(json_span json) {
  genkit_document d = {json, json_get(json, "content"), json_get(json, "metadata")};
  return d;
}

GENKIT_FN int genkit_next_document(json_reader *documents, genkit_document *d) {
  json_span json;
  if (!json_next(documents, &json)) return 0;
  *d = genkit_document_of(json);
  return 1;
}

GENKIT_FN genkit_buffer genkit_document_text(genkit_document d) { return genkit_parts_text(d.content); }

/* Writes a document as it came as the next item of a list. */
GENKIT_FN void genkit_put_document(genkit_writer *out, genkit_document d) {
  genkit_item(out);
  genkit_write_json(out, d.json);
}

/* Writes a document of one text with its metadata, a JSON object; empty for none. */
GENKIT_FN void genkit_put_text_document(genkit_writer *out, genkit_buffer text, genkit_buffer metadata) {
  genkit_writer parts = GENKIT_WRITER;
  genkit_put_text(&parts, text);
  genkit_item(out);
  genkit_write_literal(out, "{\"content\":[");
  genkit_write(out, genkit_written(&parts));
  genkit_write_literal(out, "]");
  if (metadata.len) {
    genkit_write_literal(out, ",\"metadata\":");
    genkit_write(out, metadata);
  }
  genkit_write_literal(out, "}");
}

/* Reads a request; 0 when it is nested too deep for json.h. */
GENKIT_FN int genkit_request(json_span *request) {
  *request = genkit_span(genkit_input());
  return request->start != NULL;
}

GENKIT_FN int32_t genkit_too_deep(void) {
  return genkit_fail_code(GENKIT_STRING("INVALID_ARGUMENT"), GENKIT_STRING("the request is nested too deep"));
}

/* Sets the output to before, the items and after, when a body has returned 0; gives what the export returns. */
GENKIT_FN int32_t genkit_answer(int32_t code, const char *before, const genkit_writer *items, const char *after) {
  genkit_writer w = GENKIT_WRITER;
  if (code != 0) return code;
  genkit_write_literal(&w, before);
  genkit_write(&w, genkit_written(items));
  genkit_write_literal(&w, after);
  genkit_output(genkit_written(&w));
  return 0;
}

/* ---- The kinds */

/* Defines the export `name` that runs serve with a body, whose parameters follow. */
#define GENKIT_SERVE_(name, serve, ...)                             \
  static int32_t genkit_action_##name(__VA_ARGS__);                 \
  GENKIT_TOOL(name) { return serve(genkit_action_##name); }         \
  static int32_t genkit_action_##name(__VA_ARGS__)
#define GENKIT_UNUSED_ __attribute__((unused))

/* An embedder: `documents`, for genkit_next_document; write a vector for each by genkit_put_embedding. */
#define GENKIT_EMBEDDER(name) \
  GENKIT_SERVE_(name, genkit_embedder, json_reader documents GENKIT_UNUSED_, json_span options GENKIT_UNUSED_, genkit_writer *out GENKIT_UNUSED_)

GENKIT_FN void genkit_put_embedding(genkit_writer *out, const double *vector, uint32_t dimensions) {
  genkit_item(out);
  genkit_write_literal(out, "{\"embedding\":[");
  for (uint32_t i = 0; i < dimensions; i++) {
    if (i) genkit_write_literal(out, ",");
    genkit_write_number(out, vector[i]);
  }
  genkit_write_literal(out, "]}");
}

GENKIT_FN int32_t genkit_embedder(int32_t (*body)(json_reader, json_span, genkit_writer *)) {
  json_span r;
  genkit_writer out = GENKIT_WRITER;
  if (!genkit_request(&r)) return genkit_too_deep();
  return genkit_answer(body(json_items(json_get(r, "input")), json_get(r, "options"), &out), "{\"embeddings\":[", &out, "]}");
}

/* An evaluator, for each case: `id`, a text; `testcase`, JSON with "input", "output", "context" and "reference"; write its
 * scores by genkit_put_score. */
#define GENKIT_EVALUATOR(name) \
  GENKIT_SERVE_(name, genkit_evaluator, genkit_buffer id GENKIT_UNUSED_, json_span testcase GENKIT_UNUSED_, json_span options GENKIT_UNUSED_, genkit_writer *out GENKIT_UNUSED_)

/* A score. Members that are empty or NULL are left out. */
typedef struct {
  const char *id;          /* tells several scores of one case apart */
  genkit_buffer score;     /* JSON: a number, a string or a boolean */
  const char *status;      /* "PASS", "FAIL" or "UNKNOWN" */
  genkit_buffer error;     /* a text: why there is no score */
  genkit_buffer reasoning; /* a text */
} genkit_score;

GENKIT_FN void genkit_score_member(genkit_writer *w, const char *name, genkit_buffer json) {
  genkit_item(w);
  genkit_write_string(w, genkit_cstring(name));
  genkit_write_literal(w, ":");
  genkit_write(w, json);
}

GENKIT_FN genkit_buffer genkit_quoted(genkit_buffer text) {
  genkit_writer w = GENKIT_WRITER;
  genkit_write_string(&w, text);
  return genkit_written(&w);
}

GENKIT_FN void genkit_put_score(genkit_writer *out, const genkit_score *s) {
  genkit_writer w = GENKIT_WRITER;
  if (s->id) genkit_score_member(&w, "id", genkit_quoted(genkit_cstring(s->id)));
  if (s->score.len) genkit_score_member(&w, "score", s->score);
  if (s->status) genkit_score_member(&w, "status", genkit_quoted(genkit_cstring(s->status)));
  if (s->error.len) genkit_score_member(&w, "error", genkit_quoted(s->error));
  if (s->reasoning.len) genkit_score_member(&w, "details", genkit_member(GENKIT_STRING("{}"), GENKIT_STRING("reasoning"), s->reasoning, 0));
  genkit_item(out);
  genkit_write_literal(out, "{");
  genkit_write(out, genkit_written(&w));
  genkit_write_literal(out, "}");
}

GENKIT_FN int32_t genkit_evaluator(int32_t (*body)(genkit_buffer, json_span, json_span, genkit_writer *)) {
  json_span r, one;
  genkit_writer out = GENKIT_WRITER;
  if (!genkit_request(&r)) return genkit_too_deep();
  json_reader cases = json_items(json_get(r, "dataset"));
  while (json_next(&cases, &one)) {
    genkit_writer scores = GENKIT_WRITER;
    json_span id = json_get(one, "testCaseId");
    int32_t code = body(genkit_text(id), one, json_get(r, "options"), &scores);
    if (code != 0) return code;
    genkit_item(&out);
    genkit_write_literal(&out, "{\"testCaseId\":");
    genkit_write_json(&out, id);
    genkit_write_literal(&out, ",\"evaluation\":[");
    genkit_write(&out, genkit_written(&scores));
    genkit_write_literal(&out, "]}");
  }
  return genkit_answer(0, "[", &out, "]");
}

/* A retriever: `query`; write what is found by genkit_put_document and genkit_put_text_document, the best first. */
#define GENKIT_RETRIEVER(name) \
  GENKIT_SERVE_(name, genkit_retriever, genkit_document query GENKIT_UNUSED_, json_span options GENKIT_UNUSED_, genkit_writer *out GENKIT_UNUSED_)

GENKIT_FN int32_t genkit_retriever(int32_t (*body)(genkit_document, json_span, genkit_writer *)) {
  json_span r;
  genkit_writer out = GENKIT_WRITER;
  if (!genkit_request(&r)) return genkit_too_deep();
  return genkit_answer(body(genkit_document_of(json_get(r, "query")), json_get(r, "options"), &out), "{\"documents\":[", &out, "]}");
}

/* An indexer: `documents`, which it stores. */
#define GENKIT_INDEXER(name) GENKIT_SERVE_(name, genkit_indexer, json_reader documents GENKIT_UNUSED_, json_span options GENKIT_UNUSED_)

GENKIT_FN int32_t genkit_indexer(int32_t (*body)(json_reader, json_span)) {
  json_span r;
  if (!genkit_request(&r)) return genkit_too_deep();
  return body(json_items(json_get(r, "documents")), json_get(r, "options"));
}

/* A reranker: `query` and `documents`; give each its score by genkit_rank, in any order: the best go out first. A document
 * without a score is left out. */
#define GENKIT_RERANKER(name) \
  GENKIT_SERVE_(name, genkit_reranker, genkit_document query GENKIT_UNUSED_, json_reader documents GENKIT_UNUSED_, json_span options GENKIT_UNUSED_, genkit_ranking *out GENKIT_UNUSED_)

typedef struct genkit_ranked {
  genkit_document document;
  double score;
  struct genkit_ranked *next;
} genkit_ranked;

typedef struct {
  genkit_ranked *best; /* then the next one */
  uint32_t count;
  uint32_t most; /* how many go out; UINT32_MAX at first */
} genkit_ranking;

/* Among equals the first stays first. */
GENKIT_FN void genkit_rank(genkit_ranking *out, genkit_document d, double score) {
  genkit_ranked *r = (genkit_ranked *)genkit_must_alloc(sizeof(*r)), **at = &out->best;
  while (*at && (*at)->score >= score) at = &(*at)->next;
  r->document = d;
  r->score = score;
  r->next = *at;
  *at = r;
  out->count++;
}

GENKIT_FN int32_t genkit_reranker(int32_t (*body)(genkit_document, json_reader, json_span, genkit_ranking *)) {
  json_span r;
  genkit_ranking ranking = {NULL, 0, UINT32_MAX};
  genkit_writer out = GENKIT_WRITER;
  if (!genkit_request(&r)) return genkit_too_deep();
  int32_t code = body(genkit_document_of(json_get(r, "query")), json_items(json_get(r, "documents")), json_get(r, "options"), &ranking);
  for (genkit_ranked *at = ranking.best; at && out.items < ranking.most; at = at->next) {
    genkit_writer score = GENKIT_WRITER;
    genkit_write_number(&score, at->score);
    genkit_item(&out);
    genkit_write(&out, genkit_with(at->document.json, "metadata", genkit_with(at->document.metadata, "score", genkit_written(&score))));
  }
  return genkit_answer(code, "{\"documents\":[", &out, "]}");
}

/* A resource: `uri`, a text, and `variables`, a JSON object of what its template found; write parts by genkit_put_text. */
#define GENKIT_RESOURCE(name) \
  GENKIT_SERVE_(name, genkit_resource, genkit_buffer uri GENKIT_UNUSED_, json_span variables GENKIT_UNUSED_, genkit_writer *out GENKIT_UNUSED_)

GENKIT_FN int32_t genkit_resource(int32_t (*body)(genkit_buffer, json_span, genkit_writer *)) {
  json_span r;
  genkit_writer out = GENKIT_WRITER;
  if (!genkit_request(&r)) return genkit_too_deep();
  return genkit_answer(body(genkit_text(json_get(r, "uri")), json_get(r, "variables"), &out), "{\"content\":[", &out, "]}");
}

/* A model: `request`, JSON with "messages", "config", "tools" and the like; write the parts of the answer by
 * genkit_put_text. `answer` has more of it. genkit_stream_text streams. */
#define GENKIT_MODEL(name) \
  GENKIT_SERVE_(name, genkit_model, json_span request GENKIT_UNUSED_, genkit_writer *out GENKIT_UNUSED_, genkit_model_answer *answer GENKIT_UNUSED_)

typedef struct {
  const char *finish_reason; /* "stop" at first */
  genkit_buffer usage;       /* a JSON object; empty for none */
} genkit_model_answer;

/* The last item of a list, such as of "messages"; start is NULL when there is none. */
GENKIT_FN json_span genkit_last(json_span list) {
  json_span last = {NULL, NULL}, item;
  json_reader r = json_items(list);
  while (json_next(&r, &item)) last = item;
  return last;
}

/* The first one. */
GENKIT_FN json_span genkit_first(json_span list) {
  json_span none = {NULL, NULL}, item;
  json_reader r = json_items(list);
  return json_next(&r, &item) ? item : none;
}

/* How many items a list has. */
GENKIT_FN uint32_t genkit_count(json_span list) {
  uint32_t n = 0;
  json_span item;
  json_reader r = json_items(list);
  while (json_next(&r, &item)) n++;
  return n;
}

/* Streams a text as a piece of a model's answer. 0 when it was taken. */
GENKIT_FN int genkit_stream_text(genkit_buffer text) {
  genkit_writer part = GENKIT_WRITER, w = GENKIT_WRITER;
  genkit_put_text(&part, text);
  genkit_write_literal(&w, "{\"content\":[");
  genkit_write(&w, genkit_written(&part));
  genkit_write_literal(&w, "]}");
  return genkit_emit(genkit_written(&w));
}

GENKIT_FN int32_t genkit_model(int32_t (*body)(json_span, genkit_writer *, genkit_model_answer *)) {
  json_span r;
  genkit_writer out = GENKIT_WRITER;
  genkit_model_answer answer = {"stop", {NULL, 0}};
  if (!genkit_request(&r)) return genkit_too_deep();
  int32_t code = body(r, &out, &answer);
  genkit_write_literal(&out, "]},\"finishReason\":");
  genkit_write_string(&out, genkit_cstring(answer.finish_reason));
  if (answer.usage.len) {
    genkit_write_literal(&out, ",\"usage\":");
    genkit_write(&out, answer.usage);
  }
  return genkit_answer(code, "{\"message\":{\"role\":\"model\",\"content\":[", &out, "}");
}

/* A middleware: `hook`; write the answer, whole, to `out`. genkit_hook_next continues the chain. */
#define GENKIT_MIDDLEWARE(name) GENKIT_SERVE_(name, genkit_middleware, const genkit_hook *hook GENKIT_UNUSED_, genkit_writer *out GENKIT_UNUSED_)

typedef enum { GENKIT_HOOK_GENERATE, GENKIT_HOOK_MODEL, GENKIT_HOOK_TOOL } genkit_hook_kind;

typedef struct {
  genkit_hook_kind kind;
  json_span config;    /* null, or start is NULL, when there is none */
  genkit_buffer model; /* the model's name, where it is known */
  json_span request;
} genkit_hook;

/* Hands a request on and gives the answer. 0 when there is one; otherwise return what genkit_hook_failed gives, which passes
 * on what has failed. */
GENKIT_FN int genkit_hook_next(genkit_buffer request, json_span *answer) {
  genkit_buffer value = {NULL, 0};
  if (!genkit_ok(genkit_next(request), &value)) return 1;
  *answer = genkit_span(value);
  return answer->start == NULL;
}

/* Fails without a word, which passes on the error of the latest genkit_hook_next. */
GENKIT_FN int32_t genkit_hook_failed(void) { return 1; }

GENKIT_FN genkit_buffer genkit_json(json_span value) {
  return value.start == NULL ? GENKIT_STRING("null") : genkit_buffer_of(value.start, (uint32_t)(value.end - value.start));
}

GENKIT_FN int32_t genkit_middleware(int32_t (*body)(const genkit_hook *, genkit_writer *)) {
  json_span r, kind;
  genkit_writer out = GENKIT_WRITER;
  if (!genkit_request(&r)) return genkit_too_deep();
  kind = json_get(r, "hook");
  genkit_hook hook = {json_string_is(kind, "generate") ? GENKIT_HOOK_GENERATE : json_string_is(kind, "model") ? GENKIT_HOOK_MODEL : GENKIT_HOOK_TOOL,
                      json_get(r, "config"), genkit_text(json_get(r, "model")), json_get(r, "request")};
  return genkit_answer(body(&hook, &out), "", &out, "");
}

/* A format: `call`; write the instructions, a JSON string, or the value that was read, to `out`, and nothing where there is
 * none. */
#define GENKIT_FORMAT(name) GENKIT_SERVE_(name, genkit_format, const genkit_format_call *call GENKIT_UNUSED_, genkit_writer *out GENKIT_UNUSED_)

typedef enum { GENKIT_FORMAT_INSTRUCTIONS, GENKIT_FORMAT_PARSE, GENKIT_FORMAT_PARSE_CHUNK } genkit_format_op;

typedef struct {
  genkit_format_op op;
  json_span schema;  /* null when the caller gave none */
  genkit_buffer text; /* of the whole message, or so far */
  genkit_buffer delta; /* its end, which is new; of GENKIT_FORMAT_PARSE_CHUNK */
  json_span message; /* of GENKIT_FORMAT_PARSE */
} genkit_format_call;

GENKIT_FN int32_t genkit_format(int32_t (*body)(const genkit_format_call *, genkit_writer *)) {
  json_span r, op;
  genkit_writer out = GENKIT_WRITER;
  if (!genkit_request(&r)) return genkit_too_deep();
  op = json_get(r, "op");
  genkit_format_call call = {GENKIT_FORMAT_INSTRUCTIONS, json_get(r, "schema"), {NULL, 0}, {NULL, 0}, json_get(r, "message")};
  if (json_string_is(op, "parse")) {
    call.op = GENKIT_FORMAT_PARSE;
    call.text = genkit_parts_text(json_get(call.message, "content"));
  } else if (json_string_is(op, "parseChunk")) {
    call.op = GENKIT_FORMAT_PARSE_CHUNK;
    call.text = genkit_text(json_get(r, "text"));
    call.delta = genkit_text(json_get(r, "delta"));
  }
  return genkit_answer(body(&call, &out), "", &out, "");
}

#ifdef __cplusplus
}
#endif
#endif
