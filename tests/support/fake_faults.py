"""Every way a model, a server or the wire between has been seen to fail, each with its source.

A source is a file, an issue or a pull request of the project that met it. "reliability", "peers", "features",
"dependencies" and "local-llm" are the project's own notes, for what was measured or has no public address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["refusal", "silence", "cut", "garbage", "quirk", "mistake", "endless"]
Wire = Literal["both", "stream", "plain"]


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    `refusal`: the server says no. `silence`: nothing comes. `cut`: the reply breaks off. `garbage`: 200 without a
    reply. `quirk`: the reply is whole and sound, and oddly written. `mistake`: the model did something wrong.
    `endless`: it does not end by itself.
    """

    kind: Kind
    source: str
    wire: Wire = "both"


FAULTS: dict[str, Fault] = {
    # --- the server says no ---
    "400": Fault("refusal", "a request the server does not accept (openai-python, _exceptions.py: BadRequestError)"),
    "400_filter": Fault("refusal", "Azure's content_filter code (openai/openai-python#331)"),
    "400_overflow": Fault("refusal", "context_length_exceeded with OpenAI's sentence (letta#353 met it in a loop)"),
    "400_overflow_anthropic": Fault("refusal", "'prompt is too long: N tokens > M' (anthropics/claude-code#12186)"),
    "400_overflow_llama_cpp": Fault("refusal", "exceed_context_size_error (ggml-org/llama.cpp#15780)"),
    "401": Fault("refusal", "a wrong key, which the provider repeats in its text (BerriAI/litellm#20288)"),
    "403": Fault("refusal", "a key without rights (openai-python, _exceptions.py: PermissionDeniedError)"),
    "404": Fault("refusal", "an unknown model (the same file: NotFoundError)"),
    "429": Fault("refusal", "too many requests, with retry-after when the answer names one (RateLimitError)"),
    "429_date": Fault("refusal", "retry-after as a date, two hours ahead (duolahypercho/codex-router#573)"),
    "429_hours": Fault("refusal", "retry-after of two hours (CopilotKit/CopilotKit#3842: wait no longer than 60 s)"),
    "429_no_money": Fault("refusal", "insufficient_quota, for which no waiting helps (letta#1555: $21 of $20)"),
    "429_soon": Fault("refusal", "retry-after-ms of 20 ms (openai-python, _base_client.py: _parse_retry_after_header)"),
    "500": Fault("refusal", "an internal server error (openai-python: InternalServerError)"),
    "502_html": Fault("refusal", "a gateway's page in place of JSON, as nginx sends it (peers §4)"),
    "503": Fault("refusal", "overloaded: LostRuins/koboldcpp 1.76 answers so while its queue is full"),
    "529": Fault("refusal", "overloaded_error, Anthropic's own status (anthropics/anthropic-sdk-python, _exceptions)"),
    "refuses_response_format": Fault("refusal", "400 with a bare string (lmstudio-ai/lmstudio-bug-tracker#189)"),
    "refuses_stream_options": Fault("refusal", "400 for an unknown parameter (openai/openai-python#1469)", "stream"),
    "refuses_tool_choice": Fault("refusal", "'auto' needs --enable-auto-tool-choice (vllm-project/vllm#9986)"),
    "refuses_tools": Fault("refusal", "'… does not support tools' (ollama/ollama#11131, pydantic-ai#703)"),
    "tool_use_failed": Fault("refusal", "400 with failed_generation (vercel/ai#6916, huggingface/smolagents#1119)"),
    # --- silence ---
    "reset_first": Fault("silence", "the connection is reset before any byte (openai-python: APIConnectionError)"),
    "slow_first_byte": Fault("quirk", "a model is loaded first (reliability T5; letta#506: stuck on Thinking)"),
    "stall_first": Fault("silence", "sends headers, then nothing (MoonshotAI/kimi-code#2739: deaf for 16 minutes)"),
    "stall_headers": Fault("silence", "accepts the request and never answers (the same)"),
    "stall_middle": Fault("silence", "a part of the reply, then nothing (the same)"),
    # --- a reply breaks off ---
    "bad_chunk": Fault("cut", "a line of the stream that is not JSON (atomantic/PortOS#7558)", "stream"),
    "cut_call": Fault("cut", "the end is within a call's arguments; litellm says 'stop' (BerriAI/litellm#42085)"),
    "cut_text": Fault("cut", "the end comes without finish_reason and [DONE], or too early (BerriAI/litellm#40260)"),
    "error_event": Fault("cut", "an event named error in mid-stream (openai-python, _streaming.py)", "stream"),
    "error_frame": Fault("cut", "a frame with an error in mid-stream (langchain-ai/langchainjs#11579)", "stream"),
    "finish_error": Fault("cut", "finish_reason 'error' with status 200 (LostRuins/koboldcpp 1.121)"),
    "finish_filter": Fault("cut", "finish_reason content_filter after some words (Azure; openai/openai-python#331)"),
    "length": Fault("cut", "finish_reason 'length' within the last call's arguments (peers §4)"),
    "reset": Fault("cut", "the connection is reset in the middle (CommandCodeAI/command-code#785)"),
    "tool_use_failed_frame": Fault("refusal", "the same refusal as a frame (BerriAI/litellm#40566, #21242)", "stream"),
    # --- 200, and no reply in it ---
    "blank_reply": Fault("garbage", "white space and nothing else (letta#1127: think-only and empty summaries)"),
    "empty_body": Fault("garbage", "status 200, and not a byte of body (decolua/9router#3051)"),
    "empty_choices": Fault("garbage", "choices are [] (Azure's filter chunk: AbanteAI/archive-old-cli-mentat#429)"),
    "empty_reply": Fault("garbage", "a finished reply without text or call (letta 0.6.15 is bricked by one, peers §4)"),
    "error_200": Fault("garbage", "an error as a JSON body with status 200 (nodetool-ai/nodetool#5755)"),
    "non_json": Fault("garbage", "200 with a web page (esengine/DeepSeek-Reasonix#8870; peers §4: silent elsewhere)"),
    "null_choices": Fault("garbage", "choices is null (UKGovernmentBEIS/inspect_ai#1534, decolua/9router#2727)"),
    "think_only": Fault("garbage", "thoughts in tags, and no answer after them (letta#1127, CSfufu/Revisual-R1#10)"),
    # --- whole replies, oddly written: how calls are put ---
    "call_bare": Fault("quirk", "a call as bare JSON in the content (jundot/omlx#2565; local-llm §4)"),
    "call_fenced": Fault("quirk", "the same in a fence of Markdown (ollama/ollama-vscode#20)"),
    "call_tags": Fault("quirk", "the same in <tool_call> tags (NousResearch/hermes-agent#742)"),
    "dict_arguments": Fault("quirk", "arguments as an object in place of text (ggml-org/llama.cpp#20198)"),
    "double_encoded": Fault("quirk", "arguments as JSON within JSON (FoundationAgents/OpenManus#989, vllm#54964)"),
    "empty_arguments": Fault("quirk", "'' for a call without arguments (langchain#27602, simonw/llm#1164)"),
    "empty_ids": Fault("quirk", "ids, and later names, that are '' (anomalyco/opencode#37841)"),
    "id_each_chunk": Fault("quirk", "a fresh id on every fragment of one call (vllm-project/vllm#23522)", "stream"),
    "index_minus_one": Fault("quirk", "the first call has index -1 (bedrock-access-gateway, bedrock.py)", "stream"),
    "legacy_call": Fault("quirk", "function_call of 2023's API (openai-python, types/chat: deprecated)"),
    "long_ids": Fault("quirk", "vLLM's ids of 46, where OpenAI takes 40 (microsoft/autogen#6377, dify#28987)"),
    "missing_ids": Fault("quirk", "calls without ids (sgl-project/sglang#7048, openai/openai-dotnet#428)"),
    "name_each_chunk": Fault("quirk", "the name on every fragment (NousResearch/hermes-agent#11984)", "stream"),
    "no_index": Fault("quirk", "calls without index (openai/openai-python#2806, AstrBotDevs/AstrBot#6661)", "stream"),
    "null_arguments": Fault("quirk", "null for a call without arguments (langchain-ai/langchain#34190)"),
    "odd_ids": Fault("quirk", "Kimi's functions.NAME:0, which Anthropic refuses (maximhq/bifrost#5097)"),
    "repeated_ids": Fault("quirk", "every call of every reply has the same id (LostRuins/koboldcpp#585)"),
    "same_index": Fault("quirk", "parallel calls all with index 0 (BerriAI/litellm#33678, lmdeploy#3412)", "stream"),
    "stop_with_calls": Fault("quirk", "finish_reason 'stop' although there are calls (BerriAI/litellm#35663)"),
    "trailing_brace": Fault("quirk", "arguments with one brace too many (yigit353/langchain-qwq#30)"),
    # --- content, thoughts, usage ---
    "content_parts": Fault("quirk", "content as a list of parts (simonw/llm-mistral#39, symfony/ai#2422)"),
    "drops_content": Fault("quirk", "words beside calls are lost (bedrock-access-gateway; features §0.6)", "plain"),
    "null_content": Fault("quirk", "content and tool_calls are null where they are not used (letta#1572)"),
    "reasoning_content": Fault("quirk", "thoughts in reasoning_content, DeepSeek's name (BerriAI/litellm#9094)"),
    "reasoning_field": Fault("quirk", "thoughts in reasoning, OpenRouter's name (Aider-AI/aider#3086, litellm#8631)"),
    "surrogate": Fault("quirk", "half of a surrogate pair in the text (Aider-AI/aider#3693, kimi-cli#994)"),
    "think_tags": Fault("quirk", "thoughts in <think>, the tag in pieces (LibreChat-AI/agents#40, deer-flow#3218)"),
    "think_unopened": Fault("quirk", "only </think> comes, the template wrote <think> (ggml-org/llama.cpp#11861)"),
    "usage_constant": Fault("quirk", "usage is always 100 and 100 (koboldcpp 1.76, koboldcpp.py; features §5)"),
    "usage_in_last_chunk": Fault("quirk", "usage in a chunk without choices, unasked (dependencies §1)", "stream"),
    "no_usage": Fault("quirk", "no usage at all (LostRuins/koboldcpp#2480: none when tools are present)"),
    # --- the wire ---
    "bom": Fault("quirk", "a byte-order mark before the body (encode/httpx#1724, psf/requests#4976)"),
    "crlf": Fault("quirk", "lines end with CR LF (Routstr/routstr-core#543: Gemini's)", "stream"),
    "data_no_space": Fault("quirk", "'data:' without a space (openai/openai-python#498)", "stream"),
    "event_lines": Fault("quirk", "events of other kinds between (janhq/jan#8280)", "stream"),
    "finish_empty": Fault("quirk", "finish_reason '' until the end (ollama/ollama#4357, sglang#3912)", "stream"),
    "gzip": Fault("quirk", "a compressed body, streamed too (epam/ai-dial-core#1646, envoyproxy/ai-gateway#1927)"),
    "json_as_sse": Fault("quirk", "a JSON body, named a stream, then [DONE] (decolua/9router#3492)", "plain"),
    "keep_alive_comments": Fault("quirk", "': OPENROUTER PROCESSING' lines (openai/openai-go#227)", "stream"),
    "multiline_data": Fault("quirk", "one JSON text on several data: lines (SamSaffron/term-llm#454)", "stream"),
    "no_blank_lines": Fault("quirk", "no empty line between events (rexxars/eventsource-parser#31)", "stream"),
    "no_done": Fault("quirk", "finish_reason comes, [DONE] does not (NousResearch/hermes-agent#90848)", "stream"),
    "no_finish": Fault("quirk", "[DONE] comes, finish_reason never did (jakobdylanc/llmcord#84: Gemini)", "stream"),
    "plain_for_stream": Fault(
        "quirk", "stream is ignored (NousResearch/hermes-agent#21535, mistral-vibe#619)", "stream"
    ),
    "split_utf8": Fault("quirk", "a character split over packets (api7/aisix#111, librefang#3448)", "stream"),
    "sse_as_json": Fault("quirk", "a stream named application/json (BYK/loreai#1195, llm-gateway#2716)", "stream"),
    "sse_for_plain": Fault("quirk", "a stream where none was asked for (BYK/loreai#605, #1195)", "plain"),
    # --- what models do wrong ---
    "bad_arguments": Fault("mistake", "arguments that are no JSON (letta#278, #1705)"),
    "deep_arguments": Fault("mistake", "100,000 brackets in one another (hermes-agent#68612; reliability F7)"),
    "duplicate_keys": Fault("mistake", "an argument given twice (reliability F7)"),
    "huge_arguments": Fault("mistake", "arguments above 64 KiB (reliability F7)"),
    "huge_integer": Fault("mistake", "a number of 5,000 digits, which Python will not read (reliability F7)"),
    "list_arguments": Fault("mistake", "a list in place of an object (letta#507, #1450)"),
    "nan_arguments": Fault("mistake", "NaN, which is no JSON and which Python reads (reliability F7)"),
    "two_objects": Fault("mistake", "two objects in one call (open-webui/open-webui#22235; reliability §0.4)"),
    "unknown_function": Fault("mistake", "a function nobody offered (letta#1105, peers §4)"),
    "wrong_function": Fault("mistake", "a name with a letter missing (letta#248, #288)"),
    "wrong_names": Fault("mistake", "arguments of other names (peers §4)"),
    "wrong_types": Fault("mistake", "arguments of other types (MoonshotAI/kimi-cli#2513)"),
    "brackets": Fault("quirk", "words in [square brackets]: MemGPT and Rich eat them (peers §4)"),
    "heartbeat_string": Fault("quirk", 'request_heartbeat: "true", which MemGPT takes as false (peers §4)'),
    "nul_text": Fault("quirk", "NUL in the words, where SQLite ends a text (reliability F10, hindsight#4)"),
    "surrogate_arguments": Fault("quirk", "half of a pair, escaped in arguments (NousResearch/hermes-agent#76)"),
    "two_send_message": Fault("quirk", "says two things in one reply: MemGPT drops the second (peers §4)"),
    # --- without an end ---
    "endless_call": Fault("endless", "arguments without end (anthropics/claude-code#65363, QwenLM/qwen-code#1403)"),
    "endless_comments": Fault("endless", "signs of life for ever, and no word (openai/openai-go#227)", "stream"),
    "endless_heartbeats": Fault("endless", "each call asks for another (openclaw#86324: 810 of them in one turn)"),
    "endless_identical": Fault("endless", "the same call for ever (openclaw#137904, #48723)"),
    "endless_text": Fault("endless", "words without end (microsoft/foundry-local#22, anthropics/claude-code#65363)"),
    "endless_trickle": Fault("endless", "a word now and then for ever, no silence long enough (reliability T5: 600 s)"),
    "endless_thoughts": Fault("endless", "thoughts without end (CSfufu/Revisual-R1#10)"),
}
