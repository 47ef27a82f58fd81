# SPDX-License-Identifier: Apache-2.0
"""`distilbert prune`: a model without its least important attention heads. The work is done in `distilbert/pruning`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilbert.cli.console import fact_table, grid, plural, show, show_json, size, working
from distilbert.cli.options import Json
from distilbert.cli.recipe_options import with_options_of
from distilbert.pruning.recipe import PruneRecipe

if TYPE_CHECKING:
    from distilbert.pruning.pruning import Pruned


@with_options_of(PruneRecipe, leave_out=["model_name_or_path", "output_dir"])
def prune(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Folder or hub repository of a trained model.", show_default=False),
    ],
    target: Annotated[str, typer.Argument(metavar="DST", help="New or empty folder to write to.", show_default=False)],
    as_json: Json = False,
    **given: Any,
) -> None:
    """Prune the attention heads that a trained model needs least, scored on labelled data.

    Data is named as in finetune. The pruned model is smaller, and loads in all
    frameworks. DST appears whole, or not at all: --max_drop refuses a model that
    loses more points.
    """
    from distilbert import backend
    from distilbert.cli.frameworks import load_quietly
    from distilbert.pruning.pruning import run

    recipe = PruneRecipe.from_dict({"model": model, "output": target, **given})
    load_quietly([backend.choose(recipe.backend)], "prune")
    with working() as tell:
        pruned = run(recipe, tell)
    if as_json:
        show_json(_as_json(pruned))
    else:
        show(_scores(pruned), fact_table(_facts(pruned)))
    typer.echo(f"{pruned.output}: pruned {plural(pruned.before.heads - pruned.after.heads, 'head')}", err=True)


def _scores(pruned: Pruned) -> Any:
    scores = pruned.importance.scores
    rows = []
    for layer, row in enumerate(scores):
        cells = [f"{score:.4f}" for score in row]
        for head in pruned.importance.pruned.get(layer, ()):
            cells[head] = "-"
        for head in pruned.heads.get(layer, ()):
            cells[head] += " x"
        rows.append([str(layer), *cells])
    return grid("Importance (x: pruned)", ["layer"], [f"head {head}" for head in range(scores.shape[1])], rows)


def _facts(pruned: Pruned) -> list[tuple[str, str]]:
    before, after = pruned.before, pruned.after
    facts = [
        ("scored on", plural(pruned.importance.examples, "example")),
        ("heads", f"{before.heads} -> {after.heads}"),
        ("parameters", f"{before.parameters:,} -> {after.parameters:,}"),
        ("weights", f"{size(before.nbytes)} -> {size(after.nbytes)}"),
    ]
    names = [pruned.metric, *(name for name in before.metrics if name != pruned.metric)] if pruned.metric else []
    return facts + [(name, f"{before.metrics[name]:.4f} -> {after.metrics[name]:.4f}") for name in names]


def _as_json(pruned: Pruned) -> dict[str, Any]:
    return {
        "output": str(pruned.output),
        "examples": pruned.importance.examples,
        "scores": pruned.importance.scores.tolist(),
        "pruned": {str(layer): list(heads) for layer, heads in pruned.heads.items()},
        "pruned_before": {str(layer): list(heads) for layer, heads in pruned.importance.pruned.items()},
        "metric": pruned.metric or None,
        "before": vars(pruned.before),
        "after": vars(pruned.after),
    }
