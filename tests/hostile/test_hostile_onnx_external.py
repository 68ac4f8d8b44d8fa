"""ONNX files whose weights lie in files beside them: outside of their folder, behind links, too short."""

import pytest

from hifigan_rt.formats.onnx_reading import inspect_onnx
from hostile.onnx_files import PLACES, external, refused, with_tensor, write


@pytest.mark.parametrize("inside", PLACES)
def test_external_data_outside_the_folder(tmp_path, inside):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(16))
    for location in ("../secret", str(tmp_path / "secret"), "sub/../../secret", "..\\secret", "C:\\secret", "\\\\x\\y"):
        text = refused(write(folder, with_tensor(external(location), inside=inside)))
        assert text == (
            f"tensor 'evil' keeps its values in {location!r}, outside the model's folder: nothing there is read; "
            "put the file beside the model"
        )


def test_external_data_through_links(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(16))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "up").symlink_to(tmp_path)
    (folder / "loop").symlink_to("loop")
    (folder / "inside").write_bytes(bytes(16))
    (folder / "link_inside").symlink_to("inside")
    for location in ("link", "up/secret"):
        assert "which is a link out of the model's folder" in refused(write(folder, with_tensor(external(location))))
    assert "cannot be read" in refused(write(folder, with_tensor(external("loop"))))
    info = inspect_onnx(write(folder, with_tensor(external("link_inside"))))
    assert info.external_files == (folder / "link_inside",)


def test_external_data_beside_the_file_that_the_model_is_a_link_to(tmp_path):
    """So a cache of Hugging Face keeps both: snapshots/REVISION/NAME leads to blobs/HASH."""
    folder, blobs = tmp_path / "snapshots/abc", tmp_path / "blobs"
    folder.mkdir(parents=True)
    blobs.mkdir()
    model = write(folder, with_tensor(external("data")))
    model.replace(blobs / "1")
    model.symlink_to("../../blobs/1")
    (blobs / "2").write_bytes(bytes(16))
    (folder / "data").symlink_to("../../blobs/2")
    assert inspect_onnx(model).external_files == (folder / "data",)
    (tmp_path / "secret").write_bytes(bytes(16))
    (folder / "data").unlink()
    (folder / "data").symlink_to("../../secret")
    assert "which is a link out of the model's folder" in refused(model)


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("missing.bin", "which cannot be read (No such file or directory): copy that file into the model's folder"),
        ("", "which is no file name"),
        ("nul\0byte", "which is no file name"),
        ("*/_ORT_MEM_ADDR_/*", "which is no file name"),
        ("sub", "which is no regular file"),
        ("x" * 5000, "which cannot be read (File name too long)"),
    ],
)
def test_external_data_that_is_no_file(tmp_path, location, text):
    (tmp_path / "sub").mkdir()
    (tmp_path / "*" / "_ORT_MEM_ADDR_").mkdir(parents=True)
    (tmp_path / "*" / "_ORT_MEM_ADDR_" / "*").write_bytes(bytes(16))
    assert text in refused(write(tmp_path, with_tensor(external(location, offset="0", length="16"))))


@pytest.mark.parametrize("entries", [{}, {"offset": "1"}, {"offset": "0", "length": "16"}, {"length": "8"}])
def test_external_data_shorter_than_its_tensor(tmp_path, entries):
    (tmp_path / "data.bin").write_bytes(bytes(15))
    text = refused(write(tmp_path, with_tensor(external("data.bin", **entries))))
    assert "the values of tensor 'evil' take 16 bytes" in text


@pytest.mark.parametrize("value", ["-1", "1e3", "٣", "9" * 30, ""])
def test_external_offsets_that_are_no_numbers(tmp_path, value):
    (tmp_path / "data.bin").write_bytes(bytes(64))
    assert "no number of bytes" in refused(write(tmp_path, with_tensor(external("data.bin", offset=value))))
