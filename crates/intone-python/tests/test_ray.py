"""`examples/ray_score.py` on a cluster of two nodes, one of which goes away, and a driver that is killed."""

import collections
import os
import subprocess
import sys
import time

import pytest
from conftest import ROOT, SAMPLES, read
from test_examples import write

ray = pytest.importorskip("ray")
pq = pytest.importorskip("pyarrow.parquet")

# What Ray leaves open is not ours.
pytestmark = pytest.mark.filterwarnings("default")

N_RECORDINGS = 240
LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad"]


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 150_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **memory})
    cluster.second = cluster.add_node(num_cpus=1, object_store_memory=memory["object_store_memory"])
    try:
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture
def calls(tmp_path):
    """Recordings of a second, in four folders; one is no audio, and one cannot even be read."""
    pieces = [(path.stem, *read(path)) for path in SAMPLES]
    for place in range(N_RECORDINGS):
        name, samples, rate = pieces[place % len(pieces)]
        folder = tmp_path / "calls" / name
        start = 37 * place
        write(folder / f"{place:03}.wav", samples[start : start + rate], rate)
    (tmp_path / "calls/broken.wav").write_bytes(b"What a day!")
    # The memory of another process: even root gets nothing of it from its beginning on.
    (tmp_path / "calls/forbidden.wav").symlink_to("/proc/1/mem")
    return tmp_path / "calls"


def start(cluster, calls, scores, log):
    """The example, which writes to a file what it has to say."""
    command = [sys.executable, ROOT / "examples/ray_score.py", calls, "--out", scores, "--address", cluster.address]
    with log.open("w") as out:
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=calls.parent)


def rows(scores):
    """The rows in the files that are whole."""
    found = []
    for path in scores.glob("**/*.parquet"):
        try:
            found += pq.read_table(path).to_pylist()
        except Exception:  # noqa: BLE001 - it is being written
            continue
    return found


def wait_for_some(scores, process, log):
    deadline = time.monotonic() + 240
    while len(rows(scores)) < N_RECORDINGS // 4:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3_000:]
        time.sleep(0.1)
    n_rows = len(rows(scores))
    assert n_rows < N_RECORDINGS, "all was done before anything could happen"
    return n_rows


def assert_each_has_one_row(calls, scores):
    expected = [str(path) for path in calls.rglob("*.wav")]
    assert len(expected) == N_RECORDINGS + 2
    found = rows(scores)
    assert collections.Counter(row["path"] for row in found) == collections.Counter(expected)
    errors = {os.path.basename(row["path"]): row["error"] for row in found if row["error"]}
    assert set(errors) == {"broken.wav", "forbidden.wav"}
    assert errors["broken.wav"] == "text, not audio"
    assert all(row["label"] and abs(sum(row[label] for label in LABELS) - 1) < 1e-5 for row in found if not row["error"])


def test_a_node_that_goes_away_costs_nothing(cluster, calls, tmp_path):
    scores, log = tmp_path / "scores", tmp_path / "log"
    process = start(cluster, calls, scores, log)
    try:
        wait_for_some(scores, process, log)
        cluster.remove_node(cluster.second, allow_graceful=False)
        assert process.wait(timeout=200) == 0, log.read_text()[-3_000:]
    finally:
        process.kill()
        process.wait()
    assert_each_has_one_row(calls, scores)


def test_a_run_that_was_killed_goes_on(cluster, calls, tmp_path):
    scores, log = tmp_path / "scores", tmp_path / "log"
    process = start(cluster, calls, scores, log)
    try:
        n_rows = wait_for_some(scores, process, log)
    finally:
        process.kill()
    process.wait()
    # What a machine leaves that goes away while it writes.
    (scores / "cut.parquet").write_bytes(next(scores.glob("**/*.parquet")).read_bytes()[:-100])
    process = start(cluster, calls, scores, log)
    assert process.wait(timeout=200) == 0, log.read_text()[-3_000:]
    said = log.read_text()
    n_done = int(said.partition(" recordings, ")[2].split()[0])
    assert n_rows <= n_done < N_RECORDINGS, said
    assert "cut.parquet has no end" in said
    assert_each_has_one_row(calls, scores)
