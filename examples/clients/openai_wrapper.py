"""The OpenAI client, with compressed user messages and a count of the saved tokens.

Run it with `OPENAI_BASE_URL=http://localhost:8000/v1 python examples/clients/openai_wrapper.py`
and the address of your server; it needs `pip install 'pcrl-gym[openai]'`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import wraps
from typing import Any

from openai import OpenAI

from pcrl_gym import Compressor, FailOpen
from pcrl_gym.compressor.calls import TextCompressor
from pcrl_gym.compressor.saving import Savings


def compress_chats(client: OpenAI, compressor: TextCompressor, **options: Any) -> Savings:
    """Let `client.chat.completions.create` compress; return what it saves from now on.

    `options` are those of the compressor, such as `rate=` or `cache_until=`.
    """
    completions = client.chat.completions
    send = completions.create
    savings = Savings()

    @wraps(send)
    def create(*, messages: Iterable[Any], **request: Any) -> Any:
        # Answers of the client, which a chat sends back, are objects of its own.
        chat = [m if isinstance(m, dict) else m.model_dump(exclude_unset=True) for m in messages]
        done = compressor(messages=chat, **options)
        savings.add(done)
        return send(messages=done.messages, **request)

    completions.create = create
    return savings


if __name__ == "__main__":
    compressor = FailOpen(Compressor.from_pretrained("instruct"), timeout=0.5)
    client = OpenAI(base_url=os.environ["OPENAI_BASE_URL"])
    savings = compress_chats(client, compressor, rate=0.3)
    answer = client.chat.completions.create(
        model="Qwen/Qwen3-0.6B",
        messages=[{"role": "user", "content": "Could you please sort these words: pear, fig"}],
    )
    print(answer.choices[0].message.content)
    print(savings.summary(price_per_million=2.50), dict(compressor.failures))
