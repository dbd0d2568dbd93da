"""What the README says of the repo is so."""

import re
import subprocess
from pathlib import Path

README = Path("README.md").read_text(encoding="utf-8")
TREE_FOLDERS = ("protos/", "services/", "tutelage/", "training/", "deploy/", "benchmarks/")


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_every_file_has_a_line_in_the_tree() -> None:
    named = set(re.findall(r"^([\w./-]+)  +\S", README, re.MULTILINE))
    files = [path for path in tracked() if path.startswith(TREE_FOLDERS) and Path(path).stat().st_size]
    assert sorted(set(files) - named) == []


def test_the_tree_names_nothing_that_is_not_there() -> None:
    named = re.findall(rf"^((?:{'|'.join(TREE_FOLDERS)})[\w./-]+)  +\S", README, re.MULTILINE)
    assert [path for path in named if not Path(path).exists()] == []


def test_the_tree_names_each_file_once() -> None:
    named = re.findall(rf"^((?:{'|'.join(TREE_FOLDERS)})[\w./-]+)  +\S", README, re.MULTILINE)
    assert [path for path in set(named) if named.count(path) > 1] == []


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not Path(link).exists()] == []


def test_every_command_it_shows_exists() -> None:
    shown = set(re.findall(r"^tutelage ([a-z]+)", README, re.MULTILINE))
    assert shown
    for command in shown:
        subprocess.run([".venv/bin/tutelage", command, "--help"], capture_output=True, check=True)


def test_no_pin_and_no_file_carries_an_address_of_a_registry() -> None:
    pins = Path("constraints.txt").read_text().splitlines()
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", line)] == []
