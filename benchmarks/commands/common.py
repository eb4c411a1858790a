"""Options that several commands share, each with its help; defaults are those of what is called."""

from __future__ import annotations

from pcrl_gym.cli_tools import ListAction, positive, readable, shared
from pcrl_gym.generators.openai.url import parse_base_url
from pcrl_gym.prompts.template import check_template


def _template(text: str) -> str:
    check_template(text)
    return text


FOLDER = shared("folder", metavar="dir", help="result folder")
FOLDERS = shared("folders", metavar="dir", nargs="+", help="result folders")
OUT = shared("--out", required=True, help="folder for the results")
FIGURES = shared("--out", help="JSON file for all figures; an existing one is refused")
ROSTER = shared(
    "--agents",
    action=ListAction,
    required=True,
    help="names or module:Class, also with settings: keep_all random:rate=0.3",
)
AGENTS = shared("--agents", action=ListAction, help="names in the table (default: all)")
SPLITS = shared("--split", dest="splits", action=ListAction, help="splits (default: all)")
DATASET = shared("--dataset", help="name, file, folder or Hugging Face id")
GENERATOR = shared("--generator", help="micro, micro-seq2seq, model id or folder, ...")
MODELS = shared("--models", action=ListAction, help="generators, names or folders")
TEMPLATE = shared(
    "--template",
    type=readable(_template),
    help='alpaca (default), chat, or "chat:system=You are terse.,enable_thinking=false"',
)
NEW_TOKENS = shared("--max-new-tokens", type=positive, help="longest answer (default 30)")
PROMPTS = shared("--prompts", type=positive, help="how many, per agent, split, model or level")
REPEATS = shared("--repeats", type=positive, help="repetitions, the best counts (default 3)")
DEVICE = shared("--device", help="device of generators and policies (default auto)")
MODEL = shared("--model", required=True, help="what the server calls the model")
BASE_URL = shared(
    "--base-url",
    type=readable(lambda text: parse_base_url(text).url),
    required=True,
    help="such as http://localhost:8000/v1; with ?enable_thinking=false for a model that thinks",
)
