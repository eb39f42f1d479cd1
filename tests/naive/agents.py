"""The slow twin of agent prompts: each prompt spelled out token by token, compared one by one."""

from __future__ import annotations

from collections.abc import Sequence

Token = tuple[object, int]


def prompt_tokens(calls: Sequence[dict]) -> list[list[Token]]:
    """Tokens of each prompt, of calls with length, output, read, added, spoken, after, goes_on.

    A token is what it belongs to and its place there.
    """
    prompts: list[list[Token]] = []
    starts: list[int] = []
    for number, call in enumerate(calls):
        length, read = call["length"], call["read"]
        prompt: list[Token] = []
        if call["after"] is None:
            start = max(length - call["spoken"], 0)
            for place in range(start):
                shared = read == 0 or place < read
                owner = ("start", call["start"]) if shared else ("own start", number)
                prompt.append((owner, place if shared else place - read))
        else:
            before, start = prompts[call["after"]], starts[call["after"]]
            answer = [
                (("answer", call["after"]), at) for at in range(calls[call["after"]]["output"])
            ]
            if call["goes_on"] and length >= len(before):
                prompt += before
                if length >= len(before) + len(answer):
                    prompt += answer
            else:
                prompt += before[: max(start, read)][:length]
        rest = length - len(prompt)
        prompt += [(("said", call["added"]), place) for place in range(rest)]
        prompts.append(prompt)
        starts.append(start)
    return prompts


def ideal_hits(calls: Sequence[dict]) -> list[int]:
    """Tokens that each prompt shares with the start of an earlier prompt and its response."""
    prompts = prompt_tokens(calls)
    hits = []
    for number, prompt in enumerate(prompts):
        longest = 0
        for earlier in range(number):
            answer = [(("answer", earlier), at) for at in range(calls[earlier]["output"] - 1)]
            known = prompts[earlier] + answer
            same = 0
            while same < min(len(known), len(prompt)) and known[same] == prompt[same]:
                same += 1
            longest = max(longest, same)
        hits.append(longest)
    return hits
