"""Options that several commands share, each with its help; defaults are those of what is called."""

from __future__ import annotations

from pcrl_gym.command_line import ListAction, positive, readable, shared
from pcrl_gym.prompts.template import check_template


def _template(text: str) -> str:
    check_template(text)
    return text


FOLDER = shared("folder", metavar="dir", help="result folder")
FOLDERS = shared("folders", metavar="dir", nargs="+", help="result folder")
AGENTS = shared("--agents", action=ListAction, metavar="NAME", help="agents (default: all)")
SPLITS = shared(
    "--split", dest="splits", action=ListAction, metavar="NAME", help="splits (default: all)"
)
DEVICE = shared("--device", help="device of generators and policies (default auto)")
GENERATOR = shared("--generator", help="micro, micro-seq2seq, model id or folder, ...")
TEMPLATE = shared(
    "--template",
    type=readable(_template),
    help='prompt template: alpaca (default), chat, or "chat:system=You are terse.,'
    'enable_thinking=false"',
)
NEW_TOKENS = shared("--max-new-tokens", type=positive, help="longest answer (default 30)")
PROMPTS = shared("--prompts", type=positive, help="how many prompts")
REPEATS = shared("--repeats", type=positive, help="repetitions, the best counts (default 3)")
MODELS = shared("--models", action=ListAction, metavar="NAME", help="generators, names or folders")
FIGURES = shared("--out", help="JSON file for all figures; an existing one is refused")

DIR_FIRST = "%(prog)s dir [options]"
"""Usage of commands whose lists would take a folder after them for an item."""
