# SPDX-License-Identifier: Apache-2.0
"""What README and docs say is so: their code runs, their commands parse, their tables are the code's, links lead on."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import distilbert
from distilbert import backend, cli
from distilbert.parity import tolerances

from .conftest import REPOSITORY

typer = pytest.importorskip("typer")
DOCS = REPOSITORY / "docs"
README = REPOSITORY / "README.md"
PAGES = [README, REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]

# What a block of Python needs, by what is written in it.
NEEDS = {
    "pt": re.compile(r'distilbert\.pt|import torch|"pt"|from distilbert import DistilBertFor'),
    "tf": re.compile(r'distilbert\.tf|"tf"'),
    "flax": re.compile(r'distilbert\.flax|import jax|"jax"'),
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the text block that ends its section, if there is one."""

    page: Path
    number: int
    language: str
    text: str
    section_output: str | None

    def __str__(self) -> str:
        return f"{self.page.name}-{self.number}"

    @property
    def is_trained(self) -> bool:
        """Whether it may be a whole training, as in the guides for the tasks."""
        return self.page.parent.name == "tasks"


def blocks_of(page: Path) -> list[Block]:
    found = []
    for section in re.split(r"^(?=#+ )", without_fences_as_headings(page.read_text(encoding="utf-8")), flags=re.M):
        fences = re.findall(r"^```(\w+)\n(.*?)^```$", section, re.M | re.S)
        output = next((text for language, text in fences if language == "text"), None)
        found += [(language, text, output) for language, text in fences]
    return [
        Block(page, i, language, restored(text), output and restored(output))
        for i, (language, text, output) in enumerate(found)
    ]


def without_fences_as_headings(text: str) -> str:
    """A comment in a block starts like a heading; this marks it, `restored` takes the mark away."""
    return re.sub(r"^```.*?^```", lambda block: re.sub("^#", "\0#", block[0], flags=re.M), text, flags=re.M | re.S)


def restored(text: str) -> str:
    return text.replace("\0", "")


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
COMMANDS = [
    (block.page, line)
    for block in BLOCKS
    if block.language == "sh"
    for line in block.text.splitlines()
    if line.startswith("distilbert ")
]


@pytest.fixture(scope="module")
def extension():
    """The modules that make the generated parts of the docs."""
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        import side_by_side
        import tables
    finally:
        sys.path.remove(str(DOCS / "_ext"))
    return tables, side_by_side


# Code.


@pytest.mark.parametrize(
    "block",
    [pytest.param(block, marks=pytest.mark.slow if block.is_trained else ()) for block in PYTHON],
    ids=str,
)
def test_python_runs(block, tmp_path, monkeypatch, capsys):
    missing = [
        backend.BACKENDS[name].title
        for name, need in NEEDS.items()
        if need.search(block.text) and backend.BACKENDS[name].missing
    ]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed")
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    expected = block.section_output
    if expected is not None and not (block.is_trained and rounded_alike(printed, expected)):
        assert printed == expected


def rounded_alike(first: str, second: str) -> bool:
    """Whether texts differ in no more than the last digit of decimals: what is trained on other cores ends so."""
    parts, others = (re.split(r"(\d+\.\d+)", " ".join(text.split())) for text in (first, second))
    pairs = zip(map(Decimal, parts[1::2]), map(Decimal, others[1::2]), strict=False)
    same_words = [text.strip() for text in parts[::2]] == [text.strip() for text in others[::2]]
    return same_words and all(abs(one - other) <= min(unit(one), unit(other)) for one, other in pairs)


def unit(value: Decimal) -> Decimal:
    """One in the last place that is printed."""
    return Decimal((0, (1,), value.as_tuple().exponent))


def test_only_the_last_digit_of_what_is_trained_may_differ():
    assert rounded_alike("tf [[1.33 1.8 ]]\n", "tf [[1.33 1.79]]\n")
    assert not rounded_alike("tf [[1.33 1.77]]", "tf [[1.33 1.79]]")
    assert not rounded_alike("24 {'loss': 0.23}", "25 {'loss': 0.23}")
    assert not rounded_alike("0.61", "0.61 0.39")
    assert not rounded_alike("0.61", "-0.61")


def test_the_readme_gives_one_number_three_times():
    blocks = [block for block in PYTHON if block.page == README][:3]
    assert [next(name for name, need in NEEDS.items() if need.search(block.text)) for block in blocks] == [
        "pt",
        "tf",
        "flax",
    ]
    assert len({block.section_output for block in blocks}) == 1
    assert all(len(block.text.split("\n\n")[0].splitlines()) + 3 >= len(block.text.split("\n")) - 2 for block in blocks)


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[line for _, line in COMMANDS])
def test_commands_parse(page, line):
    """Parsed as the command line parses them, with every option's check, and not run."""
    _, name, *arguments = shlex.split(line, comments=True)
    group: Any = typer.main.get_command(cli.app)
    context = group.make_context("distilbert", [name, *arguments])
    found, command, rest = group.resolve_command(context, [name, *arguments])
    assert found == name
    command.make_context(name, rest, parent=context)


def test_a_wrong_command_is_noticed():
    with pytest.raises(Exception, match="No such option"):
        test_commands_parse(README, "distilbert convert a b --too flax")


def test_the_two_commands_come_first():
    first = blocks_of(README)[0]
    assert [line.split("#")[0].split() for line in first.text.splitlines()] == [["make", "demo"], ["make", "test"]]


def test_make_targets_exist():
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    named = re.findall(r"(?:`|^)make ([a-z-]+)", "".join(page.read_text(encoding="utf-8") for page in PAGES), re.M)
    assert {"demo", "test", "docs", "check-all"} <= set(named) <= targets


# Generated parts.


@pytest.mark.parametrize(("page", "count"), [(README, 2), (DOCS / "tensors.md", 6)], ids=["README", "tensors"])
def test_the_tables_in_a_page_are_those_of_the_code(extension, page, count):
    tables, _ = extension
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- table:") == count
    assert tables.refreshed(text) == text, f"run: python docs/_ext/tables.py {page.relative_to(REPOSITORY)}"


def test_every_generated_table_has_its_rows(extension):
    tables, _ = extension
    made = {name: table() for name, table in tables.TABLES.items()}
    for row in tolerances.TABLE:
        assert str(row) in made["bounds"]
        assert row.reason in made["reasons"]
    for name in distilbert.spec.tensors(distilbert.DistilBertConfig(n_layers=1), "masked-lm"):
        leaf = re.sub(r"^distilbert\.(transformer\.layer\.0\.)?", "", name)
        assert f"`{leaf}`" in made["embedding-tensors"] + made["layer-tensors"] + made["head-tensors"]
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    names = re.findall(r"(?:```\{generated\}|<!-- table:) ([\w-]+)", text)
    assert sorted(set(names)) == sorted(made)


def test_the_command_page_has_every_option_of_help(extension):
    from typer.testing import CliRunner

    tables, _ = extension
    group: Any = typer.main.get_command(cli.app)
    for name in group.commands:
        section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", tables.commands(), re.M | re.S)
        assert section is not None
        printed = CliRunner().invoke(cli.app, [name, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
        options = set(re.findall(r"--[a-z-]+", re.sub(r"\x1b\[[0-9;]*m", "", printed))) - {"--help"}
        assert options
        assert all(option in section[1] for option in options)


def test_attention_kernels_are_those_of_the_backends(extension):
    tables, _ = extension
    for name, row in backend.BACKENDS.items():
        if row.missing:
            continue
        module = __import__(f"distilbert.{name}.attention", fromlist=["IMPLEMENTATIONS"])
        assert tables._implementations(name) == (list(module.IMPLEMENTATIONS), module.DEFAULT)


@pytest.mark.parametrize("name", ["modeling.py", "heads.py"])
def test_side_by_side_has_every_line_once(extension, name):
    import ast

    _, side_by_side = extension
    found = side_by_side.sections(name)
    for column, framework in enumerate(side_by_side.BACKENDS):
        source = (REPOSITORY / "distilbert" / framework / name).read_text(encoding="utf-8")
        lines = source.splitlines()
        expected: Counter[str] = Counter()
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                start = min([node.lineno, *(item.lineno for item in node.decorator_list)])
                expected.update(line for line in lines[start - 1 : node.end_lineno] if line)
        statements = [row[column] for section in found for row in section.rows if row[column]]
        shown = Counter(line for item in statements for line in item.text.splitlines() if line)
        assert shown == expected, framework


@pytest.mark.parametrize("name", ["modeling.py", "heads.py"])
def test_side_by_side_rows_are_the_same_step(extension, name):
    _, side_by_side = extension
    rows = [row for section in side_by_side.sections(name) for row in section.rows]
    complete = [row for row in rows if all(row)]
    assert len(complete) > 0.9 * len(rows)
    same = [row for row in complete if len({item.key for item in row if item}) == 1]
    assert len(same) > 0.95 * len(complete)


def test_side_by_side_puts_extra_statements_in_rows_of_their_own(extension):
    _, side_by_side = extension
    columns = [
        [side_by_side.Statement(key, 1, key) for key in keys.split()] for keys in ("a b c d", "a x b c d", "a c y z d")
    ]
    texts = [tuple(item and item.text for item in row) for row in side_by_side.align(columns)]
    assert texts == [
        ("a", "a", "a"),
        (None, "x", None),
        ("b", "b", None),
        ("c", "c", "c"),
        (None, None, "y"),
        (None, None, "z"),
        ("d", "d", "d"),
    ]


# Links and names.


def test_every_page_is_in_a_table_of_contents():
    listed = set()
    for index in (DOCS / "index.md", DOCS / "api" / "index.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", index.read_text(encoding="utf-8"), re.S):
            names = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed |= {(index.parent / f"{name}.md").resolve() for name in names}
    pages = {page.resolve() for page in PAGES if page.is_relative_to(DOCS)}
    assert listed == pages - {(DOCS / "index.md").resolve()}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(REPOSITORY)) for page in PAGES])
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target
    for target in re.findall(r"\{doc\}`([^`]+)`", text):
        assert (page.parent / f"{target}.md").exists(), target


def test_the_readme_names_every_page():
    text = README.read_text(encoding="utf-8")
    by_itself = {"index.md", "changelog.md", "side-by-side.md"}  # the start, CHANGELOG.md, and what must be built
    pages = sorted([*DOCS.glob("*.md"), *DOCS.glob("tasks/*.md")])
    names = [page.name for page in pages if page.name not in by_itself]
    assert [name for name in names if name not in text] == []


def test_tests_that_are_named_exist():
    named = {
        found
        for page in PAGES
        for found in re.findall(r"(test_\w+\.py)(?:::(test_\w+))?", page.read_text(encoding="utf-8"))
    }
    assert named
    for file, function in named:
        source = (REPOSITORY / "tests" / file).read_text(encoding="utf-8")
        assert not function or re.search(rf"^def {function}\(", source, re.M), f"{file}::{function}"


# The repository.


def repository_files() -> list[Path]:
    if shutil.which("git") and (REPOSITORY / ".git").exists():
        listing = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        return [REPOSITORY / name for name in listing.stdout.split("\0") if name and (REPOSITORY / name).is_file()]
    folders = ("distilbert", "docs", "tests", "scripts")
    return [path for folder in folders for path in (REPOSITORY / folder).rglob("*") if path.is_file()]


def test_no_file_names_a_machine_or_a_registry():
    roots = ("/".join(["", name, ""]) for name in ("work", "root", "opt"))
    hosts = (".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("download", "pytorch", "org")))
    forbidden = re.compile("|".join([*(rf"(?<![\w.]){root}\w" for root in roots), *map(re.escape, hosts)]))
    found = []
    for path in repository_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(REPOSITORY)}: {hit[0]}" for hit in forbidden.finditer(text)]
    assert found == []


def test_constraints_hold_for_every_requirement():
    requirements = pytest.importorskip("packaging.requirements")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    wanted = [*project["dependencies"], *extras]
    for requirement in map(requirements.Requirement, wanted):
        if requirement.name != "distilbert":
            assert requirement.specifier.contains(pins[requirement.name]), str(requirement)


def test_the_changelog_knows_this_version():
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.*?)\]", text, re.M)
    assert headings[0] in ("Unreleased", distilbert.__version__)


@pytest.mark.slow
def test_the_pages_build_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", str(DOCS), str(tmp_path)]
    built = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert built.returncode == 0, built.stderr
    assert 'class="side-by-side' in (tmp_path / "side-by-side.html").read_text(encoding="utf-8")
