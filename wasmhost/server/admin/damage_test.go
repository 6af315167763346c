package admin_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
)

// damaged is a service on a directory of which a test damages files.
type damaged struct {
	*world
	path   string
	dir    *admin.Dir
	config admin.Config
}

func openDamaged(t *testing.T, c admin.Config) *damaged {
	t.Helper()
	d := &damaged{path: t.TempDir(), config: c}
	d.start(t)
	return d
}

// start starts the service again.
func (d *damaged) start(t *testing.T) {
	t.Helper()
	d.stop(t)
	d.dir = openDir(t, d.path)
	d.config.Store = d.dir
	d.world = open(t, d.config, wasmhost.Config{})
}

func (d *damaged) stop(t *testing.T) {
	t.Helper()
	if d.world != nil {
		d.close()
		require.NoError(t, d.dir.Close())
	}
}

// damage changes a file, and starts the service again.
func (d *damaged) damage(t *testing.T, kind, name string, content []byte) {
	t.Helper()
	d.stop(t)
	d.world = nil
	file := filepath.Join(d.path, kind, name+".json")
	if content == nil {
		require.NoError(t, os.Remove(file))
		require.NoError(t, os.MkdirAll(filepath.Join(file, "below"), 0o700))
	} else {
		require.NoError(t, os.WriteFile(file, content, 0o600))
	}
	d.start(t)
	assert.Contains(t, d.log.String(), "level=ERROR", "the start tells it")
}

func (d *damaged) runs(tenantName string) error {
	_, done, err := d.host.BeginRun(d.t.Context(), tenantName)
	if err == nil {
		done()
	}
	return err
}

// A tenant whose record is damaged answers DATA_LOSS, with what to do, and is repaired, the tenant that can't be
// deleted among them. What it has stays.
func TestADamagedTenantIsRepaired(t *testing.T) {
	for what, content := range map[string][]byte{"an empty file": {}, "half a file": []byte("sha256:00\n{"), "a directory": nil} {
		for _, name := range []string{wasmhost.DefaultTenant, "acme"} {
			t.Run(what+" of "+name, func(t *testing.T) {
				t.Parallel()
				d := openDamaged(t, admin.Config{Initial: map[string]admin.Settings{"acme": settings(t, `{"quota":{"queue":5}}`)}})
				first, err := d.Get(name)
				require.NoError(t, err)
				settle, err := d.Payer(name).Reserve(t.Context(), "m")
				require.NoError(t, err)
				settle(allowance.Use{Total: 70, Reported: true})
				d.damage(t, "tenant", name, content)

				for asked, err := range map[string]error{
					"run": d.runs(name), "create": second(d.Create(t.Context(), name, admin.Settings{}, "")), "suspend": second(d.Suspend(t.Context(), name, "")),
					"resume": second(d.Resume(t.Context(), name, "")), "change": second(d.Change(t.Context(), name, "", func(s admin.Settings) (admin.Settings, error) { return s, nil })),
					"its ID": second(d.ID(name)), "budget": second(d.Spent(name)), "model call": second(d.Payer(name).Reserve(t.Context(), "m")),
				} {
					require.ErrorIs(t, err, status.ErrDataLoss, asked)
					assert.Contains(t, status.ToWire(err, false).Message, "genkit-wasm tenant repair "+name, asked)
				}
				if name == wasmhost.DefaultTenant {
					_, err = d.Delete(t.Context(), name, "")
					require.ErrorIs(t, err, status.ErrDataLoss)
				}

				made, err := d.Repair(t.Context(), name, nil)
				require.NoError(t, err)
				assert.Equal(t, admin.Active, made.State)
				assert.Empty(t, made.Problem)
				assert.Equal(t, first.Settings, made.Settings, "those of the start")
				assert.Equal(t, first.ID, made.ID, "what it has spent tells its ID")
				require.NoError(t, d.runs(name))
				_, err = d.Repair(t.Context(), name, nil)
				require.ErrorIs(t, err, status.ErrFailedPrecondition)
				for range 2 {
					spent, err := d.Spent(name)
					require.NoError(t, err)
					assert.EqualValues(t, 70, spent.Day.Tokens)
					d.start(t)
					again, err := d.Get(name)
					require.NoError(t, err)
					assert.Equal(t, made, again)
				}
			})
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Settings are given with the repair, and checked; what was spent counts as the whole budget where it is lost as well.
func TestARepairedTenantHasTheSettingsThatAreGiven(t *testing.T) {
	d := openDamaged(t, admin.Config{})
	first := d.create("acme", admin.Settings{})
	settle, err := d.Payer("acme").Reserve(t.Context(), "m")
	require.NoError(t, err)
	settle(allowance.Use{Total: 70, Reported: true})
	d.damage(t, "tenant", "acme", []byte("x"))
	require.NoError(t, os.WriteFile(filepath.Join(d.path, "spent", "acme.json"), []byte("x"), 0o600))
	bad := settings(t, `{}`)
	bad.Quota.Queue = -1
	_, err = d.Repair(t.Context(), "acme", &bad)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = d.Repair(t.Context(), "none", nil)
	require.ErrorIs(t, err, status.ErrNotFound)
	given := settings(t, `{"budget":{"tokensPerDay":1000}}`)
	made, err := d.Repair(t.Context(), "acme", &given)
	require.NoError(t, err)
	assert.EqualValues(t, 1000, made.Budget.TokensPerDay)
	assert.NotEqual(t, first.ID, made.ID)
	for range 2 {
		_, err = d.Payer("acme").Reserve(t.Context(), "m")
		require.ErrorIs(t, err, status.ErrResourceExhausted)
		assert.Contains(t, err.Error(), "is lost")
		d.start(t)
	}
}

// A record of a later version is whole: a repair takes its ID.
func TestARepairedRecordOfALaterVersionKeepsItsID(t *testing.T) {
	store := admin.NewMemory()
	_, err := store.Put(t.Context(), admin.Document{Kind: "tenant", Name: "newer", Value: json.RawMessage(`{"name":"newer","id":"ID7","state":"active","createdAt":"2030-01-01T00:00:00Z","updatedAt":"2030-01-01T00:00:00Z","newLimit":1}`)})
	require.NoError(t, err)
	w := open(t, admin.Config{Store: store}, wasmhost.Config{})
	made, err := w.Repair(t.Context(), "newer", nil)
	require.NoError(t, err)
	assert.Equal(t, "ID7", made.ID)
}

// What is damaged on the disk while the server has it in memory is written as it is there.
func TestARecordThatIsDamagedMeanwhileIsWrittenAnew(t *testing.T) {
	d := openDamaged(t, admin.Config{})
	made := d.create("acme", settings(t, `{"quota":{"queue":5}}`))
	file := filepath.Join(d.path, "tenant", "acme.json")
	for _, change := range []func() error{
		func() error { return second(d.Repair(t.Context(), "acme", nil)) },
		func() error { return second(d.Suspend(t.Context(), "acme", "")) },
	} {
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		require.NoError(t, change())
		d.start(t)
		now, err := d.Get("acme")
		require.NoError(t, err)
		assert.Equal(t, made.ID, now.ID)
		assert.Equal(t, made.Settings, now.Settings)
	}
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	o, err := d.Delete(t.Context(), "acme", "")
	require.NoError(t, err)
	d.gone(o)
}

// A damaged record of an operation is told, and not taken for one that never was.
func TestADamagedOperationIsTold(t *testing.T) {
	d := openDamaged(t, admin.Config{})
	d.create("acme", admin.Settings{})
	o, err := d.Delete(t.Context(), "acme", "")
	require.NoError(t, err)
	d.gone(o)
	d.start(t) // its end is stored
	d.damage(t, "operation", strings.TrimSuffix(fileIn(t, d.path, "operation"), ".json"), []byte("sha256:"))
	for range 2 {
		_, err = d.Operation(o.ID)
		require.ErrorIs(t, err, status.ErrDataLoss)
		all, more := d.Operations("", 10)
		require.Len(t, all, 1)
		assert.False(t, more)
		assert.Equal(t, admin.Unreadable, all[0].State)
		assert.Equal(t, o.ID, all[0].ID)
		assert.Equal(t, "DATA_LOSS", all[0].Error.Status)
		assert.WithinDuration(t, o.CreatedAt, all[0].CreatedAt, time.Second)
		d.start(t)
	}
	_, err = d.Operation("none")
	require.ErrorIs(t, err, status.ErrNotFound)
}

// fileIn is the name of the one file in a directory.
func fileIn(t *testing.T, path, kind string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(path, kind))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	return entries[0].Name()
}

// The deletion of a tenant whose own record is damaged is not told as done, and goes on when it is asked for again.
func TestTheDeletionOfADamagedTenantIsNotTakenForDone(t *testing.T) {
	d := openDamaged(t, admin.Config{})
	const id = "20300101-000000.000-AAAA"
	_, err := d.dir.Put(t.Context(), admin.Document{Kind: "operation", Name: id, Value: json.RawMessage(`{"id":"` + id + `","kind":"deleteTenant","tenant":"acme","state":"running","createdAt":"2030-01-01T00:00:00Z","updatedAt":"2030-01-01T00:00:00Z"}`)})
	require.NoError(t, err)
	d.create("acme", admin.Settings{})
	d.damage(t, "tenant", "acme", []byte("x"))
	o, err := d.Operation(id)
	require.NoError(t, err)
	assert.Equal(t, admin.Running, o.State)
	assert.Equal(t, "DATA_LOSS", o.Error.Status)
	_, err = d.Repair(t.Context(), "acme", nil)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	again, err := d.Delete(t.Context(), "acme", "")
	require.NoError(t, err)
	assert.Equal(t, id, again.ID)
	d.gone(again)
}

// A request whose answer is damaged is not run once more.
func TestADamagedAnswerDoesNotRunTheRequestAgain(t *testing.T) {
	d := openDamaged(t, admin.Config{})
	ran := 0
	ask := func(key string) error {
		_, _, err := d.Once(t.Context(), admin.Once{Key: key, Request: "r"}, func() (admin.Answer, error) {
			ran++
			return admin.Answer{Status: 201}, nil
		})
		return err
	}
	require.NoError(t, ask("k"))
	d.damage(t, "answer", strings.TrimSuffix(fileIn(t, d.path, "answer"), ".json"), []byte("sha256:"))
	assert.Contains(t, d.log.String(), "Idempotency-Key is damaged")
	for range 3 {
		require.ErrorIs(t, ask("k"), status.ErrDataLoss)
		assert.Equal(t, 1, ran)
		d.start(t)
	}
	require.NoError(t, ask("other"))
	assert.Equal(t, 2, ran)
}

// A tenant whose record is missing is not made anew over what it has stored, and neither does its name lead a new
// tenant to the old one's modules.
func TestATenantWithoutARecordIsNotMadeAnew(t *testing.T) {
	for end, settle := range map[string]func(w *world){
		"repaired": func(w *world) {
			made, err := w.Repair(t.Context(), "beta", nil)
			require.NoError(t, err)
			assert.Equal(t, admin.Active, made.State)
			all, err := w.host.Modules("beta")
			require.NoError(t, err)
			assert.Len(t, all, 1, "it is the old one again")
		},
		"deleted": func(w *world) {
			o, err := w.Delete(t.Context(), "beta", "")
			require.NoError(t, err)
			w.gone(o)
			w.create("beta", admin.Settings{})
			all, err := w.host.Modules("beta")
			require.NoError(t, err)
			assert.Empty(t, all)
		},
	} {
		for _, asked := range []bool{true, false} {
			t.Run(fmt.Sprint(end, asked), func(t *testing.T) {
				modules := module.NewMemory()
				w := open(t, admin.Config{}, wasmhost.Config{Store: modules})
				w.create("beta", admin.Settings{})
				_, err := w.host.Load(t.Context(), "beta", wasmhost.Upload{Name: "calc", Wasm: calc(t)})
				require.NoError(t, err)
				w.close()

				w = open(t, admin.Config{Store: admin.NewMemory()}, wasmhost.Config{Store: modules})
				if asked {
					for range 2 {
						_, err = w.Create(t.Context(), "beta", admin.Settings{}, "")
						require.ErrorIs(t, err, status.ErrDataLoss)
						assert.Contains(t, status.ToWire(err, false).Message, "modules of tenant \"beta\" are stored, but no record of it")
					}
					shown, err := w.Get("beta")
					require.NoError(t, err)
					assert.Equal(t, admin.Damaged, shown.State)
				}
				settle(w)
				w.create("other", admin.Settings{})
			})
		}
	}
}
