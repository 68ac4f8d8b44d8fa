"""What `python -m ais_bench` does with its arguments: load, set the gear, warm up, run, report."""

from __future__ import annotations

import argparse
import copy
import math
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import aclruntime
from ais_bench.infer.interface import InferSession, MemorySummary
from ais_bench.infer.logs import logger
from ais_bench.infer.summary import report
from cann_simulator.settings import generation

PURE = "pure_infer_data"
PADDING = "padding_infer_fake_file"
_UNSUPPORTED = ("profiler", "dump", "energy_consumption", "perf", "dump_npy")


def run(args: argparse.Namespace) -> int:
    check_rules(args)
    for name in _UNSUPPORTED:
        if getattr(args, name, False):
            logger.error("--%s is unsupported in simulator", name)
            return 1
    if isinstance(args.device, list):
        return run_devices(args)
    measure(args)
    return 0


def check_rules(args: argparse.Namespace) -> None:
    if args.profiler and args.dump:
        logger.error("parameter --profiler cannot be true at the same time as parameter --dump, please check them!\n")
        raise RuntimeError("error bad parameters --profiler and --dump")
    if generation() == 8 and (args.output_dirname or "").startswith("/"):
        raise ValueError("--output_dirname do not support abs path!")
    if (args.profiler or args.dump) and args.output is None:
        logger.error("when dump or profiler, miss output path, please check them!")
        raise RuntimeError("miss output parameter!")
    if args.profiler and args.warmup_count and args.input is not None:
        logger.info("profiler mode with input change warmup_count to 0")
        args.warmup_count = 0
    if args.output is None and args.output_dirname is not None:
        logger.error(
            "parameter --output_dirname cann't be used alone. Please use it together with the parameter --output!\n"
        )
        raise RuntimeError("error bad parameters --output_dirname")
    if generation() == 8 and args.threads > 1 and not args.pipeline:
        logger.info("need to set --pipeline when setting threads number to be more than one.")
        args.threads = 1


def run_devices(args: argparse.Namespace) -> int:
    """One after the other here; their throughputs are added, as the tool does."""
    logger.info("multidevice:%s run begin", args.device)
    total = 0.0
    for index, device in enumerate(args.device):
        one = copy.deepcopy(args)
        one.device = device
        started = time.time()
        throughput = measure(one, f"device{device}_{index}")
        logger.info(
            "i:%s device_%s throughput:%s start_time:%s end_time:%s", index, device, throughput, started, time.time()
        )
        total += throughput
    logger.info("summary throughput:%s", total)
    return 0


def measure(args: argparse.Namespace, device_folder: str = "") -> float:
    session = InferSession(args.device, args.model, args.acl_json_path, args.debug, args.loop)
    set_options(session, args)
    descs = session.get_inputs()
    prefix = choose_folder(args, device_folder)
    runs = list_files(args, descs)
    automatic = args.auto_set_dymdims_mode or args.auto_set_dymshape_mode
    batches: list[int] = []
    session.set_loop_count(1)
    for _ in range(args.warmup_count):
        infer(session, args, read(runs[0], descs, args.pure_data_type), [])
    session.set_loop_count(args.loop)
    (session.reset_sumaryinfo if generation() == 6 else session.reset_summaryinfo)()
    MemorySummary.reset()
    logger.info("warm up %s done", args.warmup_count)
    files: dict[int, Any] = {}
    for index, names in enumerate(runs):
        outputs = infer(session, args, read(names, descs, args.pure_data_type), batches if automatic else [])
        session.convert_tensors_to_host(outputs)
        if prefix is not None:
            save(outputs, prefix, names, index, args, files)
        # Where tqdm draws its bar.
        print(f"\rInference {args.run_mode} Processing: {100 * (index + 1) // len(runs)}%|##########|", flush=True)
    times = (session.sumary if generation() == 6 else session.summary)().exec_time_list
    if generation() == 8:
        times = [end - start for start, end in times]
    copies = aclruntime.MemorySummary()
    h2d, d2h = copies.H2D_time_list, copies.D2H_time_list
    batch = sum(batches) / len(batches) if batches else args.batchsize
    throughput = report(times, h2d, d2h, batch, files, sys.argv, prefix, display_all=args.display_all_summary)
    if generation() == 8:
        session.free_resource()
    session.finalize()
    return throughput


def set_options(session: InferSession, args: argparse.Namespace) -> None:
    if args.dymBatch:
        session.set_dynamic_batchsize(args.dymBatch)
    elif args.dymHW is not None:
        session.set_dynamic_hw(*(int(part) for part in args.dymHW.split(",")[:2]))
    elif args.dymDims is not None:
        session.set_dynamic_dims(args.dymDims)
    elif args.dymShape is not None:
        session.set_dynamic_shape(args.dymShape)
    else:
        session.set_staticbatch()
    if args.batchsize is None:
        args.batchsize = find_batch(session, args)
        logger.info("try get model batchsize:%s", args.batchsize)
    automatic = args.auto_set_dymshape_mode or args.auto_set_dymdims_mode
    if generation() == 8 and not automatic and args.batchsize < 0:
        raise RuntimeError("dynamic batch om model detected, but dymbatch, dymdims or dymshape not set!")
    if args.outputSize is not None:
        session.set_custom_outsize([int(size) for size in args.outputSize.split(",")])


def find_batch(session: InferSession, args: argparse.Namespace) -> int:
    desc = session.get_inputs()[0]
    if args.dymBatch:
        return int(args.dymBatch)
    for part in filter(None, (args.dymDims or args.dymShape or "").split(";")):
        name, _, dims = part.partition(":")
        if name == desc.name:
            return int(dims.split(",")[0])
    return int(desc.shape[0])


def choose_folder(args: argparse.Namespace, device_folder: str) -> str | None:
    if args.output is None:
        return None
    named = args.output_dirname or time.strftime("%Y_%m_%d-%H_%M_%S")
    folder = Path(args.output, named, device_folder)
    folder.mkdir(mode=0o755 if generation() == 6 else 0o750, parents=True, exist_ok=True)
    logger.info("output path:%s", folder)
    return str(folder)


def list_files(args: argparse.Namespace, descs: list[Any]) -> list[list[list[str]]]:
    """Files per run, per input, per batch item."""
    if args.input is None:
        return [[[PURE] for _ in descs]]
    given = args.input.split(",")
    if Path(given[0]).is_dir():
        lists = [_sorted_files(folder) for folder in given]
    elif Path(given[0]).is_file():
        share = len(given) // len(descs)
        lists = [given[start : start + share] for start in range(0, len(given), share)]
    else:
        logger.error("Invalid args. %s  of --input is invalid", given[0])
        raise RuntimeError
    if len(lists) != len(descs):
        logger.error("fileslist:%s intensor:%s not match", len(lists), len(descs))
        raise RuntimeError
    per_batch = 1
    if not (args.auto_set_dymdims_mode or args.auto_set_dymshape_mode):
        size, needed = _content(lists[0][0]).nbytes, descs[0].realsize
        if size == 0 or needed % size:
            logger.error("arg0 tensorsize: %s filesize: %s not match", needed, size)
            raise RuntimeError
        per_batch = needed // size
    runs = math.ceil(len(lists[0]) / per_batch)
    padded = [files + [PADDING] * (runs * per_batch - len(files)) for files in lists]
    return [[files[run * per_batch : (run + 1) * per_batch] for files in padded] for run in range(runs)]


def _sorted_files(folder: str) -> list[str]:
    files = [str(path) for path in Path(folder).iterdir() if path.suffix.lower() in (".npy", ".bin")]
    if not files:
        logger.error("%s of input args not find valid file,valid file format:[*.npy *.NPY *.bin *.BIN]", folder)
        raise RuntimeError
    return sorted(files, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def _content(name: str) -> np.ndarray:
    return np.load(name) if name.lower().endswith(".npy") else np.fromfile(name, np.int8)


def read(names: list[list[str]], descs: list[Any], kind: str) -> list[np.ndarray]:
    arrays = []
    for files, desc in zip(names, descs, strict=True):
        if files == [PURE]:
            high = 256 if kind == "random" else 1
            arrays.append(np.random.default_rng().integers(0, high, desc.realsize, np.uint8))
            continue
        parts = [_content(files[0] if name == PADDING else name) for name in files]
        arrays.append(parts[0] if len(parts) == 1 else np.concatenate(parts))
    return arrays


def infer(session: InferSession, args: argparse.Namespace, feeds: list[np.ndarray], batches: list[int]) -> list[Any]:
    automatic = args.auto_set_dymshape_mode or args.auto_set_dymdims_mode
    if automatic:
        descs = session.get_inputs()
        text = ";".join(f"{d.name}:{','.join(map(str, f.shape))}" for d, f in zip(descs, feeds, strict=True))
        (session.set_dynamic_shape if args.auto_set_dymshape_mode else session.set_dynamic_dims)(text)
        batches.append(feeds[0].shape[0])
    if args.run_mode in ("tensor", "full"):
        return session.run([session.create_tensor_from_arrays_to_device(feed) for feed in feeds])
    return session.run(feeds)


def save(
    outputs: list[Any], prefix: str, names: list[list[str]], index: int, args: argparse.Namespace, files: dict[int, Any]
) -> None:
    count = len(names[0])
    for k, output in enumerate(outputs):
        data = np.array(output)
        if data.shape[args.output_batchsize_axis] % count and count > 1:
            logger.error("save out files error array shape:%s files_count_perbatch:%s", data.shape, count)
            raise RuntimeError
        for j, part in enumerate(np.array_split(data, count, args.output_batchsize_axis)):
            if names[0][j] == PADDING:
                continue
            path = Path(prefix, f"{Path(names[0][j]).name.split('.')[0]}_{k}.{args.outfmt.lower()}")
            record = files.setdefault(index * count + j, {"infiles": [inputs[j] for inputs in names], "outfiles": []})
            record["outfiles"].append(str(path))
            if args.outfmt == "NPY":
                np.save(path, part)
            elif args.outfmt == "TXT":
                np.savetxt(path, part.reshape(-1, part.shape[-1]), fmt="%f")
            else:
                part.tofile(path)
