"""Scores any number of recordings on any number of machines; started again, it goes on where it was stopped.

    python examples/ray_score.py /calls --out /scores              # on this machine
    python examples/ray_score.py s3://bucket/calls --out s3://bucket/scores --address auto    # on a Ray cluster

Writes Parquet with a row for each recording: `path, label`, a column for each emotion, `silence, uncertain, duration_s,
windows, error`. A recording that cannot be recognised is a row with an error. What has a row already is left alone, so that
a run that ended early is finished by running it again. Needs `ray[data]`; `docs/scale.md` has figures.
"""

import argparse
import os
import sys

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import ray

import intone

ENDINGS = (".wav", ".flac", ".ogg", ".oga", ".mp3", ".m4a", ".mp4", ".aac", ".aif", ".aiff", ".mkv", ".mka")

# Of each processor, what scoring takes and what is left for reading and writing. Were it all for scoring, a cluster that shrinks
# to one processor would wait for ever for one to read with.
SCORING, INPUT_OUTPUT = 0.9, 0.1

# Files that go through a scorer at a time: enough that handing them over costs nothing, few enough to lose little.
BATCH = 64


def schema(labels):
    columns = [("path", pa.string()), ("label", pa.string()), *((label, pa.float32()) for label in labels)]
    columns += [("silence", pa.bool_()), ("uncertain", pa.bool_()), ("duration_s", pa.float64())]
    return pa.schema([*columns, ("windows", pa.int64()), ("error", pa.string())])


def row(labels, path, answer):
    """The row of a recording, whether there is an answer or an error."""
    if isinstance(answer, Exception):
        return {**dict.fromkeys(schema(labels).names), "path": path, "error": str(answer)}
    return {
        "path": path,
        "label": answer.label,
        **answer.scores,
        "silence": answer.silence,
        "uncertain": answer.uncertain,
        "duration_s": answer.duration_s,
        "windows": answer.n_windows,
        "error": None,
    }


class IntoneScorer:
    """One process with a model, on one processor."""

    def __init__(self, model):
        self.recognizer = intone.Recognizer(model)

    def __call__(self, batch: pa.Table) -> pa.Table:
        labels = self.recognizer.labels
        paths, contents = batch["path"].to_pylist(), batch["bytes"].to_pylist()
        answers = self.recognizer.recognize_batch(contents, workers=1)
        rows = [row(labels, path, answer) for path, answer in zip(paths, answers)]
        return pa.Table.from_pylist(rows, schema=schema(labels))


def place(uri):
    """The file system and the path of a folder, given as a path or a URI."""
    return pa.fs.FileSystem.from_uri(uri if "://" in uri else os.path.abspath(uri))


def recordings(uri):
    """The recordings below a folder, as Ray calls them."""
    files, folder = place(uri)
    found = files.get_file_info(pa.fs.FileSelector(folder, recursive=True))
    return {info.path for info in found if info.type != pa.fs.FileType.Directory and info.path.lower().endswith(ENDINGS)}


def written(uri):
    """The recordings that have a row. A file without an end, from a machine that went away while it wrote, is removed."""
    files, folder = place(uri)
    files.create_dir(folder, recursive=True)
    done = set()
    for info in files.get_file_info(pa.fs.FileSelector(folder, recursive=True)):
        if not info.path.endswith(".parquet"):
            continue
        try:
            done.update(pq.read_table(info.path, columns=["path"], filesystem=files)["path"].to_pylist())
        except pa.ArrowInvalid:
            print(f"{info.path} has no end: removed, its recordings will be scored again", file=sys.stderr)
            files.delete_file(info.path)
    return done


def unreadable(uri, path):
    """Why a file cannot be read."""
    try:
        place(uri)[0].open_input_stream(path, compression=None).read()
        return OSError("the scorers could not read it, or ended while they looked at it")
    except OSError as error:
        return error


def score(paths, source, target, model, scorers, blocks=None):
    """Scores these recordings and appends their rows."""
    (source_files, _), (target_files, folder) = place(source), place(target)
    data = ray.data.read_binary_files(
        sorted(paths),
        filesystem=source_files,
        include_paths=True,
        ignore_missing_paths=True,
        override_num_blocks=blocks,
        ray_remote_args={"num_cpus": INPUT_OUTPUT},
    )
    data = data.map_batches(
        IntoneScorer,
        fn_constructor_args=(model,),
        batch_size=BATCH,
        batch_format="pyarrow",
        num_cpus=SCORING,
        concurrency=scorers,
    )
    data.write_parquet(
        folder, filesystem=target_files, mode=ray.data.SaveMode.APPEND, ray_remote_args={"num_cpus": INPUT_OUTPUT}
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", help="a folder, which is searched, as a path or a URI")
    parser.add_argument("--out", required=True, help="the folder for the rows")
    parser.add_argument("--model", help="a model file that every machine can read; else the one of the package")
    parser.add_argument("--address", help="a Ray cluster; else this machine alone")
    parser.add_argument("--scorers", type=int, nargs=2, metavar=("LEAST", "MOST"), default=(1, 10_000),
                        help="processes with a model; as many as there are processors, if they are not fewer")
    args = parser.parse_args()

    ray.init(address=args.address, log_to_driver=False)
    # A file that the file system does not hand out costs its block and not the run.
    ray.data.DataContext.get_current().max_errored_blocks = -1
    wanted = recordings(args.recordings)
    missing = wanted - written(args.out)
    print(f"{len(wanted)} recordings, {len(wanted) - len(missing)} of them scored already")
    if missing:
        score(missing, args.recordings, args.out, args.model, tuple(args.scorers))
    # What was in a block with such a file, again, each in a block of its own.
    missing = wanted - written(args.out)
    if missing:
        score(missing, args.recordings, args.out, args.model, tuple(args.scorers), blocks=len(missing))
    missing = wanted - written(args.out)
    if missing:
        labels = intone.Recognizer(args.model).labels
        rows = [row(labels, path, unreadable(args.recordings, path)) for path in sorted(missing)]
        table = pa.Table.from_pylist(rows, schema=schema(labels))
        files, folder = place(args.out)
        pq.write_table(table, f"{folder}/unreadable-{os.urandom(8).hex()}.parquet", filesystem=files)
    print(f"{len(wanted)} recordings have a row in {args.out}, {len(missing)} of them could not be read")


if __name__ == "__main__":
    main()
