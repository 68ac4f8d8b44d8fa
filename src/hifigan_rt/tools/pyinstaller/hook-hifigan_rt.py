"""Read by PyInstaller for every program that imports hifigan_rt."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata, is_module_satisfies

hiddenimports = collect_submodules("hifigan_rt", filter=lambda name: "pyinstaller" not in name)

# The Ascend worker runs in an interpreter of its own, from source.
datas = collect_data_files("hifigan_rt", excludes=["**/pyinstaller/**"])
datas += collect_data_files(
    "hifigan_rt",
    include_py_files=True,
    includes=["engines/ascend_runtime/worker.py", "system/worker_messages.py"],
)
if is_module_satisfies("hifigan-rt"):
    datas += copy_metadata("hifigan-rt")
