"""An agent in an afternoon: what people write against the chat API before they meet its servers. Kept naive.

It shows that each fault of the fake server matters. httpx's own time-out of 5 s is shortened for the tests.
"""

from __future__ import annotations

import io
import json
import sqlite3
from typing import Any

import httpx
from rich.console import Console


class NaiveAgent:
    """Asks, runs the calls, asks again while a call wants it; keeps all words in SQLite and prints them with Rich."""

    def __init__(self, url: str, stream: bool, timeout_s: float = 5.0) -> None:
        self.url, self.stream, self.timeout_s = url, stream, timeout_s
        self.messages: list[dict[str, Any]] = []
        self.thoughts: list[str] = []
        self.said: list[str] = []
        self.memory: list[str] = []
        self.tokens = 0
        self.screen = Console(file=io.StringIO(), width=10_000)
        self.log = sqlite3.connect(":memory:")
        self.log.execute("CREATE TABLE log (words TEXT)")

    def ask(self, words: str, tools: list[dict[str, Any]]) -> None:
        """Answer one message of the user."""
        self.messages.append({"role": "user", "content": words})
        goes_on = True
        while goes_on:
            body = {"model": "m", "messages": self.messages, "tools": tools, "stream": self.stream}
            message, finish = (self.streamed if self.stream else self.whole)(body)
            self.messages.append(message)
            if message["content"]:
                self.keep(message["content"], self.thoughts)
            goes_on = finish == "tool_calls" and any([self.run(call) for call in message["tool_calls"]])

    def whole(self, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
        response = httpx.post(f"{self.url}/chat/completions", json=body, timeout=self.timeout_s)
        response.raise_for_status()
        data = response.json()
        self.tokens += data["usage"]["total_tokens"]
        return data["choices"][0]["message"], data["choices"][0]["finish_reason"]

    def streamed(self, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
        content, finish = "", ""
        calls: list[dict[str, Any]] = []
        with httpx.stream("POST", f"{self.url}/chat/completions", json=body, timeout=self.timeout_s) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                if not line or line == "data: [DONE]":
                    continue
                choice = json.loads(line.removeprefix("data: "))["choices"][0]
                content += choice["delta"].get("content", "")
                for piece in choice["delta"].get("tool_calls", []):
                    if len(calls) <= piece["index"]:
                        calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
                    call = calls[piece["index"]]
                    call["id"] += piece.get("id", "")
                    call["function"]["name"] += piece["function"].get("name", "")
                    call["function"]["arguments"] += piece["function"].get("arguments", "")
                finish = choice["finish_reason"] or finish
        return {"role": "assistant", "content": content or None, "tool_calls": calls}, finish

    def run(self, call: dict[str, Any]) -> bool:
        """Run one call; return whether it asks for another step."""
        arguments = json.loads(call["function"]["arguments"])
        heartbeat = arguments.pop("request_heartbeat", False)
        {
            "send_message": lambda message: self.keep(message, self.said),
            "core_memory_append": lambda name, content: self.memory.append(content),
            "conversation_search": lambda query: None,
        }[call["function"]["name"]](**arguments)
        self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": "OK"})
        return heartbeat is True

    def keep(self, words: str, where: list[str]) -> None:
        where.append(words)
        self.log.execute("INSERT INTO log VALUES (?)", (words,))
        self.screen.print(words)

    def find(self, word: str) -> list[str]:
        return [row[0] for row in self.log.execute("SELECT words FROM log WHERE words LIKE ?", (f"%{word}%",))]
