"""The demo page as a Hugging Face Space, with the package's policy and generator."""

from __future__ import annotations

from pcrl_gym.demo.compressing import Demo, PolicyAgent
from pcrl_gym.demo.page import serve

# A folder beside this file or a hub id works too; several policies are a choice on the page.
POLICIES = ["micro"]
GENERATOR = "micro"

if __name__ == "__main__":
    serve(Demo([PolicyAgent.load(policy) for policy in POLICIES], GENERATOR))
