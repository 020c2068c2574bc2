"""Transformers causal LMs under tree attention: loading and sharding, KV slots, one packed pass."""

from sidebeam.models.kv_slots import KVSlots
from sidebeam.models.loading import ModelError, load_model
from sidebeam.models.packed_model import Pack, PackedModel
from sidebeam.models.tree_attention import PassPlan, Segment

__all__ = ["KVSlots", "ModelError", "Pack", "PackedModel", "PassPlan", "Segment", "load_model"]
