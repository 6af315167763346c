package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/agent"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/faultfs"
)

func TestStoresKeepTheContract(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			enginetest.AgentStore(t, func(t *testing.T) agent.Store { return open(t) })
		})
	}
}

func row(session, parent string, n int) *agent.Snapshot {
	at := time.UnixMilli(1_700_000_000_000 + int64(n)).UTC()
	return &agent.Snapshot{SessionID: session, ParentID: parent, CreatedAt: at, UpdatedAt: at, Status: agent.Completed, State: &agent.State{Messages: []content.Message{content.NewUserTextMessage(fmt.Sprint(n))}}}
}

func put(t *testing.T, s agent.Store, id string, next *agent.Snapshot) {
	t.Helper()
	_, err := s.Update(t.Context(), id, func(*agent.Snapshot) (*agent.Snapshot, error) { return next, nil })
	require.NoError(t, err)
}

func TestChainsArePruned(t *testing.T) {
	dir, err := agent.OpenDir(t.TempDir(), agent.DirConfig{MaxChain: 3})
	require.NoError(t, err)
	defer dir.Close()
	for name, s := range map[string]agent.Store{"memory": agent.NewMemory(agent.MemoryConfig{MaxChain: 3}), "dir": dir} {
		parent := ""
		for i := range 6 {
			id := fmt.Sprintf("r%d", i)
			put(t, s, id, row("s", parent, i))
			parent = id
		}
		for i := range 6 {
			_, err := s.Get(t.Context(), fmt.Sprintf("r%d", i))
			if i < 3 {
				require.ErrorIs(t, err, status.ErrNotFound, name)
			} else {
				require.NoError(t, err, name)
			}
		}
		got, err := s.Latest(t.Context(), "s")
		require.NoError(t, err)
		assert.Equal(t, "r5", got.SnapshotID)
	}
}

// Of two branches of one moment the one that was written last is the latest.
func TestTheLaterOfTwoBranchesIsTheLatest(t *testing.T) {
	for name, open := range stores {
		s := open(t)
		for _, id := range []string{"root", "z", "a"} {
			parent := "root"
			if id == "root" {
				parent = ""
			}
			put(t, s, id, row("s", parent, 1))
			got, err := s.Latest(t.Context(), "s")
			require.NoError(t, err)
			assert.Equal(t, id, got.SnapshotID, name)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := agent.NewMemory(agent.MemoryConfig{MaxSnapshots: 2})
	for i := range 3 {
		put(t, m, fmt.Sprintf("r%d", i), row("s", "", i))
	}
	_, err := m.Get(t.Context(), "r0")
	require.ErrorIs(t, err, status.ErrNotFound)
	small := agent.NewMemory(agent.MemoryConfig{MaxTotal: 500})
	put(t, small, "a", row("s", "", 0))
	put(t, small, "b", row("s", "", 1))
	put(t, small, "c", row("s", "", 2))
	_, err = small.Get(t.Context(), "a")
	require.ErrorIs(t, err, status.ErrNotFound)
	big := row("s", "", 3)
	big.State.Custom = json.RawMessage(fmt.Sprintf(`"%0500d"`, 1))
	_, err = small.Update(t.Context(), "big", func(*agent.Snapshot) (*agent.Snapshot, error) { return big, nil })
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	_, err = small.Get(t.Context(), "c")
	require.NoError(t, err, "what is too large removes nothing")
}

// The files are those of Genkit's file stores.
func TestADirectoryHasGenkitsLayout(t *testing.T) {
	path := t.TempDir()
	d, err := agent.OpenDir(path, agent.DirConfig{Prefix: "acme"})
	require.NoError(t, err)
	put(t, d, "one", row("s", "", 0))
	put(t, d, "two", row("s", "one", 1))
	_, err = agent.OpenDir(path, agent.DirConfig{})
	require.ErrorIs(t, err, status.ErrFailedPrecondition, "it is one process's")
	require.NoError(t, d.Close())
	require.NoError(t, d.Close())
	_, err = d.Get(t.Context(), "one")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	raw, err := os.ReadFile(filepath.Join(path, "acme", "two.json"))
	require.NoError(t, err)
	assert.Equal(t, `{
  "snapshotId": "two",
  "sessionId": "s",
  "parentId": "one",
  "createdAt": "2023-11-14T22:13:20.001Z",
  "updatedAt": "2023-11-14T22:13:20.001Z",
  "status": "completed",
  "state": {
    "messages": [
      {
        "role": "user",
        "content": [
          {
            "text": "1"
          }
        ]
      }
    ]
  }
}`, string(raw))
	raw, err = os.ReadFile(filepath.Join(path, "acme", ".pointers", "s.json"))
	require.NoError(t, err)
	var pointer map[string]string
	require.NoError(t, json.Unmarshal(raw, &pointer))
	assert.Equal(t, "two", pointer["currentSnapshotId"])
	assert.Equal(t, "2023-11-14T22:13:20.001Z", pointer["currentCreatedAt"])

	// What Genkit JS has written, without a pointer, is read; what is no snapshot is passed over.
	js := `{"snapshotId":"three","sessionId":"s","parentId":"two","createdAt":"2024-01-01T00:00:00.000Z","state":{"messages":[],"custom":{"n":1}}}`
	require.NoError(t, os.WriteFile(filepath.Join(path, "acme", "three.json"), []byte(js), 0o600))
	for name, text := range map[string]string{"broken.json": `{"snapshotId":"bro`, "other.json": `{"snapshotId":"one","sessionId":"s"}`, "notes.txt": "x"} {
		require.NoError(t, os.WriteFile(filepath.Join(path, "acme", name), []byte(text), 0o600))
	}
	d, err = agent.OpenDir(path, agent.DirConfig{Prefix: "acme"})
	require.NoError(t, err)
	defer d.Close()
	got, err := d.Latest(t.Context(), "s")
	require.NoError(t, err)
	assert.Equal(t, "three", got.SnapshotID)
	assert.Equal(t, agent.Completed, got.Status)
	assert.JSONEq(t, `{"n":1}`, string(got.State.Custom))
	for _, id := range []string{"broken", "other"} {
		_, err = d.Get(t.Context(), id)
		require.ErrorIs(t, err, status.ErrDataLoss, id)
	}
	_, err = agent.OpenDir(t.TempDir(), agent.DirConfig{Prefix: "../x"})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

var faultIDs = []string{"a", "b", "c"}

func wrote(id, parent string, n int) faultfs.Step[*agent.Dir] {
	return faultfs.Step[*agent.Dir]{
		Name: "update " + id,
		Do: func(d *agent.Dir) error {
			_, err := d.Update(context.Background(), id, func(*agent.Snapshot) (*agent.Snapshot, error) { return row("s", parent, n), nil })
			return err
		},
		Model: func(state map[string]string) { state[id] = fmt.Sprint(n) },
	}
}

// Whatever operation on the disk fails, or is the last, each snapshot is whole, and what was
// acknowledged is there.
func TestNoFaultOfTheDiskLosesASnapshot(t *testing.T) {
	faultfs.Exhaust(t, faultfs.Case[*agent.Dir]{
		Open:  func(fsys storedir.FS) (*agent.Dir, error) { return agent.OpenFS(fsys, agent.DirConfig{}) },
		Close: (*agent.Dir).Close,
		Steps: []faultfs.Step[*agent.Dir]{wrote("a", "", 1), wrote("b", "a", 2), wrote("a", "", 3), wrote("c", "b", 4)},
		State: func(d *agent.Dir) map[string]string {
			state := map[string]string{}
			for _, id := range faultIDs {
				switch s, err := d.Get(context.Background(), id); {
				case errors.Is(err, status.ErrNotFound):
				case err != nil:
					state[id] = faultfs.Failed(err)
				default:
					state[id] = s.State.Messages[0].Text()
				}
			}
			return state
		},
	})
}
