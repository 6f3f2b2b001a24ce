"""Prints the crates whose types and traits the public API of a crate shows.

`public_types.py FILE...` takes rustdoc's JSON and prints a sorted line for each file: `crate: foreign crates`.

An item counts if the root of the crate leads to it. A trait that a type implements counts too. Auto traits and
the blanket implementations of other crates do not, for every type has them. The crate is the one that defines
the type: `serde_core` where the source says `serde`.
"""

import json
import sys

LANGUAGE = {"std", "core", "alloc"}
OURS = {"x402_core", "x402_evm", "x402_svm", "x402_std"}

# Keys under which an item has the ids of others.
CHILDREN = ("items", "fields", "variants", "tuple", "impls", "implementations")


def objects_in(value):
    """All objects in a JSON value, outermost first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from objects_in(inner)


def ids_in(part):
    """The items that an object has or names."""
    for key in CHILDREN:
        # Tuple types stand under `tuple` as well, and they are no ids.
        yield from (id for id in part.get(key) or () if isinstance(id, int))
    # A path to a type or a trait, and a `pub use`. The latter has no id if it shows a primitive type.
    if ("path" in part or "source" in part) and part["id"] is not None:
        yield part["id"]


def counts(item):
    """Whether an item is the crate's own and says something that is not true of every type."""
    found = item["inner"].get("impl", {})
    return item["crate_id"] == 0 and not found.get("is_synthetic") and not found.get("blanket_impl")


def foreign_crates(doc):
    found, seen, waiting = set(), set(), [doc["root"]]
    while waiting:
        id = waiting.pop()
        if id in seen:
            continue
        seen.add(id)
        path = doc["paths"].get(str(id))
        if path and path["crate_id"] != 0:
            found.add(doc["external_crates"][str(path["crate_id"])]["name"])
        item = doc["index"].get(str(id))
        if item and counts(item):
            for part in objects_in(item["inner"]):
                waiting.extend(ids_in(part))
    return found - LANGUAGE - OURS


for file in sorted(sys.argv[1:]):
    with open(file) as text:
        doc = json.load(text)
    name = doc["index"][str(doc["root"])]["name"]
    print(f"{name}:", *sorted(foreign_crates(doc)))
