"""How schemathesis sends JSON lines, and that it does not wait for events that never come."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    items = value if isinstance(value, list) else [value]
    return "".join(json.dumps(item) + "\n" for item in items).encode()


@schemathesis.hook
def before_call(ctx, case, kwargs):
    if str((case.query or {}).get("wait")).isdigit() and int(case.query["wait"]) <= 50:
        case.query["wait"] = 0
