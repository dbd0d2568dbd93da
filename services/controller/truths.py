"""What people decided on a question, as SQL: golden examples beside pairs of answers, for all who judge those."""

from typing import Final

TRUTHS: Final = """
WITH known AS (
    SELECT trimBoth(replaceRegexpAll(input, '\\s+', ' ')) AS text, argMax(truth, added_at) AS truth
    FROM golden FINAL WHERE task = {task:String} GROUP BY text
)
"""
"""Begins a query of parameter `task`, which compares questions however they are spaced."""
