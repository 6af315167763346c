package filter_test

import (
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local/internal/filter"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func table(t testing.TB, docs ...string) *filter.Columns {
	t.Helper()
	c := filter.NewColumns()
	for _, d := range docs {
		var metadata map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(d), &metadata))
		values, err := filter.Scan(metadata)
		require.NoError(t, err)
		c.Add(values)
	}
	return c
}

func chosen(s filter.Set, n int) (rows []int) {
	for i := range n {
		if s[i/64]>>(i%64)&1 != 0 {
			rows = append(rows, i)
		}
	}
	return rows
}

var long = strings.Repeat("x", 2000)

func TestFiltersChooseRows(t *testing.T) {
	docs := []string{
		`{"g":"fish","y":1975,"tags":["a","b"],"o":{"p":{"q":1}}}`,
		`{"g":"crime","y":1994,"tags":["b"],"n":null}`,
		`{"g":"fish","y":2003.50,"ok":true,"id":9007199254740993}`,
		`{"y":"1975","ok":false,"id":9007199254740992,"long":"` + long + `"}`,
		`{}`,
	}
	c := table(t, docs...)
	for f, want := range map[string][]int{
		`{}`:                                      {0, 1, 2, 3, 4},
		`{"g":"fish"}`:                            {0, 2},
		`{"g":"fish","y":1975}`:                   {0},
		`{"g":{"$eq":"fish"},"y":{"$ne":1975}}`:   {2},
		`{"y":1975.0}`:                            {0},
		`{"y":197.5e1}`:                           {0},
		`{"y":"1975"}`:                            {3},
		`{"y":{"$gt":1975}}`:                      {1, 2},
		`{"y":{"$gte":1975,"$lt":2003.5}}`:        {0, 1},
		`{"y":{"$lte":"2"}}`:                      {3},
		`{"y":{"$in":[1975,"1975",null]}}`:        {0, 3},
		`{"y":{"$in":[]}}`:                        nil,
		`{"y":{"$nin":[1975,"1975"]}}`:            {1, 2, 4},
		`{"g":{"$ne":"fish"}}`:                    {1, 3, 4},
		`{"tags":"b"}`:                            {0, 1},
		`{"tags":{"$ne":"a"}}`:                    {1, 2, 3, 4},
		`{"o.p.q":1}`:                             {0},
		`{"o.p":{"$exists":true}}`:                nil,
		`{"n":null}`:                              {1},
		`{"n":{"$exists":true}}`:                  {1},
		`{"n":{"$exists":false}}`:                 {0, 2, 3, 4},
		`{"ok":true}`:                             {2},
		`{"ok":{"$gt":false}}`:                    {2},
		`{"id":9007199254740993}`:                 {2},
		`{"id":{"$gt":9007199254740992}}`:         {2},
		`{"$or":[{"g":"crime"},{"ok":false}]}`:    {1, 3},
		`{"$and":[{"g":"fish"},{"tags":"a"}]}`:    {0},
		`{"$not":{"g":"fish","y":1975}}`:          {1, 2, 3, 4},
		`{"y":{"$not":{"$gt":1975}}}`:             {0, 3, 4},
		`{"y":{"$not":1975}}`:                     {1, 2, 3, 4},
		`{"long":"` + long + `"}`:                 {3},
		`{"long":"` + long + `y"}`:                nil,
		`{"long":{"$gt":"` + long[:1024] + `"}}`:  {3},
		`{"long":{"$lte":"` + long[:1024] + `"}}`: nil,
		`{"nobody":{"$ne":1}}`:                    {0, 1, 2, 3, 4},
		`{"nobody":{"$lt":1}}`:                    nil,
	} {
		parsed, err := filter.Parse(json.RawMessage(f))
		require.NoError(t, err, f)
		assert.Equal(t, want, chosen(parsed.Rows(c), len(docs)), f)
	}
}

func TestWhatIsNotUnderstoodIsRefused(t *testing.T) {
	for _, f := range []string{
		``, `null`, `[]`, `7`, `{"a":1}x`, `{"a":`, `{"a":1,"a":2}`, `{"a":{"$eq":1,"$eq":2}}`, `{"":1}`,
		`{"$nor":[]}`, `{"$or":[]}`, `{"$and":{}}`, `{"$or":[7]}`, `{"$not":[]}`, `{"$where":"1"}`,
		`{"a":{}}`, `{"a":[]}`, `{"a":[1]}`, `{"a":{"b":1}}`, `{"a":{"$regex":"x"}}`, `{"a":{"$eq":{}}}`, `{"a":{"$eq":[1]}}`,
		`{"a":{"$in":1}}`, `{"a":{"$in":null}}`, `{"a":{"$in":[{}]}}`, `{"a":{"$gt":null}}`, `{"a":{"$gt":[1]}}`, `{"a":{"$exists":1}}`, `{"a":{"$exists":null}}`,
		`{"a":1e1001}`, `{"a":` + strings.Repeat("1", 1001) + `}`, `{"a":{"$gt":"` + long + `"}}`,
		`{"a.b.c.d.e.f.g.h.i":1}`, `{"` + strings.Repeat("a", 600) + `":1}`,
		strings.Repeat(`{"$not":`, 20) + `{}` + strings.Repeat(`}`, 20),
		`{"a":` + strings.Repeat(`{"$not":`, 20) + `1` + strings.Repeat(`}`, 20) + `}`,
		`{"a":{"$in":[` + strings.Repeat("1,", 1000) + `1]}}`,
		`{"$or":[` + strings.Repeat(`{"a":{"$gt":1}},`, 50) + `{}]}`,
		`{"a":"` + strings.Repeat("x", filter.MaxBytes) + `"}`,
	} {
		_, err := filter.Parse(json.RawMessage(f))
		require.ErrorIs(t, err, status.ErrInvalidArgument, "%.200s", f)
	}
}

func TestMetadataThatCanNotBeSeenIsRefused(t *testing.T) {
	for name, m := range map[string]map[string]json.RawMessage{
		"too many values": {"a": json.RawMessage("[" + strings.Repeat("1,", filter.MaxValues) + "1]")},
		"a long name":     {strings.Repeat("a", filter.MaxName+1): json.RawMessage("1")},
		"a long number":   {"a": json.RawMessage(strings.Repeat("1", 1001))},
		"a far exponent":  {"a": json.RawMessage("1e9999")},
	} {
		_, err := filter.Scan(m)
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
	deep, err := filter.Scan(map[string]json.RawMessage{"a": json.RawMessage(strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat("}", 9)), "l": json.RawMessage("[[1]]")})
	require.NoError(t, err)
	assert.Empty(t, deep, "a filter for it is refused")
}

func TestNumbersAreExact(t *testing.T) {
	numbers := []string{"0", "-0", "0.0e5", "1", "1.0", "10e-1", "0.1", "1e-1", "100", "1e2", "-1", "-100", "-0.1", "12", "123", "9007199254740993", "9007199254740992", "1e1000", "1e-1000", "-1e-1000", "0.0001", "99.5"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		numbers = append(numbers, strconv.Itoa(r.IntN(2000)-1000)+"."+strconv.Itoa(r.IntN(100))+"e"+strconv.Itoa(r.IntN(8)-4))
	}
	for _, a := range numbers {
		x, ok := new(big.Rat).SetString(a)
		require.True(t, ok)
		kept, err := filter.Rational(a)
		require.NoError(t, err)
		require.Zero(t, x.Cmp(kept), a)
		for _, b := range numbers {
			y, _ := new(big.Rat).SetString(b)
			order, equal, ok, err := filter.Compare(a, b)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, x.Cmp(y), order, "%s %s", a, b)
			require.Equal(t, order == 0, equal, "%s %s", a, b)
		}
	}
}

// FuzzParse holds every filter against its negation.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{"a":{"$gt":1,"$in":[1,"x"]},"$or":[{"b":null},{"$not":{}}]}`, `{"a":{"$not":{"$exists":true}}}`} {
		f.Add(s)
	}
	docs := []string{`{"a":1,"b":null}`, `{"a":["x",2]}`, `{"b":{"c":true}}`, `{}`}
	f.Fuzz(func(t *testing.T, s string) {
		parsed, err := filter.Parse(json.RawMessage(s))
		if err != nil {
			require.ErrorIs(t, err, status.ErrInvalidArgument)
			return
		}
		c := table(t, docs...)
		yes := chosen(parsed.Rows(c), len(docs))
		negated, err := filter.Parse(json.RawMessage(`{"$not":` + s + `}`))
		if err != nil {
			return // it was as deep as may be
		}
		no := chosen(negated.Rows(c), len(docs))
		both := append(slices.Clone(yes), no...)
		slices.Sort(both)
		require.Equal(t, []int{0, 1, 2, 3}, both)
	})
}

func FuzzScan(f *testing.F) {
	f.Add(`{"a":[1,{"b":"x"}],"c":{"d":-1.5e3}}`)
	f.Fuzz(func(t *testing.T, s string) {
		var m map[string]json.RawMessage
		if json.Unmarshal([]byte(s), &m) != nil {
			return
		}
		values, err := filter.Scan(m)
		if err != nil {
			require.ErrorIs(t, err, status.ErrInvalidArgument)
			return
		}
		c := filter.NewColumns()
		c.Add(values)
	})
}
