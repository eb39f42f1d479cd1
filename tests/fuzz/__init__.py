"""Inputs by the hundred thousand, each nearly right, to every reader, document and command.

`make fuzz` runs a campaign (`campaign.py`): a `Case` is some files and a command line, made by a
target (`targets.py`) from samples (`samples.py`) that are mutated (`mutate.py`). What case `index`
of a target is depends on the seed alone. Cases run inside worker processes with limits
(`workers.py`), which judge them (`judge.py`); what is found is made small (`shrink.py`) and kept.
"""
