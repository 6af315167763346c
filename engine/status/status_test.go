package status_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestCodesKeepGenkitsTable(t *testing.T) {
	want := map[status.Code]struct {
		name string
		http int
	}{
		0: {"OK", 200}, 1: {"CANCELLED", 499}, 2: {"UNKNOWN", 500}, 3: {"INVALID_ARGUMENT", 400},
		4: {"DEADLINE_EXCEEDED", 504}, 5: {"NOT_FOUND", 404}, 6: {"ALREADY_EXISTS", 409},
		7: {"PERMISSION_DENIED", 403}, 8: {"RESOURCE_EXHAUSTED", 429}, 9: {"FAILED_PRECONDITION", 400},
		10: {"ABORTED", 409}, 11: {"OUT_OF_RANGE", 400}, 12: {"UNIMPLEMENTED", 501}, 13: {"INTERNAL", 500},
		14: {"UNAVAILABLE", 503}, 15: {"DATA_LOSS", 500}, 16: {"UNAUTHENTICATED", 401},
	}
	for code, w := range want {
		assert.Equal(t, w.name, code.String())
		assert.Equal(t, w.http, code.HTTP(), w.name)
		back, ok := status.Parse(w.name)
		assert.True(t, ok, w.name)
		assert.Equal(t, code, back)
	}
	assert.Equal(t, "UNKNOWN", status.Code(99).String())
	var code status.Code
	require.NoError(t, json.Unmarshal([]byte(`"RESOURCE_EXHAUSTED"`), &code))
	assert.Equal(t, status.ResourceExhausted, code)
	require.Error(t, json.Unmarshal([]byte(`"NO_SUCH"`), &code))
}

func TestErrorsMatchByCodeThroughWraps(t *testing.T) {
	cause := errors.New("disk on fire")
	err := fmt.Errorf("load %q: %w", "x", status.Errorf(status.DataLoss, "read: %w", cause))
	require.ErrorIs(t, err, status.ErrDataLoss)
	require.ErrorIs(t, err, cause)
	require.NotErrorIs(t, err, status.ErrInternal)
	assert.Equal(t, status.DataLoss, status.Of(err))

	assert.Equal(t, status.OK, status.Of(nil))
	assert.Equal(t, status.Cancelled, status.Of(fmt.Errorf("x: %w", context.Canceled)))
	assert.Equal(t, status.DeadlineExceeded, status.Of(context.DeadlineExceeded))
	assert.Equal(t, status.Internal, status.Of(errors.New("plain")))
	assert.Equal(t, status.NotFound, status.Of(fmt.Errorf("x: %w", status.ErrNotFound)))
	assert.Equal(t, status.Internal, status.Of(status.Errorf(status.OK, "claims to be fine")))
	var typedNil *status.Error
	assert.NotPanics(t, func() { _ = status.Of(typedNil) })
}

func TestPrivateTextStaysInTheProcess(t *testing.T) {
	private := status.Errorf(status.Internal, "password is %s", "hunter2").WithDetails(map[string]string{"k": "hunter2"})
	wire, err := json.Marshal(status.ToWire(private, false))
	require.NoError(t, err)
	assert.NotContains(t, string(wire), "hunter2")
	assert.JSONEq(t, `{"status":"INTERNAL","message":"internal error"}`, string(wire))
	assert.Contains(t, status.ToWire(private, true).Message, "hunter2")

	public := status.Publicf(status.NotFound, "tool %q does not exist", "a").WithDetails(map[string]int{"n": 1})
	wire, err = json.Marshal(status.ToWire(fmt.Errorf("ctx: %w", public), false))
	require.NoError(t, err)
	assert.JSONEq(t, `{"status":"NOT_FOUND","message":"tool \"a\" does not exist","details":{"n":1}}`, string(wire))
}

func TestProviderStatusMapsToCodes(t *testing.T) {
	for in, want := range map[int]status.Code{
		200: status.OK, 400: status.InvalidArgument, 401: status.Unauthenticated, 403: status.PermissionDenied,
		404: status.NotFound, 409: status.Aborted, 429: status.ResourceExhausted, 499: status.Cancelled,
		500: status.Internal, 501: status.Unimplemented, 502: status.Internal, 503: status.Unavailable,
		504: status.DeadlineExceeded, http.StatusTeapot: status.Unknown,
	} {
		assert.Equal(t, want, status.FromHTTP(in), "HTTP %d", in)
	}
}
