"""Large blobs in GridFS, as jobflow and the records keep them."""

from __future__ import annotations

import hashlib

import gridfs
import numpy as np
import pytest


@pytest.fixture(scope="module")
def blob():
    return np.random.default_rng(5).bytes(20 * 1024 * 1024)


def test_twenty_megabytes_make_the_round_trip(database, blob):
    files = gridfs.GridFS(database, "blobs")
    key = files.put(blob, filename="weights", metadata={"kind": "vae"})
    stored = files.get(key)
    assert hashlib.sha256(stored.read()).digest() == hashlib.sha256(blob).digest()
    assert (stored.length, stored.filename, stored.metadata) == (
        len(blob),
        "weights",
        {"kind": "vae"},
    )
    assert database["blobs.chunks"].count_documents({"files_id": key}) == -(-len(blob) // 261120)
    stored.seek(10_000_000)
    assert stored.read(100) == blob[10_000_000:10_000_100]
    files.delete(key)
    assert database["blobs.chunks"].count_documents({}) == 0
    assert database["blobs.files"].count_documents({}) == 0


def test_the_driver_makes_its_indexes(database):
    gridfs.GridFS(database).put(b"x")
    unique = database["fs.chunks"].index_information()["files_id_1_n_1"]
    assert unique["unique"] is True
    assert "filename_1_uploadDate_1" in database["fs.files"].index_information()


def test_versions_of_a_name(database):
    files = gridfs.GridFS(database)
    for text in (b"first", b"second"):
        files.put(text, filename="f")
    assert files.get_last_version("f").read() == b"second"
    assert files.get_version("f", 0).read() == b"first"
    assert files.exists(filename="f")
    assert not files.exists(filename="g")
    with pytest.raises(gridfs.NoFile):
        files.get_last_version("g")
    assert [found.read() for found in files.find({"filename": "f"}).sort("uploadDate", 1)] == [
        b"first",
        b"second",
    ]


def test_streams_and_an_aborted_upload(database):
    bucket = gridfs.GridFSBucket(database, chunk_size_bytes=1024)
    with bucket.open_upload_stream("whole") as stream:
        for _ in range(10):
            stream.write(b"y" * 700)
    assert bucket.open_download_stream_by_name("whole").read() == b"y" * 7000
    stream = bucket.open_upload_stream("half")
    stream.write(b"z" * 5000)
    stream.abort()
    with pytest.raises(gridfs.NoFile):
        bucket.open_download_stream_by_name("half")
    assert database["fs.chunks"].count_documents({}) == 7


def test_an_empty_file(database):
    files = gridfs.GridFS(database)
    assert files.get(files.put(b"")).read() == b""
