"""A LiteLLM callback that compresses user messages, in `litellm.acompletion` and in the proxy.

Run it with `python examples/clients/litellm_callback.py`; it needs
`pip install 'pcrl-gym[litellm]'`. The answer is LiteLLM's mock, and nothing is sent. To use
`compression` in a proxy, put this file next to its `config.yaml` and name it there:

    litellm_settings:
      callbacks: litellm_callback.compression
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # its import downloads prices

import litellm
from litellm.integrations.custom_logger import CustomLogger

from pcrl_gym import Compressor, FailOpen
from pcrl_gym.compressor.calls import TextCompressor
from pcrl_gym.compressor.saving import Savings


class CompressChats(CustomLogger):
    """Compresses the messages of chat completions, for each attempt to send them.

    `options` are those of the compressor, such as `rate=` or `cache_until=`.
    """

    def __init__(self, compressor: TextCompressor, **options: Any) -> None:
        super().__init__()
        self.compressor = compressor
        self.options = options
        self.savings = Savings()

    async def async_pre_call_deployment_hook(
        self, kwargs: dict[str, Any], call_type: Any
    ) -> dict[str, Any] | None:
        """Return the request with compressed messages; None leaves it as it is."""
        messages = kwargs.get("messages")
        if call_type != "acompletion" or not messages:
            return None
        # Answers of LiteLLM, which a chat sends back, are objects of its own.
        chat = [m if isinstance(m, dict) else m.model_dump(exclude_none=True) for m in messages]
        done = await asyncio.to_thread(self.compressor, messages=chat, **self.options)
        self.savings.add(done)
        return {**kwargs, "messages": done.messages}


compression = CompressChats(FailOpen(Compressor.from_pretrained("instruct"), timeout=0.5), rate=0.3)

if __name__ == "__main__":
    litellm.callbacks = [compression]
    chat = [{"role": "user", "content": "Could you please sort these words: pear, fig"}]
    request = litellm.acompletion(model="gpt-4o", messages=chat, mock_response="fig, pear")
    print(asyncio.run(request).choices[0].message.content)
    print(compression.savings.summary(price_per_million=2.50))
