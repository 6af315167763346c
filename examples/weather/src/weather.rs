//! weather: a tool that asks a web service, with a key that it never sees, and remembers
//! the answers for ten minutes.

#[path = "../../../pdk/rust/genkit.rs"]
mod genkit;
#[path = "../../../pdk/rust/json.rs"]
mod json;

use genkit::{Error, Reply};
use json::Value;

genkit::descriptor!(
    r#"{
  "abi": "genkit/1",
  "name": "weather",
  "version": "1.0.0",
  "description": "The weather in a city, from a web service.",
  "tools": [
    {
      "name": "current",
      "description": "Tells the temperature in a city, in degrees Celsius. The answer may be ten minutes old.",
      "inputSchema": {
        "type": "object",
        "properties": {"city": {"type": "string", "minLength": 1, "maxLength": 100, "description": "the city's name"}},
        "required": ["city"],
        "additionalProperties": false
      },
      "outputSchema": {
        "type": "object",
        "properties": {
          "city": {"type": "string"},
          "celsius": {"type": "number"},
          "remembered": {"type": "boolean", "description": "whether the service was not asked"}
        },
        "required": ["city", "celsius", "remembered"],
        "additionalProperties": false
      }
    }
  ],
  "requests": {
    "http": [{"host": "weather.example.com", "methods": ["GET"], "pathPrefix": "/v1/"}],
    "secrets": ["WEATHER_KEY"],
    "kv": true
  }
}"#
);

#[no_mangle]
pub extern "C" fn current() -> i32 {
    genkit::tool(run_current)
}

fn run_current(input: &str) -> Result<String, Error> {
    let input = json::parse(input);
    let city = match input.as_ref().and_then(|v| v.get("city")) {
        Some(Value::String(city)) => city,
        _ => return Err(Error::new("INVALID_ARGUMENT", "the input has no city")),
    };
    let key = String::from("celsius/") + &city.to_lowercase();
    if let Some(celsius) = genkit::kv_get(&key).value() {
        if celsius != "null" {
            return Ok(answer(city, celsius, true));
        }
    }
    let celsius = ask(city)?;
    let kept = genkit::kv_set_request(&format!(
        "{{\"key\":{},\"value\":{},\"ttlSeconds\":600}}",
        genkit::quote(&key),
        celsius
    ));
    if kept.value().is_none() {
        genkit::log(genkit::Level::Warn, "the answer could not be remembered");
    }
    Ok(answer(city, &celsius, false))
}

fn answer(city: &str, celsius: &str, remembered: bool) -> String {
    format!(
        "{{\"city\":{},\"celsius\":{},\"remembered\":{}}}",
        genkit::quote(city),
        celsius,
        remembered
    )
}

/// Asks the service. Which one may be asked, and with which key, is the policy's to say.
fn ask(city: &str) -> Result<String, Error> {
    let url = format!("{}/v1/current?city={}", server(), percent(city));
    let reply = genkit::http(&format!(
        "{{\"url\":{},\"headers\":{{\"Authorization\":\"Bearer {{{{secret:WEATHER_KEY}}}}\"}}}}",
        genkit::quote(&url)
    ));
    let response = reply.value().and_then(json::parse).ok_or_else(|| refused(&reply))?;
    match response.get("status") {
        Some(Value::Number(status)) if status == "200" => {}
        Some(Value::Number(status)) if status == "404" => {
            return Err(Error::new("NOT_FOUND", format!("the service does not know {}", city)))
        }
        _ => return Err(Error::new("UNAVAILABLE", "the service did not answer the question")),
    }
    let body = match response.get("body") {
        Some(Value::String(body)) => json::parse(body),
        _ => None,
    };
    match body.as_ref().and_then(|b| b.get("celsius")) {
        Some(Value::Number(celsius)) => Ok(celsius.clone()),
        _ => Err(Error::new("UNAVAILABLE", "the service's answer is not understood")),
    }
}

/// What the host said when it sent nothing.
fn refused(reply: &Reply) -> Error {
    let reply = json::parse(&reply.0);
    match reply.as_ref().and_then(|r| r.get("error")).and_then(|e| e.get("message")) {
        Some(Value::String(message)) => Error::new("UNAVAILABLE", message.clone()),
        _ => Error::new("UNAVAILABLE", "the host did not send the request"),
    }
}

/// The service's address: the caller's context may name another than the usual one.
fn server() -> String {
    let context = json::parse(&genkit::context());
    match context.as_ref().and_then(|c| c.get("weatherServer")) {
        Some(Value::String(server)) => server.clone(),
        _ => String::from("https://weather.example.com"),
    }
}

fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{:02X}", byte)),
        }
    }
    out
}
