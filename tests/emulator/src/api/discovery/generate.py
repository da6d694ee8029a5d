#!/usr/bin/env python3
"""Writes methods.txt and schemas.txt from Google's discovery document of the Drive API v3.

    generate.py PATH/TO/drive.v3.json

Only the names, types and limits are taken over, none of the descriptions.
"""

import json
import pathlib
import sys
import textwrap

SCOPE = "https://www.googleapis.com/auth/"
HERE = pathlib.Path(__file__).parent


def kind(property_):
    """`string`, `boolean`, `int64`, a schema's name, `*` for a map with free keys; `[]` behind it for a list."""
    if "$ref" in property_:
        return property_["$ref"]
    if property_["type"] == "array":
        return kind(property_["items"]) + "[]"
    if property_["type"] == "object":
        return "*"
    return property_.get("format", property_["type"])


def parameter(name, described):
    words = [name, described["location"], kind(described)]
    words += ["required"] if described.get("required") else []
    words += ["repeated"] if described.get("repeated") else []
    for word, key in (("default", "default"), ("min", "minimum"), ("max", "maximum")):
        if described.get(key, "") != "":
            words.append(f"{word}={described[key]}")
    if "enum" in described:
        words.append("enum=" + "|".join(described["enum"]))
    return "  " + " ".join(words)


def methods(resources):
    for resource in resources.values():
        yield from resource.get("methods", {}).values()
        yield from methods(resource.get("resources", {}))


def method(described):
    words = [described["id"].removeprefix("drive."), described["httpMethod"], described["path"]]
    for key in ("request", "response"):
        if key in described:
            words.append(f"{key}={described[key]['$ref']}")
    words += ["upload"] if described.get("supportsMediaUpload") else []
    words += ["download"] if described.get("supportsMediaDownload") else []
    yield " ".join(words)
    yield "  scopes " + " ".join(scope.removeprefix(SCOPE) for scope in described["scopes"])
    for name, property_ in sorted(described.get("parameters", {}).items()):
        yield parameter(name, property_)


def schemas(name, described):
    """One line for the schema, and one for each object without a name of its own inside it."""
    members, inner = [], []
    for member, property_ in sorted(described["properties"].items()):
        item = property_.get("items", property_)
        if "properties" in item:
            inner += schemas(f"{name}.{member}", item)
            members.append(f"{member}:{name}.{member}" + ("[]" if "items" in property_ else ""))
        else:
            members.append(f"{member}:{kind(property_)}")
    text = f"{name} = " + " ".join(members)
    return [textwrap.fill(text, 118, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)] + inner


def main():
    document = json.loads(pathlib.Path(sys.argv[1]).read_text())
    head = f"revision {document['revision']}"
    lines = [head, "*"] + [parameter(name, it) for name, it in sorted(document["parameters"].items())]
    for described in sorted(methods(document["resources"]), key=lambda it: it["id"]):
        lines += method(described)
    (HERE / "methods.txt").write_text("\n".join(lines) + "\n")
    lines = []
    for name, described in sorted(document["schemas"].items()):
        lines += schemas(name, described) if "properties" in described else []
    (HERE / "schemas.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
