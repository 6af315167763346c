//! genkit.rs: write genkit-wasm tools in Rust. Copy this one file beside your sources;
//! it needs no crate and compiles with Rust 1.63 and later (edition 2018 or 2021).
//!
//! It speaks the native convention ("genkit_v1", see ../abi.md). A tool:
//!
//! ```ignore
//! mod genkit;
//!
//! genkit::descriptor!(r#"{ "abi": "genkit/1", "name": "greeter", "version": "1.0.0",
//!   "tools": [{ "name": "greet", "description": "Greets.", "io": "text" }] }"#);
//!
//! #[no_mangle]
//! pub extern "C" fn greet() -> i32 {
//!     genkit::tool(|name| Ok(format!("Hello, {}", name)))
//! }
//! ```
//!
//! Build it with
//!
//! ```text
//! rustc --edition 2021 --target wasm32-unknown-unknown --crate-type cdylib \
//!     -C opt-level=s -C lto -C panic=abort -C strip=symbols -o tool.wasm tool.rs
//! ```
//!
//! A panic ends the call with a trap, code INTERNAL; return an [`Error`] to give the
//! caller a code and a message. Every call starts from the same state. An import is
//! only in the module when a function that needs it is used.

#![allow(dead_code)]

use std::borrow::Cow;

mod host {
    #[link(wasm_import_module = "genkit_v1")]
    extern "C" {
        pub fn input_len() -> u32;
        pub fn input(ptr: *mut u8);
        pub fn output(ptr: *const u8, len: usize);
        pub fn error(ptr: *const u8, len: usize);
        pub fn log(level: i32, ptr: *const u8, len: usize);
        pub fn reply(ptr: *mut u8);
        pub fn emit(ptr: *const u8, len: usize) -> u32;
        pub fn interrupt(ptr: *const u8, len: usize) -> u32;
        pub fn context(ptr: *const u8, len: usize) -> u32;
        pub fn resumed(ptr: *const u8, len: usize) -> u32;
        pub fn next(ptr: *const u8, len: usize) -> u32;
        pub fn http(ptr: *const u8, len: usize) -> u32;
        pub fn kv_get(ptr: *const u8, len: usize) -> u32;
        pub fn kv_set(ptr: *const u8, len: usize) -> u32;
        pub fn kv_delete(ptr: *const u8, len: usize) -> u32;
        pub fn kv_list(ptr: *const u8, len: usize) -> u32;
        pub fn now(ptr: *const u8, len: usize) -> u32;
        pub fn run(ptr: *const u8, len: usize) -> u32;
        pub fn generate(ptr: *const u8, len: usize) -> u32;
    }
}

/// Puts a string constant (a literal, or include_str!("genkit.json")) into the custom
/// section genkit.module. Once in a module.
macro_rules! descriptor {
    ($text:expr) => {
        #[link_section = "genkit.module"]
        #[used]
        static GENKIT_MODULE: [u8; $text.len()] = {
            let from = $text.as_bytes();
            let mut to = [0; $text.len()];
            let mut i = 0;
            while i < to.len() {
                to[i] = from[i];
                i += 1;
            }
            to
        };
    };
}
pub(crate) use descriptor;

/// Why a tool fails: a Genkit status name, a message, and perhaps details.
#[derive(Debug)]
pub struct Error {
    code: Cow<'static, str>,
    message: String,
    details: Option<String>,
    interrupted: bool,
}

impl Error {
    /// An error with a Genkit status name, such as "NOT_FOUND".
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Error {
        Error {
            code: code.into(),
            message: message.into(),
            details: None,
            interrupted: false,
        }
    }

    /// Adds details, a JSON text.
    pub fn details(mut self, json: impl Into<String>) -> Error {
        self.details = Some(json.into());
        self
    }
}

/// The body of a tool: body gets the input (JSON, or text where io is "text") and gives
/// the output. Returns what the exported function has to return.
pub fn tool(body: impl FnOnce(&str) -> Result<String, Error>) -> i32 {
    // The host has checked the encoding.
    match body(&String::from_utf8_lossy(&input())) {
        Ok(out) => {
            output(out.as_bytes());
            0
        }
        Err(e) => fail(&e),
    }
}

/// The call's input.
pub fn input() -> Vec<u8> {
    unsafe {
        let mut bytes = vec![0; host::input_len() as usize];
        host::input(bytes.as_mut_ptr());
        bytes
    }
}

/// Sets the call's output; a later call replaces an earlier one.
pub fn output(bytes: &[u8]) {
    unsafe { host::output(bytes.as_ptr(), bytes.len()) }
}

/// Sets the call's error and returns what the exported function has to return with it.
pub fn fail(e: &Error) -> i32 {
    if e.interrupted {
        return 0;
    }
    let mut json = String::from("{\"code\":");
    quote_into(&mut json, &e.code);
    json.push_str(",\"message\":");
    quote_into(&mut json, &e.message);
    if let Some(details) = &e.details {
        json.push_str(",\"details\":");
        json.push_str(details);
    }
    json.push('}');
    fail_text(&json)
}

/// Sets the call's error to a plain text, which has the code INTERNAL.
pub fn fail_text(message: &str) -> i32 {
    unsafe { host::error(message.as_ptr(), message.len()) }
    1
}

/// The levels of [`log`].
#[derive(Clone, Copy)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Writes one line to the host's log.
pub fn log(level: Level, message: &str) {
    unsafe { host::log(level as i32, message.as_ptr(), message.len()) }
}

/// What a capability answered.
pub struct Reply(pub String);

impl Reply {
    fn take(len: u32) -> Reply {
        let mut bytes = vec![0; len as usize];
        unsafe { host::reply(bytes.as_mut_ptr()) }
        Reply(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The value, as JSON, when the host did what was asked.
    pub fn value(&self) -> Option<&str> {
        self.0.strip_prefix("{\"ok\":")?.strip_suffix('}')
    }
}

/// Streams one chunk, any JSON value, to the caller.
pub fn emit(json: &str) -> Reply {
    Reply::take(unsafe { host::emit(json.as_ptr(), json.len()) })
}

/// Marks the call as interrupted, with a JSON object or "null" as metadata. A tool
/// returns what it gets: `return Err(genkit::interrupt(…))`.
pub fn interrupt(metadata: &str) -> Error {
    let reply = Reply::take(unsafe { host::interrupt(metadata.as_ptr(), metadata.len()) });
    let interrupted = reply.value().is_some();
    Error {
        interrupted,
        ..Error::new("INTERNAL", "interrupt was refused")
    }
}

/// The caller's context, a JSON object.
pub fn context() -> String {
    let reply = Reply::take(unsafe { host::context(std::ptr::null(), 0) });
    reply.value().unwrap_or("{}").to_string()
}

/// Sends an HTTP request, `{"method","url","headers","body"}`; the value of the reply is
/// `{"status","headers","body"}`. Write `{{secret:NAME}}` in a header for a secret.
pub fn http(request: &str) -> Reply {
    Reply::take(unsafe { host::http(request.as_ptr(), request.len()) })
}

/// Reads a value that was kept under a key, `null` when there is none.
pub fn kv_get(key: &str) -> Reply {
    let request = format!("{{\"key\":{}}}", quote(key));
    Reply::take(unsafe { host::kv_get(request.as_ptr(), request.len()) })
}

/// Keeps a JSON value under a key; `null` removes it.
pub fn kv_set(key: &str, json: &str) -> Reply {
    kv_set_request(&format!("{{\"key\":{},\"value\":{}}}", quote(key), json))
}

/// [`kv_set`] with the whole request: `{"key","value","ttlSeconds","if"}`.
pub fn kv_set_request(request: &str) -> Reply {
    Reply::take(unsafe { host::kv_set(request.as_ptr(), request.len()) })
}

/// Removes a key.
pub fn kv_delete(key: &str) -> Reply {
    let request = format!("{{\"key\":{}}}", quote(key));
    Reply::take(unsafe { host::kv_delete(request.as_ptr(), request.len()) })
}

/// Lists keys: `{"prefix","cursor","limit"}`, all optional.
pub fn kv_list(request: &str) -> Reply {
    Reply::take(unsafe { host::kv_list(request.as_ptr(), request.len()) })
}

/// The time, a JSON string.
pub fn now() -> Reply {
    Reply::take(unsafe { host::now(std::ptr::null(), 0) })
}

/// Runs an action by its key, such as "/tool/calc/add".
pub fn run(key: &str, input: &str) -> Reply {
    let request = format!("{{\"key\":{},\"input\":{}}}", quote(key), input);
    Reply::take(unsafe { host::run(request.as_ptr(), request.len()) })
}

/// Asks a model: Genkit's GenerateActionOptions in, a GenerateResponse out.
pub fn generate(options: &str) -> Reply {
    Reply::take(unsafe { host::generate(options.as_ptr(), options.len()) })
}

/// Writes text as a JSON string, quotes included.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    quote_into(&mut out, text);
    out
}

fn quote_into(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\0'..='\x1f' => {
                out.push_str("\\u00");
                out.push(HEX[c as usize >> 4] as char);
                out.push(HEX[c as usize & 15] as char);
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// What the caller answered to this tool's interrupt, `{"resumed", "originalInput"}`;
/// `null` in a first run.
pub fn resumed() -> String {
    let reply = Reply::take(unsafe { host::resumed(std::ptr::null(), 0) });
    reply.value().unwrap_or("null").to_string()
}

/// Continues what a middleware's hook wraps; the value of the reply is the answer.
pub fn next(request: &str) -> Reply {
    Reply::take(unsafe { host::next(request.as_ptr(), request.len()) })
}
