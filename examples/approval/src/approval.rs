//! approval: a tool that asks a person first. It interrupts the call; the caller runs
//! it again with {"approved": true} in the context when somebody has said yes.

#[path = "../../../pdk/rust/genkit.rs"]
mod genkit;
#[path = "../../../pdk/rust/json.rs"]
mod json;

use json::Value;

genkit::descriptor!(
    r#"{
  "abi": "genkit/1",
  "name": "approval",
  "version": "1.0.0",
  "description": "A transfer of money that somebody has to approve.",
  "tools": [
    {
      "name": "transfer",
      "description": "Sends an amount to somebody. Interrupts for approval unless the caller's context says approved: true. (A demonstration: no money moves.)",
      "inputSchema": {
        "type": "object",
        "properties": {
          "to": {"type": "string", "minLength": 1, "description": "who gets the money"},
          "amount": {"type": "number", "exclusiveMinimum": 0, "description": "how much"}
        },
        "required": ["to", "amount"],
        "additionalProperties": false
      },
      "outputSchema": {
        "type": "object",
        "properties": {
          "status": {"type": "string", "enum": ["sent"]},
          "to": {"type": "string", "description": "who got the money"},
          "amount": {"type": "number", "description": "how much"}
        },
        "required": ["status", "to", "amount"],
        "additionalProperties": false
      }
    }
  ]
}"#
);

#[no_mangle]
pub extern "C" fn transfer() -> i32 {
    genkit::tool(run_transfer)
}

fn run_transfer(input: &str) -> Result<String, genkit::Error> {
    let input = json::parse(input);
    let (to, amount) = match &input {
        Some(v) => match (v.get("to"), v.get("amount")) {
            (Some(Value::String(to)), Some(Value::Number(amount))) => (to, amount),
            _ => return Err(invalid()),
        },
        None => return Err(invalid()),
    };
    if !approved() {
        genkit::log(genkit::Level::Info, "transfer waits for approval");
        return Err(genkit::interrupt(
            &(String::from("{\"reason\":\"approve transfer\",\"amount\":") + amount + "}"),
        ));
    }
    Ok(String::from("{\"status\":\"sent\",\"to\":")
        + &genkit::quote(to)
        + ",\"amount\":"
        + amount
        + "}")
}

fn approved() -> bool {
    let context = json::parse(&genkit::context());
    matches!(
        context.as_ref().and_then(|c| c.get("approved")),
        Some(Value::Bool(true))
    )
}

fn invalid() -> genkit::Error {
    genkit::Error::new(
        "INVALID_ARGUMENT",
        "the input is not {\"to\": string, \"amount\": number}",
    )
}
