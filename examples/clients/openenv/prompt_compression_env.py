"""PromptCompression for OpenEnv: action, observation and client.

```python
with PromptCompressionEnv("http://localhost:8000").sync() as env:
    prompt = env.reset(seed=0).observation.prompt
    print(env.step(CompressionAction(text=prompt[10:])).reward)
```
"""

from __future__ import annotations

from typing import Annotated, Any

from openenv.core import EnvClient
from openenv.core.client_types import StepResult
from openenv.core.env_server.types import Action, Observation, State
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

MAX_CHARACTERS = 32_768
MAX_UNITS = 4_096


class CompressionAction(Action):
    """A shorter prompt, as a text or as a keep mask over `units` (1 = keep); one of the two."""

    text: str | None = Field(None, max_length=MAX_CHARACTERS)
    keep: list[Annotated[int, Field(ge=0, le=1)]] | None = Field(None, max_length=MAX_UNITS)

    @model_validator(mode="after")
    def _one_of_two(self) -> CompressionAction:
        if (self.text is None) == (self.keep is None):
            # A ValueError would reach clients as a failure to serialize it.
            raise PydanticCustomError("one_of_two", "expected either text or keep")
        return self


class CompressionObservation(Observation):
    """A prompt to compress; after the step also what became of its answer."""

    prompt_id: str
    prompt: str = Field(description="the user's text, which `text` replaces")
    units: list[str] = Field(description="the units of the whole prompt, for `keep`")
    droppable: list[bool] = Field(description="which units may be dropped")
    compressed_prompt: str | None = None
    output: str | None = Field(None, description="the answer to the original prompt")
    compressed_output: str | None = None
    compression_ratio: float | None = None
    survived: bool | None = None


class PromptCompressionEnv(EnvClient[CompressionAction, CompressionObservation, State]):
    """Client; `reset` takes `seed`, or the `index` of a prompt."""

    def _step_payload(self, action: CompressionAction) -> dict[str, Any]:
        return action.model_dump(exclude_none=True)

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[CompressionObservation]:
        own = {key: payload[key] for key in ("reward", "done")}
        observation = CompressionObservation(**payload["observation"], **own)
        return StepResult(observation, **own)

    def _parse_state(self, payload: dict[str, Any]) -> State:
        return State(**payload)
