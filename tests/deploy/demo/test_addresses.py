import io
import json
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pytest
import yaml

from deploy.demo import addresses as demo
from deploy.demo import archive
from services.tasks import Task
from services.validators import refusal

TASK = Path(__file__).parents[3] / "deploy/tasks/address-extraction.yaml"
REGISTER = (
    "<AddressString><AddressNumber>{n}</AddressNumber> <StreetName>Frozen</StreetName> <StreetName>Hill</StreetName> "
    "<StreetNamePostType>Rd</StreetNamePostType> <PlaceName>Marion</PlaceName> <StateName>IA</StateName> "
    "<ZipCode>52205</ZipCode></AddressString>"
)
OSM = (
    "<AddressString><AddressNumber>{n}</AddressNumber> <StreetName>Darrow</StreetName> "
    "<StreetNamePostType>Avenue,</StreetNamePostType> <PlaceName>Evanston,</PlaceName></AddressString>"
)
PEOPLE = (
    "<AddressString><USPSBoxType>Box</USPSBoxType># <USPSBoxID>{n}</USPSBoxID>, <PlaceName>Cordova</PlaceName>\n"
    "  , <StateName>AK</StateName></AddressString>"
)
TEMPLATES: dict[demo.Kind, str] = {"register": REGISTER, "osm": OSM, "people": PEOPLE}


def _archive(directory: Path, monkeypatch: pytest.MonkeyPatch, each: int = 50) -> Path:
    """An archive like the real one, with `each` addresses a kind, every one of them twice."""
    with tarfile.open(directory / archive.ARCHIVE, "w:gz") as tar:
        for kind, template in TEMPLATES.items():
            for source in demo.SOURCES[kind]:
                lines = [template.format(n=n) for n in range(1, each + 1) for _ in "ab"]
                body = f"<AddressCollection>{chr(10).join(lines)}</AddressCollection>".encode()
                info = tarfile.TarInfo(f"usaddress-{archive.VERSION}/training/{source}.xml")
                info.size = len(body)
                tar.addfile(info, io.BytesIO(body))
    monkeypatch.setattr(archive, "SHA256", archive.sha256(directory / archive.ARCHIVE))
    return directory


def test_the_text_is_the_address_with_its_tails_and_single_spaces() -> None:
    address = demo.parse(PEOPLE.format(n=63).encode(), "people")
    assert address is not None
    assert address.text == "Box# 63, Cordova , AK"
    assert address.answer == '{"city":"Cordova","state":"AK","box":"Box 63"}'


def test_fields_come_in_the_stated_order_whatever_the_order_of_the_words() -> None:
    truth = demo.fields([("Recipient", "Attn:"), ("PlaceName", "Ft."), ("PlaceName", "Knox,"), ("AddressNumber", "1")])
    assert list(truth.items()) == [("number", "1"), ("city", "Ft. Knox"), ("name", "Attn")]


def test_words_lose_commas_and_brackets_but_keep_full_stops_and_number_signs() -> None:
    truth = demo.fields(
        [("OccupancyIdentifier", "#"), ("OccupancyIdentifier", "4,"), ("StreetName", "(N."), ("x", ",")]
    )
    assert truth == {"street": "N.", "unit": "# 4"}


def test_an_intersection_has_two_streets_and_its_separator_none() -> None:
    truth = demo.fields(
        [("CornerOf", "corner"), ("StreetName", "Main"), ("IntersectionSeparator", "&"), ("StreetName", "63rd")]
    )
    assert truth == {"street": "Main", "cross_street": "63rd"}


def test_an_address_without_a_labelled_word_is_left_out() -> None:
    assert demo.parse(b"<AddressString>nothing</AddressString>", "people") is None


def test_the_same_words_belong_to_the_same_customer_however_punctuated() -> None:
    assert demo.group_key("1 Main St, Ames, IA") == demo.group_key("1  MAIN st ames ia.")


def test_the_mix_is_as_stated_and_no_text_comes_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = demo.addresses(60, 7, _archive(tmp_path, monkeypatch))
    assert Counter(address.kind for address in drawn) == {"register": 36, "osm": 18, "people": 6}
    assert len({address.text for address in drawn}) == 60


def test_the_same_seed_draws_the_same_and_another_one_other_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = _archive(tmp_path, monkeypatch)
    assert demo.addresses(40, 7, cache) == demo.addresses(40, 7, cache)
    assert demo.addresses(40, 7, cache) != demo.addresses(40, 8, cache)


def test_asking_for_more_than_there_is_says_how_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="hold 50 distinct register addresses: ask for at most 83"):
        demo.addresses(100, 7, _archive(tmp_path, monkeypatch))


def test_the_answers_file_holds_texts_and_truths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = demo.addresses(10, 7, _archive(tmp_path, monkeypatch))
    demo.write_answers(drawn, tmp_path / "answers.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == [{"text": address.text, "answer": address.truth} for address in drawn]


def test_an_archive_with_another_hash_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / archive.ARCHIVE).write_bytes(b"something else")
    with pytest.raises(archive.DataUnavailableError, match=r"has SHA-256 .*, not f7e614e2.*: remove it"):
        archive.fetch(tmp_path)


def test_a_failed_download_says_what_to_do_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_pip", lambda: [sys.executable, "-c", "import sys; sys.exit('no route to host')"])
    with pytest.raises(
        archive.DataUnavailableError, match=r"(?s)check the network.*or put the archive.*no route to host"
    ):
        archive.fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_worked_example_of_the_instructions_passes_the_task_s_own_validators() -> None:
    task = Task.model_validate(yaml.safe_load(TASK.read_text(encoding="utf-8")))
    lines = iter(task.instructions.splitlines())
    examples = [(line.removeprefix("Address: "), next(lines)) for line in lines if line.startswith("Address: ")]
    assert len(examples) == 6
    for text, answer in examples:
        assert refusal(task.validators, text, answer) == ""
        assert list(json.loads(answer)) == [field for field in demo.FIELDS if field in json.loads(answer)]
        assert json.dumps(json.loads(answer), separators=(",", ":")) == answer


@pytest.mark.contract
def test_the_real_addresses_are_nearly_all_grounded_and_covered(tmp_path_factory: pytest.TempPathFactory) -> None:
    task = Task.model_validate(yaml.safe_load(TASK.read_text(encoding="utf-8")))
    drawn = demo.addresses(5000, 7, tmp_path_factory.mktemp("cache"))
    refused = Counter(a.kind for a in drawn if refusal(task.validators, a.text, a.answer))
    assert Counter(address.kind for address in drawn) == {"register": 3000, "osm": 1500, "people": 500}
    assert refused.keys() <= {"people"}
    assert refused["people"] <= 0.03 * 500
    assert not {a.text for a in drawn} & {line.removeprefix("Address: ") for line in task.instructions.splitlines()}
