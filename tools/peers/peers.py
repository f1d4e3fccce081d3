#!/usr/bin/env python3
"""Checks other runtimes against recur on the same weights, and times them with it.

  python peers.py                          every net and every peer that is installed: the table
  python peers.py --check                  outputs only, no times
  python peers.py --nets gru --peers ncnn,torch --rounds 3
  python peers.py --isa avx2 --ncnn-path DIR
                                           AVX2 only: peers that cannot be held to it are left out; DIR is a folder with an ncnn built
                                           for it (README.md says how)
  python peers.py --json result.json       everything that was measured; the table is Markdown on standard output either way

Ends with 0, or with 1 where an output is wrong or a peer failed, or with 2 where there is nothing to do it with.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

try:
    import numpy as np

    import nets
    from worker import PEERS
except ModuleNotFoundError as e:
    print(f"peers: {e.name} is missing: pip install -r requirements.txt", file=sys.stderr)
    sys.exit(2)

HERE = pathlib.Path(__file__).resolve().parent
SCHEMES = ["f32", "w8a8", "w8a16"]

# Largest difference to our f32 scheme. Nets with int8 weights differ by what quantisation costs: the number is reported, and only
# what no quantisation explains is an error.
FLOAT_TOLERANCE, INT8_TOLERANCE = 1e-5, 0.15

# A call with the whole sequence multiplies the inputs of all steps at once, which a stream cannot.
BATCHED = {"onnxruntime", "onnxruntime-int8", "torch", "torch-int8"}

# What holds a peer to AVX2. The others choose their kernels by the CPU alone.
AVX2_ENV = {
    "torch": dict(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", DNNL_MAX_CPU_ISA="AVX2", MKL_ENABLE_INSTRUCTIONS="AVX2",
                  FBGEMM_ENABLE_INSTRUCTIONS="AVX2"),
}


class Failed(Exception):
    pass


class Worker:
    """A process that answers the protocol of ours/main.go."""

    def __init__(self, name, command, env=None):
        self.name = name
        self.p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", cwd=HERE,
                                  env={**os.environ, "OMP_NUM_THREADS": "1", "GOMAXPROCS": "1", **(env or {})})

    def ask(self, **request):
        try:
            self.p.stdin.write(json.dumps(request) + "\n")
            self.p.stdin.flush()
            line = self.p.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(f"{self.name} ended with {self.p.wait()} at {request['cmd']}")
        reply = json.loads(line)
        if "error" in reply:
            raise Failed(f"{self.name}: {request['cmd']}: {reply['error']}")
        return reply

    def close(self):
        try:
            self.p.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.p.wait(10)
        except subprocess.TimeoutExpired:
            self.p.kill()


def installed(peer):
    try:
        importlib.metadata.version(PEERS[peer].package)
        return True
    except importlib.metadata.PackageNotFoundError:
        return False


def start(o, note):
    """The workers by name: ours by scheme, and the peers."""
    env, workers = {}, {}
    tier = o.tier or ("avx2" if o.isa == "avx2" else None)
    if tier:
        env["RECUR_TIER"] = tier
    binary = pathlib.Path(o.tmp) / "ours"
    try:
        subprocess.run(["go", "build", "-o", binary, "./ours"], cwd=HERE, env={**os.environ, "CGO_ENABLED": "0"}, check=True)
    except (OSError, subprocess.CalledProcessError) as e:
        print(f"peers: recur is not built: {e}", file=sys.stderr)
        raise SystemExit(2) from e
    for s in SCHEMES:
        workers["recur " + s] = Worker("recur " + s, [binary], env)
    for p in o.peers:
        family, penv = p.split("-")[0], {}
        if o.isa == "avx2":
            if family == "ncnn" and not o.ncnn_path:
                note(f"{p} left out: its wheel cannot be held to AVX2; give --ncnn-path")
                continue
            if family not in ("ncnn", "rtneural") and family not in AVX2_ENV:
                note(f"{p} left out: it cannot be held to AVX2")
                continue
            penv = AVX2_ENV.get(family, {})
        if family == "rtneural":
            if not o.rtneural_path:
                note(f"{p} left out: it is on no package registry; give --rtneural-path")
                continue
            flags = "-march=x86-64-v3 -DRTNEURAL_DEFAULT_ALIGNMENT=32" if o.isa == "avx2" else "-march=native -DRTNEURAL_DEFAULT_ALIGNMENT=64"
            penv = dict(RTNEURAL_PATH=os.path.abspath(o.rtneural_path), RTNEURAL_FLAGS=flags)
        elif family == "ncnn" and o.ncnn_path:
            penv = {**penv, "PYTHONPATH": os.path.abspath(o.ncnn_path)}
        elif not installed(p):
            note(f"{p} left out: {PEERS[p].package} is not installed")
            continue
        workers[p] = Worker(p, [sys.executable, "worker.py", p], penv)
    return workers


def run_net(n, o, workers, note):
    """Returns the results of one net by worker, and whether all outputs were right."""
    folder, ok, results, outputs = nets.write(n, o.tmp, o.seed), True, {}, {}
    for name, w in list(workers.items()):
        request = dict(net=str(folder))
        if name.startswith("recur "):
            request["scheme"] = name.split()[1]
        try:
            reply = w.ask(cmd="load", **request)
            if "unsupported" in reply:
                continue
            out = folder / "out.f32"
            w.ask(cmd="check", out=str(out))
            outputs[name] = np.fromfile(out, "<f4")
        except Failed as e:
            note(f"{n['name']}: {e}")
            ok = False
            if w.p.poll() is not None:
                del workers[name]
    ref = outputs.get("recur f32")
    for name, y in outputs.items():
        diff = float(np.abs(y - ref).max()) if ref is not None and y.shape == ref.shape else float("nan")
        tolerance = INT8_TOLERANCE if "int8" in name or "w8" in name else FLOAT_TOLERANCE
        results[name] = dict(max_error=diff)
        if not diff <= tolerance:
            note(f"{n['name']}: {name} differs from recur f32 by {diff:.3g}, more than {tolerance}")
            ok = False
            del results[name]
    if o.check:
        return results, ok
    for r in range(o.rounds):
        names = list(results)
        at = r % max(1, len(names))
        for name in names[at:] + names[:at]:
            try:
                t = workers[name].ask(cmd="time", ms=o.ms)
            except Failed as e:
                note(f"{n['name']}: {e}")
                ok = False
                del results[name]
                if workers[name].p.poll() is not None:
                    del workers[name]
                continue
            results[name].setdefault("rounds", []).append(t)
    for v in results.values():
        v["min_ns"] = min(t["min_ns"] for t in v["rounds"])
        v["median_ns"] = float(np.median([t["median_ns"] for t in v["rounds"]]))
    return results, ok


def shown(n, ns):
    if n["two_way"]:
        return f"{ns * n['steps'] / 1000:.1f} µs"
    return f"{ns:.0f}"


def best(results, batched):
    """The fastest peer: among those that a stream can use, or those that need the whole sequence at once."""
    peers = {k: v["min_ns"] for k, v in results.items() if not k.startswith("recur ") and (k in BATCHED) == batched}
    return min(peers.items(), key=lambda kv: kv[1], default=(None, None))


def ratio(peer, ours):
    """Of the minima of a round, in which both ran close to each other in time; the median over the rounds."""
    return float(np.median([p["min_ns"] / q["min_ns"] for p, q in zip(peer["rounds"], ours["rounds"])]))


def summary(done):
    rows = ["| cell, input→hidden | best peer | best, whole sequence at once | recur w8a8 | ratios | recur w8a16 | ratios | recur f32 | ratios |",
            "|---|" + "--:|" * 8]
    for n, results in done:
        peers = [best(results, batched) for batched in (False, True)]
        cells = [n["name"]] + [f"{shown(n, ns)} ({name})" if name else "–" for name, ns in peers]
        for s in ["w8a8", "w8a16", "f32"]:
            if ours := results.get("recur " + s):
                cells += [shown(n, ours["min_ns"]), " / ".join(f"{ratio(results[name], ours):.2f}" if name else "–" for name, _ in peers)]
            else:
                cells += ["–", "–"]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def details(done, names, field):
    rows = ["| cell, input→hidden | " + " | ".join(names) + " |", "|---" + "|--:" * len(names) + "|"]
    for n, results in done:
        text = {"min_ns": lambda v: f"{shown(n, v['min_ns'])} / {shown(n, v['median_ns'])}", "max_error": lambda v: f"{v['max_error']:.1g}"}[field]
        rows.append("| " + " | ".join([n["name"]] + [text(results[k]) if k in results else "–" for k in names]) + " |")
    return rows


def cpu_model():
    try:
        for line in open("/proc/cpuinfo", encoding="utf-8"):
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def revision():
    git = lambda *a: subprocess.run(["git", *a], cwd=HERE, capture_output=True, text=True).stdout.strip()
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--check", action="store_true", help="compare outputs only")
    p.add_argument("--nets", default="", metavar="TEXT", help="only nets whose name, such as gru-6-32-step, contains TEXT")
    p.add_argument("--peers", default=",".join(PEERS), metavar="A,B", help="default: %(default)s")
    p.add_argument("--isa", choices=["any", "avx2"], default="any")
    p.add_argument("--tier", help="tier of recur, as RECUR_TIER (default: the fastest, or avx2 with --isa avx2)")
    p.add_argument("--ncnn-path", metavar="DIR", help="take ncnn from this folder")
    p.add_argument("--rtneural-path", metavar="DIR", help="a checkout of RTNeural, to be compiled here")
    p.add_argument("--rounds", type=int, default=5, help="rounds in which all take turns (default %(default)s)")
    p.add_argument("--ms", type=float, default=100, help="time a turn, at least 3 passes (default %(default)s)")
    p.add_argument("--cpu", type=int, help="run everything on this CPU (default: the last one allowed)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--json", metavar="FILE")
    o = p.parse_args()
    o.peers = [x for x in o.peers.split(",") if x]
    if unknown := set(o.peers) - set(PEERS):
        p.error(f"no such peer: {', '.join(sorted(unknown))} (there are {', '.join(PEERS)})")
    if o.rounds < 1 or not 0 < o.ms <= 60000:
        p.error("--rounds must be 1 or more, --ms more than 0 and at most 60000")
    if o.ncnn_path and not (pathlib.Path(o.ncnn_path) / "ncnn").is_dir():
        p.error(f"--ncnn-path {o.ncnn_path}: no folder ncnn in it")
    o.chosen = [n for n in nets.NETS if o.nets.lower() in (n["name"] + " " + nets.folder_name(n)).lower()]
    if not o.chosen:
        p.error(f"no net's name contains {o.nets!r}; there are {', '.join(map(nets.folder_name, nets.NETS))}")
    return o


def main():
    o, notes = arguments(), []

    def note(text):
        notes.append(text)
        print("peers: " + text, file=sys.stderr)

    if hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, {o.cpu if o.cpu is not None else max(os.sched_getaffinity(0))})
        except OSError as e:
            note(f"--cpu {o.cpu}: {e}")
            return 2
    done, ok = [], True
    with tempfile.TemporaryDirectory(prefix="peers-") as o.tmp:
        workers = start(o, note)
        try:
            info = {}
            for name, w in list(workers.items()):
                try:
                    info[name] = w.ask(cmd="info")
                except Failed as e:
                    note(str(e))
                    ok = False
                    w.close()
                    del workers[name]
            if "recur f32" not in workers:
                return 2
            if len(workers) == len(SCHEMES):
                note("no peer to compare with: pip install -r requirements.txt")
                return 2
            for n in o.chosen:
                print(f"peers: {n['name']} …", file=sys.stderr, flush=True)
                results, right = run_net(n, o, workers, note)
                done.append((n, results))
                ok = ok and right
        finally:
            for w in workers.values():
                w.close()
    versions = {PEERS[k].package or k.split("-")[0]: v["version"] + (" from --ncnn-path" if PEERS[k].package == "ncnn" and o.ncnn_path else "")
                for k, v in info.items() if k in PEERS}
    machine = dict(cpu=cpu_model(), tier=info["recur f32"]["tier"], isa=o.isa, go=info["recur f32"]["go"], revision=revision(),
                   date=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), versions=versions)
    report(o, machine, done, [k for k in info if any(k in r for _, r in done)], notes)
    return 0 if ok else 1


def report(o, machine, done, names, notes):
    print(f"\n{machine['cpu']}, one thread, recur {machine['revision']} tier {machine['tier']}, {machine['go']}; "
          f"peers {'held to AVX2' if o.isa == 'avx2' else 'on any instruction set'}: "
          + ", ".join(f"{k} {v}" for k, v in machine["versions"].items()) + f"; {machine['date']}.\n")
    if not o.check:
        print("\n".join(summary(done)))
        print("\nMinimum ns a time step; µs for the two-way net's whole sequence. Ratios: the two peers' time by recur's, more than 1 where recur is\n"
              "faster; each is the median over the rounds. \"Whole sequence at once\" multiplies the inputs of all steps together, which a\n"
              "stream cannot.\n\nEvery one, minimum / median:\n")
        print("\n".join(details(done, names, "min_ns")) + "\n")
    print("Largest difference to recur f32:\n")
    print("\n".join(details(done, names, "max_error")))
    if notes:
        print("\n" + "\n".join("- " + n for n in notes))
    if o.json:
        pathlib.Path(o.json).write_text(json.dumps(dict(machine=machine, notes=notes, results=[dict(net=n, engines=r) for n, r in done]),
                                                   ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
