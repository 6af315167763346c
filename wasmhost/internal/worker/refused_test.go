package worker

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestCallsThatNoWorkerTakesAreRefused(t *testing.T) {
	unavailable := status.Publicf(status.Unavailable, "not now")
	for reason, want := range map[string]bool{reasonQuarantined: true, reasonBackoff: true, reasonLost: false, reasonCulprit: false} {
		assert.Equal(t, want, Refused(fmt.Errorf("call: %w", unavailable.WithDetails(details(reason)))), reason)
	}
	for _, err := range []error{
		nil, errors.New("anything"), unavailable, unavailable.WithDetails([]int{1}),
		status.Publicf(status.Internal, "a guest's").WithDetails(details(reasonBackoff)),
	} {
		assert.False(t, Refused(err), "%v", err)
	}
}
