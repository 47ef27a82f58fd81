# SPDX-License-Identifier: Apache-2.0
"""Recipes as files, YAML or JSON: reading one, with options that replace some of its values, and writing one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from distilbert.errors import FileError, InputError
from distilbert.files import JSON_LIMIT, read_json, read_text, write_text
from distilbert.training.settings import Settings
from distilbert.yaml_text import parse_yaml, to_yaml

RECIPE_NAME = "recipe.yaml"
SUFFIXES = (".yaml", ".yml", ".json")
Recipe = TypeVar("Recipe", bound=Settings)


def is_recipe_file(text: str) -> bool:
    """Whether an argument names a recipe file, by its ending."""
    return text.lower().endswith(SUFFIXES)


def read_recipe(path: Path) -> dict[str, Any]:
    """Names and values of a recipe file, as they stand in it.

    Raises:
        FileError: it cannot be read, is not YAML or JSON, or holds anything but names with values.
        BackendError: it is YAML, and PyYAML is not installed.
    """
    if path.suffix.lower() == ".json":
        return read_json(path)
    if path.suffix.lower() not in SUFFIXES:
        raise FileError(f"{path}: expected a recipe ending in {', '.join(SUFFIXES)}")
    value = parse_yaml(read_text(path, JSON_LIMIT), str(path))
    if not isinstance(value, dict):
        found = "nothing" if value is None else "a list" if isinstance(value, list) else repr(value)
        raise FileError(f"{path}: expected lines of NAME: VALUE, found {found}")
    return value


def make_recipe(kind: type[Recipe], given: Mapping[str, Any], path: Path | None = None) -> Recipe:
    """A recipe from a file and what was given besides.

    Args:
        kind: class of the recipe.
        given: values by the names of the fields; they replace those of the file.
        path: the file, if there is one.

    Raises:
        InputError: lists all that is wrong with the values, with the file's name in front.
        FileError, BackendError: see `read_recipe`.
    """
    if path is None:
        return kind.from_dict(given)
    names = {entry.metadata.get("alias"): entry.name for entry in dataclasses.fields(kind)}
    kept = {name: value for name, value in read_recipe(path).items() if names.get(name, name) not in given}
    origin = f"{path} and options" if given else str(path)
    try:
        return kind.from_dict({**kept, **given})
    except InputError as error:
        raise InputError(f"{origin}: {str(error).removeprefix('recipe: ')}") from None


def write_recipe(recipe: Settings, path: Path) -> None:
    """Write a recipe as YAML, with all its fields, all or nothing.

    Raises:
        FileError: the file cannot be written.
        BackendError: PyYAML is not installed.
    """
    write_text(path, to_yaml(recipe.to_dict()))
