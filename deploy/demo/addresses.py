"""The demo's data: real US addresses with their fields, from the source distribution of `usaddress` 0.5.16.

Three kinds of addresses lie in it:

- `register`: the open address register of Linn County, Iowa; regular;
- `osm`: made from OpenStreetMap's fields; regular, other towns;
- `people`: messy ones, labelled word by word by people.
"""

import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Literal
from xml.etree import ElementTree

import xxhash

from deploy.demo.archive import fetch, member
from services.validators import words

Kind = Literal["register", "osm", "people"]

CUSTOMERS: Final = 1000

SHARES: Final[Mapping[Kind, float]] = {"register": 0.6, "osm": 0.3, "people": 0.1}
SOURCES: Final[Mapping[Kind, tuple[str, ...]]] = {
    "register": ("openaddress_us_ia_linn",),
    "osm": ("synthetic_osm_data_xml",),
    "people": ("labeled", "us50_messiest_manual_label", "us50_train_tagged", "multi_word_state_addresses"),
}

FIELDS: Final = ("number", "street", "unit", "city", "state", "zip", "name", "box", "cross_street", "country", "other")
"""The fields of a truth, in the order in which an answer gives them."""

FIELD_OF: Final[Mapping[str, str]] = {
    "PlaceName": "city",
    "StateName": "state",
    "ZipCode": "zip",
    "ZipPlus4": "zip",
    "Recipient": "name",
    "BuildingName": "name",
    "LandmarkName": "name",
    "CountryName": "country",
    "NotAddress": "other",
    "suffix": "street",  # One file's word for StreetNamePostDirectional.
}
FIELD_OF_START: Final[Mapping[str, str]] = {
    "AddressNumber": "number",
    "StreetName": "street",
    "Occupancy": "unit",
    "Subaddress": "unit",
    "USPSBox": "box",
}
SEPARATORS: Final = frozenset({"IntersectionSeparator", "CornerOf"})  # "and", "corner of": they belong to no field.
ENDS: Final = ',;:()"!'  # What separates words. '.', '#' and '-' are parts of them: "St.", "# 4".
BLOCK: Final = re.compile(rb"<AddressString>.*?</AddressString>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Address:
    """One address as somebody wrote it, and its fields."""

    text: str
    truth: dict[str, str]  # Some of FIELDS, in that order.
    kind: Kind
    group_key: str  # The customer it belongs to; the same text, however punctuated, is always the same customer's.

    @property
    def answer(self) -> str:
        """The right answer as text: compact JSON."""
        return json.dumps(self.truth, separators=(",", ":"), ensure_ascii=False)


def addresses(count: int, seed: int, cache_dir: Path) -> list[Address]:
    """`count` addresses, no text twice, shuffled, in the shares of SHARES; the same for the same arguments.

    Fetches the archive into `cache_dir` where it is not there. Raises DataUnavailableError, and ValueError where
    `count` is more than the sources hold.
    """
    archive = fetch(cache_dir)
    rng = random.Random(seed)  # noqa: S311 - a sample, not a secret
    seen: set[str] = set()
    drawn = [address for kind, n in _counts(count).items() for address in _draw(archive, kind, n, rng, seen)]
    rng.shuffle(drawn)
    return drawn


def write_answers(records: Iterable[Address], path: Path) -> None:
    """Write the texts and their right answers as the JSON lines that the stand-in teacher reads."""
    lines = (json.dumps({"text": record.text, "answer": record.truth}, ensure_ascii=False) for record in records)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def parse(block: bytes, kind: Kind) -> Address | None:
    """The address of one `<AddressString>` element; None where no word of it is labelled."""
    element = ElementTree.fromstring(block)  # noqa: S314 - the archive's hash was checked
    text = " ".join("".join(element.itertext()).split())
    truth = fields((word.tag, (word.text or "").strip()) for word in element)
    return Address(text, truth, kind, group_key(text)) if truth else None


def fields(labelled: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The fields that (label, word) pairs amount to, in the order of FIELDS, without the marks of ENDS around words.

    After the separator of an intersection, words of a street belong to the cross street.
    """
    found: dict[str, list[str]] = {}
    crossed = False
    for label, word in labelled:
        crossed = crossed or (label == "IntersectionSeparator" and "street" in found)
        if label not in SEPARATORS and (bare := word.strip(ENDS)):
            found.setdefault(_field(label, crossed), []).append(bare)
    return {field: " ".join(found[field]) for field in FIELDS if field in found}


def group_key(text: str) -> str:
    """One of CUSTOMERS customers, by a stable hash of the text's words."""
    return f"customer-{xxhash.xxh3_64_intdigest(' '.join(words(text)).encode()) % CUSTOMERS:04}"


def _field(label: str, crossed: bool) -> str:
    field = FIELD_OF.get(label) or next((f for start, f in FIELD_OF_START.items() if label.startswith(start)), "other")
    return "cross_street" if crossed and field == "street" else field


def _counts(count: int) -> dict[Kind, int]:
    osm, people = round(count * SHARES["osm"]), round(count * SHARES["people"])
    return {"register": count - osm - people, "osm": osm, "people": people}


def _draw(archive: Path, kind: Kind, count: int, rng: random.Random, seen: set[str]) -> list[Address]:
    blocks = [block for source in SOURCES[kind] for block in BLOCK.findall(member(archive, f"{source}.xml"))]
    rng.shuffle(blocks)
    drawn = list(islice(_fresh(blocks, kind, seen), count))
    if len(drawn) < count:
        most = int(len(drawn) / SHARES[kind])
        raise ValueError(f"the sources hold {len(drawn)} distinct {kind} addresses: ask for at most {most} in all")
    return drawn


def _fresh(blocks: Iterable[bytes], kind: Kind, seen: set[str]) -> Iterator[Address]:
    """The addresses whose words were not met yet: parsed one by one, for a register of 28 MB holds 95,000."""
    for block in blocks:
        address = parse(block, kind)
        if address and (key := " ".join(words(address.text))) not in seen:
            seen.add(key)
            yield address
