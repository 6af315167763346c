package secrets_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/faultfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/secrets"
)

const canary = "canary-0123456789-value"

// keys makes keys out of texts of keys, the first of which writes.
func keys(t testing.TB, texts ...string) *secrets.Keys {
	t.Helper()
	k, err := secrets.ParseKeys([]byte(strings.Join(texts, "\n")))
	require.NoError(t, err)
	return k
}

func newKey(t testing.TB) string {
	t.Helper()
	text, err := secrets.NewKey()
	require.NoError(t, err)
	return text
}

// world is a store in a directory, and tenants with an ID each.
type world struct {
	*secrets.Store
	t    *testing.T
	path string
	log  bytes.Buffer
	url  string
	mu   sync.Mutex // guards ids
	ids  map[string]string
}

func (w *world) id(tenant string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id, ok := w.ids[tenant]
	if !ok {
		return "", status.Publicf(status.NotFound, "tenant %q does not exist", tenant)
	}
	return id, nil
}

func (w *world) set(tenant, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ids[tenant] = id; id == "" {
		delete(w.ids, tenant)
	}
}

func newWorld(t *testing.T, k *secrets.Keys) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "secrets"), ids: map[string]string{"acme": "A1", "globex": "G1"}, url: "https://one.example.com/v1"}
	w.open(k)
	t.Cleanup(func() { assert.NoError(t, w.Close()) })
	return w
}

func (w *world) open(k *secrets.Keys) {
	w.t.Helper()
	if w.Store != nil {
		require.NoError(w.t, w.Close())
	}
	w.log.Reset()
	var err error
	w.Store, err = secrets.Open(w.t.Context(), secrets.Config{
		Path: w.path, Keys: k, TenantID: w.id, Providers: map[string]string{"openai": w.url},
		Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
	require.NoError(w.t, err)
}

func (w *world) put(tenant string, kind secrets.Kind, name, value string) secrets.Entry {
	w.t.Helper()
	e, _, err := w.Put(w.t.Context(), tenant, kind, name, secret.New(value), "")
	require.NoError(w.t, err)
	return e
}

func (w *world) value(tenant string, kind secrets.Kind, name string) (string, error) {
	if kind == secrets.Credential {
		v, err := w.Credential(w.t.Context(), tenant, name)
		return v.Reveal(), err
	}
	v, err := w.Source(nil).Secret(w.t.Context(), tenant, name)
	return v.Reveal(), err
}

func (w *world) names(tenant string, kind secrets.Kind) (names []string) {
	w.t.Helper()
	entries, err := w.List(w.t.Context(), tenant, kind)
	require.NoError(w.t, err)
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return names
}

// file is where a value of a name of small letters lies.
func (w *world) file(tenant string, kind secrets.Kind, name string) string {
	return filepath.Join(w.path, "t-"+tenant, string(kind)+"-"+name+".age")
}

func TestValuesAreKeptByTenantKindAndName(t *testing.T) {
	key := newKey(t)
	w := newWorld(t, keys(t, key))
	e, created, err := w.Put(t.Context(), "acme", secrets.Secret, "openai", secret.New(canary), "")
	require.NoError(t, err)
	assert.True(t, created)
	assert.False(t, e.ChangedAt.IsZero())
	w.put("acme", secrets.Credential, "openai", canary+"-key")
	w.put("globex", secrets.Secret, "openai", canary+"-other")
	long := strings.Repeat("A", 64)
	w.put("acme", secrets.Secret, long, canary+"-long")
	for range 2 {
		for _, c := range []struct {
			tenant string
			kind   secrets.Kind
			name   string
			want   string
		}{
			{"acme", secrets.Secret, "openai", canary},
			{"acme", secrets.Credential, "openai", canary + "-key"},
			{"globex", secrets.Secret, "openai", canary + "-other"},
			{"acme", secrets.Secret, long, canary + "-long"},
		} {
			got, err := w.value(c.tenant, c.kind, c.name)
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		}
		assert.Equal(t, []string{long, "openai"}, w.names("acme", secrets.Secret))
		assert.Equal(t, []string{"openai"}, w.names("acme", secrets.Credential))
		assert.Empty(t, w.names("globex", secrets.Credential))
		got, err := w.Get(t.Context(), "acme", secrets.Secret, "openai")
		require.NoError(t, err)
		assert.Equal(t, e, got)
		w.open(keys(t, key))
	}
	for _, name := range []string{"none", "OPENAI"} {
		_, err = w.value("acme", secrets.Secret, name)
		require.ErrorIs(t, err, status.ErrNotFound)
		_, err = w.Get(t.Context(), "acme", secrets.Secret, name)
		require.ErrorIs(t, err, status.ErrNotFound)
		require.ErrorIs(t, w.Delete(t.Context(), "acme", secrets.Secret, name, ""), status.ErrNotFound)
	}
	again, created, err := w.Put(t.Context(), "acme", secrets.Secret, "openai", secret.New(canary+"2"), e.Revision)
	require.NoError(t, err)
	assert.False(t, created)
	got, err := w.value("acme", secrets.Secret, "openai")
	require.NoError(t, err)
	assert.Equal(t, canary+"2", got, "the next one who asks gets the new value")
	_, _, err = w.Put(t.Context(), "acme", secrets.Secret, "openai", secret.New(canary+"3"), e.Revision)
	require.ErrorIs(t, err, secrets.ErrStale)
	_, _, err = w.Put(t.Context(), "acme", secrets.Secret, "fresh", secret.New(canary), e.Revision)
	require.ErrorIs(t, err, secrets.ErrStale)
	require.ErrorIs(t, w.Delete(t.Context(), "acme", secrets.Secret, "openai", e.Revision), secrets.ErrStale)
	require.NoError(t, w.Delete(t.Context(), "acme", secrets.Secret, "openai", again.Revision))
	assert.Equal(t, []string{long}, w.names("acme", secrets.Secret))
	assert.Equal(t, []string{"openai"}, w.names("acme", secrets.Credential))
	assert.Zero(t, w.Spaces(), "no lock is kept")
	hidden(t, w)
}

// hidden wants the canary neither in a file nor in the log.
func hidden(t *testing.T, w *world) {
	t.Helper()
	files := 0
	require.NoError(t, filepath.WalkDir(w.path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		assert.NotContains(t, string(raw), canary, path)
		info, serr := d.Info()
		require.NoError(t, serr)
		assert.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), path)
		files++
		return err
	}))
	assert.Positive(t, files)
	assert.NotContains(t, w.log.String(), canary)
}

func TestLimits(t *testing.T) {
	w := newWorld(t, keys(t, newKey(t)))
	for name, c := range map[string]struct {
		kind       secrets.Kind
		name, text string
		code       error
		says       string
	}{
		"no name":                      {secrets.Secret, "", canary, status.ErrInvalidArgument, "want a name"},
		"a name that is long":          {secrets.Secret, strings.Repeat("a", 65), canary, status.ErrInvalidArgument, "want a name"},
		"a name with a digit":          {secrets.Secret, "1a", canary, status.ErrInvalidArgument, "want a name"},
		"a name that is path":          {secrets.Secret, "../a", canary, status.ErrInvalidArgument, "want a name"},
		"a name with a brace":          {secrets.Secret, "a}}", canary, status.ErrInvalidArgument, "want a name"},
		"few characters in many bytes": {secrets.Secret, "a", "äöüßä", status.ErrInvalidArgument, "at least 8 characters"},
		"a value that is long":         {secrets.Secret, "a", strings.Repeat("x", secret.MaxBytes+1), status.ErrInvalidArgument, "8 to 8192 bytes"},
		"a short value":                {secrets.Secret, "a", "1234567", status.ErrInvalidArgument, "8 to 8192 bytes"},
		"two lines":                    {secrets.Secret, "a", "12345678\n90", status.ErrInvalidArgument, "one line"},
		"an unknown provider":          {secrets.Credential, "nobody", canary, status.ErrNotFound, `it has "openai"`},
		"a key with a blank":           {secrets.Credential, "openai", "sk-12345 6789", status.ErrInvalidArgument, "without blanks"},
		"a key with an umlaut":         {secrets.Credential, "openai", "sk-12345ü6789", status.ErrInvalidArgument, "without blanks"},
	} {
		_, _, err := w.Put(t.Context(), "acme", c.kind, c.name, secret.New(c.text), "")
		require.ErrorIs(t, err, c.code, name)
		assert.True(t, status.Convert(err).Public(), name)
		assert.ErrorContains(t, err, c.says, name)
		assert.NotContains(t, err.Error(), c.text)
	}
	assert.NoDirExists(t, filepath.Join(w.path, "t-acme"))
	w.put("acme", secrets.Secret, "big", strings.Repeat("x", secret.MaxBytes))
	got, err := w.value("acme", secrets.Secret, "big")
	require.NoError(t, err)
	assert.Len(t, got, secret.MaxBytes)
	for i := 1; i < secrets.MaxSecrets; i++ {
		w.put("acme", secrets.Secret, fmt.Sprintf("n%d", i), canary)
	}
	_, _, err = w.Put(t.Context(), "acme", secrets.Secret, "more", secret.New(canary), "")
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.ErrorContains(t, err, "its 256 secrets")
	w.put("acme", secrets.Secret, "n1", canary+"2")
	w.put("acme", secrets.Credential, "openai", canary)
	w.put("globex", secrets.Secret, "more", canary)
	require.NoError(t, w.Delete(t.Context(), "acme", secrets.Secret, "n2", ""))
	w.put("acme", secrets.Secret, "more", canary)
	w.set("acme", "A2") // what is left of a tenant before it takes no room of the next
	w.put("acme", secrets.Secret, "mine", canary)
}

func TestWithoutAKeyNothingIsStored(t *testing.T) {
	key := newKey(t)
	w := newWorld(t, nil)
	require.ErrorIs(t, w.CanStore(), status.ErrFailedPrecondition)
	_, _, err := w.Put(t.Context(), "acme", secrets.Secret, "a", secret.New(canary), "")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.ErrorContains(t, err, "--secrets-key-file")
	assert.Empty(t, w.names("acme", secrets.Secret))
	w.open(keys(t, key))
	require.NoError(t, w.CanStore())
	w.put("acme", secrets.Secret, "a", canary)
	w.open(nil)
	assert.Contains(t, w.log.String(), "started without the key")
	assert.Equal(t, []string{"a"}, w.names("acme", secrets.Secret), "names are told")
	_, err = w.value("acme", secrets.Secret, "a")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.ErrorContains(t, err, "without the key")
	_, err = w.value("acme", secrets.Secret, "none")
	require.ErrorIs(t, err, status.ErrNotFound)
	require.NoError(t, w.Delete(t.Context(), "acme", secrets.Secret, "a", ""), "it can be removed")
}

func TestAnotherKeyOpensNothingOfTheFirst(t *testing.T) {
	first, second := newKey(t), newKey(t)
	w := newWorld(t, keys(t, first))
	w.put("acme", secrets.Secret, "a", canary)
	w.open(keys(t, second))
	assert.Contains(t, w.log.String(), "can't be opened")
	assert.Contains(t, w.log.String(), "tenant=acme kind=secret name=a")
	next := secret.Static{"acme": {"a": secret.New("of the operator"), "b": secret.New("of the operator")}}
	_, err := w.Source(next).Secret(t.Context(), "acme", "a")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.ErrorContains(t, err, "does not open it")
	assert.True(t, status.Convert(err).Public())
	v, err := w.Source(next).Secret(t.Context(), "acme", "b")
	require.NoError(t, err, "another name is looked for elsewhere")
	assert.Equal(t, "of the operator", v.Reveal())
	w.put("globex", secrets.Secret, "a", canary)
	got, err := w.value("globex", secrets.Secret, "a")
	require.NoError(t, err, "others are served")
	assert.Equal(t, canary, got)
	w.put("acme", secrets.Secret, "a", canary+"2")
	got, err = w.value("acme", secrets.Secret, "a")
	require.NoError(t, err, "it can be set again")
	assert.Equal(t, canary+"2", got)
	hidden(t, w)
}

// After a start with the new key first, the old one is not needed any more.
func TestAKeyIsRotated(t *testing.T) {
	first, second := newKey(t), newKey(t)
	w := newWorld(t, keys(t, first))
	e := w.put("acme", secrets.Secret, "a", canary)
	w.put("globex", secrets.Credential, "openai", canary)
	w.open(keys(t, second, "# the old one", "", first))
	assert.Contains(t, w.log.String(), `"secrets were encrypted anew with the first key" secrets=2`)
	w.open(keys(t, second, first))
	assert.NotContains(t, w.log.String(), "anew")
	w.open(keys(t, second))
	assert.Empty(t, w.log.String())
	got, err := w.value("acme", secrets.Secret, "a")
	require.NoError(t, err)
	assert.Equal(t, canary, got)
	got, err = w.value("globex", secrets.Credential, "openai")
	require.NoError(t, err)
	assert.Equal(t, canary, got)
	now, err := w.Get(t.Context(), "acme", secrets.Secret, "a")
	require.NoError(t, err)
	assert.Equal(t, e, now, "the value has not changed")
}

func TestAKeyMayWithstandQuantumComputers(t *testing.T) {
	id, err := age.GenerateHybridIdentity()
	require.NoError(t, err)
	w := newWorld(t, keys(t, id.String()))
	w.put("acme", secrets.Secret, "a", strings.Repeat("x", secret.MaxBytes))
	w.open(keys(t, newKey(t), id.String()))
	assert.Contains(t, w.log.String(), "encrypted anew")
	_, err = w.value("acme", secrets.Secret, "a")
	require.NoError(t, err)
}

func TestKeysAreReadOrRefused(t *testing.T) {
	good := newKey(t)
	for text, ok := range map[string]bool{
		good:                                  true,
		"# public key: age1…\n" + good + "\n": true,
		"":                                    false,
		"# nothing":                           false,
		good[:len(good)-1]:                    false,
		good + "x":                            false,
		good + "\n" + good[1:]:                false,
		"age1" + good[15:]:                    false,
		good + strings.Repeat("\n#", 64<<9):   false,
	} {
		k, err := secrets.ParseKeys([]byte(text))
		if ok {
			require.NoError(t, err)
			assert.NotContains(t, fmt.Sprintf("%v %+v %#v %s", k, k, k, k), good)
			continue
		}
		require.ErrorIs(t, err, status.ErrInvalidArgument, text)
		assert.NotContains(t, err.Error(), good[20:len(good)-1])
		assert.NoError(t, errors.Unwrap(err), "a cause might hold the text")
	}
}

// A value is good for the tenant, kind, name and time that it was set for alone.
func TestAFileInAnothersPlaceIsNotRead(t *testing.T) {
	w := newWorld(t, keys(t, newKey(t)))
	w.put("acme", secrets.Secret, "a", canary+"-a")
	w.put("acme", secrets.Secret, "b", canary+"-b")
	w.put("globex", secrets.Secret, "a", canary+"-g")
	w.put("acme", secrets.Secret, "openai", canary+"-secret")
	w.put("acme", secrets.Credential, "openai", canary+"-key")
	read := func(file string) []byte {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		return raw
	}
	a, b := w.file("acme", secrets.Secret, "a"), w.file("acme", secrets.Secret, "b")
	inA, inB := read(a), read(b)
	for _, other := range []string{b, w.file("globex", secrets.Secret, "a"), w.file("acme", secrets.Credential, "openai")} {
		require.NoError(t, os.WriteFile(a, read(other), 0o600))
		_, err := w.value("acme", secrets.Secret, "a")
		require.ErrorIs(t, err, status.ErrDataLoss, other)
	}
	// The head of one and the ciphertext of the other, with a checksum that fits.
	headOf := func(raw []byte) []byte { return bytes.SplitN(raw, []byte("\n"), 3)[1] }
	sealedOf := func(raw []byte) []byte { return bytes.SplitN(raw, []byte("\n"), 3)[2] }
	forged := secrets.Join(headOf(inA), sealedOf(inB))
	require.NoError(t, os.WriteFile(a, forged, 0o600))
	_, err := w.value("acme", secrets.Secret, "a")
	require.ErrorIs(t, err, status.ErrDataLoss)
	assert.ErrorContains(t, err, "damaged")
	later := bytes.Replace(headOf(inA), []byte(`"changedAt":"2`), []byte(`"changedAt":"3`), 1)
	require.NotEqual(t, headOf(inA), later)
	require.NoError(t, os.WriteFile(a, secrets.Join(later, sealedOf(inA)), 0o600))
	_, err = w.value("acme", secrets.Secret, "a")
	require.ErrorIs(t, err, status.ErrDataLoss)
	require.NoError(t, os.WriteFile(a, secrets.Join(headOf(inA), sealedOf(inA)), 0o600))
	got, err := w.value("acme", secrets.Secret, "a")
	require.NoError(t, err, "the test forges as it should")
	assert.Equal(t, canary+"-a", got)
}

func TestANewTenantOfTheNameSeesNothing(t *testing.T) {
	key := newKey(t)
	w := newWorld(t, keys(t, key))
	for _, dropped := range []bool{false, true} {
		w.put("acme", secrets.Secret, "a", canary)
		w.put("acme", secrets.Credential, "openai", canary)
		w.set("acme", "")
		if dropped {
			require.NoError(t, w.Drop(t.Context(), "acme"))
			require.NoError(t, w.Drop(t.Context(), "acme"), "once more is no harm")
			assert.NoDirExists(t, filepath.Join(w.path, "t-acme"))
		}
		_, err := w.value("acme", secrets.Secret, "a")
		require.ErrorIs(t, err, status.ErrNotFound)
		_, _, err = w.Put(t.Context(), "acme", secrets.Secret, "a", secret.New(canary), "")
		require.ErrorIs(t, err, status.ErrNotFound)
		w.set("acme", fmt.Sprint("again", dropped))
		assert.Empty(t, w.names("acme", secrets.Secret))
		_, err = w.value("acme", secrets.Secret, "a")
		require.ErrorIs(t, err, status.ErrNotFound)
		_, err = w.value("acme", secrets.Credential, "openai")
		require.ErrorIs(t, err, status.ErrNotFound)
		_, err = w.Get(t.Context(), "acme", secrets.Secret, "a")
		require.ErrorIs(t, err, status.ErrNotFound)
		require.ErrorIs(t, w.Delete(t.Context(), "acme", secrets.Secret, "a", ""), status.ErrNotFound)
	}
	w.set("acme", "")
	_, err := w.List(t.Context(), "acme", secrets.Secret)
	require.ErrorIs(t, err, status.ErrNotFound)
	_, err = w.Source(secret.Static{"acme": {"a": secret.New(canary)}}).Secret(t.Context(), "acme", "a")
	require.ErrorIs(t, err, status.ErrNotFound, "a tenant that is not there has nothing of anybody's")
}

// A value that was decrypted is used again as long as its file is the same, and is not kept
// when it is over.
func TestADecryptedValueIsThatOfItsFile(t *testing.T) {
	w := newWorld(t, keys(t, newKey(t)))
	w.put("acme", secrets.Secret, "a", canary+"-a")
	w.put("acme", secrets.Secret, "b", canary+"-b")
	w.put("globex", secrets.Secret, "a", canary+"-g")
	read := func(n int) {
		t.Helper()
		for range 2 {
			for tenant, names := range map[string][]string{"acme": {"a", "b"}, "globex": {"a"}} {
				for _, name := range names {
					_, err := w.value(tenant, secrets.Secret, name)
					require.NoError(t, err)
				}
			}
		}
		assert.Equal(t, n, w.Opened())
	}
	read(3)
	a, b := w.file("acme", secrets.Secret, "a"), w.file("acme", secrets.Secret, "b")
	raw, err := os.ReadFile(a)
	require.NoError(t, err)
	other, err := os.ReadFile(b)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(a, other, 0o600))
	_, err = w.value("acme", secrets.Secret, "a")
	require.ErrorIs(t, err, status.ErrDataLoss, "another file is another value")
	require.NoError(t, os.WriteFile(a, raw, 0o600))
	w.put("acme", secrets.Secret, "a", canary+"-2")
	assert.Equal(t, 1, w.Opened(), "those of the tenant are forgotten")
	got, err := w.value("acme", secrets.Secret, "a")
	require.NoError(t, err)
	assert.Equal(t, canary+"-2", got)
	read(3)
	require.NoError(t, w.Delete(t.Context(), "globex", secrets.Secret, "a", ""))
	assert.Equal(t, 2, w.Opened())
	require.NoError(t, w.Drop(t.Context(), "acme"))
	assert.Zero(t, w.Opened())
	n, most := w.FillOpened()
	assert.Equal(t, most, n)
}

// A key that a tenant has given for one server is not sent to another.
func TestACredentialIsForTheURLItWasSetFor(t *testing.T) {
	key := newKey(t)
	w := newWorld(t, keys(t, key))
	e := w.put("acme", secrets.Credential, "openai", canary)
	assert.Equal(t, "https://one.example.com/v1", e.URL)
	assert.Empty(t, w.put("acme", secrets.Secret, "openai", canary).URL)
	w.url = "https://two.example.com/v1"
	w.open(keys(t, key))
	_, err := w.value("acme", secrets.Credential, "openai")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.ErrorContains(t, err, "was set for https://one.example.com/v1")
	_, err = w.value("acme", secrets.Secret, "openai")
	require.NoError(t, err)
	assert.Equal(t, w.url, w.put("acme", secrets.Credential, "openai", canary).URL)
	_, err = w.value("acme", secrets.Credential, "openai")
	require.NoError(t, err)
	raw, err := os.ReadFile(w.file("acme", secrets.Credential, "openai"))
	require.NoError(t, err)
	parts := bytes.SplitN(raw, []byte("\n"), 3)
	forged := secrets.Join(bytes.Replace(parts[1], []byte("two.example"), []byte("six.example"), 1), parts[2])
	require.NoError(t, os.WriteFile(w.file("acme", secrets.Credential, "openai"), forged, 0o600))
	w.url = "https://six.example.com/v1"
	w.open(keys(t, key))
	_, err = w.value("acme", secrets.Credential, "openai")
	require.ErrorIs(t, err, status.ErrDataLoss, "the URL is part of what was encrypted")
}

func TestDamageIsTold(t *testing.T) {
	key := newKey(t)
	w := newWorld(t, keys(t, key))
	w.put("acme", secrets.Secret, "a", canary)
	w.put("acme", secrets.Secret, "b", canary)
	require.NoError(t, os.WriteFile(w.file("acme", secrets.Secret, "a"), []byte("x"), 0o600))
	w.open(keys(t, key))
	assert.Contains(t, w.log.String(), "tenant=acme kind=secret name=a")
	entries, err := w.List(t.Context(), "acme", secrets.Secret)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	assert.Equal(t, "a", entries[0].Name)
	assert.Contains(t, entries[0].Problem, "damaged")
	assert.Empty(t, entries[1].Problem)
	e, err := w.Get(t.Context(), "acme", secrets.Secret, "a")
	require.NoError(t, err)
	assert.Contains(t, e.Problem, "damaged")
	_, err = w.value("acme", secrets.Secret, "a")
	require.ErrorIs(t, err, status.ErrDataLoss)
	w.put("acme", secrets.Secret, "a", canary)
	_, err = w.value("acme", secrets.Secret, "a")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(w.file("acme", secrets.Secret, "b"), []byte("x"), 0o600))
	require.NoError(t, w.Delete(t.Context(), "acme", secrets.Secret, "b", ""))
	assert.Equal(t, []string{"a"}, w.names("acme", secrets.Secret))
}

func TestAStoreIsOneProcesss(t *testing.T) {
	w := newWorld(t, keys(t, newKey(t)))
	_, err := secrets.Open(t.Context(), secrets.Config{Path: w.path, TenantID: w.id})
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.ErrorContains(t, err, "in use by another process")
	_, err = secrets.Open(t.Context(), secrets.Config{Path: w.path})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	require.NoError(t, w.Close())
	_, err = w.List(t.Context(), "acme", secrets.Secret)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
}

// Changes and readers of several tenants at a time.
func TestHammer(t *testing.T) {
	w := newWorld(t, keys(t, newKey(t)))
	var all sync.WaitGroup
	for _, tenant := range []string{"acme", "globex"} {
		for worker := range 4 {
			all.Go(func() {
				for i := range 15 {
					name := fmt.Sprintf("n%d", (i+worker)%3)
					want := tenant + "-" + canary
					switch worker {
					case 0:
						_, _, err := w.Put(t.Context(), tenant, secrets.Secret, name, secret.New(want), "")
						assert.NoError(t, err)
					case 1:
						if err := w.Delete(t.Context(), tenant, secrets.Secret, name, ""); err != nil {
							assert.ErrorIs(t, err, status.ErrNotFound)
						}
					default:
						v, err := w.Source(nil).Secret(t.Context(), tenant, name)
						if err != nil {
							assert.ErrorIs(t, err, status.ErrNotFound)
							continue
						}
						assert.Equal(t, want, v.Reveal())
						_, err = w.List(t.Context(), tenant, secrets.Secret)
						assert.NoError(t, err)
					}
				}
			})
		}
	}
	all.Wait()
	assert.Zero(t, w.Spaces())
}

type step = faultfs.Step[*secrets.Store]

func faultCase(t *testing.T, steps ...step) faultfs.Case[*secrets.Store] {
	t.Helper()
	k := keys(t, newKey(t))
	c := secrets.Config{Keys: k, Providers: map[string]string{"openai": "https://example.com"}, TenantID: func(tenant string) (string, error) { return "id-of-" + tenant, nil }}
	return faultfs.Case[*secrets.Store]{
		Open:  func(fsys storedir.FS) (*secrets.Store, error) { return secrets.OpenFS(c, fsys) },
		Close: (*secrets.Store).Close, Steps: steps, State: stateOf,
	}
}

var faultTenants = []string{"a", "B"}

// stateOf reads all values of a few names, and holds the lists against them.
func stateOf(s *secrets.Store) map[string]string {
	state := map[string]string{}
	for _, tenant := range faultTenants {
		for _, kind := range []secrets.Kind{secrets.Secret, secrets.Credential} {
			entries, listErr := s.List(context.Background(), tenant, kind)
			listed := map[string]bool{}
			for _, e := range entries {
				listed[e.Name] = true
			}
			for _, name := range []string{"k", "L", "openai"} {
				at := tenant + "/" + string(kind) + "/" + name
				var v secret.Value
				var err error
				if kind == secrets.Secret {
					v, err = s.Source(nil).Secret(context.Background(), tenant, name)
				} else {
					v, err = s.Credential(context.Background(), tenant, name)
				}
				there := !errors.Is(err, status.ErrNotFound)
				switch {
				case there && err != nil:
					state[at] = faultfs.Failed(err)
				case listErr != nil:
					state[at] = faultfs.Failed(listErr)
				case there != listed[name]:
					state[at] = fmt.Sprintf("%v, listed: %v", there, listed[name])
				case there:
					state[at] = v.Reveal()
				}
			}
		}
	}
	return state
}

func putting(tenant string, kind secrets.Kind, name, value string) step {
	return step{
		Name: "put " + tenant + "/" + name,
		Do: func(s *secrets.Store) error {
			_, _, err := s.Put(context.Background(), tenant, kind, name, secret.New(value), "")
			return err
		},
		Model: func(state map[string]string) { state[tenant+"/"+string(kind)+"/"+name] = value },
	}
}

func deleting(tenant string, kind secrets.Kind, name string) step {
	return step{
		Name: "delete " + tenant + "/" + name,
		Do: func(s *secrets.Store) error {
			err := s.Delete(context.Background(), tenant, kind, name, "")
			if errors.Is(err, status.ErrNotFound) {
				return nil
			}
			return err
		},
		Model: func(state map[string]string) { delete(state, tenant+"/"+string(kind)+"/"+name) },
	}
}

func dropping(tenant string) step {
	return step{
		Name: "drop " + tenant,
		Do:   func(s *secrets.Store) error { return s.Drop(context.Background(), tenant) },
		Model: func(state map[string]string) {
			for key := range state {
				if strings.HasPrefix(key, tenant+"/") {
					delete(state, key)
				}
			}
		},
	}
}

func TestNoFaultOfTheDiskLosesASecret(t *testing.T) {
	c := faultCase(t,
		putting("a", secrets.Secret, "k", "12345678"), putting("a", secrets.Secret, "L", "23456789"), putting("a", secrets.Secret, "k", "34567890"),
		deleting("a", secrets.Secret, "L"), dropping("a"), putting("a", secrets.Credential, "openai", "sk-23456789"),
	)
	faultfs.Exhaust(t, c)
}

func TestADamagedSecretIsNeverTakenForAnother(t *testing.T) {
	c := faultCase(t,
		putting("a", secrets.Secret, "k", "12345678"), putting("a", secrets.Secret, "L", "23456789"), putting("B", secrets.Credential, "openai", "sk-12345678"),
	)
	c.Stride = 3
	faultfs.Flips(t, c)
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("genkit-wasm-secret/1 sha256:\n{}\n"))
	f.Add(secrets.Join([]byte(`{"tenant":"a","tenantId":"A","kind":"secret","name":"k","revision":"R","changedAt":"2026-01-01T00:00:00Z"}`), []byte("age-encryption.org/v1\n")))
	f.Add(secrets.Join([]byte(`{"tenant":"a","Tenant":"b"}`), nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if again, ok := secrets.Decode(raw); ok && !bytes.Equal(again, raw) {
			t.Fatalf("%q is read, and would be written as %q", raw, again)
		}
		head, sealed, _ := bytes.Cut(raw, []byte("\n"))
		joined := secrets.Join(head, sealed) // so that what follows the checksum is reached
		if again, ok := secrets.Decode(joined); ok && !bytes.Equal(again, joined) {
			t.Fatalf("%q is read, and would be written as %q", joined, again)
		}
		_, _ = secrets.OpenSealed(raw)
	})
}

// What a guest's request pays for each secret that its policy grants.
func BenchmarkSecret(b *testing.B) {
	k := keys(b, newKey(b))
	s, err := secrets.Open(b.Context(), secrets.Config{Path: b.TempDir(), Keys: k, TenantID: func(string) (string, error) { return "id", nil }})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	_, _, err = s.Put(b.Context(), "acme", secrets.Secret, "a", secret.New(canary), "")
	require.NoError(b, err)
	source := s.Source(nil)
	for _, name := range []string{"a", "none"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = source.Secret(b.Context(), "acme", name)
			}
		})
	}
}
