"""Replay LLM request traces through prefix (KV) caches."""

__version__ = "0.1.0"
