//! actions.rs: the parts of a module that are no tools, with types: embedders, evaluators, retrievers,
//! indexers, rerankers, models, resources, middleware and formats (../abi.md, §9 to §11). Copy it beside
//! genkit.rs and json.rs, as modules of the same parent. It needs no crate.
//!
//! Each function here is the whole body of an exported function, as [`genkit::tool`] is that of a tool:
//!
//! ```ignore
//! mod actions;
//! mod genkit;
//! mod json;
//!
//! #[no_mangle]
//! pub extern "C" fn letters() -> i32 {
//!     actions::embedder(|docs, _options| {
//!         Ok(docs.iter().map(|d| vec![d.text().len() as f64]).collect())
//!     })
//! }
//! ```
//!
//! What Genkit's requests and documents have besides is kept, and goes out as it came.

#![allow(dead_code)]

use super::genkit::{self, Error};
use super::json::{self, Value};

/// A piece of a message or a document: an object with "text", "media" and the like.
#[derive(Clone, Debug, PartialEq)]
pub struct Part(pub Value);

impl Part {
    pub fn text(text: impl Into<String>) -> Part {
        Part(Value::object([("text", text.into().into())]))
    }

    /// Media at an address, which may be a data: URL.
    pub fn media(url: &str, content_type: &str) -> Part {
        let media = [("url", url.into()), ("contentType", content_type.into())];
        Part(Value::object([("media", Value::object(media))]))
    }

    /// A model's request to run a tool.
    pub fn tool_request(name: &str, input: Value) -> Part {
        let request = [("name", name.into()), ("input", input)];
        Part(Value::object([("toolRequest", Value::object(request))]))
    }

    /// The text of a part that is one.
    pub fn as_text(&self) -> Option<&str> {
        self.0.get("text").and_then(Value::as_str)
    }

    /// What stands in a member, such as "toolResponse".
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

fn parts(value: &Value, of: &str) -> Vec<Part> {
    let list = value.get(of).map_or(&[][..], Value::items);
    list.iter().cloned().map(Part).collect()
}

fn text_of(parts: &[Part]) -> String {
    parts.iter().filter_map(Part::as_text).collect()
}

impl From<Part> for Value {
    fn from(part: Part) -> Value {
        part.0
    }
}

/// What is embedded, found and ranked.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub content: Vec<Part>,
    pub metadata: Value, // an object, or null for none
}

impl Document {
    /// A document of one text.
    pub fn new(text: impl Into<String>) -> Document {
        Document {
            content: vec![Part::text(text)],
            metadata: Value::Null,
        }
    }

    /// Adds a member of the metadata.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Document {
        self.metadata.set(name, value.into());
        self
    }

    /// The texts of the document, one after the other.
    pub fn text(&self) -> String {
        text_of(&self.content)
    }

    fn read(value: &Value) -> Document {
        Document {
            content: parts(value, "content"),
            metadata: value.get("metadata").cloned().unwrap_or(Value::Null),
        }
    }
}

impl From<Document> for Value {
    fn from(document: Document) -> Value {
        let mut value = Value::object([("content", document.content.into())]);
        if document.metadata != Value::Null {
            value.set("metadata", document.metadata);
        }
        value
    }
}

fn documents(request: &Value, of: &str) -> Vec<Document> {
    let list = request.get(of).map_or(&[][..], Value::items);
    list.iter().map(Document::read).collect()
}

fn serve(body: impl FnOnce(Value) -> Result<Value, Error>) -> i32 {
    genkit::tool(|input| match json::parse(input) {
        Some(request) => Ok(body(request)?.to_string()),
        None => Err(Error::new("INVALID_ARGUMENT", "the request is nested too deep")),
    })
}

fn member(request: &Value, name: &str) -> Value {
    request.get(name).cloned().unwrap_or(Value::Null)
}

/// The vector of a document; `vec![…].into()` makes one.
pub struct Embedding {
    pub vector: Vec<f64>,
    pub metadata: Value,
}

impl From<Vec<f64>> for Embedding {
    fn from(vector: Vec<f64>) -> Embedding {
        Embedding {
            vector,
            metadata: Value::Null,
        }
    }
}

/// An embedder: body gives a vector for each document, in their order. Options are those of the
/// request, null where it has none; so it is with the functions below.
pub fn embedder<E: Into<Embedding>>(
    body: impl FnOnce(Vec<Document>, Value) -> Result<Vec<E>, Error>,
) -> i32 {
    serve(|request| {
        let all = body(documents(&request, "input"), member(&request, "options"))?;
        let written = all.into_iter().map(|embedding| {
            let embedding: Embedding = embedding.into();
            let mut value = Value::object([("embedding", embedding.vector.into())]);
            if embedding.metadata != Value::Null {
                value.set("metadata", embedding.metadata);
            }
            value
        });
        Ok(Value::object([("embeddings", Value::Array(written.collect()))]))
    })
}

/// A test case of an evaluator. What it does not have is null.
pub struct Case {
    pub id: String,
    pub input: Value,
    pub output: Value,
    pub context: Value,
    pub reference: Value,
}

/// A score of a case: `Score::pass("short").reasoning("it has 3 words")`.
pub struct Score(Value);

impl Score {
    /// A score with a name, which tells several of one case apart; the value is a number, a text or
    /// a boolean.
    pub fn new(id: &str, value: impl Into<Value>) -> Score {
        Score(Value::object([("id", id.into()), ("score", value.into())]))
    }

    pub fn pass(id: &str) -> Score {
        Score::new(id, true).status("PASS")
    }

    pub fn fail(id: &str) -> Score {
        Score::new(id, false).status("FAIL")
    }

    /// Says why there is no score.
    pub fn error(id: &str, why: &str) -> Score {
        Score(Value::object([("id", id.into()), ("error", why.into())])).status("UNKNOWN")
    }

    pub fn status(mut self, status: &str) -> Score {
        self.0.set("status", status.into());
        self
    }

    pub fn reasoning(mut self, text: impl Into<String>) -> Score {
        let details = Value::object([("reasoning", text.into().into())]);
        self.0.set("details", details);
        self
    }
}

/// An evaluator: body scores a case. An error of it fails the call; hosts give one case a call.
pub fn evaluator(body: impl Fn(Case, &Value) -> Result<Vec<Score>, Error>) -> i32 {
    serve(|request| {
        let options = member(&request, "options");
        let mut results = Vec::new();
        for case in member(&request, "dataset").items() {
            let id = member(case, "testCaseId");
            let scores = body(
                Case {
                    id: id.as_str().unwrap_or("").to_string(),
                    input: member(case, "input"),
                    output: member(case, "output"),
                    context: member(case, "context"),
                    reference: member(case, "reference"),
                },
                &options,
            )?;
            let scores = Value::Array(scores.into_iter().map(|score| score.0).collect());
            results.push(Value::object([("testCaseId", id), ("evaluation", scores)]));
        }
        Ok(Value::Array(results))
    })
}

/// A retriever: body finds the documents for a query, the best first.
pub fn retriever(body: impl FnOnce(Document, Value) -> Result<Vec<Document>, Error>) -> i32 {
    serve(|request| {
        let query = Document::read(&member(&request, "query"));
        let found = body(query, member(&request, "options"))?;
        Ok(Value::object([("documents", found.into())]))
    })
}

/// An indexer: body stores documents.
pub fn indexer(body: impl FnOnce(Vec<Document>, Value) -> Result<(), Error>) -> i32 {
    serve(|request| {
        body(documents(&request, "documents"), member(&request, "options"))?;
        Ok(Value::Null)
    })
}

/// A reranker: body scores documents that it is given and gives the best first; it may leave some out.
pub fn reranker(
    body: impl FnOnce(Document, Vec<Document>, Value) -> Result<Vec<(f64, Document)>, Error>,
) -> i32 {
    serve(|request| {
        let query = Document::read(&member(&request, "query"));
        let all = documents(&request, "documents");
        let ranked = body(query, all, member(&request, "options"))?;
        let written = ranked.into_iter().map(|(score, d)| d.with("score", score).into());
        Ok(Value::object([("documents", Value::Array(written.collect()))]))
    })
}

/// A resource: body fetches what stands at an address. Variables are the values, an object, that the
/// resource's template found in it.
pub fn resource(body: impl FnOnce(&str, &Value) -> Result<Vec<Part>, Error>) -> i32 {
    serve(|request| {
        let uri = member(&request, "uri");
        let content = body(uri.as_str().unwrap_or(""), &member(&request, "variables"))?;
        Ok(Value::object([("content", content.into())]))
    })
}

/// A message of a conversation: an object with "role", "content" and perhaps more.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub role: String,
    pub content: Vec<Part>,
    pub other: Value, // the message as it came
}

impl Message {
    pub fn new(role: &str, content: Vec<Part>) -> Message {
        Message {
            role: role.to_string(),
            content,
            other: Value::Null,
        }
    }

    /// The texts of the message, one after the other.
    pub fn text(&self) -> String {
        text_of(&self.content)
    }

    fn read(value: &Value) -> Message {
        Message {
            role: member(value, "role").as_str().unwrap_or("").to_string(),
            content: parts(value, "content"),
            other: value.clone(),
        }
    }
}

impl From<Message> for Value {
    fn from(message: Message) -> Value {
        let mut value = message.other;
        value.set("role", message.role.into());
        value.set("content", message.content.into());
        value
    }
}

/// What a model is asked: Genkit's GenerateRequest.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRequest {
    pub messages: Vec<Message>,
    pub other: Value, // the request as it came: "config", "tools", "output", "docs"
}

impl ModelRequest {
    /// Another member of the request, such as "config"; null where there is none.
    pub fn get(&self, name: &str) -> Value {
        member(&self.other, name)
    }

    fn read(value: Value) -> ModelRequest {
        let list = member(&value, "messages");
        ModelRequest {
            messages: list.items().iter().map(Message::read).collect(),
            other: value,
        }
    }
}

impl From<ModelRequest> for Value {
    fn from(request: ModelRequest) -> Value {
        let mut value = request.other;
        value.set("messages", request.messages.into());
        value
    }
}

/// A model's answer: Genkit's GenerateResponse.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelResponse {
    pub message: Option<Message>,
    pub other: Value, // "finishReason", "usage" and the rest
}

impl ModelResponse {
    /// An answer with the finish reason "stop".
    pub fn new(content: Vec<Part>) -> ModelResponse {
        ModelResponse {
            message: Some(Message::new("model", content)),
            other: Value::object([("finishReason", "stop".into())]),
        }
    }

    /// Sets another member, such as "usage" or "finishReason".
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> ModelResponse {
        self.other.set(name, value.into());
        self
    }

    fn read(value: Value) -> ModelResponse {
        ModelResponse {
            message: value.get("message").map(Message::read),
            other: value,
        }
    }
}

impl From<ModelResponse> for Value {
    fn from(response: ModelResponse) -> Value {
        let mut value = response.other;
        if let Some(message) = response.message {
            value.set("message", message.into());
        }
        value
    }
}

/// A model: body answers a request. It streams by [`stream`]; what it gives is the whole answer
/// nevertheless.
pub fn model(body: impl FnOnce(ModelRequest) -> Result<ModelResponse, Error>) -> i32 {
    serve(|request| Ok(body(ModelRequest::read(request))?.into()))
}

/// Streams a piece of a model's answer.
pub fn stream(content: Vec<Part>) -> Result<(), Error> {
    let chunk = Value::object([("content", content.into())]);
    taken(genkit::emit(&chunk.to_string())).map(|_| ())
}

/// The value of a reply, or the error that it holds.
pub fn taken(reply: genkit::Reply) -> Result<Value, Error> {
    if let Some(value) = reply.value() {
        return json::parse(value).ok_or_else(|| Error::new("INTERNAL", "the reply is nested too deep"));
    }
    let error = json::parse(&reply.0).map_or(Value::Null, |reply| member(&reply, "error"));
    let field = |name| member(&error, name).as_str().unwrap_or("INTERNAL").to_string();
    Err(Error::new(field("code"), field("message")))
}

/// An iteration of the generate loop, which the hook generate wraps.
pub struct Turn {
    /// Genkit's GenerateActionOptions.
    pub request: Value,
    pub current_turn: i64,
    pub message_index: i64,
}

impl From<Turn> for Value {
    fn from(turn: Turn) -> Value {
        Value::object([
            ("request", turn.request),
            ("currentTurn", turn.current_turn.into()),
            ("messageIndex", turn.message_index.into()),
        ])
    }
}

/// A middleware: the hooks that it does not have pass on what they get. The descriptor names those
/// that it has.
pub trait Middleware {
    /// Wraps an iteration of the loop and those after it.
    fn generate(&self, turn: Turn, hook: &Hook) -> Result<ModelResponse, Error> {
        hook.next(turn).map(ModelResponse::read)
    }

    /// Wraps a call of the model.
    fn model(&self, request: ModelRequest, hook: &Hook) -> Result<ModelResponse, Error> {
        hook.next_model(request)
    }

    /// Wraps an execution of a tool: a part with a "toolRequest" in, one with a "toolResponse" out.
    fn tool(&self, request: Part, hook: &Hook) -> Result<Part, Error> {
        hook.next(request).map(Part)
    }
}

/// What a hook knows beside its request.
pub struct Hook {
    /// The config of the generate call; null where it gives none.
    pub config: Value,
    /// The name of the model, where it is known.
    pub model: String,
}

impl Hook {
    /// Continues the chain and gives its answer. It may be called more than once, with other requests,
    /// or not at all; an error of it that is returned as it is reaches the caller whole.
    pub fn next(&self, request: impl Into<Value>) -> Result<Value, Error> {
        let request: Value = request.into();
        taken(genkit::next(&request.to_string()))
    }

    /// [`Hook::next`] in the hooks generate and model, whose answer is a response.
    pub fn next_model(&self, request: impl Into<Value>) -> Result<ModelResponse, Error> {
        self.next(request).map(ModelResponse::read)
    }
}

/// Runs a middleware.
pub fn middleware(with: impl Middleware) -> i32 {
    serve(|input| {
        let request = member(&input, "request");
        let hook = Hook {
            config: member(&input, "config"),
            model: member(&input, "model").as_str().unwrap_or("").to_string(),
        };
        let number = |name| member(&request, name).as_i64().unwrap_or(0);
        match member(&input, "hook").as_str() {
            Some("generate") => {
                let turn = Turn {
                    request: member(&request, "request"),
                    current_turn: number("currentTurn"),
                    message_index: number("messageIndex"),
                };
                Ok(with.generate(turn, &hook)?.into())
            }
            Some("model") => Ok(with.model(ModelRequest::read(request), &hook)?.into()),
            Some("tool") => Ok(with.tool(Part(request), &hook)?.into()),
            _ => hook.next(request),
        }
    })
}

/// An output format. Null stands for no output, and for nothing new to say.
pub trait Format {
    /// Tells the model what is wanted; the schema is null where the caller gave none.
    fn instructions(&self, _schema: &Value) -> Result<Option<String>, Error> {
        Ok(None)
    }

    /// Reads a whole message.
    fn parse(&self, schema: &Value, message: &Message) -> Result<Value, Error>;

    /// Reads the text so far, of which delta is new.
    fn parse_chunk(&self, _schema: &Value, _text: &str, _delta: &str) -> Result<Value, Error> {
        Ok(Value::Null)
    }
}

/// Runs a format.
pub fn format(with: impl Format) -> i32 {
    serve(|input| {
        let schema = member(&input, "schema");
        let text = |name| member(&input, name).as_str().unwrap_or("").to_string();
        match member(&input, "op").as_str() {
            Some("instructions") => Ok(with.instructions(&schema)?.into()),
            Some("parse") => with.parse(&schema, &Message::read(&member(&input, "message"))),
            Some("parseChunk") => with.parse_chunk(&schema, &text("text"), &text("delta")),
            _ => Ok(Value::Null),
        }
    })
}
