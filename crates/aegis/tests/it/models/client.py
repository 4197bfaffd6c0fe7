"""Calls a model through the gateway with the official SDKs, and says what came of each call, one JSON object a line.

Arguments: the gateway's address, the agent's token.
"""

import json
import sys

import anthropic
import openai

gateway, token = sys.argv[1:3]
chats = openai.OpenAI(base_url=f"http://{gateway}/r/openai/v1", api_key=token, max_retries=0)
messages = anthropic.Anthropic(
    base_url=f"http://{gateway}/r/anthropic", api_key="none", default_headers={"Aegis-Token": token}, max_retries=0
)
ASK = [{"role": "user", "content": "Say hi"}]


def chat(**more):
    answer = chats.chat.completions.create(messages=ASK, **more)
    if not more.get("stream"):
        return answer.choices[0].message.content
    return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)


def respond(**more):
    answer = chats.responses.create(input="Say hi", **more)
    if not more.get("stream"):
        return answer.output_text
    return "".join(event.delta for event in answer if event.type == "response.output_text.delta")


def message(**more):
    if not more.pop("stream", False):
        return messages.messages.create(messages=ASK, **more).content[0].text
    with messages.messages.stream(messages=ASK, **more) as stream:
        return "".join(stream.text_stream)


def tell(name, call, **more):
    try:
        said = {"said": call(**more)}
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        said = {"status": error.status_code, "refused": str(error), "kind": type(error).__name__}
    print(json.dumps({"call": name, **said}), flush=True)


tell("chat", chat, model="gpt-4o-mini", max_completion_tokens=50)
tell("chat stream", chat, model="gpt-4o-mini", max_tokens=50, stream=True, stream_options={"include_usage": True})
tell("chat stream without usage", chat, model="gpt-4o-mini", max_tokens=50, stream=True)
tell("respond stream", respond, model="gpt-4o-mini", max_output_tokens=50, stream=True)
tell("chat, another model", chat, model="gpt-4o", max_tokens=50)
tell("chat, no cap", chat, model="gpt-4o-mini")
tell("message", message, model="claude-haiku-4-5", max_tokens=50)
tell("message stream", message, model="claude-haiku-4-5", max_tokens=50, stream=True)
tell("message, too long", message, model="claude-haiku-4-5", max_tokens=5000)
