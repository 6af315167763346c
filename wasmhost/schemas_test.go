package wasmhost_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// describedBy is a descriptor of so many tools, each with so many properties.
func describedBy(name string, toolCount, properties int, property string) []byte {
	var list, tools []string
	for i := range properties {
		list = append(list, fmt.Sprintf(`"p%d":%s`, i, property))
	}
	for i := range toolCount {
		tools = append(tools, fmt.Sprintf(`{"name":"t%d","export":"f","inputSchema":{"type":"object","properties":{%s}}}`, i, strings.Join(list, ",")))
	}
	return fmt.Appendf(nil, `{"abi":"genkit/1","name":%q,"tools":[%s]}`, name, strings.Join(tools, ","))
}

// TestTheSchemasOfADescriptorAreBoundedTogether has descriptors of which each schema is
// fine, and all of them together take seconds and hundreds of megabytes.
func TestTheSchemasOfADescriptorAreBoundedTogether(t *testing.T) {
	h := newHost(t, wasmhost.Config{})
	for want, descriptor := range map[string][]byte{
		"regular expressions are too big": describedBy("m", 100, 50, `{"pattern":"^[a-z]{900}$"}`),
		"more than 10000 subschemas":      describedBy("m", 100, 150, `{}`),
	} {
		_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: answering('1'), Descriptor: descriptor})
		require.ErrorIs(t, err, status.ErrInvalidArgument)
		assert.ErrorContains(t, err, want)
	}
	_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: answering('1'), Descriptor: describedBy("m", 100, 20, `{"pattern":"^[a-z]{3,20}$"}`)})
	require.NoError(t, err)
}

func TestCompiledSchemasCountAsTheirTenantsMemory(t *testing.T) {
	store := module.NewMemory()
	quota := tenants.Quota{MemoryBytes: 64 << 20}
	h := newHost(t, wasmhost.Config{Store: store, Quota: quota})
	load := func(name string) error {
		_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Name: name, Wasm: answering('1'), Descriptor: describedBy(name, 1, 2000, `{"minLength":1}`)})
		return err
	}
	held := func() int64 {
		u, err := h.Usage(tenant)
		require.NoError(t, err)
		return u.SchemaBytes
	}
	require.NoError(t, load("m0"))
	assert.Greater(t, held(), int64(6<<20), "3 KiB for each of 2000 subschemas")
	require.NoError(t, load("m1"))
	before := held()
	err := load("m2")
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.ErrorContains(t, err, "schemas would hold")
	assert.Equal(t, before, held(), "what is refused holds nothing")
	_, err = h.Load(t.Context(), tenant, wasmhost.Upload{Name: "m1", Wasm: answering('2'), Descriptor: describedBy("m1", 1, 2000, `{"minLength":2}`)})
	require.NoError(t, err, "the module that is replaced makes room")
	assert.Equal(t, before, held())
	require.NoError(t, h.Remove(t.Context(), tenant, "m0"))
	require.NoError(t, load("m2"))

	quota.MemoryBytes /= 2
	h = newHost(t, wasmhost.Config{Store: store, Quota: quota})
	records, err := h.Modules(tenant)
	require.NoError(t, err)
	problems := 0
	for _, rec := range records {
		if rec.Problem != "" {
			problems++
			assert.Contains(t, rec.Problem, "schemas would hold")
		}
	}
	assert.Equal(t, 1, problems, "a start is bounded as well")
}
