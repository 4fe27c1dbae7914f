"""Our count against that of a real llama.cpp server: within 2 % over 100 prompts with functions.

The first ten prompts teach the scale; every later one counts, and teaches as well. The suite asks for 25 prompts,
MEMOS_TEST_FULL=1 for all 100, each by two chat templates: the model's own, which leaves functions and calls out, and
one that writes both. The server's count is that of its own template and tokenizer (`/apply-template`, `/tokenize`):
reading every prompt would take a CPU an hour. That these are the numbers it reports is checked by real requests.
"""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.prompts import invented_prompt

from memos.llm.chat_messages import chat_messages, tools
from memos.llm.httpx_road import HttpxRoad
from memos.llm.remote_processor import RemoteProcessor
from memos.llm.token_counts import TokenCounts
from memos.llm.weights import builtin_weights
from memos.messages import Prompt, Reply, TokenUsage

PROMPTS = 100 if os.environ.get("MEMOS_TEST_FULL") else 25
TEACHING = 10
WINDOW_TOKENS = 3072

# In our own words; the form is the one many models were trained on.
WITH_FUNCTIONS = """
{%- for message in messages %}
{%- if message['role'] == 'system' %}<|im_start|>system
{{ message['content'] }}
{%- if tools %}

# Functions
You may call these:
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
To call one, write its name and arguments as JSON between <tool_call> and </tool_call>.
{%- endif %}<|im_end|>
{% elif message['role'] == 'tool' %}<|im_start|>user
<tool_response>
{{ message['content'] }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ message['role'] }}
{{ message['content'] or '' }}
{%- for call in message['tool_calls'] or [] %}
<tool_call>
{"name": "{{ call['function']['name'] }}", "arguments": {{ call['function']['arguments'] | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}
"""


@contextmanager
def llama_cpp(weights: Path, chat_template: str) -> Iterator[str]:
    """Run a server on a loopback port of its own choice and yield its address."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(weights)
    settings.n_ctx = WINDOW_TOKENS
    settings.n_parallel = 1
    settings.n_batch = settings.n_ubatch = 128
    settings.cache_ram_mib = 0
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.verbosity = -1
    settings.warmup = False
    settings.fit_params = False
    settings.use_jinja = True
    settings.ui = False
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.chat_template = chat_template
    server = xllamacpp.Server(settings)
    try:
        body = {"prompt": ".", "n_predict": 1}
        server.handle_completions(body, lambda chunk: False)  # only after an answer may it be closed
        yield server.listening_address
    finally:
        del server


@pytest.fixture(scope="module", params=["", WITH_FUNCTIONS], ids=["its own template", "a template with functions"])
def address(request: pytest.FixtureRequest, builtin_cache: Path) -> Iterator[str]:
    with llama_cpp(builtin_weights(builtin_cache, lambda _: None), request.param) as started:
        yield started


def its_count(client: httpx.Client, prompt: Prompt) -> int:
    """Return what the server counts for `prompt` when it has applied its template."""
    body: dict[str, Any] = {"messages": chat_messages(prompt), "tools": tools(prompt.functions), "tool_choice": "auto"}
    text = client.post("/apply-template", json=body).raise_for_status().json()["prompt"]
    wish = {"content": text, "add_special": True, "parse_special": True}
    return len(client.post("/tokenize", json=wish).raise_for_status().json()["tokens"])


@pytest.mark.builtin_model
def test_our_count_is_within_two_percent_of_the_servers_own(address: str) -> None:
    counts = TokenCounts("openai/smollm2", address)
    counts.load()
    errors = []
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        for seed in range(PROMPTS):
            prompt = invented_prompt(seed)
            measured, reported = counts.measure(prompt), its_count(client, prompt)
            errors.append(abs(measured.total - reported) / reported)
            counts.learn(measured, TokenUsage(reported))
    late = errors[TEACHING:]
    print(f"{len(late)} prompts: error max {max(late):.2%}, mean {statistics.mean(late):.2%}")
    assert max(late) < 0.02
    assert statistics.mean(late) < 0.01


@pytest.mark.builtin_model
def test_what_a_real_request_reports_is_that_count_and_the_server_tells_its_window(address: str) -> None:
    async def ask(processor: RemoteProcessor, prompt: Prompt) -> TokenUsage:
        parts = [part async for part in processor.infer(prompt)]
        assert isinstance(parts[-1], Reply)
        return parts[-1].usage

    async def main() -> None:
        road = HttpxRoad("smollm2", f"{address}/v1")
        processor = RemoteProcessor("openai/smollm2", road, api_base=f"{address}/v1", params={"max_tokens": 1})
        await processor.warm_up()
        assert processor.window_tokens == WINDOW_TOKENS
        short = replace(invented_prompt(1, turns=0, offered=2), instructions="You are an agent with a memory.")
        for prompt in (short, replace(short, summary="They spoke of bees."), invented_prompt(2, turns=0, offered=1)):
            usage = await ask(processor, replace(prompt, instructions=short.instructions))
            with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
                assert usage.prompt_tokens == its_count(client, replace(prompt, instructions=short.instructions))
            processor.learn(processor.measure(prompt), usage)
        await processor.aclose()

    asyncio.run(main())
