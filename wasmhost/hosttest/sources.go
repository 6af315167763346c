package hosttest

// earlier marks an attack that an earlier version of this host did not withstand.
const earlier = "an earlier version of this host"

// sources says where cases come from that don't say it themselves: issues of engines and of
// hosts, advisories, and what was measured on them.
func sources() map[string][]string {
	return map[string][]string{
		"A05": {"WebAssembly specification: LEB128"}, "A08": {"WebAssembly/wabt#2396"}, "A21": {"wasmerio/wasmer#503"}, "A27": {"a rewriter makes an invalid module valid"}, "A33": {"wasmerio/wasmer#503"},
		"B01": {"wazero/wazero#2466"}, "B04": {"wazero/wazero#2533"}, "B07": {"bulk operations are not interrupted by engines"}, "B10": {"wazero/wazero#422"}, "B11": {"extism/go-sdk: no limit in a start function"},
		"B19": {"wazero/wazero#1610"}, "B20": {"golang/go#10958"}, "B22": {earlier}, "B23": {earlier}, "B24": {earlier},
		"C01": {"wazero/wazero#417"}, "C03": {"WebAssembly/wabt#2396", "wasmerio/wasmer#5297"}, "C06": {"extism/extism#900"},
		"D01": {"KanishJebaMathewM/Truxify#13878"}, "D02": {"extism/go-sdk: no limit of an output"}, "D03": {"wasmerio/wasmer#2786"}, "D20": {"CWE-1333"}, "D22": {"CWE-117"},
		"F06": {earlier}, "F07": {earlier}, "F08": {earlier}, "F09": {earlier}, "F10": {"wasmerio/wasmer#6073", "smartcontractkit/chainlink-common#2299"}, "F13": {earlier}, "F16": {"wazero/wazero#2321"}, "F17": {"wazero/wazero#2322"},
		"H01": {"CVE-2021-42574"}, "S01": {"CVE-2022-39393"}, "S05": {"extism/go-sdk#81"}, "S08": {"wazero: random bytes are the same in every instance, where none are asked for"},
	}
}
