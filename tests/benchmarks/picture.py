"""README's picture: the printed result of a sweep above its learning curves, drawn by Chromium.

    python -m tests.benchmarks.picture

Runs `sweeps/spectran_taylor.yaml` in a temporary storage and writes `.github/sweep.png`.
"""

import argparse
import html
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGET = ROOT / ".github" / "sweep.png"
COMMAND = ("python", "-m", "platform.sweep", "sweeps/spectran_taylor.yaml")
SIZE = (1080, 695)
PAGE = """<style>
body {{ margin: 0; background: white; }}
pre {{ margin: 0; padding: 14px 18px; background: #1e1e1e; color: #e6e6e6; font: 13px/1.17 monospace; }}
iframe {{ border: 0; width: 100%; height: 455px; }}
</style><pre>{text}</pre><iframe src="{curves}"></iframe>"""


def main() -> None:
    """Run the sweep, lay out its output and its curves on one page, and photograph the page."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "SWEEP_STORAGE": str(folder / "runs")}
        command = [sys.executable, *COMMAND[1:]]
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
        result = done.stdout.replace(f"{folder}/runs", "runs").partition("\n\n")[2]
        text = f"$ {' '.join(COMMAND)}\n  ...\n{result}"
        pictures = folder / "runs" / "spectran-taylor" / "pictures"
        page = PAGE.format(text=html.escape(text), curves=(pictures / "curves.html").as_uri())
        (folder / "page.html").write_text(page)
        TARGET.parent.mkdir(exist_ok=True)
        browser = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=10000"]
        window = f"--window-size={SIZE[0]},{SIZE[1]}"
        subprocess.run([*browser, window, f"--screenshot={TARGET}", (folder / "page.html").as_uri()], check=True)


if __name__ == "__main__":
    main()
