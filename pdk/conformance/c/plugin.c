/* The plug-in module in C: one part of each kind, which ../../vectors/plugin talks to. */
#include "actions.h"

GENKIT_DESCRIPTOR_FILE("plugin.json")

static int32_t fail(const char *code, const char *message, genkit_buffer end) {
  genkit_writer w = GENKIT_WRITER;
  genkit_write_literal(&w, message);
  genkit_write(&w, end);
  return genkit_fail_code(genkit_cstring(code), genkit_written(&w));
}

static const genkit_buffer nothing = {NULL, 0};

/* Where needle begins in text, or text.len. */
static uint32_t find_in(genkit_buffer text, genkit_buffer needle) {
  for (uint32_t i = 0; i + needle.len <= text.len; i++)
    if (genkit_equal(genkit_buffer_of(text.data + i, needle.len), needle)) return i;
  return needle.len ? text.len : 0;
}

static int contains_text(genkit_buffer text, genkit_buffer needle) { return needle.len == 0 || find_in(text, needle) < text.len; }

GENKIT_TOOL(size) {
  genkit_writer w = GENKIT_WRITER;
  genkit_write_literal(&w, "{\"size\":");
  genkit_write_number(&w, genkit_text(json_get(genkit_span(genkit_input()), "text")).len);
  genkit_write_literal(&w, "}");
  genkit_output(genkit_written(&w));
  return 0;
}

GENKIT_EMBEDDER(measure) {
  json_span given = json_get(options, "scale");
  double scale = given.start ? number_read(given) : 1;
  genkit_document d;
  for (int i = 0; genkit_next_document(&documents, &d); i++) {
    genkit_buffer text = genkit_document_text(d);
    double a = 0, n = text.len;
    if (text.len == 0) {
      genkit_writer w = GENKIT_WRITER;
      genkit_write_number(&w, i);
      genkit_write_literal(&w, " is empty");
      return fail("INVALID_ARGUMENT", "document ", genkit_written(&w));
    }
    for (uint32_t j = 0; j < text.len; j++) a += text.data[j] == 'a';
    double vector[3] = {n * scale, a * scale, n / 3 * scale};
    genkit_put_embedding(out, vector, 3);
  }
  return 0;
}

GENKIT_EVALUATOR(contains) {
  json_span output = json_get(testcase, "output"), reference = json_get(testcase, "reference");
  genkit_score contains = {.id = "contains"}, size = {.id = "size"};
  if (!json_is_string(reference)) return fail("INVALID_ARGUMENT", "it has no reference: case ", id);
  if (!json_is_string(output)) {
    contains.status = "UNKNOWN";
    contains.error = GENKIT_STRING("there is no output");
    genkit_put_score(out, &contains);
    return 0;
  }
  genkit_buffer text = genkit_text(output), needle = genkit_text(reference);
  contains.score = GENKIT_STRING("true");
  contains.status = "PASS";
  if (!contains_text(text, needle)) {
    genkit_writer w = GENKIT_WRITER;
    genkit_write_literal(&w, "no \"");
    genkit_write(&w, needle);
    genkit_write_literal(&w, "\" in it");
    contains.score = GENKIT_STRING("false");
    contains.status = "FAIL";
    contains.reasoning = genkit_written(&w);
  }
  genkit_put_score(out, &contains);
  genkit_writer w = GENKIT_WRITER;
  genkit_write_number(&w, text.len);
  size.score = genkit_written(&w);
  genkit_put_score(out, &size);
  return 0;
}

static uint32_t limit(json_span options) {
  json_span k = json_get(options, "k");
  return k.start ? (uint32_t)number_read(k) : UINT32_MAX;
}

GENKIT_RETRIEVER(find) {
  static const char *const shelf[] = {"alpha", "beta", "grün \"✓\""};
  genkit_buffer text = genkit_document_text(query);
  for (uint32_t i = 0; i < 3 && out->items < limit(options); i++) {
    if (!contains_text(genkit_cstring(shelf[i]), text)) continue;
    genkit_writer n = GENKIT_WRITER;
    genkit_write_literal(&n, "{\"n\":");
    genkit_write_number(&n, i);
    genkit_write_literal(&n, "}");
    genkit_put_text_document(out, genkit_cstring(shelf[i]), genkit_written(&n));
  }
  return 0;
}

GENKIT_INDEXER(keep) {
  json_span under = json_get(options, "under");
  genkit_writer all = GENKIT_WRITER;
  genkit_document d;
  if (!json_is_string(under)) return fail("FAILED_PRECONDITION", "say under which name", nothing);
  while (genkit_next_document(&documents, &d)) {
    if (all.items++) genkit_write_literal(&all, "\n");
    genkit_write(&all, genkit_document_text(d));
  }
  if (genkit_kv_set(genkit_text(under), genkit_quoted(genkit_written(&all)))) return fail("UNAVAILABLE", "it was not kept", nothing);
  return 0;
}

GENKIT_RERANKER(longest) {
  double length = genkit_document_text(query).len;
  genkit_document d;
  while (genkit_next_document(&documents, &d)) genkit_rank(out, d, genkit_document_text(d).len / length);
  out->most = limit(options);
  return 0;
}

GENKIT_MODEL(parrot) {
  json_span messages = json_get(request, "messages"), last = genkit_last(messages), content = json_get(last, "content");
  json_span response = json_get(genkit_first(content), "toolResponse");
  genkit_buffer told = genkit_parts_text(content), call = GENKIT_STRING("call ");
  genkit_writer usage = GENKIT_WRITER, text = GENKIT_WRITER;
  genkit_write_literal(&usage, "{\"inputTokens\":");
  genkit_write_number(&usage, genkit_count(messages));
  genkit_write_literal(&usage, "}");
  answer->usage = genkit_written(&usage);
  if (genkit_equal(told, GENKIT_STRING("fail"))) return fail("UNAVAILABLE", "the parrot sleeps", nothing);
  if (response.start) {
    genkit_write_literal(&text, "the tool said ");
    genkit_write_json(&text, json_get(response, "output"));
    genkit_put_text(out, genkit_written(&text));
  } else if (told.len > call.len && find_in(told, call) == 0) {
    genkit_write_literal(out, "{\"toolRequest\":{\"name\":");
    genkit_write_json(out, json_get(genkit_first(json_get(request, "tools")), "name"));
    genkit_write_literal(out, ",\"input\":{\"text\":");
    genkit_write_string(out, genkit_buffer_of(told.data + call.len, told.len - call.len));
    genkit_write_literal(out, "}}}");
  } else {
    genkit_buffer said[] = {GENKIT_STRING("you said: "), told};
    for (int i = 0; i < 2; i++) {
      if (genkit_stream_text(said[i])) return fail("UNAVAILABLE", "a chunk was refused", nothing);
      genkit_put_text(out, said[i]);
    }
  }
  return 0;
}

GENKIT_RESOURCE(note) {
  genkit_buffer kept = GENKIT_STRING("null");
  if (genkit_kv_get(genkit_text(json_get(variables, "id")), &kept)) return fail("UNAVAILABLE", "the store does not answer", nothing);
  if (!json_is_string(genkit_span(kept))) return fail("NOT_FOUND", "nothing is kept at ", uri);
  genkit_put_text(out, genkit_text(genkit_span(kept)));
  genkit_put_text(out, uri);
  return 0;
}

static int32_t frame_turn(const genkit_hook *hook, genkit_writer *out) {
  json_span mark = json_get(hook->config, "mark"), answer;
  if (json_string_is(mark, "refuse")) {
    genkit_writer w = GENKIT_WRITER;
    genkit_write(&w, hook->model);
    genkit_write_literal(&w, " may not be asked");
    return fail("PERMISSION_DENIED", "", genkit_written(&w));
  }
  if (genkit_hook_next(genkit_json(hook->request), &answer)) return genkit_hook_failed();
  if (number_read(json_get(hook->request, "currentTurn")) != 0) {
    genkit_write_json(out, answer);
    return 0;
  }
  genkit_writer by = GENKIT_WRITER;
  genkit_write_literal(&by, "by ");
  genkit_write(&by, genkit_text(mark));
  genkit_write(out, genkit_with(answer, "finishMessage", genkit_quoted(genkit_written(&by))));
  return 0;
}

static int32_t frame_model(const genkit_hook *hook, genkit_writer *out) {
  genkit_buffer request = genkit_json(hook->request);
  json_span messages = json_get(hook->request, "messages"), answer, part;
  if (json_string_is(json_get(hook->config, "mark"), "add") && json_string_is(json_get(genkit_last(messages), "role"), "user")) {
    genkit_writer more = GENKIT_WRITER;
    genkit_write(&more, genkit_buffer_of(messages.start, (uint32_t)(messages.end - messages.start) - 1));
    genkit_write_literal(&more, ",{\"role\":\"user\",\"content\":[{\"text\":\"added\"}]}]");
    request = genkit_with(hook->request, "messages", genkit_written(&more));
  }
  if (genkit_hook_next(request, &answer)) return genkit_hook_failed();
  json_span message = json_get(answer, "message");
  json_reader parts = json_items(json_get(message, "content"));
  genkit_writer content = GENKIT_WRITER;
  genkit_write_literal(&content, "[");
  while (json_next(&parts, &part)) {
    json_span text = json_get(part, "text");
    if (!json_is_string(text)) {
      genkit_item(&content);
      genkit_write_json(&content, part);
      continue;
    }
    genkit_writer framed = GENKIT_WRITER;
    genkit_write_literal(&framed, "[");
    genkit_write(&framed, genkit_text(text));
    genkit_write_literal(&framed, "]");
    genkit_put_text(&content, genkit_written(&framed));
  }
  genkit_write_literal(&content, "]");
  genkit_write(out, genkit_with(answer, "message", genkit_with(message, "content", genkit_written(&content))));
  return 0;
}

static int32_t frame_tool(const genkit_hook *hook, genkit_writer *out) {
  json_span part, response;
  if (genkit_hook_next(genkit_json(hook->request), &part)) return genkit_hook_failed();
  response = json_get(part, "toolResponse");
  genkit_buffer framed = genkit_member(GENKIT_STRING("{}"), GENKIT_STRING("framed"), genkit_json(json_get(response, "output")), 1);
  genkit_write(out, genkit_with(part, "toolResponse", genkit_with(response, "output", framed)));
  return 0;
}

GENKIT_MIDDLEWARE(frame) {
  switch (hook->kind) {
    case GENKIT_HOOK_GENERATE: return frame_turn(hook, out);
    case GENKIT_HOOK_MODEL: return frame_model(hook, out);
    case GENKIT_HOOK_TOOL: return frame_tool(hook, out);
  }
  return 1;
}

static void put_lines(genkit_writer *out, genkit_buffer text) {
  genkit_writer list = GENKIT_WRITER;
  for (uint32_t start = 0, i = 0; i <= text.len; i++) {
    if (i < text.len && text.data[i] != '\n') continue;
    if (i > start) {
      genkit_item(&list);
      genkit_write_string(&list, genkit_buffer_of(text.data + start, i - start));
    }
    start = i + 1;
  }
  if (list.items == 0) return;
  genkit_write_literal(out, "[");
  genkit_write(out, genkit_written(&list));
  genkit_write_literal(out, "]");
}

GENKIT_FORMAT(lines) {
  genkit_writer text = GENKIT_WRITER;
  genkit_buffer whole = call->text;
  switch (call->op) {
    case GENKIT_FORMAT_INSTRUCTIONS:
      genkit_write_literal(&text, "Write one item on each line");
      if (call->schema.start && *call->schema.start != 'n') {
        genkit_write_literal(&text, ", by ");
        genkit_write_json(&text, call->schema);
      } else {
        genkit_write_literal(&text, ".");
      }
      genkit_write_string(out, genkit_written(&text));
      break;
    case GENKIT_FORMAT_PARSE:
      put_lines(out, whole);
      break;
    case GENKIT_FORMAT_PARSE_CHUNK:
      if (!contains_text(call->delta, GENKIT_STRING("\n"))) break;
      while (whole.data[whole.len - 1] != '\n') whole.len--;
      put_lines(out, whole);
  }
  return 0;
}
