package main

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A number is read alike on the command line, in the environment and in a file, and never as another one.
func TestNumbersAreReadStrictly(t *testing.T) {
	const (
		counted  = "want a whole number in digits, "
		sized    = "want bytes in digits, or with a unit such as 512MiB or 4GiB, "
		spanned  = "want a duration such as 90s or 1h30m, "
		ofMemory = "0 (half of the machine's) or 16MiB to 1024TiB"
	)
	for _, test := range []struct{ flag, variable, text, is, says string }{
		{"memory", "MEMORY", "0", "0", ""},
		{"memory", "MEMORY", "16777216", "16777216", ""},
		{"memory", "MEMORY", "16MiB", "16777216", ""},
		{"memory", "MEMORY", "4GiB", "4294967296", ""},
		{"memory", "MEMORY", "1_073_741_824", "1073741824", ""},
		{"memory", "MEMORY", "2147483648B", "2147483648", ""},
		{"memory", "MEMORY", "16777215", "", "want " + ofMemory},
		{"memory", "MEMORY", "1", "", "want " + ofMemory},
		{"memory", "MEMORY", "-1", "", "want " + ofMemory},
		{"memory", "MEMORY", "1125899906842625", "", "want " + ofMemory},
		{"memory", "MEMORY", "9999999999TiB", "", "want " + ofMemory},
		{"memory", "MEMORY", "99999999999999999999", "", "want " + ofMemory},
		{"memory", "MEMORY", "010000000000", "", sized},
		{"memory", "MEMORY", "0x40000000", "", sized},
		{"memory", "MEMORY", "4GB", "", sized},
		{"memory", "MEMORY", "4g", "", sized},
		{"memory", "MEMORY", "1e9", "", sized},
		{"memory", "MEMORY", "1.5GiB", "", sized},
		{"slots", "SLOTS", "8", "8", ""},
		{"slots", "SLOTS", "010", "", counted},
		{"slots", "SLOTS", "0b11", "", counted},
		{"slots", "SLOTS", "1000001", "", "want 0 to 1000000"},
		{"max-connections", "MAX_CONNECTIONS", "099", "", counted},
		{"audit-days", "AUDIT_DAYS", "36501", "", "want 0 to 36500"},
		{"usage-days", "USAGE_DAYS", "4001", "", "want 1 to 4000"},
		{"drain-delay", "DRAIN_DELAY", "1h30m", "1h30m0s", ""},
		{"drain-delay", "DRAIN_DELAY", "1.5s", "1.5s", ""},
		{"drain-delay", "DRAIN_DELAY", "5", "", spanned},
		{"drain-delay", "DRAIN_DELAY", "05s", "", spanned},
		{"drain-delay", "DRAIN_DELAY", "5 s", "", spanned},
		{"drain-delay", "DRAIN_DELAY", "1d", "", spanned},
		{"drain-delay", "DRAIN_DELAY", "25h", "", "want 0s to 24h0m0s"},
		{"drain-timeout", "DRAIN_TIMEOUT", "-1s", "", "want 0s to 24h0m0s"},
		{"idle-timeout", "IDLE_TIMEOUT", "9999999999999h", "", "want 0s to 8760h0m0s"},
	} {
		t.Run(test.flag+" "+test.text, func(t *testing.T) {
			file := write(t, "server.yaml", test.flag+": "+test.text+"\n")
			flag := cli(t, "config", "check", "--"+test.flag, test.text)
			inFile := cli(t, "config", "check", file)
			shown := cli(t, "config", "show", file)
			t.Setenv("GENKIT_WASM_"+test.variable, test.text)
			variable := cli(t, "config", "check")
			if test.says == "" {
				for _, got := range []outcome{flag, variable, inFile} {
					assert.Equal(t, exitOK, got.exit, got.err)
				}
				assert.Regexp(t, `(?m)^`+test.flag+` +`+regexp.QuoteMeta(test.is)+` +file$`, shown.out)
				return
			}
			for at, got := range map[string]outcome{"--" + test.flag + " is ": flag, "$GENKIT_WASM_" + test.variable + ": ": variable, "server.yaml:1: ": inFile} {
				assert.Equal(t, exitUsage, got.exit, got.err)
				assert.Contains(t, got.err, at)
				assert.Contains(t, got.err, test.text)
				assert.Contains(t, got.err, test.says)
			}
		})
	}
}

// So are numbers that are parts of other flags.
func TestNumbersWithinFlagsAreReadStrictly(t *testing.T) {
	for says, args := range map[string][]string{
		`--addr "127.0.0.1:03400": want HOST:PORT`:             {"config", "check", "--addr", "127.0.0.1:03400"},
		`--addr "127.0.0.1:65536": want HOST:PORT`:             {"config", "check", "--addr", "127.0.0.1:65536"},
		`--allow-host "https://a.example:0443"`:                {"run", calcFile, "add", "--allow-host", "https://a.example:0443"},
		`"seconds" is 99999999999, want -1 (no bound)`:         {"config", "check", "--generate-limits", `{"seconds":99999999999}`},
		`"tokens" is -2, want -1 (no bound)`:                   {"config", "check", "--generate-limits", `{"tokens":-2}`},
		`"queueBytes" is 9, want 0 (not set) or 65536`:         {"config", "check", "--usage-sink", `{"file":"b","queueBytes":9}`},
		`"queueBytes" is 2097151, want 0 (not set) or 2097152`: {"config", "check", "--usage-sink", `{"url":"https://b","queueBytes":2097151}`},
		`"maxBytes" is -1, want 0 (not set) or 65536`:          {"config", "check", "--usage-sink", `{"file":"a","maxBytes":-1}`},
		`"files" is 1001, want 0 (not set) to 1000`:            {"config", "check", "--usage-sink", `{"file":"a","files":1001}`},
		`--expires is "010d"`:                                  {"key", "create", "x", "--scope", "admin", "--expires", "010d"},
		`--expires is "65536d"`:                                {"key", "create", "x", "--scope", "admin", "--expires", "65536d"},
		`--overlap is "+1h"`:                                   {"key", "rotate", "aaaaaaaaaaaaaaaa", "--overlap", "+1h"},
		`--limit is 010, want a whole number in digits`:        {"audit", "--limit", "010"},
		`--count is "", want a whole number in digits`:         {"bench", calcFile, "add", "--count", ""},
	} {
		got := cli(t, args...)
		assert.Equal(t, exitUsage, got.exit, "%v: %s", args, got.err)
		assert.Contains(t, got.err, says)
	}
}

// Bytes that are shown are read as the same number.
func TestSizesAreReadAsTheyAreShown(t *testing.T) {
	for _, n := range []int64{0, 1, 1023, 1024, 1 << 20, 3 << 30, 5<<40 + 1, 1 << 50, 1<<63 - 1} {
		got, err := readSize(showSize(n))
		require.NoError(t, err, showSize(n))
		assert.Equal(t, n, got, showSize(n))
	}
	assert.Equal(t, "1024TiB 3GiB 1025", fmt.Sprint(showSize(1<<50), " ", showSize(3<<30), " ", showSize(1025)))
}
