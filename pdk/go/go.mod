module github.com/genkit-wasm/genkit-wasm/pdk/go

go 1.24
