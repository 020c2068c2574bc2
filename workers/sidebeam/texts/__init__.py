"""Texts from one target, several tokens a pass: drafts are verified, exact, relaxed or sampled (LASER, section 1)."""

from sidebeam.texts.drafter import TextDrafter, TextSession
from sidebeam.texts.engine import TextEngine
from sidebeam.texts.joint_engine import JointEngine
from sidebeam.texts.merge import MergedDrafter, merge
from sidebeam.texts.model_drafter import ModelDrafter
from sidebeam.texts.prompt_lookup import PromptLookup
from sidebeam.texts.request import (
    Drafting,
    Exact,
    Relaxed,
    RelaxedToken,
    Sampled,
    TextEvent,
    TextPiece,
    TextRequest,
    TextResult,
    Verification,
)
from sidebeam.texts.ticket import TextTicket
from sidebeam.texts.token_tree import TokenTree
from sidebeam.texts.verify import Trial, Verdict, Verifier
from sidebeam.texts.vocabulary import Vocabulary

__all__ = [
    "Drafting",
    "Exact",
    "JointEngine",
    "MergedDrafter",
    "ModelDrafter",
    "PromptLookup",
    "Relaxed",
    "RelaxedToken",
    "Sampled",
    "TextDrafter",
    "TextEngine",
    "TextEvent",
    "TextPiece",
    "TextRequest",
    "TextResult",
    "TextSession",
    "TextTicket",
    "TokenTree",
    "Trial",
    "Verdict",
    "Verification",
    "Verifier",
    "Vocabulary",
    "merge",
]
