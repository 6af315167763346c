package usage

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Money is an amount in millionths of a currency's unit: 1,500,000 is 1.50 dollars. In JSON it
// is a decimal in a text, "1.5", which no reader rounds. Sums stop at the largest amount.
type Money int64

const (
	micros = 1_000_000
	// MaxMoney bounds the amounts that are read: a thousand billion units.
	MaxMoney Money = 1_000_000_000_000 * micros
)

// ParseMoney reads a decimal of at most six places, such as "12", "0.25" or "0.000001";
// INVALID_ARGUMENT for what is none, is negative or more than [MaxMoney].
func ParseMoney(text string) (Money, error) {
	whole, fraction, point := strings.Cut(text, ".")
	if !digits(whole) || len(whole) > 13 || point && (!digits(fraction) || len(fraction) > 6) {
		return 0, status.Publicf(status.InvalidArgument, "want an amount of money such as 12 or 0.25, with at most six places and no exponent")
	}
	n, err := strconv.ParseInt(whole+(fraction + "000000")[:6], 10, 64)
	if err != nil || Money(n) > MaxMoney {
		return 0, status.Publicf(status.InvalidArgument, "an amount of money is at most %s", MaxMoney)
	}
	return Money(n), nil
}

func digits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != ""
}

// String writes the amount as a decimal without needless zeros.
func (m Money) String() string {
	sign, n := "", uint64(m) //nolint:gosec // negative amounts are turned below
	if m < 0 {
		sign, n = "-", -n
	}
	text := sign + strconv.FormatUint(n/micros, 10)
	if rest := n % micros; rest > 0 {
		text += "." + strings.TrimRight(strconv.FormatUint(micros+rest, 10)[1:], "0")
	}
	return text
}

// MarshalJSON writes the decimal as a text.
func (m Money) MarshalJSON() ([]byte, error) { return []byte(`"` + m.String() + `"`), nil }

// UnmarshalJSON reads a decimal, as a text or as a number, by the rules of [ParseMoney].
func (m *Money) UnmarshalJSON(raw []byte) error {
	text := string(raw)
	if strings.HasPrefix(text, `"`) {
		if err := json.Unmarshal(raw, &text); err != nil {
			return status.Publicf(status.InvalidArgument, "want an amount of money")
		}
	}
	parsed, err := ParseMoney(text)
	if err != nil {
		return err
	}
	*m = parsed
	return nil
}

// Plus adds amounts that are not negative, and stops at the largest one.
func (m Money) Plus(other Money) Money { return Money(plus(int64(m), int64(other))) }

// plus adds numbers that are not negative; what does not fit is the largest one.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
