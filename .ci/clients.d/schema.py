"""Whether an answer is what Google's discovery document, as shipped with its client, says it is."""

import json
import re
from pathlib import Path

from googleapiclient import discovery_cache

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


DOCUMENT = Path(discovery_cache.__file__).parent / "documents" / "drive.v3.json"
SCHEMAS = json.loads(DOCUMENT.read_text("utf-8"))["schemas"]


def violations(value, name):
    """Members that are unknown or of the wrong type."""
    return list(_violations(value, {"$ref": name}, name))


def _violations(value, schema, path):
    if "$ref" in schema:
        schema = SCHEMAS[schema["$ref"]]
    kind, form = schema.get("type", "any"), schema.get("format")
    if kind == "any":
        return
    if kind == "object":
        if not isinstance(value, dict):
            yield f"{path} is no object: {value!r}"
            return
        for key, member in value.items():
            known = schema.get("properties", {}).get(key) or schema.get("additionalProperties")
            if known is None:
                yield f"{path}.{key} is unknown"
                continue
            yield from _violations(member, known, f"{path}.{key}")
            if key == "kind" and member != known.get("default"):
                yield f"{path}.kind is {member!r}"
    elif kind == "array":
        if not isinstance(value, list):
            yield f"{path} is no array: {value!r}"
            return
        for index, member in enumerate(value):
            yield from _violations(member, schema["items"], f"{path}[{index}]")
    elif kind == "string":
        good = isinstance(value, str)
        if good and form == "int64":
            good = re.fullmatch(r"-?\d+", value)
        elif good and form == "date-time":
            good = TIME.fullmatch(value)
        if not good:
            yield f"{path} is no {form or kind}: {value!r}"
    elif kind == "boolean":
        if not isinstance(value, bool):
            yield f"{path} is no boolean: {value!r}"
    elif isinstance(value, bool) or not isinstance(value, int if kind == "integer" else (int, float)):
        yield f"{path} is no {kind}: {value!r}"
