package hosttest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// canary is a text that nobody but the customer may ever read: it is the customer's input and
// context, and stands in the environment of the process. It is valid JSON inside of
// quotes and has a form that no generator makes by chance.
const canary = "canary-7f3a9c51-secret"

// The tenants of a stage: the one that means harm, and a customer beside it.
const (
	hostileTenant = wasmhost.DefaultTenant
	otherTenant   = "acme"
)

// mountName is the directory that modules may be granted for reading.
const mountName = "docs"

// world holds everything that guests of a stage may reach when it is granted: a server, a store, actions and models.
type world struct {
	// open is the port of a server that guests may reach, inner that of one on the loopback address, which answers with the canary.
	open, inner int
	values      *kv.Memory
	registry    *registry.Registry

	mu    sync.Mutex // guards the fields below
	runs  int        // of the action "count", and of the model
	asked []*model.Request
	twice map[string]bool // names that were looked up
}

// reachable is where the server listens that guests may reach; the inner one is on the usual
// loopback address.
const reachable = "127.0.0.2"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{values: kv.NewMemory(time.Now), twice: map[string]bool{}, registry: registry.New(nil)}
	inner := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, canary) }))
	t.Cleanup(inner.Close)
	w.inner = inner.Listener.Addr().(*net.TCPAddr).Port
	if listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", reachable+":0"); err == nil {
		srv := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(w.serve), ReadHeaderTimeout: time.Minute}}
		srv.Start()
		t.Cleanup(srv.Close)
		w.open = listener.Addr().(*net.TCPAddr).Port
	}
	require.NoError(t, w.values.Set(t.Context(), kv.Namespace{Tenant: otherTenant, Module: "customer"}, "k", json.RawMessage(`"`+canary+`"`), kv.SetOptions{}, kv.Quota{Keys: 10, Bytes: 1 << 20, ValueBytes: 1 << 10}))
	w.define(t, action.Tool, "count", func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		w.ran(nil)
		return json.RawMessage("1"), nil
	})
	w.define(t, action.Tool, "forbidden", func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		return json.RawMessage(`"` + canary + `"`), nil
	})
	for name, answer := range map[string]string{"test/parrot": "", "test/forbidden": canary} {
		m, err := model.New(name, model.Info{Supports: model.Supports{Tools: true}}, func(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
			w.ran(req)
			return reply(req, answer)
		})
		require.NoError(t, err)
		require.NoError(t, w.registry.Register(m))
	}
	require.NoError(t, w.registry.Register(generate.Action(w.registry)))
	return w
}

// reply is a model's answer: it calls the tool that the last text names after "call ", or repeats the text.
func reply(req *model.Request, answer string) (*model.Response, error) {
	last := req.Messages[len(req.Messages)-1]
	text := content.TextOf(last.Content)
	if name, ok := strings.CutPrefix(text, "call "); ok {
		return &model.Response{Message: &content.Message{Role: content.RoleModel, Content: []content.Part{{ToolRequest: &content.ToolRequest{Name: name, Ref: "1", Input: json.RawMessage("{}")}}}}}, nil
	}
	if last.Role == content.RoleTool {
		raw, err := json.Marshal(last.Content)
		if err != nil {
			return nil, err
		}
		text = string(raw)
	}
	return &model.Response{Message: new(content.NewModelTextMessage(text + answer))}, nil
}

func (w *world) define(t *testing.T, kind action.Kind, name string, fn action.Func) {
	t.Helper()
	a, err := action.New(action.Desc{Kind: kind, Name: name, Description: "about " + name}, fn)
	require.NoError(t, err)
	require.NoError(t, w.registry.Register(a))
}

func (w *world) ran(req *model.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs++
	if req != nil {
		w.asked = append(w.asked, req)
	}
}

// take returns how often actions and models have run since it was called last, and what the models were asked.
func (w *world) take() (runs int, asked []*model.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	runs, asked = w.runs, w.asked
	w.runs, w.asked = 0, nil
	return runs, asked
}

// configure lets a host have all of it.
func (w *world) configure(c *wasmhost.Config) {
	c.KV = w.values
	c.Egress = egress.Config{Resolver: w, Reachable: []netip.Prefix{netip.MustParsePrefix(reachable + "/32")}}
	c.Secrets = secret.Static{hostileTenant: {"TOKEN": secret.New(canary)}}
	c.Registry = func(string) (*registry.Registry, error) { return w.registry, nil }
	ports := []int{max(w.open, 1), w.inner}
	c.Grants = &policy.Grants{
		Files: []policy.FileGrant{{Mount: mountName}}, KV: true, Rewrite: true, Actions: []string{"*"}, Generate: []string{"*"},
		HTTP:    []policy.HTTPGrant{{Host: "*", Schemes: []string{"http"}, Ports: ports, Methods: []string{"*"}}},
		Secrets: map[string][]string{"TOKEN": {fmt.Sprintf("http://api.example.com:%d", ports[0])}},
	}
}

// places replaces, in a policy or a request, PORT by the server's port and INNER by that of the other.
func (w *world) places(text string) string {
	return strings.NewReplacer("PORT", fmt.Sprint(w.open), "INNER", fmt.Sprint(w.inner)).Replace(text)
}

var _ egress.Resolver = (*world)(nil)

// LookupNetIP knows some names: what they lead to is in their first label.
func (w *world) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	known := map[string][]string{
		"loopback": {"127.0.0.1"}, "loopback6": {"::1"}, "mapped": {"::ffff:127.0.0.1"}, "any": {"0.0.0.0"}, "metadata": {"169.254.169.254"}, "metadata6": {"fd00:ec2::254"},
		"private": {"10.0.0.1"}, "carrier": {"100.100.100.200"}, "translated": {"64:ff9b::7f00:1"}, "sixtofour": {"2002:7f00:1::"}, "second": {reachable, "127.0.0.1"},
	}
	label, _, _ := strings.Cut(host, ".")
	list := known[label]
	if label == "rebinding" {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.twice[host] {
			list = []string{"127.0.0.1"}
		}
		w.twice[host] = !w.twice[host]
	}
	if list == nil {
		list = []string{reachable}
	}
	addrs := make([]netip.Addr, len(list))
	for i, a := range list {
		addrs[i] = netip.MustParseAddr(a)
	}
	return addrs, nil
}

// serve is the server that guests may reach.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/to":
		http.Redirect(rw, r, r.URL.Query().Get("u"), http.StatusFound)
	case "/round":
		http.Redirect(rw, r, "/round", http.StatusFound)
	case "/bomb":
		rw.Header().Set("Content-Encoding", "gzip")
		_, _ = rw.Write(bombed())
	case "/endless":
		for r.Context().Err() == nil {
			if _, err := rw.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	case "/fields":
		for i := range 300 {
			rw.Header().Set(fmt.Sprint("X-", i), "x")
		}
	case "/slow":
		<-r.Context().Done()
	case "/echo":
		auth := r.Header.Get("Authorization")
		rw.Header().Set("X-Echo", auth)
		fmt.Fprintln(rw, auth, base64.StdEncoding.EncodeToString([]byte(auth)), url.QueryEscape(auth), strings.ToUpper(auth))
	case "/once":
		rw.Header().Set("Connection", "close")
	default:
		fmt.Fprint(rw, "path ", r.URL.EscapedPath(), " headers ", len(r.Header))
	}
}

var bombed = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(make([]byte, 8<<20)) // a buffer takes everything
	_ = z.Close()
	return b.Bytes()
})
