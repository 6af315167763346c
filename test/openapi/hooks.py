"""What schemathesis has to know of the server that no schema can say.

Read by test/openapi/run; see the README beside it. Nothing here turns a check off.
"""

import datetime
import itertools
import os
import pathlib
import zlib

import schemathesis
from hypothesis import strategies as st

# A module is what the server takes for one, so true ones are uploaded. Small ones: each is compiled.
MODULES = [p.read_bytes() for p in sorted(pathlib.Path(os.environ["OPENAPI_MODULES"]).glob("*.wasm")) if p.stat().st_size < 1 << 14]
assert MODULES, "OPENAPI_MODULES holds no small module"
schemathesis.openapi.media_type("application/wasm", st.sampled_from(MODULES), aliases=["application/octet-stream"])

# A script is one that defines a tool.
SCRIPT = b'import { tool } from "genkit";\ntool({ name: "greet", description: "Greets.", run: async () => "Hello" });\n'
for kind in ("javascript", "typescript"):
    schemathesis.openapi.media_type("text/" + kind, st.just(SCRIPT), aliases=["application/" + kind])

# Times that are sent are ends of keys, which lie in the future.
schemathesis.openapi.format("date-time", st.datetimes(min_value=datetime.datetime(2200, 1, 1)).map(lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ")))

# The document's own formats, which its descriptions tell in words.
label = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
host = st.builds(lambda wild, labels: wild + ".".join(labels), st.sampled_from(["", "*."]), st.lists(label, min_size=2, max_size=4))
line = st.from_regex(r"([A-Za-zäß€.,]{1,5}( [A-Za-z0-9]{1,5}){0,3})?", fullmatch=True)
schemathesis.openapi.format("host-pattern", host | st.sampled_from(["*", "192.0.2.1", "::1"]))
schemathesis.openapi.format("origin-pattern", st.builds("{}{}{}".format, st.sampled_from(["", "http://", "https://"]), host, st.sampled_from(["", ":8443"])))
schemathesis.openapi.format("path-prefix", st.sampled_from(["", "/"]) | st.builds(lambda p, end: "/" + "/".join(p) + end, st.lists(label, min_size=1, max_size=3), st.sampled_from(["", "/"])))
schemathesis.openapi.format("name-pattern", st.sampled_from(["*", "tool/*"]) | st.builds("{}/{}".format, label, label))
schemathesis.openapi.format("line", line)

KEY = os.environ.get("OPENAPI_KEY", "")
KEY_ID = KEY.split("_")[1] if KEY else None


KEYS = itertools.count(1)

LOADED = [p.stem for p in pathlib.Path(os.environ["OPENAPI_MODULES"]).glob("*.wasm")]


# Where a request of the right form goes instead, every other time, so that it finds something.
THERE = {
    "putModule": {"tenant": "default"},
    "listModules": {"tenant": "default"},
    "listActions": {"tenant": "default"},
    "getModule": {"tenant": "default", "name": "calc"},
    "listVersions": {"tenant": "default", "name": "calc"},
    "rollbackModule": {"tenant": "default", "name": "calc"},
    "runTool": {"tenant": "default", "tool": "calc/add"},
    "generate": {"tenant": "default"},
}


def once(value):
    """Leave one grant of each path in a body, at any depth: that a path stands once, no schema can say."""
    if isinstance(value, list):
        return [once(v) for v in value]
    if not isinstance(value, dict):
        return value
    value = {k: once(v) for k, v in value.items()}
    if isinstance(value.get("files"), list) and all(isinstance(f, dict) for f in value["files"]):
        value["files"] = list({f.get("path"): f for f in value["files"]}.values())
    return value


@schemathesis.hook
def map_case(context, case):
    """Send requests of the right form to what is there, and leave descriptors out of them.

    A descriptor would have to name functions of the module that it comes with. A tool gets numbers to add.
    """
    operation = case.operation.definition.raw.get("operationId")
    if case.meta is None or case.meta.generation.mode != schemathesis.GenerationMode.POSITIVE:
        return case
    if isinstance(case.body, (dict, list)):
        case.body = once(case.body)
    if operation in ("createTenant", "changeTenant") and KEY and isinstance(case.body, dict):
        case.body.pop("grants", None)  # within --grants, which that server bounds them by
    if operation in ("createTenant", "changeTenant") and isinstance(case.body, dict) and isinstance(case.body.get("budget"), dict):
        for name, amount in case.body["budget"].items():  # a decimal of few places, without an exponent
            if name.startswith("money") and isinstance(amount, float):
                case.body["budget"][name] = round(amount % 1000000, 2)
    if "Idempotency-Key" in (case.headers or {}):  # else the answer is that of an earlier request, whose object may be gone
        case.headers["Idempotency-Key"] = f"run-{next(KEYS)}"
    if operation in ("createKey", "rotateKey") and isinstance(case.body, dict) and str(case.body.get("expiresAt")) < "2100":
        case.body.pop("expiresAt")  # a time of an earlier answer
    if operation == "putModule" and isinstance(case.body, dict):
        case.body.pop("descriptor", None)
    if operation == "runTool" and isinstance(case.body, dict):
        case.body["input"] = {"a": len(case.body), "b": 2}
    stateful = case.meta.phase.name.value == "stateful"  # goes where links lead
    if not stateful and operation in THERE and zlib.crc32(repr(sorted(case.path_parameters.items())).encode()) % 2:
        case.path_parameters.update(THERE[operation])
    return case


ADDRESSES = itertools.count(1)


def spare(operation, params):
    """Turn a request that would take away what the run needs to another object."""
    if operation in ("revokeKey", "rotateKey") and KEY_ID and params.get("key") == KEY_ID:
        params["key"] = "a" * 16
    if operation in ("suspendTenant", "changeTenant", "deleteTenant") and params.get("tenant") == "default":
        params["tenant"] = "acme"
    if operation in ("putModule", "deleteModule") and params.get("tenant") == "default" and params.get("name") in LOADED:
        params["name"] = "other"


@schemathesis.hook
def before_call(context, case, kwargs):
    """Spare the key that the run signs in with and the tenant with the tools.

    And let each request come from an address of its own, so that those with wrong keys are answered for that: else the
    server, which counts the attempts of a source, answers 429 to nearly all of them.
    """
    spare(case.operation.definition.raw.get("operationId"), case.path_parameters or {})
    n = next(ADDRESSES)
    case.headers["X-Forwarded-For"] = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
