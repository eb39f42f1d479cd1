from dataclasses import dataclass


@dataclass
class Hints:
    pass


def hints_of(trace, *, seed, ttl_ns):
    return Hints()
