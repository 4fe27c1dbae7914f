"""What a provider or the wire to it says when it fails, told once in memos' own errors.

Works on the class names, the status and the text of an exception, so no provider's library is imported here, every
road to a model can use it, and an exception of another process can be told as well.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

from memos.errors import (
    BadInput,
    ContentFiltered,
    ContextOverflow,
    MemosError,
    NotConfigured,
    ProcessorError,
    ProcessorRefused,
    ProcessorUnreachable,
    RateLimited,
    StreamCut,
)
from memos.llm.road import OPTIONAL_FIELDS
from memos.redaction import redacted
from memos.safe_text import safe_line

# A prompt longer than the window, in the words of OpenAI, Anthropic, Gemini, Bedrock, Groq, llama.cpp, vLLM, Mistral…
_OVERFLOW = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|prompt is too long|input is too long"
    r"|exceeds? (the )?(available |maximum |model'?s? )?(maximum )?(context|number of tokens|input token)"
    r"|context (window|length|size)[^.]{0,40}exceed|too many (input |prompt )?tokens"
    r"|reduce the length of the (messages|prompt)|larger than the (max|context)"
    r"|input token count[^.]{0,40}exceeds|longer than the model'?s context",
    re.IGNORECASE,
)
_FILTER = re.compile(
    r"content[_ ]filter|content management policy|responsibleaipolicy|content[_ ]policy|safety system", re.IGNORECASE
)
_NO_TOOLS = re.compile(
    # Ollama, OpenRouter, vLLM, llama.cpp, Bedrock and LM Studio, in this order.
    r"does not support (tools|tool use|function call)|no endpoints found that support tool use"
    r"|tool choice requires|tools? param(eter)? requires|doesn't support tool use"
    r"|(tools?|function[ _]call\w*|tool[ _](use|call\w*))\W{0,3} (is|are) not (supported|enabled|available)",
    re.IGNORECASE,
)
_NO_IMAGES = re.compile(
    # OpenAI (roboflow/awesome-openai-vision-api-experiments#11); Ollama (ollama/ollama#17301), LM Studio, Bedrock;
    # llama.cpp (ggml-org/llama.cpp#15377, #13566); OpenRouter (nexu-io/nexu#733); vLLM, twice; DeepSeek; Groq and
    # gateways that take text alone (vercel/ai#2837); llamafile (#298); llama-cpp-python (#1168).
    r"image_url is only supported|(not|n't) support[^.]{0,40}\b(images?|image_url|vision|multi-?modal)"
    r"|images?( \w+)? (is|are) not (supported|enabled|allowed)|no endpoints found that support image"
    r"|not a multi-?modal model|at most 0 image|unknown variant \W?image_url"
    r"|content.{0,60}(must|should) be a (valid )?string|not compiled for multi-?modal"
    r"|can only concatenate str \(not \W{0,2}list",
    re.IGNORECASE,
)
_NO_THOUGHTS = re.compile(r"does not support thinking", re.IGNORECASE)
"""Ollama, of a model that cannot think, where `reasoning_effort` is set."""
_FIELD = rf"\b({'|'.join(sorted(OPTIONAL_FIELDS | {'response_format'}))})\b"
_NO = (
    r"(?:unsupported|unknown|unrecogni[sz]ed|unexpected|invalid|not supported|not permitted|not allowed|extra"
    r"|does not support|doesn't support|must be)"
)
_NO_FIELD = re.compile(rf"{_NO}.{{0,60}}?{_FIELD}|{_FIELD}.{{0,60}}?{_NO}", re.IGNORECASE)
_NO_KEY = re.compile(r"missing credentials|api_key client option must be set|missing .{0,20}api[ _]key", re.IGNORECASE)
_NO_PROVIDER = re.compile(r"llm provider not provided", re.IGNORECASE)
_NO_MONEY = re.compile(r"insufficient_quota|exceeded your current quota|credit balance|billing", re.IGNORECASE)
_NO_MODEL = re.compile(r"model.{0,80}(not found|does not exist|not exist|not supported|unknown)|unknown model", re.I)
_PREFIXES = re.compile(r"^(?:(?:litellm\.)?\w+(?:Error|Exception): )*(?:\w+(?:Exception|Error) - )?")
_MARKUP = re.compile(r"<(!doctype|html|head|body)\b", re.IGNORECASE)
_AGAIN = "try again; if it stays so, choose another model."
_START = "start the server, or check the address given as api_base."
_CHECK_ADDRESS = "check the address given as api_base, and your network."
_CHECK_WINDOW = "tell memos the real context window of this model, or choose a model with a larger one."
_CHECK_ACCOUNT = "look at your account there, or try another model."
_CHECK_KEY = "run `memos configure` with the right key, or set it in the environment."
_CHECK_MODEL = "choose another model, or check the address given as api_base."
_TEXT_LIMIT_CHARS = 240
_RAW_TEXT_LIMIT_CHARS = 20_000
_RETRY_HEADERS = ("retry-after-ms", "retry-after")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of ours, and whether another try may well succeed (after `retry_after_s`, where the provider said)."""

    error: MemosError
    passing: bool = False
    retry_after_s: float | None = None
    refuses: str = ""
    """What of the request the endpoint does not take: `tools`, `images`, `response_format`, or another field."""


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What of an exception tells its meaning: plain data, which may have come from another process.

    `kinds` are the names of its class and of those it is made from, its own first; `beneath` those of all it came from,
    itself included; `headers` the answer's wish when to come back.
    """

    kinds: tuple[str, ...]
    text: str
    status: int | None = None
    beneath: frozenset[str] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: BaseException) -> ErrorFacts:
        """Return what there is to know of an exception."""
        if isinstance(error, ErrorElsewhere):
            return error.facts
        error = _innermost(error)
        status = getattr(error, "status_code", None)
        return cls(
            _kinds(error),
            str(getattr(error, "message", "") or error)[:_RAW_TEXT_LIMIT_CHARS],
            status if isinstance(status, int) else None,
            frozenset(kind for link in _chain(error) for kind in _kinds(link)),
            _retry_headers(error),
        )

    def as_data(self) -> dict[str, Any]:
        """Return the facts as JSON can carry them."""
        return {**asdict(self), "beneath": sorted(self.beneath)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the facts that `as_data` gave."""
        sets = {"kinds": tuple(data["kinds"]), "beneath": frozenset(data["beneath"])}
        return cls(**{**data, **sets})


class ErrorElsewhere(Exception):
    """An exception that another process met on our behalf."""

    def __init__(self, facts: ErrorFacts) -> None:
        super().__init__(facts.text)
        self.facts = facts


def failure_of(error: BaseException, who: str, model: str, secrets: Iterable[str] = ()) -> Failure:
    """Tell what `error` means. `who` names the provider or endpoint; `secrets` never appear in the sentence.

    An error that is ours already stays as it is; of those, only a reply that broke off may pass by itself.
    """
    if isinstance(error, MemosError):
        return Failure(error, passing=isinstance(error, StreamCut))
    facts = ErrorFacts.of(error)
    failure = _failure_of(facts, who, model, secrets)
    if _NO_IMAGES.search(facts.text):  # whatever the status: llama.cpp's is 500, OpenRouter's 404
        return replace(failure, refuses="images")
    refused = type(failure.error) is ProcessorRefused
    return replace(failure, refuses=refused_field(facts.text)) if refused else failure


def refused_field(text: str) -> str:
    """Return which part of a request an endpoint's refusal is about, by its words; empty where it does not say."""
    if _NO_TOOLS.search(text):
        return "tools"
    if _NO_THOUGHTS.search(text):
        return "reasoning_effort"
    if found := _NO_FIELD.search(text):
        return str(next(filter(None, found.groups()))).lower()
    return ""


def _failure_of(facts: ErrorFacts, who: str, model: str, secrets: Iterable[str]) -> Failure:
    said = _quotable(facts.text, secrets)
    quoted = f": {said}" if said else "."
    return (
        _known_by_text(facts, quoted, who, model)
        or _known_by_wire(facts, who)
        or _known_by_status(facts, quoted, who, model)
        or Failure(ProcessorError(f"{who} failed in an unforeseen way ({facts.kinds[0]}){quoted}", _AGAIN))
    )


def _quotable(raw: str, secrets: Iterable[str]) -> str:
    """Return what the provider said, on one short line, without keys, markup or a library's prefixes."""
    text = _PREFIXES.sub("", raw).strip()
    if _MARKUP.search(text):
        return "it sent a web page in place of an answer."
    line = redacted(safe_line(text), secrets)
    return line if len(line) <= _TEXT_LIMIT_CHARS else line[:_TEXT_LIMIT_CHARS].rstrip() + "…"


def _known_by_text(facts: ErrorFacts, quoted: str, who: str, model: str) -> Failure | None:
    names, status, text = facts.kinds, facts.status, facts.text
    if "ContextWindowExceededError" in names or (status != 429 and _OVERFLOW.search(text)):
        what = f"The prompt is longer than the window of {model}{quoted}"
        return Failure(ContextOverflow(what, _CHECK_WINDOW))
    if "ContentPolicyViolationError" in names or (status in (400, 403, None) and _FILTER.search(text)):
        what = f"The content filter of {who} stopped the request{quoted}"
        return Failure(ContentFiltered(what, "put it in other words."))
    if _NO_PROVIDER.search(text):
        return Failure(unplaced_model(model))
    if _NO_KEY.search(text) and status in (None, 401, 500):
        what = f"{who} needs a key, and none is set."
        return Failure(NotConfigured(what, "run `memos configure`, or set the key in the environment."))
    return None


def _known_by_wire(facts: ErrorFacts, who: str) -> Failure | None:
    """Tell an error of the connection; litellm gives a refused one the status 500."""
    beneath, status = facts.beneath, facts.status
    if status not in (None, 408, 500):
        return None
    timed_out = status == 408 or not set(facts.kinds).isdisjoint(
        {"Timeout", "APITimeoutError", "TimeoutException", "TimeoutError"}
    )
    broken = beneath & {"ConnectError", "ReadError", "RemoteProtocolError", "ConnectionError", "ClientError"}
    for applies, what, next_step, passing in (
        ("SSLError" in beneath, f"The certificate of {who} was not accepted.", _CHECK_ADDRESS, False),
        ("ConnectionRefusedError" in beneath, f"Nothing answers at {who}: it refused the connection.", _START, False),
        ("gaierror" in beneath, f"The address of {who} could not be looked up.", _CHECK_ADDRESS, False),
        (timed_out, f"{who} did not answer in time.", _AGAIN, True),
        (bool(broken), f"The connection to {who} broke off.", _AGAIN, True),
    ):
        if applies:
            return Failure(ProcessorUnreachable(what, next_step), passing)
    return None


def _known_by_status(facts: ErrorFacts, quoted: str, who: str, model: str) -> Failure | None:
    status = facts.status
    no_money = _NO_MONEY.search(facts.text) is not None
    if status == 429 and not no_money:
        return _too_many(facts, quoted, who)
    if status is not None and status >= 500:
        state = "is overloaded" if status in (503, 529) else f"failed (status {status})"
        wait_s = _seconds_asked(facts.headers)
        return Failure(ProcessorUnreachable(f"{who} {state}{quoted}", _AGAIN), True, wait_s)
    no_model = status == 404 or (status == 400 and _NO_MODEL.search(quoted) is not None)
    for applies, what, next_step in (
        (no_money and status in (400, 402, 403, 429), f"The account at {who} has nothing left{quoted}", _CHECK_ACCOUNT),
        (status in (401, 403), f"{who} refused the key{quoted}", _CHECK_KEY),
        (no_model, f"{who} does not know the model {model}{quoted}", _CHECK_MODEL),
        (status is not None, f"{who} did not accept the request{quoted}", _AGAIN),
    ):
        if applies:
            return Failure(ProcessorRefused(what, next_step))
    if not {"APIConnectionError", "APIError", "NoUsableAnswer", "WireError"}.isdisjoint(facts.kinds):
        return Failure(ProcessorUnreachable(f"{who} gave no usable answer{quoted}", _AGAIN), passing=True)
    return None


def _too_many(facts: ErrorFacts, quoted: str, who: str) -> Failure:
    wait_s = _seconds_asked(facts.headers)
    when = f"wait {wait_s:.0f} s, then try again." if wait_s else _AGAIN
    return Failure(RateLimited(f"Too many requests at {who}{quoted}", when, wait_s), True, wait_s)


def unplaced_model(model: str) -> BadInput:
    """Return the error for a model string no provider can be told from."""
    return BadInput(
        f"No provider can be told from the model name {safe_line(model)!r}.",
        "write it as provider/model, such as openai/gpt-4.1, or openai/NAME with --api-base for a compatible server.",
    )


def retry_after_s(error: BaseException, now: datetime | None = None) -> float | None:
    """Return how many seconds the provider asks to wait (`retry-after-ms`, `retry-after` in seconds or as a date)."""
    return _seconds_asked(ErrorFacts.of(error).headers, now)


def _seconds_asked(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        value = headers.get("retry-after")
        if not value:
            return None
        if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
            return float(value)
        until = email.utils.parsedate_to_datetime(value)
        return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())
    except (TypeError, ValueError):
        return None


def _retry_headers(error: BaseException) -> dict[str, str]:
    """Return the headers that say when to come back, of the answer itself or of what litellm kept of it."""
    response = getattr(error, "response", None)
    own = getattr(error, "headers", None) or getattr(response, "headers", None) or {}
    for headers in (own, getattr(error, "litellm_response_headers", None) or {}):
        if found := {name: str(headers[name]) for name in _RETRY_HEADERS if headers.get(name)}:
            return found
    return {}


def _innermost(error: BaseException) -> BaseException:
    """Return the error a library wrapped to report it in the middle of a stream."""
    original = getattr(error, "original_exception", None)
    return original if type(error).__name__ == "MidStreamFallbackError" and original is not None else error


def _kinds(error: BaseException) -> tuple[str, ...]:
    return tuple(kind.__name__ for kind in type(error).__mro__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and what it came from, each once."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
