import re
import subprocess
import sys

import pytest

from hifigan_rt import errors
from hifigan_rt.errors import EngineError, did_you_mean, error_text


def test_the_tree_shows_every_error_under_its_base():
    """The docstring's drawing: each name four columns right of its base's."""
    drawn, above = {}, {}
    for line in errors.__doc__.splitlines():
        if found := re.match(r"    [| ]*(?:\+-- )?([A-Z]\w+)(?:  |$| \((\w+)\) )", line):
            column = found.start(1)
            above[column] = found[1]
            drawn[found[1]] = found[2] or above.get(column - 4, "Exception")
    classes = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)]
    assert drawn == {item.__name__: item.__base__.__name__ for item in classes}


def test_the_nearest_name_is_suggested_and_none_where_none_is_near():
    assert did_you_mean("openvin", ["native", "openvino"]) == "; did you mean 'openvino'?"
    assert did_you_mean("tensorrt", iter(["native", "openvino"])) == ""
    assert did_you_mean("x", []) == ""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (EngineError("it failed"), "it failed"),
        (ValueError("it failed"), "ValueError: it failed"),
        (MemoryError("std::bad_alloc"), "out of memory"),
        (RuntimeError("it failed"), "RuntimeError: it failed"),
    ],
)
def test_errors_that_are_not_ours_have_their_type(error, text):
    assert error_text(error) == text


def test_a_lack_of_threads_is_named_as_this_python_words_it():
    code = """
import resource, threading
from hifigan_rt.errors import error_text
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 20),) * 2)
try:
    threading.Thread(target=int).start()
except RuntimeError as error:
    print(error_text(error))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("the system gives this process no more threads: "), done.stderr
