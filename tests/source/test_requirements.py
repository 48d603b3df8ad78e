"""What a project asks of transformers decides how its models are loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from projects import write

from bufaudit.source.requirements import transformers_asked_for

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("file", "text", "asked"),
    [
        ("pyproject.toml", 'dependencies = ["torch", "transformers>=4.40,<5"]', "old"),
        ("pyproject.toml", 'dependencies = ["transformers[torch]>=4.40"]', "new"),
        ("pyproject.toml", 'transformers = "^4.30"', "old"),
        ("pyproject.toml", 'transformers = {extras = ["torch"], version = ">=4.30"}', "new"),
        ("pyproject.toml", 'all = ["transformers>=4.40"]\nold = ["transformers==4.57.3"]', "old"),
        ("setup.py", "install_requires=['transformers<=4.57.1']", "old"),
        ("setup.py", "keywords='transformers'", "unknown"),
        ("setup.py", "install_requires=['sentence-transformers<3']", "unknown"),
        ("setup.cfg", "install_requires =\n    transformers ~= 4.40", "old"),
        ("requirements.txt", "transformers!=4.50.0,>=4.40 ; python_version > '3.9'", "new"),
        ("requirements.txt", "transformers<5.0.0dev", "old"),
        ("requirements.txt", "transformers<5.7", "new"),
        ("requirements.txt", "transformers<50", "new"),
        ("src/lib-1.0.dist-info/METADATA", "Requires-Dist: transformers (<5,>=4.40)", "old"),
        ("src/lib.egg-info/PKG-INFO", "Requires-Dist: transformers>=5", "new"),
    ],
)
def test_requirement(file: str, text: str, asked: str, tmp_path: Path) -> None:
    write(tmp_path, {"src/lib/__init__.py": "", file: text})
    assert transformers_asked_for(str(tmp_path / "src/lib")) == asked


def test_what_another_package_beside_asks_for_says_nothing(tmp_path: Path) -> None:
    pin = "Requires-Dist: transformers<5"
    write(
        tmp_path, {"other-1.0.dist-info/METADATA": pin, "third-1.0.dist-info/METADATA": pin, "my_lib/__init__.py": ""}
    )
    assert transformers_asked_for(str(tmp_path / "my_lib")) == "unknown"
    write(tmp_path, {"my.lib-2.0.dist-info/METADATA": pin})
    assert transformers_asked_for(str(tmp_path / "my_lib")) == "old"
