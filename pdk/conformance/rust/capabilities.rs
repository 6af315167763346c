//! The capabilities in Rust: each tool hands its input to the capability of its name and
//! outputs the reply. ../../vectors/capabilities talks to it.

#[path = "../../rust/genkit.rs"]
mod genkit;

genkit::descriptor!(include_str!("../capabilities.json"));

/// The string member `name` of a request, as it is written, without its quotes. The
/// vectors write keys without escapes.
fn text<'a>(request: &'a str, name: &str) -> &'a str {
    let start = request.find(&format!("\"{}\"", name)).map_or(0, |at| at + name.len() + 2);
    let rest = &request[start..];
    let from = rest.find('"').map_or(0, |at| at + 1);
    let to = rest[from..].find('"').unwrap_or(0);
    &rest[from..from + to]
}

fn member<'a>(request: &'a str, name: &str) -> &'a str {
    let start = request.find(&format!("\"{}\":", name)).map_or(0, |at| at + name.len() + 3);
    request[start..].trim_end().trim_end_matches('}')
}

#[no_mangle]
pub extern "C" fn http() -> i32 {
    genkit::tool(|request| Ok(genkit::http(request).0))
}

#[no_mangle]
pub extern "C" fn kv_get() -> i32 {
    genkit::tool(|request| Ok(genkit::kv_get(text(request, "key")).0))
}

#[no_mangle]
pub extern "C" fn kv_set() -> i32 {
    genkit::tool(|request| Ok(genkit::kv_set_request(request).0))
}

#[no_mangle]
pub extern "C" fn kv_delete() -> i32 {
    genkit::tool(|request| Ok(genkit::kv_delete(text(request, "key")).0))
}

#[no_mangle]
pub extern "C" fn kv_list() -> i32 {
    genkit::tool(|request| Ok(genkit::kv_list(request).0))
}

#[no_mangle]
pub extern "C" fn now() -> i32 {
    genkit::tool(|_| Ok(genkit::now().0))
}

#[no_mangle]
pub extern "C" fn run() -> i32 {
    genkit::tool(|request| {
        let input = member(request, "input");
        // A nested object has lost its own end with that of the request.
        let open = input.matches('{').count() - input.matches('}').count();
        Ok(genkit::run(text(request, "key"), &(input.to_string() + &"}".repeat(open))).0)
    })
}

#[no_mangle]
pub extern "C" fn generate() -> i32 {
    genkit::tool(|request| Ok(genkit::generate(request).0))
}
