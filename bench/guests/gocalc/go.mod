module github.com/genkit-wasm/genkit-wasm/bench/guests/gocalc

go 1.26
