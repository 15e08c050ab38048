"""A page in a real browser, without a window."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


def browser() -> str | None:
    """The command of one that is installed."""
    return next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)


@dataclass(frozen=True)
class Shown:
    """A page as it was laid out."""

    needs_px: int
    has_px: int
    texts: dict[str, str]  #: of elements, by their ids


def show(page: Path, width_px: int, *ids: str) -> Shown:
    """Lay a page out at this width."""
    # A window has at least 500 pixels; a frame can be as narrow as a phone.
    frame = page.with_name("frame.html")
    frame.write_text(
        f'<iframe src="{page.name}" style="width:{width_px}px;height:900px;border:0"></iframe><script>'
        "onload = () => { const page = document.querySelector('iframe').contentDocument;"
        "const tell = (id, text) => { const p = document.createElement('p'); p.id = id; p.textContent = text;"
        "document.body.append(p); };"
        "tell('needs-px', page.documentElement.scrollWidth); tell('has-px', page.documentElement.clientWidth);"
        f"for (const id of {list(ids)}) tell(id, page.getElementById(id).textContent); }}</script>"
    )
    done = subprocess.run(
        [
            *(browser(), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"),
            *(f"--user-data-dir={page.parent / 'browser'}", "--dump-dom", frame.as_uri()),
        ],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    texts = dict(re.findall(r'<p id="([^"]+)">([^<]*)</p>', done.stdout))
    return Shown(int(texts.pop("needs-px")), int(texts.pop("has-px")), texts)
