"""`list` and `schema`: what a recipe may name and write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from mmablate.catalog import entries
from mmablate.catalog.entries import describe_options
from mmablate.catalog.published import published_tables
from mmablate.cli.writing import write_text
from mmablate.errors import RecipeError
from mmablate.recipe import shipped_recipes
from mmablate.recipe.programs import PROGRAM_KEYS, ProgramRecipe
from mmablate.recipe.reading import read_yaml
from mmablate.recipe.schema import Recipe

KINDS = {"datasets": "dataset", "models": "model", "losses": "loss", "methods": "method"}


def print_listing(kind: str | None) -> int:
    """Prints one kind, or all."""
    console = Console()
    special = {"recipes": _recipes, "published": _published}
    for name in (kind,) if kind else ("recipes", *KINDS, "published"):
        console.print(special[name]() if name in special else _entries(name, detailed=kind is not None))
    return 0


def _published() -> Grid:
    grid = _grid("published tables (reference data)", "name", "what", "study to set beside", "source")
    for table in published_tables().values():
        grid.add_row(Text(table.name), Text(table.title), Text(table.study or "–"), Text(table.source))
    return grid


def _recipes() -> Grid:
    grid = _grid("recipes", "name", "title")
    for name, path in shipped_recipes().items():
        try:
            title = str(read_yaml(path).data.get("title", ""))
        except RecipeError as error:
            title = f"(cannot be read: {error})"
        grid.add_row(Text(name), Text(title))
    return grid


def _entries(kind: str, *, detailed: bool) -> Grid:
    grid = _grid(kind, "name", "what it is")
    for entry in entries(KINDS[kind]).values():
        grid.add_row(Text(entry.name, style="bold"), Text(_describe(entry, detailed)))
    return grid


def _describe(entry: Any, detailed: bool) -> str:
    lines = [entry.summary]
    if detailed:
        lines += [f"  definition {name}: {text}" for name, text in getattr(entry, "definitions", {}).items()]
        for option in describe_options(entry.options):
            lines.append(f"  {option['name']} (default {option['default']}): {option['description']}")
        if entry.source:
            lines.append(f"  source: {entry.source}")
    return "\n".join(lines)


def _grid(title: str, *columns: str) -> Grid:
    grid = Grid(title=title, title_justify="left", show_lines=False)
    for column in columns:
        grid.add_column(column, overflow="fold", no_wrap=column == "name" or column.startswith("study"))
    return grid


def print_schema(output: Path | None) -> int:
    """Prints the JSON schema of recipes, with the options of every catalogue entry."""
    write_text(json.dumps(recipe_schema(), ensure_ascii=False, indent=1), output)
    return 0


def _allow(properties: dict[str, Any], name: str, about: dict[str, Any]) -> None:
    """Adds what an option may be; two components may have options of one name and different kinds."""
    known = properties.get(name)
    if known is None:
        properties[name] = about
    elif known != about and about not in known.get("anyOf", []):
        others = known["anyOf"] if set(known) == {"anyOf"} else [known]
        properties[name] = {"anyOf": [*others, about]}


def recipe_schema() -> dict[str, Any]:
    """JSON schema (2020-12) of a recipe file, of either kind: the sections, each component's options, and profiles."""
    trained, program = Recipe.model_json_schema(), ProgramRecipe.model_json_schema()
    definitions = {**program.pop("$defs"), **trained.pop("$defs")}
    _add_options(definitions)
    # `R: rgb/{split}/{id}.png` is short for its files, `accuracy: max` for a metric's direction.
    definitions["ModalityFiles"] = {"anyOf": [{"type": "string"}, definitions["ModalityFiles"]]}
    definitions["Metric"] = {"anyOf": [{"enum": ["max", "min"]}, definitions["Metric"]]}
    definitions["Program"]["oneOf"] = [{"required": ["call"]}, {"required": ["command"]}]
    for kind in (trained, program):
        kind["properties"]["profiles"] = {"type": "object", "additionalProperties": {"type": "object"}}
    # `method: joint` is short for a name
    trained["properties"]["method"] = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Method"}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mmablate recipe",
        "type": "object",
        "properties": {**program["properties"], **trained["properties"]},  # for editors that look no further
        "if": {"anyOf": [{"required": [key]} for key in PROGRAM_KEYS]},
        "then": {"$ref": "#/$defs/ProgramRecipe"},
        "else": {"$ref": "#/$defs/Recipe"},
        "$defs": {**definitions, "Recipe": trained, "ProgramRecipe": program},
    }


def _add_options(definitions: dict[str, Any]) -> None:
    """Beside the name of a component stand the options of every entry of its kind."""
    sections = {"Data": "dataset", "Model": "model", "Teacher": "model", "Method": "method", "Loss": "loss"}
    for section, kind in sections.items():
        known = definitions[section]
        known["additionalProperties"] = False
        for entry in entries(kind).values():
            options = entry.options.model_json_schema(ref_template="#/$defs/{model}")
            definitions.update(options.pop("$defs", {}))
            for name, about in options.get("properties", {}).items():
                _allow(known["properties"], name, about)
