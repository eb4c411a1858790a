"""A LlamaIndex node postprocessor that compresses the nodes retrieved for a question.

Run it with `python examples/clients/llamaindex_postprocessor.py`; it needs
`pip install 'pcrl-gym[llamaindex]'`. To use it in a query engine, call
`index.as_query_engine(node_postprocessors=[CompressNodes(compressor=compressor, rate=0.3)])`.
"""

from __future__ import annotations

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode

from pcrl_gym import Compressor, FailOpen
from pcrl_gym.compressor.calls import TextCompressor
from pcrl_gym.compressor.saving import Savings


class CompressNodes(BaseNodePostprocessor):
    """Compresses the texts of nodes; metadata and scores, and the nodes in the index, stay."""

    compressor: TextCompressor = Field(exclude=True)
    rate: float | None = None
    _savings: Savings = PrivateAttr(default_factory=Savings)

    @property
    def savings(self) -> Savings:
        """What was saved so far; the tokens of questions count, too."""
        return self._savings

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        question = query_bundle.query_str if query_bundle else ""
        texts = [found.node.get_content(MetadataMode.NONE) for found in nodes]
        done = self.compressor(question=question, context=texts, rate=self.rate)
        self._savings.add(done)
        shorter = []
        for found, one in zip(nodes, done.compressions, strict=True):
            node = found.node.model_copy()
            if one.text != one.original:
                node.set_content(one.text)
            shorter.append(NodeWithScore(node=node, score=found.score))
        return shorter


if __name__ == "__main__":
    compressor = FailOpen(Compressor.from_pretrained("instruct"), timeout=0.5)
    compress = CompressNodes(compressor=compressor, rate=0.3)
    found = NodeWithScore(node=TextNode(text="Could you please sort: pear, fig"), score=0.9)
    for node in compress.postprocess_nodes([found], query_str="What is to be sorted?"):
        print(node.score, node.text)
    print(compress.savings.summary(price_per_million=2.50), dict(compressor.failures))
