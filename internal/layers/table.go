package main

// layered are the layers of each package, top first, separated by bars. A group may use
// groups of lower layers, and none of its own layer.
var layered = map[string]string{
	"wasmhost/abi":                      "descriptor | guesterror link schematext | text",
	"wasmhost/capability/egress":        "exchange | url | egress | address",
	"wasmhost/capability/kv":            "file memory | kv",
	"wasmhost/capability/kv/kvtest":     "kvtest",
	"wasmhost/capability/secret":        "reference scrub | secret",
	"wasmhost/capability/vfs":           "file | vfs | system",
	"wasmhost/hosttest":                 "corpus | hostile | capabilities stage | assemble norace sources vectors world",
	"wasmhost/internal/compile":         "prepare | code job | child | compile | cache | artifact scratch | norace private verify",
	"wasmhost/internal/inspect":         "inspect | code segments | sections | cost instruction | opcode | module reader | limits refusal",
	"wasmhost/internal/memory":          "linear | pages | image | alloc sparse",
	"wasmhost/internal/meter":           "meter | rewrite | plan | loops | unroll words | checks pieces | state | graph weight",
	"wasmhost/internal/rules":           "rules",
	"wasmhost/internal/sandbox":         "sandbox | evict | extism module | capability instance | next wasi | door failure words | native | arena stack wait | state | call | limits shape thread",
	"wasmhost/internal/share":           "account run slot | budget share",
	"wasmhost/internal/verify":          "module | calls | body | jump unroll | shapes | flow helpers | state | encode verify weight",
	"wasmhost/internal/wasi":            "readdir | io path poll | descriptor | clock | memory | wasi | errno",
	"wasmhost/internal/worker":          "module | pool | watch | process serve | files | connect link | confine launch message | errors ring state stream | frame | clock landlock norace seccomp transport",
	"wasmhost/module":                   "dir | memory | module",
	"wasmhost/module/moduletest":        "moduletest",
	"wasmhost/policy":                   "policy | grants | http limits",
	"wasmhost/script":                   "position | engine transform | compose script",
	"wasmhost/server/access":            "dir keys oidc | key keyring store throttle | access | fetch life",
	"wasmhost/server/access/accesstest": "accesstest",
	"wasmhost/server/admin":             "start | change delete | follow once operations payer spent | tenants | answer dir ledger tenant | budget lock operation store",
	"wasmhost/server/admin/admintest":   "admintest",
	"wasmhost/server/audit":             "list | audit verify | file | entry",
	"wasmhost/server/metrics":           "metrics | tenants",
	"wasmhost/server/secrets":           "secrets | dir | store | key opened | file | entry space",
	"wasmhost/server/usage":             "report | book file http | sink | queue | day | sums | event price | money",
	"wasmhost/tenant":                   "pass | gate journal | bytes event lines tenant",
}

// unlayered are the packages whose groups use each other, with the reason.
var unlayered = map[string]string{
	"wasmhost":        "Host, tenant, loaded and guest refer to each other, and their methods lie with their subject",
	"wasmhost/server": "the handlers are methods of Server, and lie with their subject",
}
