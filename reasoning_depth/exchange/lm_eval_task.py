"""The YAML file by which lm-eval (EleutherAI's harness) asks our questions."""

import json
import pathlib

_TASK = """\
# lm_eval --model … --tasks {name} --include_path . --log_samples \\
#   --output_path OUT, in this folder. Then python main.py --mode=score
# --predictions=OUT/…/samples_{name}_….jsonl with the config in card.json.
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: generate_until
doc_to_text: "{{{{input}}}}"
doc_to_target: "{{{{target}}}}"
generation_kwargs:
  until: []
  do_sample: false
  max_gen_toks: 1024
filter_list:
  - name: last
    filter:
      - function: regex
        regex_pattern: {pattern}
        group_select: -1
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""


def write(folder: pathlib.Path, name: str, file: str, answer: str) -> None:
  """Writes `NAME.yaml`.

  Args:
    folder: of the questions.
    name: of the task.
    file: of its test split, JSON lines with `input` and `target`.
    answer: regular expression of an answer; the last in a text counts.
  """
  text = _TASK.format(name=name, file=file, pattern=json.dumps(answer))
  (folder / f'{name}.yaml').write_text(text)
