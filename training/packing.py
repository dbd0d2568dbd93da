"""Several examples in one row: no padding to speak of, and no example sees another.

Each example's positions start at 0, and its tokens attend to its own earlier ones alone, so the loss is what it would
be in rows of their own. Where attention is cheap beside the rest, as on short texts on a CPU, rows of similar length
need no more padding than this and are the default; packing pays where a batch mixes long and short.
"""

from collections.abc import Sequence

import torch

from training.data import Batch, Example


def rows(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Which examples share a row of at most `width` tokens: the longest first, each into the first row with room.

    An example that is longer than `width` gets a row of its own.
    """
    packed: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        row = next((row for row, free in enumerate(room) if free >= lengths[index]), len(packed))
        if row == len(packed):
            packed.append([])
            room.append(width)
        packed[row].append(index)
        room[row] -= lengths[index]
    return packed


def collate(chosen: Sequence[Example], pad: int, width: int) -> Batch:
    """The batch in as few rows as fit; what `data.collate` makes of the same examples has the same loss."""
    order = [[chosen[index] for index in row] for row in rows([len(example) for example in chosen], width)]
    widest = max(sum(map(len, row)) for row in order)
    ids, owners, positions = torch.full((3, len(order), widest), pad).unbind()  # [B, T] each
    owners.fill_(-1)
    positions.zero_()
    places: list[int] = []
    for row, together in enumerate(order):
        at = 0
        for owner, example in enumerate(together):
            here = slice(at, at + len(example))
            ids[row, here] = torch.tensor(example.prompt + example.completion)
            owners[row, here], positions[row, here] = owner, torch.arange(len(example))
            first = row * widest + at + len(example.prompt) - 1
            places += range(first, first + len(example.completion))
            at += len(example)
    flat = [example for together in order for example in together]
    return Batch(
        ids=ids,
        mask=apart(owners),
        places=torch.tensor(places),
        labels=torch.tensor([token for example in flat for token in example.completion]),
        weights=torch.tensor([example.weight for example in flat for _ in example.completion]),
        positions=positions,
    )


def apart(owners: torch.Tensor) -> torch.Tensor:
    """[B, 1, T, T] bool from whose each token is [B, T]: where the row's token may look at the column's.

    Padding looks at padding, since a token that may look at nothing would make the softmax undefined.
    """
    same = owners[:, None, :, None] == owners[:, None, None, :]
    return same.tril()
