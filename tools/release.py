"""Name the repository in the package's metadata, just before a release is built.

    python -m tools.release https://github.com/OWNER/NAME v0.1.0

Links of the README that are relative to the repository become absolute, since the package index shows it elsewhere, and
the project's URLs are added to ``pyproject.toml``. Both files change in place: run it on a fresh copy.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\((?!https?:|#|mailto:)([^)\s]+)\)")


def absolute_links(text: str, repository: str, tag: str) -> str:
    """Return Markdown whose relative links lead to a tag of the repository.

    Example:
        >>> from tools.release import absolute_links
        >>> absolute_links("[how](docs/a.md) ![it](b.gif) [web](https://x.org)", "https://h.org/o/n", "v1")
        '[how](https://h.org/o/n/blob/v1/docs/a.md) ![it](https://h.org/o/n/raw/v1/b.gif) [web](https://x.org)'
    """

    def absolute(link: re.Match[str]) -> str:
        mark, label, target = link.groups()
        return f"{mark}[{label}]({repository}/{'raw' if mark else 'blob'}/{tag}/{target})"

    return _LINK.sub(absolute, text)


def with_urls(pyproject: str, repository: str) -> str:
    """Return the text of ``pyproject.toml`` with the repository among the project's URLs."""
    heading = "[project.urls]\n"
    if heading not in pyproject:
        raise ValueError(f"pyproject.toml has no {heading.strip()}.")
    urls = f'Repository = "{repository}"\nIssues = "{repository}/issues"\n'
    return pyproject.replace(heading, heading + urls, 1)


def main() -> None:
    """Change both files in the current folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", help="its address, without a slash at the end")
    parser.add_argument("tag", help="the released version, such as v0.1.0")
    options = parser.parse_args()
    readme, pyproject = Path("README.md"), Path("pyproject.toml")
    readme.write_text(absolute_links(readme.read_text(), options.repository, options.tag))
    pyproject.write_text(with_urls(pyproject.read_text(), options.repository))


if __name__ == "__main__":
    main()
