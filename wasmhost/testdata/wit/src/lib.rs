wit_bindgen::generate!({ world: "tools", path: "wit" });

struct Tools;

impl Guest for Tools {
    fn shout(input: String) -> String {
        input.to_uppercase()
    }

    /// Takes two whole numbers with a slash between them.
    fn divide(input: String) -> Result<String, String> {
        let bad = || r#"{"code":"INVALID_ARGUMENT","message":"want two whole numbers, such as \"6/3\""}"#.to_string();
        let (n, by) = input.trim_matches('"').split_once('/').ok_or_else(bad)?;
        let (n, by) = (n.parse::<i64>().map_err(|_| bad())?, by.parse::<i64>().map_err(|_| bad())?);
        n.checked_div(by).map(|q| q.to_string()).ok_or_else(|| "there is no such quotient".to_string())
    }
}

export!(Tools);
