"""Hooks of the site's build: pages made from README, docstrings, results and the notebook.

Pages in `docs/` are written to be read in the repository too: their links to README and to
`benchmarks/results` are made links of the site, and what links to source code becomes its words.
"""

from __future__ import annotations

import ast
import base64
import json
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
# Page of the site -> the file that it shows.
COPIED = {"index.md": "README.md", "changes.md": "CHANGELOG.md"}
NOTEBOOK = ("tutorials/tour.md", "examples/tour.ipynb")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)\s]+)\)")


def on_files(files, config):
    """Add the pages that do not lie in `docs/`."""
    results = sorted(path for path in (ROOT / "benchmarks" / "results").rglob("*") if path.is_file())
    for path in results:
        files.append(
            File(
                path.relative_to(ROOT / "benchmarks").as_posix(),
                src_dir=str(ROOT / "benchmarks"),
                dest_dir=config.site_dir,
                use_directory_urls=config.use_directory_urls,
            )
        )
    made = {name: (ROOT / file).read_text(encoding="utf-8") for name, file in COPIED.items()}
    made |= reference_pages()
    made |= notebook_page(*NOTEBOOK)
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn the repository's links into the site's."""
    here = Path(page.file.src_uri).parent
    source = COPIED.get(page.file.src_uri)
    if page.file.src_uri.startswith("results/"):
        folder = ROOT / "benchmarks" / here
    else:
        folder = ROOT if source else ROOT / "docs" / here
    pages = {source: name for name, source in [*COPIED.items(), NOTEBOOK]}

    def site_link(link: re.Match) -> str:
        place, _, anchor = link[3].partition("#")
        target = (folder / place).resolve()
        if not target.is_relative_to(ROOT) or not target.exists():
            return link[0]  # left to the build's own checks
        source = target.relative_to(ROOT).as_posix()
        uri = pages.get(source, re.sub(r"^(docs|benchmarks(?=/results))/", "", source))
        if files.get_file_from_path(uri) is None:
            return link[2]  # source code, a folder
        relative = "/".join([".."] * len(here.parts) + [uri])
        return f"{link[1]}[{link[2]}]({relative}{'#' + anchor if anchor else ''})"

    parts = re.split(r"(^ *```.*?^ *```)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.lstrip().startswith("```") else _LINK.sub(site_link, part) for part in parts)


def reference_pages() -> dict[str, str]:
    """Make a page of each folder of the package that defines public names, in the order of the names."""
    modules: list[tuple[str, str]] = []
    for node in ast.walk(syntax("torchprim/__init__.py")):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_PUBLIC":
            modules += [(module, name) for name, module in ast.literal_eval(node.value).items()]
    for node in ast.walk(syntax("torchprim/metrics/__init__.py")):
        if isinstance(node, ast.ImportFrom):
            modules += [(node.module, alias.name) for alias in node.names]
    pages: dict[str, list[str]] = {}
    for module, name in dict.fromkeys(modules):
        pages.setdefault(module.split(".")[1], []).append(f"::: {module}.{name}\n")
    return {f"reference/{folder}.md": reference_page(folder, names) for folder, names in pages.items()}


def syntax(file: str) -> ast.Module:
    """Parse a file of the package, which would import torch."""
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def reference_page(folder: str, names: list[str]) -> str:
    """Make the page of one folder."""
    where = "Names of `torchprim`: `import torchprim as tp; tp.NAME`."
    if folder == "metrics":
        where = "All are names of `torchprim.metrics`, as in `tp.metrics.bss_eval`; most of `torchprim`, too."
    return "\n".join([f"# {folder.capitalize()}\n", f"{where}\n", *names])


def notebook_page(page: str, notebook: str) -> dict[str, str | bytes]:
    """Make a page of a notebook: its text, its code, and the outputs that it keeps."""
    made: dict[str, str | bytes] = {}
    text: list[str] = []
    for cell in json.loads((ROOT / notebook).read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        text.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                picture = page.replace(".md", f"-{len(made) + 1}.png")
                made[picture] = base64.b64decode("".join(data["image/png"]))
                text.append(f"![output]({Path(picture).name})")
            elif words := "".join(output.get("text", data.get("text/plain", []))):
                text.append(f"```text\n{words.rstrip()}\n```")
    return {page: "\n\n".join(text) + "\n", **made}
