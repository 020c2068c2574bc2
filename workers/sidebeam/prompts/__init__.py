"""Prompts that ask a language model for knowledge about users and items, from templates that are data."""

from sidebeam.prompts.error import PromptError
from sidebeam.prompts.prompt_file import read_prompts, write_prompts
from sidebeam.prompts.render import item_prompts, user_prompts
from sidebeam.prompts.template import Template, copy_templates, open_template

__all__ = [
    "PromptError",
    "Template",
    "copy_templates",
    "item_prompts",
    "open_template",
    "read_prompts",
    "user_prompts",
    "write_prompts",
]
