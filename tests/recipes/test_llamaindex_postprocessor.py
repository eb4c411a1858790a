from __future__ import annotations

import asyncio
from typing import Any

import pytest

from recipe_fixtures import TEXT, tokens

pytest.importorskip("llama_index.core")

from llama_index.core import SummaryIndex
from llama_index.core.llms import MockLLM
from llama_index.core.schema import ImageNode, NodeWithScore, TextNode

from examples.clients.llamaindex_postprocessor import CompressNodes


@pytest.fixture
def nodes() -> list[Any]:
    return [
        NodeWithScore(node=TextNode(text=TEXT, id_="1", metadata={"page": 3}), score=0.5),
        NodeWithScore(node=ImageNode(text=TEXT)),
        NodeWithScore(node=ImageNode(image="aGk=")),
    ]


@pytest.mark.parametrize("question", ["What is to be sorted?", None])
@pytest.mark.parametrize("rate", [0.3, None])
def test_texts_are_shorter_and_the_index_keeps_its_own(nodes, compressor, question, rate):
    before = [found.model_copy(deep=True) for found in nodes]
    compress = CompressNodes(compressor=compressor, rate=rate)
    done = compress.postprocess_nodes(nodes, query_str=question)
    shorter = compressor(TEXT, rate=rate).text
    assert shorter != TEXT
    assert [found.node.get_content() for found in done] == [shorter, shorter, ""]
    assert [found.score for found in done] == [0.5, None, None]
    assert (done[0].node.node_id, done[0].node.metadata) == ("1", {"page": 3})
    assert done[2] == before[2]
    assert nodes == before
    expected = compressor(question=question or "", context=[TEXT, TEXT, ""], rate=rate)
    assert (compress.savings.calls, *tokens(compress.savings)) == (1, *tokens(expected))


def test_a_query_engine_shows_the_shorter_texts_to_its_model(nodes, compressor):
    index = SummaryIndex([nodes[0].node])
    compress = CompressNodes(compressor=compressor, rate=0.3)
    engine = index.as_query_engine(llm=MockLLM(), node_postprocessors=[compress])
    answer = str(engine.query("What is to be sorted?"))  # the mock repeats what it reads
    assert compressor(TEXT, rate=0.3).text in answer
    assert "What is to be sorted?" in answer
    assert TEXT not in answer


def test_it_may_be_awaited(nodes, compressor):
    compress = CompressNodes(compressor=compressor, rate=0.3)
    done = asyncio.run(compress.apostprocess_nodes(nodes[:1], query_str="b?"))
    assert done[0].node.get_content() == compressor(TEXT, rate=0.3).text


def test_it_fails_open(nodes, failing):
    compress = CompressNodes(compressor=failing, rate=0.3)
    assert compress.postprocess_nodes(nodes, query_str="b?") == nodes
    assert failing.failures == {"RuntimeError": 1}
