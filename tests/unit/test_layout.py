"""Files stay small enough to read, and test modules apart from each other."""

from __future__ import annotations

import re

from tests.helpers import ROOT


def test_files_of_the_package_are_short() -> None:
    files = list((ROOT / "cellucid_dask").rglob("*.py"))
    lengths = {file.relative_to(ROOT): len(file.read_text().splitlines()) for file in files}
    assert len(lengths) > 50
    assert not {file: length for file, length in lengths.items() if length >= 300}


def test_test_modules_do_not_import_each_other() -> None:
    imported = re.compile(r"^\s*(?:from|import) tests\.(?:\w+\.)*test_\w+", re.MULTILINE)
    files = list((ROOT / "tests").rglob("*.py"))
    assert len(files) > 50
    assert not [file for file in files if imported.search(file.read_text())]
