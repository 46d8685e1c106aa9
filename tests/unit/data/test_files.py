"""A folder of files is the same on a disk and in an object store."""

import pytest

from thaw.data import files
from thaw.errors import DataError, StorageError
from thaw.storage import open_root

FILES = {
    "b.txt": b"12345",
    "a/2.jpg": b"x",
    "a/1.jpg": b"y",
    "a/b/c d/ä.png": b"z",
    "a-b/q": b"",
    "a/.hidden": b"",
    ".git/x": b"",
}


@pytest.fixture
def folder(root_uri):
    root = open_root(root_uri)
    for path, content in FILES.items():
        root.write_bytes(path, content)
    return files.open_folder(root_uri)


def test_every_file_that_is_not_hidden_is_listed_by_name(folder):
    assert list(folder.below()) == ["a/1.jpg", "a/2.jpg", "a/b/c d/ä.png", "a-b/q", "b.txt"]
    assert list(folder.below("a")) == ["a/1.jpg", "a/2.jpg", "a/b/c d/ä.png"]
    assert list(folder.below("a/b/")) == ["a/b/c d/ä.png"]
    assert list(folder.below("missing")) == []


def test_what_lies_right_in_a_folder_is_told_apart(folder):
    assert (folder.folders(), folder.names()) == (["a", "a-b"], ["b.txt"])
    assert (folder.folders("a"), folder.names("a")) == (["b"], ["1.jpg", "2.jpg"])
    assert (folder.folders("b.txt"), folder.names("missing")) == ([], [])


def test_files_and_folders_are_known_without_listing(folder):
    assert [folder.is_file(path) for path in ("b.txt", "a", "a/1.jpg", "missing")] == [True, False, True, False]
    assert [folder.is_folder(path) for path in ("", "b.txt", "a", "a/b", "missing")] == [True, False, True, True, False]


def test_no_more_is_read_than_is_asked_for(folder):
    assert folder.read("b.txt") == b"12345"
    assert folder.read("b.txt", 3) == b"123"
    assert folder.read("b.txt", 99) == b"12345"
    assert folder.read("a-b/q", 5) == b""


@pytest.mark.parametrize("path", ["missing", "a", "a/missing", "b.txt/x"])
def test_what_cannot_be_read_is_an_os_error(folder, path):
    with pytest.raises(OSError):
        folder.read(path)


def test_another_content_has_another_stamp_and_what_is_not_there_none(folder):
    before = folder.stamps(["a/1.jpg", "b.txt"])
    assert len({*before, None}) == 3
    assert folder.stamps(["b.txt", "missing", "a\\b.txt", "../b.txt", "a/1.jpg"]) == [
        before[1],
        None,
        None,
        None,
        before[0],
    ]
    folder.root.write_bytes("b.txt", b"54321")  # as many bytes, in the same second
    assert folder.stamps(["a/1.jpg"]) == before[:1]
    assert folder.stamps(["b.txt"]) != before[1:]


def test_a_file_is_located_by_its_folder_and_its_name(folder):
    there, name = files.located(folder.root.uri_of("a/b"))
    assert (list(there.below()), name) == (["c d/ä.png"], "")
    there, name = files.located(folder.root.uri_of("a/b/c d/ä.png"))
    assert (there, name) == (folder.at("a/b/c d"), "ä.png")
    assert there.read(name) == b"z"


def test_another_folder_is_reached_by_a_way_that_may_lead_out(folder):
    assert folder.at("a").at("../a-b").names() == ["q"]
    assert folder.at("a/b").at("..") == folder.at("a")
    assert folder.at("a").name == "a"


def test_folders_that_must_be_inside_are_checked(folder):
    assert folder.check("a") == "a"
    with pytest.raises(DataError, match=r"data\.source\.images: .*missing is not a folder"):
        folder.check("missing", "images")
    with pytest.raises(DataError, match="'a/../..' leaves"):
        folder.check("a/../..")


@pytest.mark.parametrize("uri", ["", "http://host/x", "s3://"])
def test_a_place_that_cannot_be_understood_is_the_users_to_mend(uri):
    with pytest.raises(DataError, match=r"data\.source\.path: .*s3://bucket/folder"):
        files.open_folder(uri)


@pytest.mark.parametrize("uri", ["s3://key:Hidden@bucket/x", "s3://bucket/x?session_token=Hidden&region=us-east-1"])
def test_credentials_do_not_belong_into_an_experiment(uri):
    with pytest.raises(DataError, match=r"data\.source\.path: s3://.* holds credentials.*AWS_ACCESS_KEY_ID") as refusal:
        files.open_folder(uri)
    assert "Hidden" not in str(refusal.value)


def test_no_way_leads_out_of_a_bucket(s3_uri):
    bucket, _, query = s3_uri.partition("?")
    inner = open_root(f"{bucket}/x/y?{query}")
    assert inner.at("../..").path_of("") == open_root(s3_uri).path_of("")
    with pytest.raises(StorageError, match="leads out of the bucket"):
        inner.at("../../../other")
