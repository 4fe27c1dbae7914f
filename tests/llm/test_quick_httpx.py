"""httpx is imported without its command line and HTTP/2, and works all the same."""

from __future__ import annotations

import subprocess
import sys

from support.fake_openai import FakeOpenAI

CODE = """
import sys
from memos.llm.quick_httpx import spare_unused_parts
spare_unused_parts()
import httpx
assert httpx.get(sys.argv[1] + "/models", trust_env=False).status_code == 200
print([name for name in ("click", "pygments", "rich", "h2.connection") if sys.modules.get(name)])
"""


def test_httpx_works_without_the_parts_nobody_uses() -> None:
    with FakeOpenAI() as server:
        done = subprocess.run([sys.executable, "-c", CODE, server.url], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
