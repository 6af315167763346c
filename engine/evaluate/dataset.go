package evaluate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// MaxDatasetBytes is the largest dataset that [ReadDataset] reads, in bytes.
const MaxDatasetBytes = 64 << 20

// ReadDataset reads test cases as Genkit's CLI keeps them: a JSON array of objects, or
// JSON Lines. It fails with INVALID_ARGUMENT for anything else and for what exceeds
// [MaxDatasetBytes] or [MaxCases].
func ReadDataset(r io.Reader) ([]Case, error) {
	limited := &io.LimitedReader{R: r, N: MaxDatasetBytes + 1}
	in := bufio.NewReader(limited)
	first, err := firstByte(in)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "read the dataset: %w", err)
	}
	dec := json.NewDecoder(in)
	var cases []Case
	if first == '[' {
		if err = dec.Decode(&cases); err == nil {
			err = atEnd(dec)
		}
	} else {
		cases, err = lines(dec)
	}
	if limited.N <= 0 {
		return nil, status.Publicf(status.InvalidArgument, "the dataset exceeds %d bytes", MaxDatasetBytes)
	}
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "read the dataset: %w", err)
	}
	if len(cases) > MaxCases {
		return nil, status.Publicf(status.InvalidArgument, "a dataset of %d cases exceeds the limit of %d", len(cases), MaxCases)
	}
	return cases, nil
}

var errTrailing = errors.New("something follows the array")

func atEnd(dec *json.Decoder) error {
	var rest json.RawMessage
	if err := dec.Decode(&rest); !errors.Is(err, io.EOF) {
		return errTrailing
	}
	return nil
}

func lines(dec *json.Decoder) ([]Case, error) {
	var cases []Case
	for len(cases) <= MaxCases {
		var c Case
		if err := dec.Decode(&c); errors.Is(err, io.EOF) {
			return cases, nil
		} else if err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// firstByte skips white space and a byte order mark.
func firstByte(in *bufio.Reader) (byte, error) {
	if mark, _ := in.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = in.Discard(3) // it was peeked
	}
	for {
		b, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			return 0, errors.New("it is empty")
		}
		if err != nil {
			return 0, err
		}
		if !bytes.ContainsRune([]byte(" \t\r\n"), rune(b)) {
			return b, in.UnreadByte()
		}
	}
}
