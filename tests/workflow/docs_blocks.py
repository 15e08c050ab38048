"""The fenced blocks of the project's pages, and how they are meant.

```LANGUAGE FILE    is written to FILE
```bash             is run, and has to end well
```bash fails       is run, and has to fail
```bash azure       needs Azure: only its syntax is checked
```bash example     has names to fill in, or needs more than the page: only its syntax is checked
```text             right after a bash block that is run: its lines are in what that has printed
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = ("azure", "example")


@dataclass(frozen=True)
class Block:
    language: str
    word: str  #: after the language: a file's name, or how it is meant
    text: str
    line: int
    follows_bash: bool  #: nothing but blank lines is between it and a bash block

    @property
    def is_run(self) -> bool:
        return self.language == "bash" and self.word not in NOT_RUN

    @property
    def is_file(self) -> bool:
        return self.language != "bash" and bool(self.word)


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    end, is_bash = 0, False
    for found in _BLOCK.finditer(text):
        language, _, word = found[1].partition(" ")
        line = text.count("\n", 0, found.start()) + 1
        yield Block(language, word.strip(), found[2], line, is_bash and not text[end : found.start()].strip())
        end, is_bash = found.end(), language == "bash"
