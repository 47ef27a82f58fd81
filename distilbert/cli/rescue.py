# SPDX-License-Identifier: Apache-2.0
"""`distilbert rescue`: an old repository becomes a clean one. The work is done in `distilbert/rescuing`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilbert.backend import BACKENDS, installed
from distilbert.cli.console import fact_table, plural, say, show, show_json, size, working
from distilbert.cli.frameworks import load_quietly
from distilbert.cli.options import Backends, Json, Revision, Source, Task, Variant
from distilbert.errors import HubError

if TYPE_CHECKING:
    from distilbert.rescuing import Rescue


def rescue(
    source: Source,
    target: Annotated[Path, typer.Argument(metavar="DST", help="New or empty folder to write to.", show_default=False)],
    push: Annotated[
        str | None,
        typer.Option(metavar="ORG/NAME", help="Upload DST to this repository on the hub too, or to ORG/NAME@BRANCH."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make the repository a private one if it is new.")] = False,
    task: Task = None,
    variant: Variant = None,
    revision: Revision = None,
    backends: Backends = None,
    as_json: Json = False,
) -> None:
    """Make a clean repository of an old one: safetensors, tokenizer.json, model card, certificate.

    Reads every format and dialect, in one file or in shards, and BERT too.
    Every bit of the weights is compared with the source, and the installed
    frameworks with each other. DST appears whole, or not at all.
    """
    from distilbert import hub
    from distilbert.convert import open_checkpoint
    from distilbert.files import check_new_folder
    from distilbert.publishing import check_push
    from distilbert.rescuing import rescue as run

    if private and not push:
        raise typer.BadParameter("--private is of use with --push only")
    check_new_folder(target)  # this and the next one before anything is downloaded
    name = check_push(push)[0] if push else None
    names = installed() if backends is None else backends.split(",")
    with working() as progress:
        path = hub.resolve(source, variant=variant, revision=revision, documents=True)
        open_checkpoint(path, variant)  # what cannot be read is said before the frameworks are imported
        load_quietly(names, "rescue")
        done = run(
            source, target, task=task, variant=variant, revision=revision, name=name, backends=names, progress=progress
        )
        pushed = _push(target, push, private, progress) if push and done.report.ok else None
    if as_json:
        show_json(_as_json(done, pushed))
    else:
        show(fact_table(_facts(done, pushed)))
    if found := done.conversion.not_finite:
        say("warning", f"NaN or infinity in {plural(len(found), 'tensor')}, kept as it is: {', '.join(found[:8])}")
    for problem in done.report.problems():
        say("problem", problem)
    if push and not pushed:
        say("problem", f"not uploaded to {push}, for the frameworks do not agree; {target} is complete")
    raise typer.Exit(0 if done.report.ok else 1)


def _push(target: Path, push: str, private: bool, progress: Callable[[str], None]) -> str:
    """Where the files are now."""
    from distilbert.publishing import push_to_hub

    progress(f"uploading to {push}")
    try:
        return str(push_to_hub(target, push, private=private))
    except HubError as error:
        raise HubError(f"{error}\n  {target} is complete; distilbert.push_to_hub uploads it") from None


def _facts(done: Rescue, pushed: str | None) -> list[tuple[str, str]]:
    checkpoint, report = done.conversion.source, done.report
    folded = ", BERT read as DistilBERT" if checkpoint.folded_bert else ""
    names = f"{checkpoint.dialect_title} names{folded}"
    ran = ", ".join(BACKENDS[name].title for name in report.backends) or "no framework ran"
    verdict = "equal" if report.ok else "different"
    return [
        ("source", str(done.origin)),
        ("", f"{checkpoint.format.name}, {names}, {plural(len(checkpoint.files), 'file')}"),
        ("task", done.conversion.task),
        ("tensors", f"{done.conversion.tensors:,}, {size(done.conversion.nbytes)}, every bit equal to the source"),
        ("written", str(done.folder)),
        ("", ", ".join(done.files)),
        ("licence", done.licence or ", ".join(done.licence_files) or "none stated by the source"),
        ("parity", f"{verdict}: {ran}" if report.backends else ran),
        *([("uploaded", pushed)] if pushed else []),
    ]


def _as_json(done: Rescue, pushed: str | None) -> dict[str, Any]:
    checkpoint = done.conversion.source
    return {
        "source": done.origin.name,
        "commit": done.origin.commit,
        "source_format": checkpoint.format.name,
        "source_dialect": checkpoint.dialect,
        "folded_bert": checkpoint.folded_bert,
        "task": done.conversion.task,
        "target": str(done.folder),
        "files": list(done.files),
        "tensors": done.conversion.tensors,
        "bytes": done.conversion.nbytes,
        "not_finite": list(done.conversion.not_finite),
        "left_out": list(done.left_out),
        "licence": done.licence,
        "licence_files": list(done.licence_files),
        "backends": list(done.report.backends),
        "equal": done.report.ok,
        "uploaded": pushed,
    }
