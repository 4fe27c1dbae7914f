"""Every fault of the fake server as a case to try: on which wire, with how much patience, within which bounds."""

from __future__ import annotations

from memos.kernel.control import Limits
from memos.llm.httpx_road import HttpxRoad
from memos.llm.processor import Processor
from memos.llm.remote_processor import Patience, RemoteProcessor
from support.fake_answers import Answer, Call
from support.fake_faults import FAULTS
from support.fake_openai import Request, Script, spoken

THOUGHTS, FACT, WORDS = "I answer.", "Ana keeps bees.", "Wörter 🐝 about honey."
CALLS = (Call("core_memory_append", {"name": "human", "content": FACT}), Call("send_message", {"message": WORDS}))
LIMITS = Limits(turn_seconds=8)
RETRIES = 3
HURRIED = Patience(first_byte_s=0.5, gap_s=0.5, retries=RETRIES, backoff_s=0.01)
PATIENT = Patience(first_byte_s=5, gap_s=5, retries=RETRIES, backoff_s=0.01)
MIDDLE_S = 0.06
"""How long after its request a reply that shows nothing is broken into; a plain one comes in twice the time."""
STANDS_STILL = ("stall_first", "stall_headers", "stall_middle", "endless_comments")
CASES = [
    (name, stream)
    for name, fault in FAULTS.items()
    for stream in {"both": (True, False), "stream": (True,), "plain": (False,)}[fault.wire]
]


def over_httpx(url: str, stream: bool, patience: Patience, call_format: str = "auto") -> Processor:
    road = HttpxRoad("fake-model", url, "none", connect_timeout_s=2)
    return RemoteProcessor(
        "openai/fake-model",
        road,
        api_base=url,
        window_tokens=32_768,
        stream=stream,
        call_format=call_format,
        patience=patience,
    )


def sound(request: Request) -> Answer:
    """Answer as the base of every fault does: a fact to be kept, and words."""
    return Answer(THOUGHTS, CALLS) if request.body.get("tools") else spoken(request, WORDS, THOUGHTS)


def faulty(name: str, cancel: bool) -> Script:
    """Return the script of a fault: slower where there must be a middle to break into."""

    def script(request: Request) -> Answer:
        answer = sound(request)
        slow = name == "slow_first_byte"
        return Answer(
            answer.text,
            answer.calls,
            fault=name,
            first_delay_s=0.6 if slow else 0 if not cancel else 0.02 if request.body.get("stream") else 2 * MIDDLE_S,
            delay_s=0.02 if cancel else 0,
        )

    return script


def patience_with(name: str) -> Patience:
    """Return how long a fault is waited for."""
    return HURRIED if name in STANDS_STILL else PATIENT


def limits_in(name: str) -> Limits:
    """Return the bounds on a turn with a fault: tight where nothing else would end it soon."""
    return Limits(turn_seconds=0.6) if name == "endless_trickle" else LIMITS
