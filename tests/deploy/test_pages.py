"""The pages for readers are true: commands parse, settings and reasons exist, links lead somewhere."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import re
import shlex
from pathlib import Path

import pytest

from sidebeam.command.main import SUBCOMMANDS
from sidebeam.server.config.config import Config
from sidebeam.server.config.running_config import live_keys
from sidebeam.telemetry.metric import METRICS

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "deploy" / "docs").glob("*.md"))
SETTINGS = {
    f"{section.name}.{field.name}"
    for section in dataclasses.fields(Config)
    for field in dataclasses.fields(getattr(Config(), section.name))
}
SECTIONS = {section.name for section in dataclasses.fields(Config)}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def words(text: str) -> list[str]:
    """What stands in backticks outside of blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def test_there_is_a_page_for_each_reader_and_the_readme_leads_to_it():
    assert [page.name for page in PAGES] == ["backend.md", "load-testing.md", "platform.md"]
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in PAGES if f"(deploy/docs/{page.name})" not in readme] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_settings_exist(page):
    named = {word for word in words(page.read_text()) if re.fullmatch(r"[a-z]+\.[a-z_]+", word)}
    settings = {word for word in named if word.partition(".")[0] in SECTIONS}
    assert settings - SETTINGS == set()


def test_the_settings_that_may_change_while_running_are_those_of_the_page():
    page = (ROOT / "deploy" / "docs" / "platform.md").read_text()
    section = page.partition("## Change settings")[2].partition("Everything else")[0]
    named = [word for word in words(section) if word.partition(".")[0] in SECTIONS and "." in word]
    assert named == live_keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_taken(page):
    for line in "\n".join(blocks(page.read_text(), "sh")).splitlines():
        name, *arguments = shlex.split(line, comments=True) or [""]
        if name != "sidebeam":
            continue
        module = importlib.import_module(SUBCOMMANDS[arguments[0]].module)
        parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
        module.add_arguments(parser)
        args = parser.parse_args(arguments[1:])
        if arguments[0] == "load":
            assert read_options(args)


def read_options(args: argparse.Namespace) -> object:
    """The load test's own check of its options, without the files, which only the reader has."""
    from sidebeam.load.options import Options

    files = dict.fromkeys(("token_file", "tls_ca", "tls_cert", "tls_key"))
    return Options.read(argparse.Namespace(**(vars(args) | files)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_compiles_and_names_what_the_client_has(page):
    import sidebeam.client

    for block in blocks(page.read_text(), "python"):
        compile(block, page.name, "exec", flags=0x2000)  # ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        for names in re.findall(r"from sidebeam.client import (.*)", block):
            assert set(names.split(", ")) <= set(sidebeam.client.__all__)


def test_metrics_exist():
    known = {metric.name for metric in METRICS}
    for page in PAGES:
        named = {word for word in words(page.read_text()) if word.startswith("sidebeam_")}
        assert named - known == set()


def test_every_reason_of_a_refusal_is_explained_and_no_other():
    calls = re.compile(r"\b(?:overloaded|unavailable|unauthenticated|_reason)\(\s*\"([A-Z_]+)\"")
    server = "".join(path.read_text() for path in (ROOT / "server" / "sidebeam" / "server").rglob("*.py"))
    explained = {word for word in words((ROOT / "deploy/docs/backend.md").read_text()) if re.fullmatch("[A-Z_]+", word)}
    codes = {"INVALID_ARGUMENT", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
    assert explained - codes - {"UNIMPLEMENTED", "INTERNAL"} == set(calls.findall(server))


def test_images_and_ports_are_those_of_the_manifests(ours):
    text = (ROOT / "deploy/docs/platform.md").read_text()
    images = set(re.findall(r"-t (\S+)", text))
    assert images == {container.spec["image"] for container in ours}
    rows = {int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert rows == {port for container in ours for port in container.ports.values()}


def test_every_overlay_is_named():
    text = (ROOT / "deploy/docs/platform.md").read_text()
    overlays = {folder.name for folder in (ROOT / "deploy/kubernetes/overlays").iterdir()}
    assert overlays == set(re.findall(r"^\| `([a-z]+)` \|", text, re.MULTILINE))
