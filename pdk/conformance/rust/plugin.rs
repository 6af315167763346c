//! The plug-in module in Rust: one part of each kind, which ../../vectors/plugin talks to.

#[path = "../../rust/actions.rs"]
mod actions;
#[path = "../../rust/genkit.rs"]
mod genkit;
#[path = "../../rust/json.rs"]
mod json;

use actions::{Document, Format, Hook, Message, Middleware, ModelRequest, ModelResponse, Part, Score, Turn};
use genkit::Error;
use json::Value;

genkit::descriptor!(include_str!("../plugin.json"));

#[no_mangle]
pub extern "C" fn size() -> i32 {
    genkit::tool(|input| match json::parse(input).as_ref().and_then(|v| v.get("text")) {
        Some(Value::String(text)) => Ok(format!("{{\"size\":{}}}", text.len())),
        _ => Err(Error::new("INVALID_ARGUMENT", "text is no string")),
    })
}

#[no_mangle]
pub extern "C" fn measure() -> i32 {
    actions::embedder(|docs, options| {
        let scale = options.get("scale").and_then(Value::as_f64).unwrap_or(1.0);
        let mut all = Vec::new();
        for (i, doc) in docs.iter().enumerate() {
            let text = doc.text();
            if text.is_empty() {
                return Err(Error::new("INVALID_ARGUMENT", format!("document {} is empty", i)));
            }
            let n = text.len() as f64;
            let a = text.matches('a').count() as f64;
            all.push(vec![n * scale, a * scale, n / 3.0 * scale]);
        }
        Ok(all)
    })
}

#[no_mangle]
pub extern "C" fn contains() -> i32 {
    actions::evaluator(|case, _| {
        let reference = match case.reference.as_str() {
            Some(text) => text,
            None => return Err(Error::new("INVALID_ARGUMENT", format!("the case {:?} has no reference", case.id))),
        };
        let output = match case.output.as_str() {
            Some(text) => text,
            None => return Ok(vec![Score::error("contains", "there is no output")]),
        };
        let contains = if output.contains(reference) {
            Score::pass("contains")
        } else {
            Score::fail("contains").reasoning(format!("no \"{}\" in it", reference))
        };
        Ok(vec![contains, Score::new("size", output.len() as i64)])
    })
}

fn first<T>(mut list: Vec<T>, options: &Value) -> Vec<T> {
    if let Some(k) = options.get("k").and_then(Value::as_i64) {
        list.truncate(k as usize);
    }
    list
}

#[no_mangle]
pub extern "C" fn find() -> i32 {
    actions::retriever(|query, options| {
        let shelf = ["alpha", "beta", "grün \"✓\""];
        let found = shelf.iter().enumerate().filter(|(_, text)| text.contains(&query.text()));
        let found = found.map(|(i, text)| Document::new(*text).with("n", i as i64)).collect();
        Ok(first(found, &options))
    })
}

#[no_mangle]
pub extern "C" fn keep() -> i32 {
    actions::indexer(|docs, options| match options.get("under").and_then(Value::as_str) {
        None => Err(Error::new("FAILED_PRECONDITION", "say under which name")),
        Some(name) => {
            let texts: Vec<String> = docs.iter().map(Document::text).collect();
            actions::taken(genkit::kv_set(name, &genkit::quote(&texts.join("\n")))).map(|_| ())
        }
    })
}

#[no_mangle]
pub extern "C" fn longest() -> i32 {
    actions::reranker(|query, docs, options| {
        let length = query.text().len() as f64;
        let score = |d: Document| (d.text().len() as f64 / length, d);
        let mut ranked: Vec<_> = docs.into_iter().map(score).collect();
        ranked.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap_or(std::cmp::Ordering::Equal));
        Ok(first(ranked, &options))
    })
}

#[no_mangle]
pub extern "C" fn parrot() -> i32 {
    actions::model(|request| {
        let usage = Value::object([("inputTokens", (request.messages.len() as i64).into())]);
        let last = match request.messages.last() {
            Some(last) => last,
            None => return Err(Error::new("INVALID_ARGUMENT", "there is no message")),
        };
        let told = last.text();
        let answer = if let Some(response) = last.content.first().and_then(|p| p.get("toolResponse")) {
            let output = response.get("output").unwrap_or(&Value::Null);
            vec![Part::text(format!("the tool said {}", output))]
        } else if let Some(text) = told.strip_prefix("call ") {
            let tools = request.get("tools");
            let name = tools.items().first().and_then(|t| t.get("name")).and_then(Value::as_str);
            vec![Part::tool_request(name.unwrap_or(""), Value::object([("text", text.into())]))]
        } else if told == "fail" {
            return Err(Error::new("UNAVAILABLE", "the parrot sleeps"));
        } else {
            let said = vec![Part::text("you said: "), Part::text(told)];
            for part in &said {
                actions::stream(vec![part.clone()])?;
            }
            said
        };
        Ok(ModelResponse::new(answer).with("usage", usage))
    })
}

#[no_mangle]
pub extern "C" fn note() -> i32 {
    actions::resource(|uri, variables| {
        let id = variables.get("id").and_then(Value::as_str).unwrap_or("");
        match actions::taken(genkit::kv_get(id))?.as_str() {
            Some(kept) => Ok(vec![Part::text(kept), Part::text(uri)]),
            None => Err(Error::new("NOT_FOUND", format!("nothing is kept at {}", uri))),
        }
    })
}

/// Puts brackets around what passes through.
struct Frame;

impl Frame {
    fn mark(hook: &Hook) -> &str {
        hook.config.get("mark").and_then(Value::as_str).unwrap_or("")
    }
}

impl Middleware for Frame {
    fn generate(&self, turn: Turn, hook: &Hook) -> Result<ModelResponse, Error> {
        if Frame::mark(hook) == "refuse" {
            return Err(Error::new("PERMISSION_DENIED", format!("{} may not be asked", hook.model)));
        }
        let first = turn.current_turn == 0;
        let answer = hook.next_model(turn)?;
        Ok(if first { answer.with("finishMessage", format!("by {}", Frame::mark(hook))) } else { answer })
    }

    fn model(&self, mut request: ModelRequest, hook: &Hook) -> Result<ModelResponse, Error> {
        if Frame::mark(hook) == "add" && request.messages.last().map_or(false, |m| m.role == "user") {
            request.messages.push(Message::new("user", vec![Part::text("added")]));
        }
        let mut answer = hook.next_model(request)?;
        for part in answer.message.iter_mut().flat_map(|m| m.content.iter_mut()) {
            if let Some(text) = part.as_text() {
                let framed = format!("[{}]", text);
                part.0.set("text", framed.into());
            }
        }
        Ok(answer)
    }

    fn tool(&self, request: Part, hook: &Hook) -> Result<Part, Error> {
        let mut part = hook.next(request)?;
        if let Some(response) = part.get("toolResponse").cloned() {
            let mut framed = response.clone();
            let output = response.get("output").cloned();
            framed.set("output", Value::object([("framed", output.into())]));
            part.set("toolResponse", framed);
        }
        Ok(Part(part))
    }
}

#[no_mangle]
pub extern "C" fn frame() -> i32 {
    actions::middleware(Frame)
}

struct Lines;

impl Lines {
    fn of(text: &str) -> Value {
        let lines: Vec<&str> = text.split('\n').filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            return Value::Null;
        }
        lines.into()
    }
}

impl Format for Lines {
    fn instructions(&self, schema: &Value) -> Result<Option<String>, Error> {
        Ok(Some(match schema {
            Value::Null => "Write one item on each line.".to_string(),
            schema => format!("Write one item on each line, by {}", schema),
        }))
    }

    fn parse(&self, _schema: &Value, message: &Message) -> Result<Value, Error> {
        Ok(Lines::of(&message.text()))
    }

    fn parse_chunk(&self, _schema: &Value, text: &str, delta: &str) -> Result<Value, Error> {
        if !delta.contains('\n') {
            return Ok(Value::Null);
        }
        Ok(Lines::of(text.rsplit_once('\n').map_or("", |(whole, _)| whole)))
    }
}

#[no_mangle]
pub extern "C" fn lines() -> i32 {
    actions::format(Lines)
}
