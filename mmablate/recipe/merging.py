"""Laying profile and command line over a recipe; later layers win, and keep their places for messages."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from mmablate.errors import RecipeError, UsageError
from mmablate.recipe.reading import KeyPath, Source, parse_scalar

# Replaced as a whole by a later layer; everything else that is a mapping is merged key by key.
WHOLE = frozenset({"rows", "factors", "baseline", "modalities", "values", "claims"})
KINDS = ("model", "teacher")  # sections below which `kind` says what the other keys beside it are of


def merge(base: Mapping[str, Any], layer: Mapping[str, Any], path: Sequence[str] = ()) -> dict[str, Any]:
    """`layer` over `base`: mappings key by key, all else replaced.

    A section whose `name` changes is replaced as a whole: the options of another dataset or model
    would mean nothing there. So is an encoder of a model whose `kind` changes.

    Args:
        path: keys that lead to `base`, from the top of the recipe.
    """
    result = dict(base)
    for key, value in layer.items():
        here = (*path, key)
        old = _written_out(here, result.get(key))
        if isinstance(old, Mapping) and isinstance(value, Mapping) and key not in WHOLE:
            another = _differs("name", old, value) or (here[0] in KINDS and _differs("kind", old, value))
            result[key] = copy.deepcopy(dict(value)) if another else merge(old, value, here)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _differs(key: str, old: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    return key in value and bool(value[key] != old.get(key, value[key]))


def _written_out(path: Sequence[str], value: Any) -> Any:
    """`method: joint` is short for `method: {name: joint}`, which further keys may join."""
    return {"name": value} if tuple(path) == ("method",) and isinstance(value, str) else value


def set_path(data: dict[str, Any], path: Sequence[str], value: Any, *, what: str) -> None:
    """Sets one dotted key, making the mappings on the way; a mapping is merged, as in a profile.

    Another `kind` of a model's encoder leaves none of the options of the old one.

    Raises:
        UsageError: a part of the path is a value, not a section.
    """
    here: Any = data
    for depth, part in enumerate(path[:-1]):
        below = _written_out(path[: depth + 1], here.get(part))
        if below is None:
            below = {}
        if not isinstance(below, dict):
            raise UsageError(f"{what}: {'.'.join(path[: depth + 1])} is a value, not a section")
        here[part] = dict(below)
        here = here[part]
    last = path[-1]
    if last == "kind" and path[0] in KINDS and _differs(last, here, {last: value}):
        for option in [key for key in here if key != last]:
            del here[option]
    here[last] = merge({last: here.get(last)}, {last: value}, path[:-1])[last]


def apply_overrides(source: Source, overrides: Sequence[str]) -> Source:
    """Applies KEY=VALUE arguments.

    Raises:
        UsageError: an argument without "=", or whose value is not YAML.
    """
    data, places = copy.deepcopy(source.data), dict(source.places)
    for text in overrides:
        key, equals, value = text.partition("=")
        path = tuple(key.split("."))
        if not equals or not all(path):
            raise UsageError(f"{text!r}: an override is KEY=VALUE with a dotted key, e.g. train.epochs=5")
        set_path(data, path, parse_scalar(value, key=key), what=f"override {text}")
        places = {p: place for p, place in places.items() if p[: len(path)] != path}
        for below in [known for known in places if known[: len(path)] == path]:
            del places[below]  # what stood there is not what is there now
        for end in range(1, len(path) + 1):
            places.setdefault(path[:end], "command line")
    return Source(data, places)


def apply_profile(source: Source, profile: str | None) -> tuple[Source, str | None]:
    """Lays the named profile over the recipe; without a name, `mini` where there is one.

    Returns:
        The recipe without its `profiles` block, and the name of the profile used.

    Raises:
        RecipeError: no such profile, or a profile that is no mapping.
    """
    data, places = dict(source.data), dict(source.places)
    profiles = data.pop("profiles", None) or {}
    if not isinstance(profiles, Mapping):
        raise RecipeError(f"{source.place(('profiles',))}: profiles: a mapping of names, got {profiles!r}")
    if profile is None:
        profile = "mini" if "mini" in profiles else None
    if profile is None:
        return Source(data, places), None
    if profile == "mini" and profile not in profiles:
        return Source(data, places), profile  # the recipe's body is its own mini
    if profile not in profiles:
        raise RecipeError(
            f"{source.place(('profiles',))}: no profile is called {profile!r} "
            f"(there are: {', '.join(profiles) or 'none'})"
        )
    layer = profiles[profile] or {}
    if not isinstance(layer, Mapping):
        place = source.place(("profiles", profile))
        raise RecipeError(f"{place}: profiles.{profile}: a mapping of keys, got {layer!r}")
    prefix: KeyPath = ("profiles", profile)
    for path, place in source.places.items():
        if path[:2] == prefix and len(path) > 2:
            places[path[2:]] = place
    return Source(merge(data, layer), places), profile
