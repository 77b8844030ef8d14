"""Hooks of mkdocs: README.md is the site's first page, and every page of docs/ is in the nav."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)((?:#[^)\s]*)?)\)")


def on_config(config: Any) -> Any:
    """Pages that mkdocs.yml's nav does not name stand at its end."""
    named = str(config.nav)
    others = [
        str(path.relative_to(ROOT / "docs"))
        for path in sorted((ROOT / "docs").rglob("*.md"))
        if f"'{path.relative_to(ROOT / 'docs')}'" not in named
    ]
    if others:
        config.nav.append({"More": others})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add README.md as index.md."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=links_of_site(text, ROOT)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to files beside docs/ as they are shown on a code host, as plain names here."""
    if page.file.src_uri == "index.md":
        return markdown
    return links_of_site(markdown, ROOT / "docs" / Path(page.file.src_uri).parent)


def links_of_site(markdown: str, folder: Path) -> str:
    """A page's text as if it lay where it does in the site: links into docs/ follow README.md
    there, links to the repository's other files become their text."""
    docs = ROOT / "docs"

    def moved(match: re.Match[str]) -> str:
        mark, text, target, anchor = match.groups()
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = (folder / target).resolve()
        if path == ROOT / "README.md":
            return f"[{text}]({'../' * len(folder.relative_to(docs).parts)}index.md{anchor})"
        if not path.is_relative_to(docs):
            return text
        if folder == ROOT:
            target = str(path.relative_to(docs))
        return f"{mark}[{text}]({target}{anchor})"

    return LINK.sub(moved, markdown)
