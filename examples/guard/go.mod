module github.com/genkit-wasm/genkit-wasm/examples/guard

go 1.24

require github.com/genkit-wasm/genkit-wasm/pdk/go v0.0.0

replace github.com/genkit-wasm/genkit-wasm/pdk/go => ../../pdk/go
