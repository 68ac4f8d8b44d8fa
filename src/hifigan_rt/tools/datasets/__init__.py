"""Turns what a user names (files, folders, globs, lists, LJSpeech folders) into a list of inputs."""

from hifigan_rt.tools.datasets.input_file import InputFile
from hifigan_rt.tools.datasets.inputs import find_inputs
from hifigan_rt.tools.datasets.left_out import LeftOut
from hifigan_rt.tools.datasets.listed_files import is_folder

__all__ = ["InputFile", "LeftOut", "find_inputs", "is_folder"]
