"""OpenAI's own client for Python against the server's face for it: python3 client.py BASE_URL"""

import sys

import openai
import pydantic

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
model = "acme/answerer"


def say(text):
    return [{"role": "user", "content": text}]


def refused(kind, code, **request):
    try:
        client.chat.completions.create(**request)
    except kind as e:
        assert e.code == code, e
        return
    raise AssertionError(f"{kind} was expected")


whole = client.chat.completions.create(model=model, messages=say("hi"), tool_choice="none", max_completion_tokens=9)
assert whole.choices[0].message.content == "Hello", whole
assert whole.usage.prompt_tokens_details.cached_tokens == 1, whole

text, usage = "", None
for chunk in client.chat.completions.create(
    model=model, messages=say("hi"), tool_choice="none", stream=True, stream_options={"include_usage": True}
):
    text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    usage = chunk.usage or usage
assert text == "Hello" and usage.total_tokens == 5, (text, usage)

tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
asked = client.chat.completions.create(model=model, messages=say("add"), tools=[tool])
call = asked.choices[0].message.tool_calls[0]
assert (call.function.name, call.function.arguments) == ("weather", '{"a":2,"b":3}'), call
answered = client.chat.completions.create(
    model=model,
    tools=[tool],
    messages=say("add") + [asked.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}],
)
assert "sunny" in answered.choices[0].message.content, answered

with client.chat.completions.stream(model=model, messages=say("add"), tools=[tool]) as stream:  # puts the deltas together
    final = stream.get_final_completion()
assert final.choices[0].message.tool_calls[0].function.name == "weather", final

served = client.chat.completions.create(model=model, messages=say("add"), extra_body={"server_tools": ["calc/add"]})
assert '"sum":5' in served.choices[0].message.content, served


class Sum(pydantic.BaseModel):
    sum: int


parsed = client.chat.completions.parse(model=model, messages=say("json"), response_format=Sum, tool_choice="none")
assert parsed.choices[0].message.parsed == Sum(sum=5), parsed

vectors = client.embeddings.create(model="plug/e", input=["a", "b"])
assert [d.embedding for d in vectors.data] == [[0.5, -2.0], [1.0, 2.0]], vectors
assert [m.id for m in client.models.list()] == [model, "plug/e"]

refused(openai.NotFoundError, "NOT_FOUND", model="acme/none", messages=say("hi"))
refused(openai.BadRequestError, "INVALID_ARGUMENT", model=model, messages=say("hi"), logprobs=True)
refused(openai.RateLimitError, "RESOURCE_EXHAUSTED", model=model, messages=say("spent"), tool_choice="none")
