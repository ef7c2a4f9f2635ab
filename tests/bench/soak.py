#!/usr/bin/env python3
"""tests/bench/soak.py [RELOADS] [LOOPS]: reloads every shipped module RELOADS times (10000) while sessions chat and
ask at SOAK_RATE stanzas a second (5000), and counts what is lost, repeated, reordered or unanswered, which sessions
end, how long loops pause, and what the server's memory does. `make soak` runs it for the built server; with
GRAPNEL_BUILD=build-asan or build-tsan for those. Results: a line of JSON at the end; exit status 1 when something is
wrong.

A module counts as new when its file has other contents: each reload finds files with another number behind the
image, which the loader does not look at."""
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time

import benchlib as b

RATE = int(os.environ.get('SOAK_RATE', '5000'))


def ctl(server, *argv):
    return subprocess.run([os.path.join(b.BUILD, 'grapnelctl'), '--config', server.ini, *argv], capture_output=True,
                          text=True, check=False, timeout=60)


def own_modules():
    """Copies of the modules in a folder of ours; the configuration looks there."""
    folder = os.path.join(b.TMP, 'modules')
    shutil.copytree(os.path.join(b.BUILD, 'modules'), folder)
    files = {}
    for name in sorted(os.listdir(folder)):
        if name[:-3] in b.modules():
            with open(os.path.join(folder, name), 'rb') as f:
                files[os.path.join(folder, name)] = f.read()
    return folder, files


def renew(files, number):
    for path, contents in files.items():
        with open(path + '.new', 'wb') as f:
            f.write(contents + number.to_bytes(8, 'little'))
        os.rename(path + '.new', path)


def memory(server):
    with open(f'/proc/{server.process.pid}/smaps_rollup', encoding='ascii') as f:
        return next(int(line.split()[1]) for line in f if line.startswith('Anonymous:'))


def soak(server, files, reloads):
    """After a tenth of the reloads memory should no longer grow."""
    count, took, kb = len(files), [], []
    for n in range(reloads):
        renew(files, n)
        start = time.monotonic()
        p = ctl(server, 'reload')
        took.append(time.monotonic() - start)
        if p.returncode != 0 or p.stdout.count('new code') != count:
            print(f'reload {n}: {p.stdout}{p.stderr}')
            return None
        if n % max(reloads // 10, 1) == max(reloads // 10, 1) - 1:
            kb.append(memory(server))
            print(f'  {n + 1} reloads, {kb[-1]} KB, {1000 * took[-1]:.1f} ms', flush=True)
    return {'reloads': reloads, 'modules': count, 'reload_ms_p50': 1000 * statistics.median(took), 'kb': kb,
            'reload_ms_max': 1000 * max(took)}


def main():
    reloads = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    loops = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    data = b.data_dir('soak')
    b.mkusers(data, 0, 200, 'roster=10')
    folder, files = own_modules()
    renew(files, 1 << 40)
    b.MODULES = folder
    server = b.grapnel(data, loops=loops, cpus=','.join(str(c) for c in b.CPUS))
    out = os.path.join(b.TMP, 'soak.json')
    load = subprocess.Popen([os.path.join(b.PROGRAMS, 'grapnel-load'), 'soak', '--port', str(server.port), '--sessions',
                             '200', '--rate', str(RATE), '--duration', '86400', '--json', out, '--pid',
                             str(server.process.pid)])
    time.sleep(3)
    before = memory(server)
    result = soak(server, files, reloads)
    load.send_signal(signal.SIGINT)
    ok = load.wait(120) == 0 and result is not None
    with open(out, encoding='utf-8') as f:
        traffic = json.load(f)
    server.process.send_signal(signal.SIGTERM)
    status = server.process.wait(60)
    b.running.remove(server)
    with open(server.log, encoding='utf-8', errors='replace') as f:
        log = [line for line in f.read().splitlines() if line.strip()]
    print('\n'.join(log[-20:]))
    print(json.dumps({'ok': ok and status == 0, 'exit': status, 'kb_before': before, **(result or {}),
                      **{k: traffic[k] for k in ('sent', 'lost', 'unanswered', 'repeated', 'reordered', 'bounced',
                                                 'sessions_lost', 'p99_us', 'p999_us', 'max_us')}}))
    return 0 if ok and status == 0 else 1


sys.exit(main())
