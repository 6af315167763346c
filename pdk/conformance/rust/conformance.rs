//! The conformance module in Rust: the tools that ../../vectors runs.

#[path = "../../rust/genkit.rs"]
mod genkit;

use genkit::{Error, Level};

genkit::descriptor!(include_str!("../descriptor.json"));

#[no_mangle]
pub extern "C" fn echo() -> i32 {
    genkit::tool(|input| Ok(input.to_string()))
}

#[no_mangle]
pub extern "C" fn upper() -> i32 {
    genkit::tool(|text| Ok(text.to_ascii_uppercase()))
}

#[no_mangle]
pub extern "C" fn textjson() -> i32 {
    genkit::tool(|text| Ok(text.to_string()))
}

#[no_mangle]
pub extern "C" fn fail() -> i32 {
    genkit::fail(&Error::new("NOT_FOUND", "no such thing: \"x\"").details("{\"id\":42}"))
}

#[no_mangle]
pub extern "C" fn failtext() -> i32 {
    genkit::fail_text("it did not work")
}

#[no_mangle]
pub extern "C" fn nonzero() -> i32 {
    7
}

#[no_mangle]
pub extern "C" fn silent() -> i32 {
    0
}

#[no_mangle]
pub extern "C" fn replace() -> i32 {
    genkit::output(b"{\"first\":");
    genkit::output(b"\"second\"");
    0
}

#[no_mangle]
pub extern "C" fn badoutput() -> i32 {
    genkit::output(b"{\"unfinished\":");
    0
}

#[no_mangle]
pub extern "C" fn invalidutf8() -> i32 {
    genkit::output(b"\"\xff\xfe\"");
    0
}

#[no_mangle]
pub extern "C" fn wrongshape() -> i32 {
    genkit::output(b"\"not an integer\"");
    0
}

#[no_mangle]
pub extern "C" fn emit3() -> i32 {
    genkit::tool(|_| {
        for chunk in ["{\"n\":1}", "{\"n\":2}", "\"drei é\""] {
            if genkit::emit(chunk).value().is_none() {
                return Err(Error::new("UNAVAILABLE", "emit was refused"));
            }
        }
        Ok("{\"chunks\":3}".to_string())
    })
}

#[no_mangle]
pub extern "C" fn badchunk() -> i32 {
    genkit::tool(|_| Ok(genkit::emit("{\"n\":").0))
}

#[no_mangle]
pub extern "C" fn interrupt() -> i32 {
    let code = genkit::tool(|metadata| Err(genkit::interrupt(metadata)));
    genkit::output(b"\"nobody sees this\"");
    code
}

#[no_mangle]
pub extern "C" fn interrupt_fail() -> i32 {
    genkit::interrupt("{\"reason\":\"ask\"}");
    genkit::fail_text("nobody sees this")
}

#[no_mangle]
pub extern "C" fn interrupt_trap() -> i32 {
    genkit::interrupt("null");
    panic!()
}

#[no_mangle]
pub extern "C" fn context() -> i32 {
    genkit::tool(|_| Ok(genkit::context()))
}

#[no_mangle]
pub extern "C" fn log() -> i32 {
    genkit::log(Level::Trace, "a trace line");
    genkit::log(Level::Debug, "a debug line");
    genkit::log(Level::Info, "an info line: é");
    genkit::log(Level::Warn, "a warn line");
    genkit::log(Level::Error, "an error line");
    genkit::output(b"{\"lines\":5}");
    0
}

static mut COUNT: u32 = 0;

#[no_mangle]
pub extern "C" fn counter() -> i32 {
    genkit::tool(|_| {
        let count = unsafe {
            COUNT += 1;
            COUNT
        };
        if count != 1 {
            return Err(Error::new(
                "FAILED_PRECONDITION",
                "state of an earlier call was seen",
            ));
        }
        Ok("{\"count\":1}".to_string())
    })
}

#[no_mangle]
pub extern "C" fn trap() -> i32 {
    panic!()
}

#[no_mangle]
pub extern "C" fn oob() -> i32 {
    #[link(wasm_import_module = "genkit_v1")]
    extern "C" {
        fn output(ptr: usize, len: usize);
    }
    unsafe { output(0xfffffff0, 0x20) }
    0
}

#[no_mangle]
pub extern "C" fn spin() -> i32 {
    loop {
        unsafe { std::ptr::write_volatile(std::ptr::addr_of_mut!(COUNT), COUNT.wrapping_add(1)) }
    }
}

#[no_mangle]
pub extern "C" fn hog() -> i32 {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut block = Vec::new();
        if block.try_reserve_exact(1 << 16).is_err() {
            return genkit::fail(&Error::new("RESOURCE_EXHAUSTED", "out of memory"));
        }
        block.resize(1 << 16, kept.len() as u8);
        kept.push(block);
    }
}

/// The host has checked that the input is {"size": n}.
#[no_mangle]
pub extern "C" fn big() -> i32 {
    genkit::tool(|input| {
        let digits: String = input.chars().filter(|c| c.is_ascii_digit()).collect();
        match digits.parse::<usize>() {
            Ok(size) => Ok(genkit::quote(&"x".repeat(size - 2))),
            Err(_) => Err(Error::new("INVALID_ARGUMENT", "size is not a whole number")),
        }
    })
}
