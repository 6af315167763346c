module github.com/genkit-wasm/genkit-wasm/bench/guests/gocalc

go 1.26

require github.com/genkit-wasm/genkit-wasm/pdk/go v0.0.0

replace github.com/genkit-wasm/genkit-wasm/pdk/go => ../../../pdk/go
