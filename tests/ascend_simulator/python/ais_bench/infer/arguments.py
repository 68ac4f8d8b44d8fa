"""The command line of `python -m ais_bench`: names, types, defaults and refusals of each generation."""

from __future__ import annotations

import argparse
import re

from ais_bench.infer.path_checks import is_legal_input, is_legal_model, is_legal_output
from cann_simulator.settings import generation


def read_arguments() -> argparse.Namespace:
    """Parse `sys.argv`; a prefix of an option that fits only one is taken for it, as argparse does."""
    parser = argparse.ArgumentParser()
    new = generation() == 8
    dims = _legal("dym string", r"[^_A-Za-z0-9,;:/.-]", "string") if new else str
    parser.add_argument("--model", "-m", required=True, type=_model if new else str, help="the path of the om model")
    parser.add_argument("--input", "-i", type=_input if new else str, help="files or folders, split by commas")
    parser.add_argument("--output", "-o", type=_output if new else str, help="folder of the results")
    parser.add_argument("--output_dirname", type=_output if new else str, help="under --output, instead of the time")
    parser.add_argument("--outfmt", default="BIN", choices=["NPY", "BIN", "TXT"], help="format of the results")
    parser.add_argument("--loop", "-l", type=_positive, default=1, help="rounds of pure inference")
    parser.add_argument("--debug", type=_boolean, default=False, help="print what the model is")
    parser.add_argument("--device", "-d", type=_devices, default=0, help="device ids, 0 to 255")
    parser.add_argument("--dymBatch", type=_positive if new else int, default=0, help="a batch size of the model")
    parser.add_argument("--dymHW", type=dims, help='such as "300,500"')
    parser.add_argument("--dymDims", type=dims, help='such as "mel_spec:1,80,250"')
    parser.add_argument("--dymShape", type=dims, help='such as "mel_spec:1,80,250"')
    sizes = _legal("number_list", r"[^0-9,;]", "list") if new else str
    parser.add_argument("--outputSize", type=sizes, help="bytes of each output")
    parser.add_argument("--auto_set_dymshape_mode", type=_boolean, default=False, help="shapes from .npy inputs")
    parser.add_argument("--auto_set_dymdims_mode", type=_boolean, default=False, help="gears from .npy inputs")
    parser.add_argument("--batchsize", type=_positive, help="for the throughput")
    parser.add_argument("--pure_data_type", default="zero", choices=["zero", "random"], help="of pure inference")
    parser.add_argument("--profiler", type=_boolean, default=False, help="not in the simulator")
    parser.add_argument("--dump", type=_boolean, default=False, help="not in the simulator")
    parser.add_argument("--acl_json_path", help="not in the simulator")
    parser.add_argument("--output_batchsize_axis", type=_not_negative, default=0, help="where results are split")
    parser.add_argument("--run_mode", default="array", choices=["array", "files", "tensor", "full"], help="of inputs")
    parser.add_argument("--display_all_summary", type=_boolean, default=False, help="copies too")
    parser.add_argument("--warmup_count", type=_not_negative, default=1, help="inferences before the measured ones")
    parser.add_argument("--dymShape_range", help="not in the simulator")
    if new:
        _add_new(parser)
    return parser.parse_args()


def _add_new(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--aipp_config", help="not in the simulator")
    parser.add_argument("--energy_consumption", type=_boolean, default=False, help="not in the simulator")
    parser.add_argument("--npu_id", type=_not_negative, default=0, help="of --energy_consumption")
    parser.add_argument("--backend", choices=["trtexec"], help="not in the simulator")
    parser.add_argument("--perf", type=_boolean, default=False, help="not in the simulator")
    parser.add_argument("--pipeline", type=_boolean, default=False, help="overlap copies and computing")
    parser.add_argument("--profiler_rename", type=_boolean, default=True, help="not in the simulator")
    parser.add_argument("--dump_npy", type=_boolean, default=False, help="not in the simulator")
    parser.add_argument("--divide_input", type=_boolean, default=False, help="share inputs among devices")
    parser.add_argument("--threads", type=_positive, default=1, help="of --pipeline")


def _model(path: str) -> str:
    if not is_legal_model(path) or not path.endswith(".om"):
        raise argparse.ArgumentTypeError(f"om path:{path} is illegal. Please check.")
    return path


def _input(paths: str) -> str:
    for path in paths.split(","):
        if not is_legal_input(path):
            raise argparse.ArgumentTypeError(f"input path:{path} is illegal. Please check.")
    return paths


def _output(path: str) -> str:
    if not is_legal_output(path):
        raise argparse.ArgumentTypeError(f"output path:{path} is illegal. Please check.")
    return path


def _legal(what: str, foreign: str, kind: str):
    def check(value: str) -> str:
        if re.search(foreign, value):
            raise argparse.ArgumentTypeError(f'{what} "{value}" is not a legal {kind}')
        return value

    return check


def _boolean(value: str) -> bool:
    if value.lower() in ("yes", "true", "t", "y", "1"):
        return True
    if value.lower() in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError("Boolean value expected true, 1, false, 0 with case insensitive.")


def _positive(value: str) -> int:
    if int(value) <= 0:
        raise argparse.ArgumentTypeError(f"{value} is an invalid positive int value")
    return int(value)


def _not_negative(value: str) -> int:
    if int(value) < 0:
        raise argparse.ArgumentTypeError(f"{value} is an invalid nonnegative int value")
    return int(value)


def _devices(value: str) -> int | list[int]:
    devices = [int(part) for part in value.split(",")]
    for device in devices:
        if not 0 <= device <= 255:
            raise argparse.ArgumentTypeError(f"device:{value} is invalid. valid value range is [0, 255]")
    return devices if "," in value else devices[0]
