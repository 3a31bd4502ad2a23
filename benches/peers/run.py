#!/usr/bin/env python3
"""Builds the peers and runs them side by side: interleaved rounds, medians, ratios to the first row of each workload.

    benches/peers/run.py [quick|full|wal|logs] [workload...]

A workload is a name (a1, f32) or a beginning of one ('b*'). The README beside this file tells the rest.
"""
import argparse, json, os, random, shlex, signal, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TARGET = os.environ.get("CARGO_TARGET_DIR", f"{HERE}/target")
DIR = os.environ.get("PEERS_DIR", f"{TARGET}/files")
JSONL = os.environ.get("JSONL", f"{TARGET}/results.jsonl")
# The project's own binary: `iofs bench` takes the same flags as the peers and prints the same JSON line.
IOFS = os.path.abspath(os.environ.get("IOFS", f"{ROOT}/target/release/iofs"))
DATA, WAL = f"{DIR}/data", f"{DIR}/wal"
GIB = 1 << 30

PACKAGES = ["raw", "hops", "peer-tokio", "peer-smol", "peer-tokio-uring", "peer-compio", "peer-monoio", "peer-glommio",
            "peer-io-engine", "peer-fsys", "peer-logs"]
# tokio::fs reads through io_uring only with an unstable cfg: a build of its own.
UNSTABLE = "peer-tokio-unstable"

# ---- rows ----

OURS = {
    "ours": "--runtime local",
    "ours localfs": "--runtime localfs",
    "ours aio": "--runtime local --driver aio",
    "ours loop": "--runtime local --front loop",
    "ours cross": "--runtime tokio",
    "ours smol": "--runtime smol",
    "ours pool": "--runtime tokio --driver threadpool",
    "ours cross --group 1": "--runtime tokio --group 1",
    "ours pool --group 1": "--runtime tokio --driver threadpool --group 1",
    "ours --group 1": "--runtime local --group 1",
    "ours localfs --group 1": "--runtime localfs --group 1",
}
# Label -> command. A label that is missing here is a command; one that starts with "fio:" is run through fio.
COMMANDS = {label: f"iofs bench --json {flags}" for label, flags in OURS.items()} | {
    "raw_uring noreg": "raw_uring --variant noreg",
    "raw_uring one batch": "raw_uring --param 9999",
    "compio": "peer-compio",
    "compio behind flume": "peer-compio --variant cross",
    "compio dispatcher": "peer-compio --variant dispatch",
    "monoio": "peer-monoio",
    "glommio": "peer-glommio",
    "tokio-uring": "peer-tokio-uring",
    "tokio-uring behind mpsc": "peer-tokio-uring --variant cross",
    "tokio-uring behind mpsc, one at a time": "peer-tokio-uring --variant one",
    "tokio::fs": "peer-tokio --variant fs",
    "tokio::fs (unstable uring)": f"{UNSTABLE} --variant fs",
    "tokio spawn_blocking": "peer-tokio",
    "tokio spawn_blocking twice": "peer-tokio --variant sb2",
    "smol unblock": "peer-smol",
    "async-fs": "peer-smol --variant fs",
    "io-engine uring": "peer-io-engine",
    "io-engine aio": "peer-io-engine --variant aio",
    "fsys journal": "peer-fsys",
    "okaywal": "peer-logs --variant okaywal",
    "raft-engine": "peer-logs --variant raft-engine",
    "walrus": "peer-logs --variant walrus",
    "x inline pread": "hops --variant inline",
    "x pool": "hops --variant pool",
    "x flume+eventfd": "hops --variant flume",
    "x chan": "hops --variant chan",
    "x chan spin20": "hops --variant chan --param 20",
    "x chan msg_ring": "hops --variant chanmsg",
    "x chan --group 1": "hops --variant chan --group 1",
    "x mutex+reaper": "hops --variant mutex",
    "x mutex+caller reap": "hops --variant mutexrx",
    "x shard+reaper": "hops --variant shard",
    "x shard+runtime reap": "hops --variant evt",
    "x nowait+runtime reap": "hops --variant nowait+evt",
    "x nowait+chan": "hops --variant nowait+chan",
    "x aio caller submit": "hops --variant aio",
    "x sqpoll": "hops --variant sqpoll",
}

OURS_HERE, OURS_TASKS = ["ours", "ours localfs", "ours loop", "ours aio"], ["ours cross", "ours smol", "ours pool"]
HERE_ROWS = ["raw_uring", "raw_uring noreg", "raw_uring one batch", "raw_aio", "pread_threads", "compio", "monoio",
             "glommio", "tokio-uring", *OURS_HERE]
TASK_ROWS = ["tokio spawn_blocking", "smol unblock", "io-engine uring", "io-engine aio", *OURS_TASKS]
FIO = ["fio:io_uring", "fio:libaio", "fio:psync"]
SEND = ["tokio::fs", "tokio::fs (unstable uring)", "tokio spawn_blocking", "async-fs", "smol unblock",
        "tokio-uring behind mpsc", "tokio-uring behind mpsc, one at a time", "compio behind flume", "compio dispatcher",
        "io-engine uring", "io-engine aio"]
HAND = ["x inline pread", "x pool", "x flume+eventfd", "x chan", "x chan spin20", "x chan msg_ring", "x mutex+reaper",
        "x mutex+caller reap", "x shard+reaper", "x shard+runtime reap", "x nowait+runtime reap", "x nowait+chan",
        "x aio caller submit", "x sqpoll"]
WAL_LIMITS = ["raw_uring --variant link", "raw_uring --variant dsync", "raw_uring --variant serial", "raw_aio",
              "raw_aio --variant dsync", "pread_threads", "pread_threads --variant dsync"]
WAL_ROWS = WAL_LIMITS + [
    "tokio spawn_blocking", "tokio spawn_blocking twice", "tokio::fs", "smol unblock", "compio", "monoio", "glommio",
    "tokio-uring", "tokio-uring behind mpsc", "compio behind flume", "io-engine uring", "fsys journal", "x pool",
    "x chan msg_ring", "x shard+runtime reap", *OURS_HERE, *OURS_TASKS]
GROUP_ROWS = ["raw_uring --group 1", "pread_threads --group 1", "x chan --group 1", "fsys journal",
              "ours cross --group 1", "ours pool --group 1"]

# ---- workloads ----

def workload(name, title, args, rows, unit="iops"):
    return dict(name=name, title=title, args=args, rows=rows, unit=unit)

def wal(args):
    return f"--op wal-append --file {WAL} --size 256m {args}"

DIRECT, CACHED = f"--file {DATA} --size 1g --direct 1", f"--file {DATA} --size 256m --direct 0"
NO_TOKIO_FS = [row for row in WAL_ROWS if row != "tokio::fs"]
FULL = [
    workload("a1", "(a) 4K random read, O_DIRECT, QD 1", f"{DIRECT} --qd 1",
             [row for row in HERE_ROWS if row != "raw_uring one batch"] + TASK_ROWS + FIO),
    workload("a32", "(a) 4K random read, O_DIRECT, QD 32", f"{DIRECT} --qd 32", HERE_ROWS + TASK_ROWS + FIO),
    workload("a128", "(a) 4K random read, O_DIRECT, QD 128", f"{DIRECT} --qd 128", HERE_ROWS + TASK_ROWS + FIO),
    workload("b1", "(b) 4K random read, page cache, QD 1", f"{CACHED} --qd 1", HERE_ROWS + TASK_ROWS + FIO),
    workload("b32", "(b) 4K random read, page cache, QD 32", f"{CACHED} --qd 32", HERE_ROWS + TASK_ROWS + FIO),
    workload("d1", "(d) WAL: one writer, 4K + fdatasync, buffered, preallocated", wal("--qd 1 --direct 0"),
             WAL_ROWS + ["fio:psync"]),
    workload("d1D", "(d) WAL: one writer, 4K + fdatasync, O_DIRECT, preallocated", wal("--qd 1 --direct 1"), NO_TOKIO_FS),
    workload("d1g", "(d) WAL: one writer, 4K + fdatasync, buffered, growing file",
             wal("--qd 1 --direct 0 --wal grow").replace("256m", "1g"),
             WAL_LIMITS + ["tokio spawn_blocking", "x shard+runtime reap", *OURS_HERE]),
    workload("d16", "(d) WAL: 16 appenders, each its own fdatasync, buffered, preallocated", wal("--qd 16 --direct 0"),
             WAL_ROWS),
    workload("d16D", "(d) WAL: 16 appenders, each its own fdatasync, O_DIRECT, preallocated", wal("--qd 16 --direct 1"),
             NO_TOKIO_FS),
    workload("d16G", "(d) WAL: 16 appenders, group commit, buffered, preallocated", wal("--qd 16 --direct 0"), GROUP_ROWS),
    workload("e128k", "(e) sequential read 128 KiB, O_DIRECT, QD 8", f"{DIRECT} --op seqread --bs 128k --qd 8",
             HERE_ROWS + TASK_ROWS + FIO, "mibs"),
    workload("e1m", "(e) sequential read 1 MiB, O_DIRECT, QD 4", f"{DIRECT} --op seqread --bs 1m --qd 4",
             HERE_ROWS + TASK_ROWS, "mibs"),
]
for qd in (1, 32):
    FULL.append(workload(f"f{qd}", f"(f) page cache, {qd} tasks on 2 workers", f"{CACHED} --qd {qd}",
                         ["raw_uring", *SEND, *HAND, *OURS_TASKS]))
for qd in (1, 32):
    FULL.append(workload(f"g{qd}", f"(g) O_DIRECT, {qd} tasks on 2 workers", f"{DIRECT} --qd {qd}",
                         ["raw_uring", *(row for row in SEND if not row.startswith(("tokio::fs", "async-fs"))), *HAND,
                          *OURS_TASKS]))
LOG_ROWS = ["okaywal", "raft-engine", "walrus", "fsys journal", "ours --group 1", "ours localfs --group 1", "ours cross --group 1"]
LOGS = [workload(f"l{bs}w{qd}", f"(l) logs: records of {bs}, {qd} appenders, each waits until its own is durable",
                 f"--op wal-append --file {WAL} --size 256m --direct 0 --bs {bs} --qd {qd}", LOG_ROWS)
        for bs in ("64", "1k", "4k") for qd in (1, 16)]
BY_NAME = {w["name"]: w for w in FULL}

def part(name, rows):
    return dict(BY_NAME[name], rows=[row for row in BY_NAME[name]["rows"] if row in rows])

QUICK_HERE = {"raw_uring", "raw_aio", "pread_threads", "compio", "monoio", "tokio spawn_blocking", "smol unblock",
              "io-engine uring", "fio:io_uring", *OURS_HERE, *OURS_TASKS}
QUICK_TASKS = {"raw_uring", "tokio spawn_blocking", "smol unblock", "tokio-uring behind mpsc", "compio behind flume",
               "io-engine uring", "x inline pread", "x chan msg_ring", "x shard+runtime reap", "x nowait+runtime reap",
               *OURS_TASKS}
QUICK_WAL = {"raw_uring --variant link", "raw_aio", "pread_threads", "tokio spawn_blocking",
             "tokio spawn_blocking twice", "x shard+runtime reap", "compio", *OURS_HERE, *OURS_TASKS}
QUICK = [part(name, QUICK_HERE) for name in ("a1", "a32", "b1", "b32", "e128k")]
QUICK += [part("d1", QUICK_WAL), BY_NAME["d16G"], *(part(name, QUICK_TASKS) for name in ("f32", "g1", "g32"))]
MODES = {"quick": QUICK, "full": FULL, "wal": [w for w in FULL if w["name"].startswith("d")],
         "logs": LOGS}

# ---- building and running ----

def build():
    """Builds everything; what does not build is named and left out."""
    log = f"{TARGET}/build.log"
    os.makedirs(TARGET, exist_ok=True)
    env = dict(os.environ, CARGO_TARGET_DIR=TARGET)
    failed = []
    def cargo(what, *args, cwd=HERE, env=env):
        with open(log, "a") as out:
            if subprocess.run(["cargo", "build", "--release", "--locked", *args], cwd=cwd, env=env, stderr=out).returncode:
                failed.append(what)
    if "IOFS" not in os.environ:
        cargo("iofs", "-p", "io-cli", cwd=ROOT, env={k: v for k, v in os.environ.items() if k != "CARGO_TARGET_DIR"})
    for package in PACKAGES:
        cargo(package, "-p", package)
    unstable = dict(env, CARGO_TARGET_DIR=f"{TARGET}/unstable", RUSTFLAGS="--cfg tokio_unstable")
    cargo(UNSTABLE, "-p", "peer-tokio", "--features", "uring", env=unstable)
    if UNSTABLE not in failed:
        subprocess.run(["cp", "-f", f"{TARGET}/unstable/release/peer-tokio", f"{TARGET}/release/{UNSTABLE}"], check=True)
    if failed:
        print(f"did not build: {', '.join(failed)}; see {log}", file=sys.stderr)

def make_data():
    if not os.path.exists(DATA) or os.path.getsize(DATA) < GIB:
        os.makedirs(DIR, exist_ok=True)
        with open(DATA, "wb") as file:
            for _ in range(GIB >> 20):
                file.write(os.urandom(1 << 20))
            os.fsync(file.fileno())

def command(row):
    return shlex.split(COMMANDS.get(row, row))

def binary(name):
    return IOFS if name == "iofs" else f"{TARGET}/release/{name}"

def is_there(row):
    return row.startswith("fio:") or os.path.exists(binary(command(row)[0]))

def run(row, args, seconds):
    """One run: the figures, or {"unsupported": why}."""
    if row.startswith("fio:"):
        return run_fio(row[4:], shlex.split(args), seconds)
    name, *flags = command(row)
    argv = [binary(name), *flags, *shlex.split(args), "--seconds", str(seconds)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=seconds + 20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return dict(unsupported="timed out")
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if lines:
        return json.loads(lines[-1])
    if process.returncode < 0:
        return dict(unsupported=f"died of signal {-process.returncode}")
    return dict(unsupported=(err.strip().splitlines() or ["no output"])[-1][:80])

def run_fio(engine, args, seconds):
    flags = dict(zip(args[::2], args[1::2]))
    op, qd = flags.get("--op", "randread"), int(flags["--qd"])
    rw = {"randread": "randread", "seqread": "read", "randwrite": "randwrite", "wal-append": "write"}[op]
    argv = ["fio", "--name=x", f"--filename={flags['--file']}", f"--size={flags['--size']}",
            f"--bs={flags.get('--bs', '4k')}", f"--rw={rw}", f"--direct={flags['--direct']}", f"--ioengine={engine}",
            "--time_based", f"--runtime={int(seconds * 1000)}ms", "--gtod_reduce=1", "--norandommap", "--invalidate=0",
            "--randrepeat=0", "--thread", "--group_reporting", "--output-format=json", "--allow_file_create=0"]
    if op == "wal-append":
        argv += ["--fdatasync=1"]
    if engine == "psync":
        argv += [f"--numjobs={qd}"]
        if op == "seqread":
            # Every job its own part: a part past the end of the file makes fio unlink it.
            argv += [f"--offset_increment={1024 // qd}m", f"--size={1024 // qd}m", "--filesize=1g"]
    else:
        argv += [f"--iodepth={qd}"]
        if qd >= 8:
            argv += [f"--iodepth_batch_submit={qd // 4}", "--iodepth_batch_complete_min=1",
                     f"--iodepth_batch_complete_max={qd}"]
        if engine == "io_uring":
            argv += ["--registerfiles=1", "--fixedbufs=1", "--nonvectored=1"]
    try:
        out = subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout
        job = json.loads(out[out.index("{"):])["jobs"][0]
    except (OSError, ValueError) as error:
        return dict(unsupported=f"fio: {error}"[:80])
    figures = job["write"] if rw == "write" else job["read"]
    ops, ran = max(figures["total_ios"], 1), figures["runtime"] / 1e3
    cpu = (job["usr_cpu"] + job["sys_cpu"]) / 100 * ran * (qd if engine == "psync" else 1)
    return dict(iops=figures["iops"], mibs=figures["bw_bytes"] / 2**20, p50=None, p99=None, p999=None, user=0, sys=0,
                cpu_us_op=cpu * 1e6 / ops, csw_op=job["ctx"] / ops, rss_kib=0, ops=ops)

def measure(w, rounds, seconds, warm_up, log):
    """Runs the workload's rows in interleaved rounds: the figures of each row, and why others have none."""
    rows = [row for row in w["rows"] if is_there(row)]
    found, why = {row: [] for row in rows}, {}
    make_data()
    for number in range(rounds):
        # Rows in random order, each behind a short warm-up: a virtual disk is slow after a pause.
        order = rows[:]
        random.Random(number).shuffle(order)
        for row in order:
            if row in why:
                continue
            if warm_up > 0 and ("--direct 1" in w["args"] or "wal-append" in w["args"]):
                run("raw_uring", w["args"], warm_up)
            seed = "" if row.startswith("fio:") else f" --seed {number + 1}"
            figures = run(row, w["args"] + seed, seconds)
            if "unsupported" in figures:
                why[row] = figures["unsupported"]
                continue
            found[row].append(figures)
            log.write(json.dumps(dict(w=w["name"], label=row, round=number, **figures)) + "\n")
    log.flush()
    return rows, found, why

def table(w, rows, found, why):
    unit = w["unit"]
    yield f"### {w['name']}: {w['title']}\n\n`{w['args'].replace(DIR, '…')}`\n"
    yield (f"| peer | {'MiB/s' if unit == 'mibs' else 'IOPS'} | ratio | spread | p50 µs | p99 µs | p99.9 µs | CPU µs/op "
           "| ctx sw/op | RSS MiB |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for row in rows:
        runs = found[row]
        if row in why or not runs:
            yield f"| {row} | n/a: {why.get(row, '')} | | | | | | | | |"
            continue
        def median(key):
            return None if runs[0][key] is None else statistics.median(one[key] for one in runs)
        def cell(key, digits=1):
            return "-" if median(key) is None else f"{median(key):.{digits}f}"
        # The ratio of each round to the same round's reference, then the median.
        ratios = [one[unit] / reference[unit] for one, reference in zip(runs, found[rows[0]])] or [float("nan")]
        values = [one[unit] for one in runs]
        spread = (max(values) - min(values)) / max(statistics.median(values), 1e-9) * 100
        yield (f"| {row} | {median(unit):,.0f} | {statistics.median(ratios):.2f} | {spread:.0f}% | {cell('p50')} "
               f"| {cell('p99')} | {cell('p999')} | {cell('cpu_us_op', 2)} | {cell('csw_op', 2)} "
               f"| {median('rss_kib') / 1024:.0f} |")
    yield ""

def arguments():
    parser = argparse.ArgumentParser(description="Runs the peers side by side.")
    parser.add_argument("mode", nargs="?", default="quick", choices=MODES)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="a name, or a beginning of one: 'b*'")
    parser.add_argument("--rows", default="", help="only these, separated by commas; the first is the reference")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, help="a run's length; 0.2 if quick, else 0.6")
    parser.add_argument("--warm-up", type=float, default=0.1, help="seconds before each run that meets the disk")
    parser.add_argument("--out", help="append the tables to this file, too")
    parser.add_argument("--no-build", action="store_true", help="take the binaries that are there")
    return parser.parse_args()

def main():
    args = arguments()
    chosen = MODES[args.mode]
    if args.workloads:
        def wanted(name):
            return any(name == w or (w.endswith("*") and name.startswith(w[:-1])) for w in args.workloads)
        chosen = [w for w in chosen if wanted(w["name"])]
    if args.rows:
        chosen = [dict(w, rows=args.rows.split(",")) for w in chosen]
    seconds = args.seconds or (0.2 if args.mode == "quick" else 0.6)
    if not args.no_build:
        build()
    out = open(args.out, "a") if args.out else None
    def say(text):
        print(text, flush=True)
        if out:
            print(text, file=out, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    begun = time.time()
    say(f"kernel {os.uname().release}, {os.cpu_count()} CPUs, {args.rounds} interleaved rounds of {seconds} s, medians; "
        "spread = (max-min)/median of the rounds\n")
    os.makedirs(os.path.dirname(JSONL), exist_ok=True)
    with open(JSONL, "a") as log:
        for w in chosen:
            rows, found, why = measure(w, args.rounds, seconds, args.warm_up, log)
            for line in table(w, rows, found, why):
                say(line)
    say(f"({time.time() - begun:.0f} s)")

main()
