"""One message to a real kernel, without a process around it: what `memos run -p` does once all is wired."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memos.kernel.kernel import Kernel
from memos.llm.processor import Processor
from memos.terminal.one_shot import OneMessage, run_once
from memos.terminal.report import Aside, ReplyText, Report
from memos.terminal.session import Session
from support.agent_home import AgentHome, agent_home

TIMEOUT_S = 20


class Said:
    """What came of one message: the exit code, and what stands on both streams."""

    def __init__(self, out: io.StringIO | None = None) -> None:
        self.out, self.err = out or io.StringIO(), io.StringIO()
        self.code = -1

    @property
    def words(self) -> str:
        """What stands on standard output."""
        return self.out.getvalue()

    @property
    def told(self) -> str:
        """What stands on standard error."""
        return self.err.getvalue()

    async def say(
        self,
        home: AgentHome,
        kernel: Kernel,
        message: OneMessage | str = "Hello",
        *,
        report: Callable[[io.StringIO], Report] = ReplyText,
        progress: bool = False,
        quiet: bool = False,
        read_only: bool = False,
        timeout_s: float | None = None,
        meanwhile: Callable[[asyncio.Task[None]], object] = lambda task: None,
    ) -> None:
        """Say it; `meanwhile` is called with the kernel's task once that runs."""
        message = OneMessage(message) if isinstance(message, str) else message
        task = asyncio.create_task(kernel.look() if read_only else kernel.run())
        operator = home.operator(kernel)
        session = Session(kernel, home.agent, home.memory, operator, None, home.ledger, home.finder, None)  # type: ignore[arg-type]
        session.read_only = read_only
        aside = Aside(self.err, progress=progress, quiet=quiet)
        meanwhile(task)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                self.code = await run_once(session, message, report(self.out), aside, timeout_s)
        finally:
            task.cancel()
            await asyncio.wait([task])


def say(
    folder: Path, processor: Processor, message: OneMessage | str = "Hello", *, out: Any = None, **options: Any
) -> Said:
    """Say it to the agent in `folder`; the options are those of `Said.say`."""
    said = Said(out)

    async def play() -> None:
        home = agent_home(folder)
        await said.say(home, home.kernel(processor), message, **options)

    asyncio.run(play())
    return said
