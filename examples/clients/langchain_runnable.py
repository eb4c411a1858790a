"""A LangChain runnable that compresses user messages between a prompt and a chat model.

Run it with `python examples/clients/langchain_runnable.py`; it needs
`pip install 'pcrl-gym[langchain]'`. The model is LangChain's parrot, which repeats its input.
"""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import ParrotFakeChatModel
from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda

from pcrl_gym import Compressor, FailOpen
from pcrl_gym.compressor.calls import TextCompressor
from pcrl_gym.compressor.saving import Savings


def compress_messages(
    compressor: TextCompressor, savings: Savings, **options: Any
) -> Runnable[Any, list[BaseMessage]]:
    """Return a runnable from a prompt or messages to messages, those of people compressed.

    `options` are those of the compressor, such as `rate=` or `cache_until=`.
    """

    def compress(value: Any) -> list[BaseMessage]:
        messages = convert_to_messages(value)
        chat = [{"role": m.type, "content": m.content} for m in messages]
        done = compressor(messages=chat, roles=("human",), **options)
        savings.add(done)
        return [
            message.model_copy(update={"content": shorter["content"]})
            for message, shorter in zip(messages, done.messages, strict=True)
        ]

    return RunnableLambda(compress)


if __name__ == "__main__":
    compressor = FailOpen(Compressor.from_pretrained("instruct"), timeout=0.5)
    savings = Savings()
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{question}")])
    chain = prompt | compress_messages(compressor, savings, rate=0.3) | ParrotFakeChatModel()
    print(chain.invoke({"question": "Could you please sort these words: pear, fig"}).content)
    print(savings.summary(price_per_million=2.50), dict(compressor.failures))
