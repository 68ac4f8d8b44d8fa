#!/usr/bin/env bash
# What nobody has tried yet on an Ascend chip, step by step: see docs/ascend.md. It goes on after a step that fails.
#
#   source /usr/local/Ascend/cann/set_env.sh      # before CANN 8.5: ascend-toolkit/set_env.sh
#   bash examples/ascend_first_run.sh 2>&1 | tee ascend_first_run.log
#
# Run it from a clone, with `hifigan` on PATH; it writes into the folder ascend-first-run.
samples=$(cd "$(dirname "${BASH_SOURCE[0]}")/../samples" && pwd) || exit 1
mkdir -p ascend-first-run && cd ascend-first-run || exit 1
set -x

npu-smi info
npu-smi info -m
npu-smi info -t board -i 0
hifigan engines

hifigan export onnx ljspeech-v1 --opset 11 -o v1.onnx                        # 1. the ONNX file alone
hifigan export om ljspeech-v1 --mel-len 500 -o a                             # 2. one static length
hifigan export om ljspeech-v1 --mel-len 250,500,1000 --batch 1,8 -o b        # 3. gears
hifigan export om ljspeech-v1 --mel-len 250,500,1000 --rank 4 -o c           # 4. four dimensions
hifigan export om ljspeech-v1 --mel-len dynamic -o d                         # 5. open lengths
for mode in must_keep_origin_dtype cube_fp16in_fp32out allow_fp32_to_fp16 force_fp16; do
  hifigan export om ljspeech-v1 --mel-len 500 --precision-mode "$mode" -o "$mode"  # 6. which compile, which are exact?
done

for file in */*.om; do
  hifigan info "$file" --json                                                # 7. does our reader agree?
  hifigan synth "$samples" --model "$file" -o "out/${file%.om}" -v           # 8. does it run?
  hifigan bench --model "$file" --reference ljspeech-v1 -o "bench/${file%.om}"  # 9. rank 3 or 4, gears or open lengths
done

hifigan synth "$samples" --model b/ljspeech-v1_bs1.om --engine-option backend=ais_bench -o out-ais_bench
hifigan synth "$samples" --model b/ljspeech-v1_bs1.om --device 99 -o out-none  # 10. a device that is not there
