"""The page of ``fastcmp --help``.

Written out rather than made by cyclopts: importing cyclopts and rich takes 0.17 s, the whole page may take 0.15 s. A test holds it to the
commands and options that cyclopts knows.
"""

from __future__ import annotations

from typing import Final

HELP_PAGE: Final = """\
fastcmp - where two runs of a large language model part first, how badly,
          and whether it is a bug or rounding

Usage: fastcmp [compare] GOLDEN TARGET [-o DIR] [OPTIONS]
       fastcmp COMMAND ...

GOLDEN and TARGET are each a metadata.json, a directory of dumps, a tensor file,
or FILE:NAME, one tensor of a file that holds several.

Commands:
  compare GOLDEN TARGET  the main job; the word compare may be left out
  show DIR [DATA_ID [TOKEN_ID]]
                         what a comparison found; one pair in depth
  judge DIR              new verdicts from its report, no tensor read again
  compare-reports A B    what got worse, what better, between two reports
  report [DIR]           one HTML page: first divergence, heat map, worst pairs
  inspect FILE|DIR       as what a dump is recognised, its names and headers
  explain [E_CODE]       what an error code means and what to do
  run -- CMD ...         run a program under the preload library
  preload-path           where that library is, for LD_PRELOAD
  doctor [DIR]           why is nothing dumped? what is installed?
  bench                  how fast this machine is, and how near fastcmp comes

Options of compare (all of them: fastcmp compare --help):
  -o, --output DIR       where the report goes (./fastcmp_report)
  --threshold RULE       such as 'cosine_similarity >= 0.999'; repeatable
  --rules FILE           thresholds for some names and dtypes, in TOML
  --include, --exclude GLOB
                         compare only these data_ids, leave those out
  --map FILE             rules that say which name of golden is which of target
  --pair-by WAYS         how names find each other: key, md5, ops, ...
  --token-offset N       token 0 of golden is token N of target
  --parallel FILE        how the ranks of a side share each tensor
  --layout NAME          how directories are read, where that is not found out
  --allow-unpaired SIDE  golden, target or both may have tensors of their own
  --kl WHICH             kl_divergence for auto, all or none of the tensors
  --root DIR             open nothing outside of DIR; repeatable
  -j, --jobs N           worker processes (one per core)
  --executor WHERE       local, threads, ray, ray://HOST:PORT, dask://HOST:PORT
  --watch                compare while the dumps are being written
  --fresh                start over instead of going on with an ended run
  --parquet              write cmp_report.parquet too
  --as msprobe           write the report in msprobe's columns too
  --json                 one JSON object on stdout instead of the summary
  -q, --quiet            nothing but errors and the exit code
  --debug                show the traceback of an error

  -h, --help             this page
  --version              the version

Exit code: 0 all pairs passed; 1 a pair failed or stands alone; 2 something
could not be read or the report is not complete; 130 Ctrl-C; 143 SIGTERM. Of
show: 0; 2 the tensors can no longer be read. Of compare-reports: 0 nothing got
worse; 1 something did; 2 as above. Of doctor: 0 nothing found wrong; 1 a cause
found; 2 wrong arguments. Of run: the program's own.

Every option of compare can also be set as FASTCMP_NAME in the environment or in
[tool.fastcmp] of pyproject.toml.
"""
