"""The Markdown pages of the project, and the blocks and commands in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = (".github", "infra", "platform", "sweeps", "tests", "trainables")


def pages() -> list[Path]:
    """The pages that are kept up to date; decisions are kept as they were written."""
    found = [*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("*.md")))]
    return [page for page in found if "decisions" not in page.parts]


def blocks(language: str, *paths: Path) -> list[str]:
    """The fenced blocks of a language on some pages, or on all, each once."""
    fence = re.compile(rf"^```{language}\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
    found = (block for path in paths or pages() for block in fence.findall(path.read_text("utf-8")))
    return list(dict.fromkeys(found))


def commands() -> list[str]:
    """The shell commands of all pages, each once; `&&` separates two."""
    lines = (line for block in blocks("sh") for line in block.splitlines())
    return list(dict.fromkeys(command for line in lines for command in line.split(" && ")))
