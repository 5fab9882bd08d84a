#!/usr/bin/env python3
"""Distils data/prices.json from the price list of the PyPI package genai-prices (MIT).

    pip download --no-deps genai-prices==0.2.3
    python3 crates/xtask/prices.py genai_prices-0.2.3-py3-none-any.whl 2026-11-25 > data/prices.json

Needs only Python's standard library. The package's code is read as a syntax tree and never run.

Kept: text prices per token of the vendors in VENDORS, as they hold on the given day, with the
tiers that depend on the size of the input. Left out: prices per call, per second or per image,
batch and priority rates, and rates that change with the time of day.
"""

import ast
import datetime
import json
import re
import sys
import zipfile
from decimal import Decimal

VENDORS = {
    "openai": "openai",
    "azure": "azure-openai",
    "anthropic": "anthropic",
    "google": "google",
    "mistral": "mistral-ai",
    "deepseek": "deepseek",
    "groq": "groq",
    "x-ai": "x-ai",
    "cohere": "cohere",
    "together": "together-ai",
    "fireworks": "fireworks-ai",
    "cerebras": "cerebras",
    "perplexity": "perplexity-ai",
}
FIELDS = {
    "input": "input_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "output": "output_mtok",
}
OTHER_MEDIA = re.compile(
    r"image|audio|tts|realtime|transcribe|whisper|^ft:|\.ft-|^text-|^(ada|babbage|curie|davinci)"
)
SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")
OPEN_END = re.compile(r"(-20\d*|-|@)$")
DATED = re.compile(r"\^([^$()|\[]+)-\\d\{4\}-\\d\{2\}-\\d\{2\}\$")


def tree_of(node):
    """A constructor call as a dict with its name under `_`; decimals and dates as themselves."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple)):
        return [tree_of(child) for child in node.elts]
    if isinstance(node, ast.Dict):
        return {tree_of(k): tree_of(v) for k, v in zip(node.keys, node.values)}
    if isinstance(node, ast.Call):
        return call_of(node)
    return ast.unparse(node)


def call_of(node):
    """One constructor call."""
    name = ast.unparse(node.func)
    if name == "Decimal":
        return Decimal(node.args[0].value)
    if name == "datetime.date":
        return datetime.date(*(arg.value for arg in node.args))
    return {"_": name, **{k.arg: tree_of(k.value) for k in node.keywords}}


def vendors_in(wheel):
    """The package's list of providers."""
    source = zipfile.ZipFile(wheel).read("genai_prices/data.py").decode()
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.AnnAssign) and statement.target.id == "providers":
            return tree_of(statement.value)
    raise SystemExit("no list of providers in the wheel")


def price_on(prices, day):
    """The price that holds on a day, or None where it depends on the time of day."""
    if isinstance(prices, dict):
        return prices
    active = None
    for entry in prices:
        constraint = entry.get("constraint")
        if constraint and constraint["_"] != "StartDateConstraint":
            return None
        if not constraint or constraint["start_date"] <= day:
            active = entry["prices"]
    return active


def picodollars(per_million):
    """US dollars per million tokens as whole picodollars per token."""
    value = per_million * 1_000_000
    if value != int(value):
        raise SystemExit(f"{per_million} is finer than a picodollar")
    return int(value)


def at_size(price, input_tokens):
    """The four rates for a request of this many input tokens; None where nothing is charged."""
    rates = {}
    for ours, theirs in FIELDS.items():
        value = price.get(theirs)
        if isinstance(value, dict):
            reached = [tier for tier in value["tiers"] if tier["start"] <= input_tokens]
            top = max(reached, key=lambda tier: tier["start"], default={"price": value["base"]})
            value = top["price"]
        rates[ours] = None if value is None else picodollars(value)
    return rates


def thresholds(price):
    """Every input size at which a rate changes."""
    starts = set()
    for field in FIELDS.values():
        value = price.get(field)
        if isinstance(value, dict):
            starts |= {tier["start"] for tier in value["tiers"]}
    return sorted(starts)


def patterns(clause):
    """The names of a match clause, each with whether its snapshots are meant too.

    A snapshot is the name with a date or version after it (`gpt-4.1-2025-04-14`). Clauses that
    are neither names nor beginnings of names are left out: they may match anything.
    """
    if clause["_"] == "ClauseOr":
        return [pattern for part in clause["or_"] for pattern in patterns(part)]
    if clause["_"] == "ClauseAnd":  # a beginning with exceptions: the bare name is safe
        return [(part["starts_with"], False) for part in clause["and_"] if "starts_with" in part]
    if clause["_"] == "ClauseEquals":
        return [(clause["equals"], False)]
    if clause["_"] == "ClauseStartsWith":
        return [(OPEN_END.sub("", clause["starts_with"]), True)]
    if clause["_"] == "ClauseRegex":
        dated = DATED.fullmatch(clause["regex"])
        return [(dated[1].replace("\\", ""), True)] if dated else []
    return []


def rows_of(vendor, day):
    """Rates by name, and the names whose snapshots cost the same."""
    rates, with_snapshots = {}, set()
    for model in vendor["models"]:
        price = price_on(model["prices"], day)
        if model.get("deprecated") or price is None or price.get("input_mtok") is None:
            continue
        if price.get("output_mtok") is None:
            continue
        for name, snapshots in patterns(model["match"]):
            if not OTHER_MEDIA.search(name):
                rates.setdefault(name, rates_of(price))
                with_snapshots |= {name} if snapshots else set()
    return rates, with_snapshots


def rates_of(price):
    """The four rates, and the tiers by size of the input if there are any."""
    tiers = [{"above_input_tokens": n, **at_size(price, n)} for n in thresholds(price)]
    return at_size(price, 0) | ({"tiers": tiers} if tiers else {})


def folded(rates, with_snapshots):
    """Puts a snapshot under its base model when both cost the same: (name, snapshots, rates)."""
    bases = {name: SNAPSHOT.sub("", name) for name in rates}
    same = {n: b for n, b in bases.items() if b != n and rates.get(b) == rates[n]}
    with_snapshots = with_snapshots | set(same.values())
    return [(n, n in with_snapshots, rates[n]) for n in sorted(rates) if n not in same]


def main():
    """Writes the list to stdout, one model a line."""
    wheel, day = sys.argv[1], datetime.date.fromisoformat(sys.argv[2])
    version = wheel.rsplit("/", 1)[-1].split("-")[1]
    head = {
        "source": f"genai-prices {version} (PyPI), distilled by crates/xtask/prices.py",
        "licence": "MIT, Copyright (c) Pydantic Services Inc. 2025 to present",
        "as_of": day.isoformat(),
        "currency": "USD",
        "unit": "picodollars per token",
        "note": "Standard text rates. No batch, priority, audio, image or per-call prices."
        " prefix: true: the name with a date or version after it costs the same; the longest"
        " match wins. null cached_input or cache_write: charged as input. A tier holds for all"
        " tokens of a call whose input is larger than above_input_tokens.",
    }
    lines = []
    for vendor in vendors_in(wheel):
        name = VENDORS.get(vendor["id"])
        rows = folded(*rows_of(vendor, day)) if name else []
        for match, prefix, rates in rows:
            lines.append(json.dumps({"provider": name, "match": match, "prefix": prefix, **rates}))
    text = json.dumps(head, indent=1)[:-2]
    print(text + ',\n "models": [\n  ' + ",\n  ".join(lines) + "\n ]\n}")


main()
