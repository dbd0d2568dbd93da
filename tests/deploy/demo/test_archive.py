from deploy.demo.archive import Source


def test_of_a_source_distribution_no_wheel_is_taken() -> None:
    source = Source("a", "1", "a-1.tar.gz", "0")
    assert source.options == ["--no-build-isolation", "--no-binary", "a"]


def test_of_a_wheel_no_source_distribution_is_taken() -> None:
    assert Source("a", "1", "a-1-py3-none-any.whl", "0").options == ["--only-binary", "a"]
