"""What the documents say to type is taken: snippets of the configuration, command lines, programs, names of files."""

from __future__ import annotations

import ast
import re
import shlex
import textwrap
from importlib import import_module
from pathlib import Path

import click
import pytest

from sipcli.cli.main import cli
from sipcli.cli.parameters import GlobalOptions
from sipcli.config.load import parse_config
from tests.support.pages import PAGES, ROOT, blocks, of, typed_in_blocks

TABLE = re.compile(r"^\[(defaults|policy|accounts\.|providers\.)", re.MULTILINE)


def configurations() -> list[tuple[Path, str]]:
    return [(page, block) for page, block in blocks("toml") if TABLE.search(block)]


def command_lines() -> list[tuple[Path, str]]:
    """What is typed: in blocks after a prompt, a pipe, sudo or a unit's ExecStart=, in prose between backticks."""
    found = typed_in_blocks()
    for page in PAGES:
        prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        found += [(page, words) for words in re.findall(r"(?<!service )`(sipcli [a-z][^`]*)`", prose)]
    return found


@pytest.mark.parametrize(("page", "block"), configurations(), ids=of)
def test_every_configuration_is_right(page: Path, block: str, tmp_path: Path) -> None:
    """Snippets show what they are about; what they lean on (an account, a provider) is added here."""
    named = set(re.findall(r'"([\w-]+)"', " ".join(re.findall(r"^credentials\s*=\s*(\[.*\])", block, re.MULTILINE))))
    tables = set(re.findall(r"^\[providers\.([\w-]+)\]", block, re.MULTILINE))
    spare = "".join(f'\n[providers.{name}]\ntype = "prompt"\n' for name in named - tables - {"keychain", "prompt"})
    parse_config(block + spare, tmp_path / "config.toml")


@pytest.mark.parametrize(("page", "line"), command_lines(), ids=of)
def test_every_command_line_is_understood(page: Path, line: str) -> None:
    """Verb, options and their values. Prose may leave an argument out, and put what is optional into brackets."""
    words = shlex.split(line.replace("[", "").replace("]", ""), comments=True)[1:]
    words = words[: next((at for at, word in enumerate(words) if word in {"|", "||", ">", ";"}), None)]
    command: click.Command = cli
    context = cli.make_context("sipcli", list(words), obj=GlobalOptions())
    while isinstance(command, click.Group) and (rest := [*context._protected_args, *context.args]):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
        try:
            context = command.make_context(name, rest, parent=context)
        except click.MissingParameter:
            return
        except click.exceptions.Exit as leave:  # --help
            assert leave.exit_code == 0
            return


def names_of_code() -> list[tuple[Path, str]]:
    """Between backticks: `sipcli/ua/agent`, `ua/agent`, `tests/e2e/test_e2e_canary*.py`."""
    rooms = "|".join(sorted(path.name for path in (ROOT / "sipcli").iterdir() if path.is_dir() and path.name[0] != "_"))
    name = re.compile(rf"`((?:sipcli|tests|examples|docs|scripts|bench|{rooms})/[\w./*-]*)`")
    return [(page, found) for page in PAGES for found in dict.fromkeys(name.findall(page.read_text()))]


@pytest.mark.parametrize(("page", "name"), names_of_code(), ids=of)
def test_every_file_that_is_named_exists(page: Path, name: str) -> None:
    folders = (ROOT, ROOT / "sipcli")
    found = [path for folder in folders for end in ("", ".py") for path in folder.glob(name.rstrip("/") + end)]
    assert found, f"{page.relative_to(ROOT)} names {name}"


@pytest.mark.parametrize(("page", "block"), list(blocks("python")), ids=of)
def test_every_program_imports_what_there_is(page: Path, block: str) -> None:
    """It is Python, and each name that it takes out of sipcli is there."""
    for node in ast.walk(ast.parse(textwrap.dedent(block).replace(", ...)", ")"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sipcli":
            module = import_module(str(node.module))
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
