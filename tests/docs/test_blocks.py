"""What the pages say to type is there to be typed: commands, options, targets, modules, stages and paths."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from tests.docs.blocks import PAGES, ROOT, Block, blocks, code_spans, command_lines
from tools.reference.commands import commands

COMMANDS = dict(commands())
# Where a path of a page may begin.
ROOMS = ("", "src/rockbank", "src/rockbank/flow", "src/rockbank/matching", "serving")
# What a command makes, or is a user's.
MADE = (".venv/", "artifacts/", "data/", "matches/", "mlruns/", "scans/", "build/", "images/")
WORDS = re.compile(r"\b(spent|bends?|bent|vain|ways|sheets?|drawn|told|asked|odd|astray)\b", re.IGNORECASE)
# "ways" is the word for several histories, and not for a direction.
PLAIN = {"transport_both_ways"}


def all_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks(page)]


def spans() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        yield from code_spans(page)


def lines(*program: str) -> Iterator[tuple[str, list[str], bool]]:
    """The commands that begin with some words: where, the words that follow, and whether the command is whole."""
    found = [
        (str(block), words, True) for block in all_blocks() if block.is_shell for words in command_lines(block.text)
    ]
    for where, span in spans():
        # What is optional stands in brackets, and what follows at will is three dots.
        plain = re.sub(r"[\[\]]|\.\.\.", "", span)
        found += [(where, words, False) for words in command_lines(plain)]
    for where, words, is_whole in found:
        if tuple(words[: len(program)]) == program:
            yield where, words[len(program) :], is_whole


def paths() -> Iterator[tuple[str, str]]:
    """What looks like a path of the repository, with where it stands."""
    words = [(where, word) for where, span in spans() for word in span.split()]
    for block in all_blocks():
        if block.is_shell:
            words += [(str(block), word) for line in command_lines(block.text) for word in line]
    for where, word in words:
        is_path = re.fullmatch(r"\.?[a-z_][\w.-]*(/[\w.-]+)*/?", word) and (
            "/" in word or word.endswith((".py", ".md"))
        )
        if is_path and not word.startswith(MADE) and not re.search(r"[A-Z]{3,}", word):
            yield where, word


def faults_of(words: list[str], is_whole: bool) -> str:
    """What is wrong with a command line of `rockbank`, or nothing."""
    line = ("rockbank", *words)
    path = max((path for path in COMMANDS if line[: len(path)] == path), key=len, default=None)
    if path is None:
        # The program alone, or a group of commands.
        is_known = not is_whole and any(each[: len(line)] == line for each in COMMANDS)
        return "" if is_known or words == ["--help"] else "no such command"
    command, arguments = COMMANDS[path], list(line[len(path) :])
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"-h", "--help"}
    if unknown := [word for word in arguments if re.match(r"--?[a-z]", word) and word not in known]:
        return f"no option {unknown}"
    try:
        command.make_context(" ".join(path), arguments, resilient_parsing=not is_whole)
    except Exception as error:
        return str(error)
    return ""


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    base = ROOT / ("src" if name.startswith("rockbank") else "") / name.replace(".", "/")
    if base.is_dir() or base.with_suffix(".py").is_file():
        return True
    module, _, attribute = name.rpartition(".")
    return bool(module) and resolves(module) and hasattr(import_module(module), attribute)


def test_every_command_line_fits_the_command() -> None:
    found = list(lines("rockbank"))
    assert len(found) > 50
    assert [fault for where, *line in found if (fault := f"{where}: {line[0]}: {faults_of(*line)}")[-2:] != ": "] == []


def test_a_command_line_that_does_not_fit_is_found() -> None:
    assert faults_of(["sample", "shale@champion", "--n", "16"], True) == ""
    assert "'--count'" in faults_of(["sample", "shale@champion", "--count", "16"], True)
    assert faults_of(["sample", "shale@champion", "--n", "many"], True) != ""
    assert faults_of(["smaple"], True) == "no such command"
    assert faults_of(["match"], False) == ""
    assert faults_of(["match", "cases/deepflow.yaml", "--members", "2"], True) == ""
    assert faults_of(["match", "status", "matches/first"], True) == ""


def test_every_target_of_make_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    found = list(lines("make"))
    assert len(found) > 10
    assert [f"{where}: {words[0]}" for where, words, _ in found if words and words[0] not in targets] == []


def test_every_module_that_is_run_is_there() -> None:
    found = list(lines("python", "-m"))
    assert len(found) > 5
    assert [f"{where}: {words[0]}" for where, words, _ in found if words and not resolves(words[0])] == []


def test_every_name_of_the_code_is_there() -> None:
    names = [
        (where, span) for where, span in spans() if re.fullmatch(r"(rockbank|serving|tools|benchmarks)(\.\w+)+", span)
    ]
    assert names
    assert [f"{where}: {name}" for where, name in names if not resolves(name)] == []


def test_every_stage_and_parameter_of_dvc_is_there() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))

    def is_there(word: str) -> bool:
        if "=" in word:
            value = params
            for key in word.partition("=")[0].split("."):
                # NAME is any entry.
                value = next(iter(value.values())) if key == "NAME" and isinstance(value, dict) else value.get(key)
            return value is not None
        stage, _, entry = word.partition("@")
        each = stages.get(stage, {}).get("foreach")
        return stage in stages and (not entry or (each is not None and entry in params[each[2:-1]]))

    found = [*lines("dvc", "repro"), *lines("dvc", "exp", "run")]
    words = [(where, word) for where, line, _ in found for word in line if word[0].isalpha() and not word.isupper()]
    assert len(words) > 3
    assert [f"{where}: {word}" for where, word in words if not is_there(word)] == []


def test_every_path_is_there() -> None:
    found = set(paths())
    assert len(found) > 50
    assert {
        f"{where}: {path}" for where, path in found if not any((ROOT / room / path).exists() for room in ROOMS)
    } == set()


@pytest.mark.parametrize("block", [each for each in all_blocks() if each.language == "python"], ids=str)
def test_python_is_python(block: Block) -> None:
    compile(block.text, str(block), "exec")


def test_the_readme_is_short_and_what_it_shows_can_be_run() -> None:
    readme = ROOT / "README.md"
    assert len(readme.read_bytes()) <= 6 * 1024
    assert [block.world for block in blocks(readme) if block.language == "bash"] == ["clone", "cases", "match"]


def test_numbers_of_the_readme_are_those_of_the_pages_that_it_names() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+) \| (\S+)(?: %)? \| \[.*\]\((.+)\) \|$", text, re.MULTILINE)
    assert len(rows) > 7
    for about, value, page in rows:
        source = (ROOT / page).read_text(encoding="utf-8")
        numbers = [value, *re.findall(r"(?<![\w.])\d+\.\d+|(?<![\w.])\d{5,}", about)]
        assert [each for each in numbers if not re.search(rf"(?<![\d.]){re.escape(each)}(?![\d.])", source)] == []


def test_a_page_has_none_of_the_words_that_the_field_has_better_ones_for() -> None:
    found = [
        f"{page.relative_to(ROOT)}:{i}: {match[0]}"
        for page in (*PAGES, ROOT / "CHANGELOG.md")
        for i, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
        # What stands in backticks may be an old name.
        for match in WORDS.finditer(re.sub(r"`[^`]*`", "", line))
    ]
    assert found == []


def words_of_code(text: str) -> Iterator[tuple[int, str]]:
    """Names, and strings of several words that are no docstring, that have one of `WORDS`; each with its line."""
    tree = ast.parse(text)
    scopes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, scopes) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=said) | ast.Attribute(attr=said) | ast.arg(arg=said) | ast.keyword(arg=str(said)):
                words = said.replace("_", " ")
            case ast.FunctionDef(name=said) | ast.AsyncFunctionDef(name=said) | ast.ClassDef(name=said):
                words = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", said)
            case ast.Constant(value=str(said)) if id(node) not in docstrings and " " in said:
                words = said
            case _:
                continue
        if WORDS.search(words):
            yield node.lineno, said


def test_code_has_none_of_the_words_that_the_field_has_better_ones_for() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{i}: {said}"
        for room in ("src", "serving", "pipelines", "tools")
        for path in (ROOT / room).rglob("*.py")
        for i, said in words_of_code(path.read_text(encoding="utf-8"))
        if said not in PLAIN
    }
    assert found == set()


@pytest.mark.parametrize(
    "line",
    [
        "n_drawn = 1",
        "def as_told(): ...",
        "class SpentMember: ...",
        "f(asked=1)",
        "x.is_odd",
        "raise E(f'asked for {n}')",
    ],
)
def test_a_word_in_code_is_found(line: str) -> None:
    assert len(list(words_of_code(line))) == 1


@pytest.mark.parametrize("line", ["'''What is asked.'''", "{'spent': 1}", "withdrawn = 1", "always = 2"])
def test_docstrings_keys_and_other_words_are_left_alone(line: str) -> None:
    assert list(words_of_code(line)) == []


def test_every_picture_is_shown() -> None:
    pages = (*PAGES, *(ROOT / "reports").glob("*.md"))
    shown = {
        Path(path).name
        for page in pages
        for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    }
    assert {path.name for path in (ROOT / "docs" / "pictures").iterdir()} == shown
