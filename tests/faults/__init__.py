"""What goes wrong around replay: kills, full disks, closed streams, damage, bombs.

`make faults` runs every trial of every kind (`python -m tests.faults [KIND…]`). A trial returns
None where replay does what docs/reliability.md promises, else what it did instead.
"""
